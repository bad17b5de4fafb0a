//! Alerts, and how long what they are about has lasted.

use std::time::Duration;

use serde::Serialize;

use super::rules::{Rule, Trouble};
use crate::core::units::seconds;
use crate::judge::lasting::{Lasting, Point as _};
use crate::server::log::{Engine, Moment};

/// Alerts that are kept of one log: the first ones tell what began it all.
const MOST_ALERTS: usize = 1000;

/// Something that was wrong for long enough.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// What.
    pub rule: Trouble,
    /// Where.
    pub engine: Engine,
    /// The first line that says so; `None` in a log without time stamps.
    pub start: Option<Moment>,
    /// From that line to the last that says so.
    #[serde(with = "seconds", rename = "seconds")]
    pub duration: Duration,
    /// Whether it was still so when the log ended.
    pub ongoing: bool,
    /// The lines that say so.
    pub lines: u64,
    /// The worst of it, in the rule's unit; of events, how many.
    pub worst: f64,
    /// The bound that was passed.
    pub bound: f64,
    /// What to do.
    pub advice: &'static str,
}

/// The alerts of a log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Alerts {
    pub all: Vec<Alert>,
    /// How many more there were.
    pub left_out: u64,
}

impl Alerts {
    fn add(&mut self, alert: Alert) -> Option<usize> {
        if self.all.len() == MOST_ALERTS {
            self.left_out += 1;
            return None;
        }
        self.all.push(alert);
        Some(self.all.len() - 1)
    }
}

/// One look at what a rule is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub engine: Engine,
    pub now: Option<Moment>,
    /// Whether the bound is passed.
    pub bad: bool,
    /// By how much, the higher the worse.
    pub value: f64,
}

/// What a rule is about has been so, line after line.
#[derive(Debug, Clone, Default)]
pub(super) struct Streak {
    lasting: Lasting<Option<Moment>>,
    story: Option<Story>,
}

#[derive(Debug, Clone)]
struct Story {
    lines: u64,
    worst: f64,
    /// The alert that it became, by its place; the inner one is `None` if there was no room.
    fired: Option<Option<usize>>,
}

impl Streak {
    /// Looks once more; the alert begins when it has been so for long enough.
    pub fn look(&mut self, look: Look, rule: &Rule, alerts: &mut Alerts) {
        let Some(duration) = self.lasting.look(look.bad, look.now) else { return self.end(alerts) };
        let new = Story { lines: 0, worst: f64::NEG_INFINITY, fired: None };
        let story = self.story.get_or_insert(new);
        story.lines += 1;
        story.worst = worse(rule.trouble, story.worst, look.value);
        let enough = !rule.trouble.adds_up() || story.worst > rule.bound;
        if story.fired.is_none() && duration >= rule.hold && enough {
            story.fired = Some(alerts.add(Alert {
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

    /// It is so no more, or nobody knows.
    pub fn end(&mut self, alerts: &mut Alerts) {
        self.lasting.end();
        if let Some(Some(at)) = self.story.take().and_then(|story| story.fired) {
            alerts.all[at].ongoing = false;
        }
    }
}

/// Events this close together are one story.
const ONE_STORY: Duration = Duration::from_secs(300);

/// Events that happen, in contrast to levels that last.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    streak: Streak,
    last: Option<Moment>,
}

impl Events {
    /// So many more happened, or none: after a while without, the next one is another story.
    pub fn look(&mut self, look: Look, rule: &Rule, alerts: &mut Alerts) {
        if look.now.since(self.last) > ONE_STORY {
            self.end(alerts);
        }
        if look.bad {
            self.last = look.now.or(self.last);
            self.streak.look(look, rule, alerts);
        }
    }

    /// The story is over.
    pub fn end(&mut self, alerts: &mut Alerts) {
        self.streak.end(alerts);
        self.last = None;
    }
}

/// Events add up, of a slow generation the lowest counts, of all else the highest.
fn worse(trouble: Trouble, before: f64, now: f64) -> f64 {
    match trouble {
        trouble if trouble.adds_up() => before.max(0.0) + now,
        Trouble::Throughput if before.is_finite() => before.min(now),
        _ => before.max(now),
    }
}
