//! A server's log, summed up: what it did, and what was wrong with it for how long.
//!
//! An [`Observer`] takes line after line, in constant memory; what it makes of them is a [`Summary`].

mod alert;
mod levels;
mod rules;
mod watch;

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

pub use alert::Alert;
pub use levels::{Drafting, Figures, Levels, Range};
pub use rules::{Change, RULES, Rule, Rules, Trouble};

use crate::server::log::{Calendar, Engine, Entry, Line, Moment, StartUp};
use alert::{Alerts, Events, Look};
use watch::Watch;

/// What a log says.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The first line's time; `None` in a log without time stamps.
    pub start: Option<Moment>,
    /// The last line's.
    pub end: Option<Moment>,
    /// Lines by kind.
    pub lines: Counts,
    /// How often an engine started.
    pub starts: u64,
    /// What it said of itself, the last time if it did so several times.
    pub start_up: StartUp,
    /// What each engine did.
    pub engines: BTreeMap<Engine, Levels>,
    /// Speculative decoding, over all engines.
    pub drafting: Option<Drafting>,
    /// Preemptions: those that periodic lines count, and those that V0 warned of.
    pub preemptions: u64,
    /// Lines that say that GPUs have no fast way to each other.
    pub slow_links: u64,
    /// What was wrong, in the order in which it became so.
    pub alerts: Vec<Alert>,
    /// Further alerts for which there was no room.
    pub alerts_left_out: u64,
}

/// Lines of a log, without blank ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All.
    pub all: u64,
    /// Periodic lines.
    pub statistics: u64,
    /// Lines that begin like one that is known, and are not whole.
    pub damaged: u64,
    /// Lines that say nothing that is known here.
    pub unknown: u64,
}

/// Sums up a log line by line.
#[derive(Debug, Clone)]
pub struct Observer {
    rules: Rules,
    calendar: Calendar,
    now: Option<Moment>,
    last_engine: Engine,
    watches: BTreeMap<Engine, Watch>,
    alerts: Alerts,
    memory: Events,
    preemptions: Events,
    /// Preemptions since the server's start, as V0 counts them.
    preempted: u64,
    summary: Summary,
}

impl Observer {
    /// Judges by these rules; the log was written up to today.
    pub fn new(rules: Rules, today: Date) -> Self {
        Self {
            rules,
            calendar: Calendar::new(today),
            now: None,
            last_engine: Engine::Only,
            watches: BTreeMap::new(),
            alerts: Alerts::default(),
            memory: Events::default(),
            preemptions: Events::default(),
            preempted: 0,
            summary: Summary::default(),
        }
    }

    /// The next line.
    pub fn take(&mut self, line: Line) {
        self.summary.lines.all += 1;
        if let Some(now) = line.stamp.and_then(|stamp| self.calendar.place(&stamp)) {
            self.now = Some(now);
            self.summary.start = self.summary.start.or(Some(now));
            self.summary.end = Some(now);
        }
        match line.entry {
            Entry::Unknown => self.summary.lines.unknown += 1,
            Entry::Damaged => self.summary.lines.damaged += 1,
            Entry::StartUp(facts) => self.start_up(*facts),
            Entry::Stats(stats) => {
                self.summary.lines.statistics += 1;
                self.last_engine = stats.engine;
                self.summary.preemptions = self.summary.preemptions.saturating_add(stats.preemptions);
                self.summary.engines.entry(stats.engine).or_default().add(&stats, self.now);
                let watch = self.watches.entry(stats.engine).or_default();
                watch.look(&stats, self.now, &self.rules, &mut self.alerts);
            }
            Entry::HitRate(rate) => {
                self.summary.engines.entry(self.last_engine).or_default().add_hit_rate(rate, self.now);
            }
            Entry::Drafts(drafts) => {
                self.summary.drafting.get_or_insert_default().add(&drafts, self.now);
            }
            Entry::Preempted { total } => self.preempted(total),
            Entry::OutOfMemory => self.happened(Trouble::OutOfMemory, 1),
            Entry::SlowLinks => self.summary.slow_links += 1,
        }
    }

    /// The alerts so far; the rest of the log may lengthen those that are [ongoing](Alert::ongoing).
    pub fn alerts(&self) -> &[Alert] {
        &self.alerts.all
    }

    /// The log ends here.
    pub fn finish(mut self) -> Summary {
        for watch in self.watches.values_mut() {
            watch.finish(&mut self.alerts);
        }
        self.memory.end(&mut self.alerts);
        self.preemptions.end(&mut self.alerts);
        self.summary.alerts_left_out = self.alerts.left_out;
        self.summary.alerts = self.alerts.all;
        self.summary
    }

    fn start_up(&mut self, facts: StartUp) {
        // The operator's arguments come next to first; whatever else is known is of the server before.
        if !facts.arguments.is_empty() {
            let version = self.summary.start_up.version.take();
            self.summary.start_up = StartUp { version, ..StartUp::default() };
            self.preempted = 0;
        }
        self.summary.starts += u64::from(facts.begins);
        self.summary.start_up.absorb(facts);
    }

    /// A warning of V0: the counter tells how many there were since the last warning.
    fn preempted(&mut self, total: u64) {
        let new = if total > self.preempted { total - self.preempted } else { total };
        self.preempted = total;
        self.summary.preemptions = self.summary.preemptions.saturating_add(new);
        self.happened(Trouble::Preemptions, new);
    }

    fn happened(&mut self, trouble: Trouble, count: u64) {
        let Some(rule) = self.rules.about(trouble) else { return };
        let look = Look { engine: Engine::Only, now: self.now, bad: true, value: count as f64 };
        let events = if trouble == Trouble::OutOfMemory { &mut self.memory } else { &mut self.preemptions };
        events.look(look, rule, &mut self.alerts);
    }
}

#[cfg(test)]
mod tests;
