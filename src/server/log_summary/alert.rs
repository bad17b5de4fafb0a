//! Alerts, and how long their conditions have lasted.

use std::time::Duration;

use serde::Serialize;

use super::rules::{AlertRule, LogIssue};
use crate::seconds;
use crate::server::condition_timer::{ConditionTimer, TimePoint as _};
use crate::server::log::{EngineId, LogTime};

/// Alerts that are kept of one log. The first ones show how the problem began.
const MAX_ALERTS: usize = 1000;

/// A problem that lasted long enough.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogAlert {
    /// The rule that raised the alert.
    pub rule: LogIssue,
    /// The engine or engines with the problem.
    pub engine: EngineId,
    /// The time of the first line that shows the problem; `None` in a log without timestamps.
    pub start: Option<LogTime>,
    /// The time from that line to the last line that shows the problem.
    #[serde(with = "seconds", rename = "seconds")]
    pub duration: Duration,
    /// Whether the problem still held when the log ended.
    pub ongoing: bool,
    /// The number of lines that show the problem.
    pub lines: u64,
    /// The worst value, in the rule's unit. For events, their number.
    pub worst: f64,
    /// The rule's bound.
    pub bound: f64,
    /// What to do about the problem.
    pub advice: &'static str,
}

/// The alerts of a log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct AlertList {
    pub all: Vec<LogAlert>,
    /// The number of alerts beyond the kept ones.
    pub left_out: u64,
}

impl AlertList {
    fn add(&mut self, alert: LogAlert) -> Option<usize> {
        if self.all.len() == MAX_ALERTS {
            self.left_out += 1;
            return None;
        }
        self.all.push(alert);
        Some(self.all.len() - 1)
    }
}

/// One sample of a rule's quantity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub engine: EngineId,
    pub now: Option<LogTime>,
    /// Whether the value violates the bound.
    pub bad: bool,
    /// The value, in the unit of the bound.
    pub value: f64,
}

/// A condition that holds over successive lines.
#[derive(Debug, Clone, Default)]
pub(super) struct ConditionRun {
    lasting: ConditionTimer<Option<LogTime>>,
    story: Option<OpenAlert>,
}

#[derive(Debug, Clone)]
struct OpenAlert {
    lines: u64,
    worst: f64,
    /// The index of the alert that this became. The inner option is `None` if the list was full.
    fired: Option<Option<usize>>,
}

impl ConditionRun {
    /// Adds a sample. The alert begins once the condition has held long enough.
    pub(super) fn observe(&mut self, look: Observation, rule: &AlertRule, alerts: &mut AlertList) {
        let Some(duration) = self.lasting.observe(look.bad, look.now) else { return self.end(alerts) };
        let new = OpenAlert { lines: 0, worst: f64::NEG_INFINITY, fired: None };
        let story = self.story.get_or_insert(new);
        story.lines += 1;
        story.worst = worst_value(rule.trouble, story.worst, look.value);
        let enough = !rule.trouble.is_event_count() || story.worst > rule.bound;
        if story.fired.is_none() && duration >= rule.hold && enough {
            story.fired = Some(alerts.add(LogAlert {
                rule: rule.trouble,
                engine: look.engine,
                start: self.lasting.start().flatten(),
                duration,
                ongoing: true,
                lines: story.lines,
                worst: story.worst,
                bound: rule.bound,
                advice: rule.advice,
            }));
        }
        if let Some(Some(at)) = story.fired {
            let alert = &mut alerts.all[at];
            (alert.duration, alert.lines, alert.worst) = (duration, story.lines, story.worst);
        }
    }

    /// Ends the condition, since it no longer holds or is unknown.
    pub(super) fn end(&mut self, alerts: &mut AlertList) {
        self.lasting.reset();
        if let Some(Some(at)) = self.story.take().and_then(|story| story.fired) {
            alerts.all[at].ongoing = false;
        }
    }
}

/// Events at most this far apart belong to one alert.
const EVENT_GAP: Duration = Duration::from_secs(300);

/// Counts events, as opposed to lasting levels.
#[derive(Debug, Clone, Default)]
pub(super) struct EventRun {
    streak: ConditionRun,
    last: Option<LogTime>,
}

impl EventRun {
    /// Adds a number of events, which may be 0. After a gap without events, the next one begins another alert.
    pub(super) fn observe(&mut self, look: Observation, rule: &AlertRule, alerts: &mut AlertList) {
        if look.now.since(self.last) > EVENT_GAP {
            self.end(alerts);
        }
        if look.bad {
            self.last = look.now.or(self.last);
            self.streak.observe(look, rule, alerts);
        }
    }

    /// Ends the alert.
    pub(super) fn end(&mut self, alerts: &mut AlertList) {
        self.streak.end(alerts);
        self.last = None;
    }
}

/// Combines two values: events add up; for a low throughput the minimum counts, for all else the maximum.
fn worst_value(trouble: LogIssue, before: f64, now: f64) -> f64 {
    match trouble {
        trouble if trouble.is_event_count() => before.max(0.0) + now,
        LogIssue::Throughput if before.is_finite() => before.min(now),
        _ => before.max(now),
    }
}
