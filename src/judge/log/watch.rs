//! One engine, watched from line to line.

use super::alert::{Alerts, Events, Look, Streak};
use super::rules::{Rules, Trouble};
use crate::judge::lasting::Rhythm;
use crate::server::log::{Moment, Stats};

/// The state of one engine's alerts.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    swapped: Streak,
    kv: Streak,
    waiting: Streak,
    slow: Streak,
    preemptions: Events,
    pace: Pace,
    rhythm: Rhythm<Moment>,
}

impl Watch {
    /// The next periodic line.
    pub fn look(&mut self, stats: &Stats, now: Option<Moment>, rules: &Rules, alerts: &mut Alerts) {
        // vLLM is silent while it is idle.
        if now.is_some_and(|now| self.rhythm.is_broken(now)) {
            self.fall_silent(alerts);
        }
        let look = |bad, value| Look { engine: stats.engine, now, bad, value };
        let levels = [
            (Trouble::Swapped, stats.swapped.map(|count| count as f64), &mut self.swapped),
            (Trouble::KvCache, stats.kv.map(|share| share * 100.0), &mut self.kv),
            (Trouble::Waiting, Some(stats.waiting as f64), &mut self.waiting),
        ];
        for (trouble, value, streak) in levels {
            if let (Some(rule), Some(value)) = (rules.about(trouble), value) {
                streak.look(look(value > rule.bound, value), rule, alerts);
            }
        }
        let pace = self.pace.percent_of_best(stats);
        if let Some(rule) = rules.about(Trouble::Throughput) {
            let slow = pace.is_some_and(|percent| percent < rule.bound);
            self.slow.look(look(slow, pace.unwrap_or_default()), rule, alerts);
        }
        if let Some(rule) = rules.about(Trouble::Preemptions) {
            self.preemptions.look(look(stats.preemptions > 0, stats.preemptions as f64), rule, alerts);
        }
    }

    /// Whatever was so, nobody knows whether it still is.
    fn fall_silent(&mut self, alerts: &mut Alerts) {
        for streak in [&mut self.swapped, &mut self.kv, &mut self.waiting, &mut self.slow] {
            streak.end(alerts);
        }
        self.pace = Pace::default();
    }

    /// The log ends: levels may go on, events are over.
    pub fn finish(&mut self, alerts: &mut Alerts) {
        self.preemptions.end(alerts);
    }
}

/// Lines that make a pace: one alone may be a burst.
const STEPS: usize = 3;

/// As many requests as before, but for so much.
const AS_MANY: f64 = 0.8;

/// How fast tokens come, compared with how fast they came since requests began to run.
#[derive(Debug, Clone, Default)]
struct Pace {
    /// Generation throughput and running requests of the last lines.
    recent: [(f64, f64); STEPS],
    lines: usize,
    best: (f64, f64),
}

impl Pace {
    /// This line's generation throughput as a percentage of the best pace so far; `None` without one, and while clearly
    /// fewer requests run than did then.
    fn percent_of_best(&mut self, stats: &Stats) -> Option<f64> {
        if stats.running == 0 {
            *self = Self::default();
            return None;
        }
        let now = (stats.generation, stats.running as f64);
        self.recent[self.lines % STEPS] = now;
        self.lines += 1;
        if self.lines < STEPS {
            return None;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| self.recent.iter().map(of).sum::<f64>() / STEPS as f64;
        let pace = (mean(|line| line.0), mean(|line| line.1));
        if pace.0 > self.best.0 {
            self.best = pace;
        }
        let comparable = self.best.0 > 0.0 && now.1 >= AS_MANY * self.best.1;
        comparable.then(|| 100.0 * now.0 / self.best.0)
    }
}
