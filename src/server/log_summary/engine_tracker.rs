//! Tracks the conditions of one engine from line to line.

use super::alert::{AlertList, ConditionRun, EventRun, Observation};
use super::rules::{AlertRules, LogIssue};
use crate::server::condition_timer::SampleInterval;
use crate::server::log::{LogTime, StatsLine};

/// The state of one engine's alerts.
#[derive(Debug, Clone, Default)]
pub(super) struct EngineTracker {
    swapped: ConditionRun,
    kv: ConditionRun,
    waiting: ConditionRun,
    slow: ConditionRun,
    preemptions: EventRun,
    pace: ThroughputTracker,
    interval: SampleInterval<LogTime>,
}

impl EngineTracker {
    /// Adds the next periodic line.
    pub(super) fn observe(
        &mut self,
        stats: &StatsLine,
        now: Option<LogTime>,
        rules: &AlertRules,
        alerts: &mut AlertList,
    ) {
        // vLLM logs nothing while it is idle.
        if now.is_some_and(|now| self.interval.has_hole(now)) {
            self.end_all(alerts);
        }
        let look = |bad, value| Observation { engine: stats.engine, now, bad, value };
        let levels = [
            (LogIssue::Swapped, stats.swapped.map(|count| count as f64), &mut self.swapped),
            (LogIssue::KvCache, stats.kv.map(|share| share * 100.0), &mut self.kv),
            (LogIssue::Waiting, stats.waiting.map(|count| count as f64), &mut self.waiting),
        ];
        for (trouble, value, streak) in levels {
            if let (Some(rule), Some(value)) = (rules.rule_for(trouble), value) {
                streak.observe(look(value > rule.bound, value), rule, alerts);
            }
        }
        let pace = self.pace.percent_of_best(stats);
        if let Some(rule) = rules.rule_for(LogIssue::Throughput).filter(|_| stats.generation.is_some()) {
            let slow = pace.is_some_and(|percent| percent < rule.bound);
            self.slow.observe(look(slow, pace.unwrap_or_default()), rule, alerts);
        }
        if let Some(rule) = rules.rule_for(LogIssue::Preemptions) {
            self.preemptions.observe(look(stats.preemptions > 0, stats.preemptions as f64), rule, alerts);
        }
    }

    /// Ends all conditions, since it is unknown whether they still hold.
    pub(super) fn end_all(&mut self, alerts: &mut AlertList) {
        for streak in [&mut self.swapped, &mut self.kv, &mut self.waiting, &mut self.slow] {
            streak.end(alerts);
        }
        self.pace = ThroughputTracker::default();
    }

    /// Ends the log: levels may still hold, events are over.
    pub(super) fn finish(&mut self, alerts: &mut AlertList) {
        self.preemptions.end(alerts);
    }
}

/// Lines over which throughput is averaged, since a single line may be a burst.
const WINDOW_LINES: usize = 3;

/// The share of the earlier running requests from which the load counts as comparable.
const COMPARABLE_LOAD_SHARE: f64 = 0.8;

/// Compares the throughput with the best one since requests began to run.
#[derive(Debug, Clone, Default)]
struct ThroughputTracker {
    /// Generation throughput and running requests of the last lines.
    recent: [(f64, f64); WINDOW_LINES],
    lines: usize,
    best: (f64, f64),
}

impl ThroughputTracker {
    /// Returns this line's generation throughput as a percentage of the best mean so far, or `None` without one, or
    /// while clearly fewer requests run than at the best mean.
    fn percent_of_best(&mut self, stats: &StatsLine) -> Option<f64> {
        let generation = stats.generation?;
        if stats.running == 0 {
            *self = Self::default();
            return None;
        }
        let now = (generation, stats.running as f64);
        self.recent[self.lines % WINDOW_LINES] = now;
        self.lines += 1;
        if self.lines < WINDOW_LINES {
            return None;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| self.recent.iter().map(of).sum::<f64>() / WINDOW_LINES as f64;
        let pace = (mean(|line| line.0), mean(|line| line.1));
        if pace.0 > self.best.0 {
            self.best = pace;
        }
        let comparable = self.best.0 > 0.0 && now.1 >= COMPARABLE_LOAD_SHARE * self.best.1;
        comparable.then(|| 100.0 * now.0 / self.best.0)
    }
}
