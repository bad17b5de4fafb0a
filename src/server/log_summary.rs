//! Summarizes a server's log: its load, and its problems with their durations.
//!
//! A [`LogObserver`] takes one line after another, in constant memory, and produces a [`LogSummary`].

mod alert;
mod combined_engines;
mod engine_levels;
mod engine_tracker;
mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use serde::Serialize;

pub(crate) use crate::server::log_summary::engine_levels::{
    EngineLevels, RangeSummary, SpecDecodeHistory, ValueRange,
};
pub(crate) use alert::LogAlert;
pub use rules::AlertRules;
pub(crate) use rules::{ALERT_RULES, LogIssue, RuleOverride};

use crate::server::log::{
    AccessLine, EngineId, LogEvent, LogLine, LogTime, StartupInfo, StatsLine, YearInference,
};
use crate::server::log_summary::combined_engines::CombinedEngines;
use crate::server::log_summary::engine_tracker::EngineTracker;
use alert::{AlertList, EventRun, Observation};

/// The summary of a log.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LogSummary {
    /// The time of the first line; `None` in a log without timestamps.
    pub start: Option<LogTime>,
    /// The time of the last line.
    pub end: Option<LogTime>,
    /// The number of lines by type.
    pub lines: LineCounts,
    /// How many times an engine started.
    pub starts: u64,
    /// The server's start-up facts, from its last start.
    pub start_up: StartupInfo,
    /// The load of each engine.
    pub engines: BTreeMap<EngineId, EngineLevels>,
    /// The total load of several engines that share it.
    pub together: Option<EngineLevels>,
    /// HTTP requests by the status code of their answer.
    pub statuses: BTreeMap<u16, u64>,
    /// Speculative decoding, over all engines.
    pub drafting: Option<SpecDecodeHistory>,
    /// Preemptions: those that periodic lines count, and those of V0's warnings.
    pub preemptions: u64,
    /// Lines that report GPUs without a fast connection.
    pub slow_links: u64,
    /// The alerts, in the order in which their conditions began.
    pub alerts: Vec<LogAlert>,
    /// The number of alerts beyond the kept ones.
    pub alerts_left_out: u64,
}

/// Counts of a log's lines, without blank ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LineCounts {
    /// All lines.
    pub all: u64,
    /// Periodic lines.
    pub statistics: u64,
    /// HTTP requests.
    pub requests: u64,
    /// Lines with an error level, or the start of a traceback.
    pub errors: u64,
    /// Incomplete lines that begin like a known one.
    pub damaged: u64,
    /// Lines of no known type.
    pub unknown: u64,
}

impl LineCounts {
    /// Whether more lines are damaged than periodic lines are readable, so that a missing alert means nothing.
    pub(crate) fn are_mostly_damaged(&self) -> bool {
        self.damaged > self.statistics
    }
}

/// Summarizes a log line by line.
#[derive(Debug, Clone)]
pub struct LogObserver {
    rules: AlertRules,
    calendar: YearInference,
    now: Option<LogTime>,
    last_engine: EngineId,
    watches: BTreeMap<EngineId, EngineTracker>,
    together: CombinedEngines,
    /// Facts of each engine core of the last start: KV cache tokens, and how many requests fit.
    cores: BTreeMap<u16, StartupInfo>,
    alerts: AlertList,
    events: BTreeMap<LogIssue, EventRun>,
    /// Preemptions since the server's start, as V0 counts them.
    preempted: u64,
    summary: LogSummary,
}

impl LogObserver {
    /// Creates an observer with these rules, for a log written up to `today`.
    pub fn new(rules: AlertRules, today: Date) -> Self {
        Self {
            rules,
            calendar: YearInference::new(today),
            now: None,
            last_engine: EngineId::Only,
            watches: BTreeMap::new(),
            together: CombinedEngines::default(),
            cores: BTreeMap::new(),
            alerts: AlertList::default(),
            events: BTreeMap::new(),
            preempted: 0,
            summary: LogSummary::default(),
        }
    }

    /// Adds the next line.
    pub fn push_line(&mut self, line: LogLine) {
        self.summary.lines.all += 1;
        if let Some(now) = line.stamp.and_then(|stamp| self.calendar.resolve(&stamp)) {
            self.advance_time(now);
        }
        match line.entry {
            LogEvent::Unknown => self.summary.lines.unknown += 1,
            LogEvent::Damaged => self.summary.lines.damaged += 1,
            LogEvent::Repeated => {}
            LogEvent::StartUp(facts) => self.merge_startup(*facts, line.engine_core),
            LogEvent::Stats(stats) => self.stats(&stats),
            LogEvent::HitRate(rate) => {
                self.summary.engines.entry(self.last_engine).or_default().add_hit_rate(rate, self.now);
            }
            LogEvent::Drafts(drafts) => {
                self.summary.drafting.get_or_insert_default().add(&drafts, self.now);
            }
            LogEvent::Preempted { total } => self.count_preemptions(total),
            LogEvent::Retracted(count) => {
                self.summary.preemptions = self.summary.preemptions.saturating_add(count);
                self.count_event(LogIssue::Preemptions, count);
            }
            LogEvent::Access(access) => self.count_response(access),
            LogEvent::Error => {
                self.summary.lines.errors += 1;
                self.count_event(LogIssue::Errors, 1);
            }
            LogEvent::OutOfMemory => self.count_event(LogIssue::OutOfMemory, 1),
            LogEvent::SlowLinks => self.summary.slow_links += 1,
        }
    }

    /// Returns the alerts so far. Later lines may lengthen those that are [ongoing](LogAlert::ongoing).
    pub fn alerts(&self) -> &[LogAlert] {
        &self.alerts.all
    }

    /// Ends the log, and returns its summary.
    pub fn finish(mut self) -> LogSummary {
        for watch in self.watches.values_mut() {
            watch.finish(&mut self.alerts);
        }
        self.events.values_mut().for_each(|events| events.end(&mut self.alerts));
        self.summary.together = self.together.finish();
        self.summary.alerts_left_out = self.alerts.left_out;
        self.summary.alerts = self.alerts.all;
        self.summary
    }

    /// Advances to the next line's time.
    fn advance_time(&mut self, now: LogTime) {
        let back = self.now.map_or(Duration::ZERO, |before| before.since(now));
        let bound = self.rules.rule_for(LogIssue::Clock).map(|rule| rule.bound);
        if bound.is_some_and(|bound| back.as_secs_f64() > bound) {
            self.watches.values_mut().for_each(|watch| watch.end_all(&mut self.alerts));
            self.events.values_mut().for_each(|events| events.end(&mut self.alerts));
            self.observe_issue(LogIssue::Clock, Some(now), back.as_secs_f64());
        }
        self.now = Some(now);
        self.summary.start = Some(self.summary.start.map_or(now, |start| start.min(now)));
        self.summary.end = Some(self.summary.end.map_or(now, |end| end.max(now)));
    }

    fn stats(&mut self, stats: &StatsLine) {
        self.summary.lines.statistics += 1;
        self.last_engine = stats.engine;
        self.summary.preemptions = self.summary.preemptions.saturating_add(stats.preemptions);
        self.summary.engines.entry(stats.engine).or_default().add(stats, self.now);
        self.together.add(stats, self.now);
        if let Some(length) = stats.draft_length {
            self.summary.drafting.get_or_insert_default().add_length(length, self.now);
        }
        let watch = self.watches.entry(stats.engine).or_default();
        watch.observe(stats, self.now, &self.rules, &mut self.alerts);
    }

    fn count_response(&mut self, access: AccessLine) {
        self.summary.lines.requests += 1;
        *self.summary.statuses.entry(access.status).or_default() += 1;
        match access.status {
            500.. if access.is_work => self.count_event(LogIssue::ServerErrors, 1),
            400..=499 if access.is_work => self.count_event(LogIssue::Refusals, 1),
            _ => {}
        }
    }

    fn merge_startup(&mut self, mut facts: StartupInfo, core: Option<u16>) {
        // The operator's arguments are among the first lines of a start, so all earlier facts belong to the previous
        // start.
        if !facts.arguments.is_empty() {
            let version = self.summary.start_up.version.take();
            self.summary.start_up = StartupInfo { version, ..StartupInfo::default() };
            self.preempted = 0;
            self.cores.clear();
        }
        if let Some(core) = core {
            self.sum_core_pools(&mut facts, core);
        }
        self.summary.starts += u64::from(facts.begins);
        self.summary.start_up.absorb(facts);
    }

    /// Adds up the pools of all engine cores, since each reports its own.
    fn sum_core_pools(&mut self, facts: &mut StartupInfo, core: u16) {
        let own = self.cores.entry(core).or_default();
        own.kv_tokens = facts.kv_tokens.or(own.kv_tokens);
        own.concurrency = facts.concurrency.or(own.concurrency);
        if facts.kv_tokens.is_some() {
            facts.kv_tokens =
                self.cores.values().filter_map(|core| core.kv_tokens).reduce(u64::saturating_add);
        }
        if let Some(all) = &mut facts.concurrency {
            all.requests = self.cores.values().filter_map(|core| Some(core.concurrency?.requests)).sum();
        }
    }

    /// Counts V0's preemptions: the growth of the counter since the last warning.
    fn count_preemptions(&mut self, total: u64) {
        let new = if total > self.preempted { total - self.preempted } else { total };
        self.preempted = total;
        self.summary.preemptions = self.summary.preemptions.saturating_add(new);
        self.count_event(LogIssue::Preemptions, new);
    }

    fn count_event(&mut self, trouble: LogIssue, count: u64) {
        self.observe_issue(trouble, self.now, count as f64);
    }

    fn observe_issue(&mut self, trouble: LogIssue, now: Option<LogTime>, value: f64) {
        let Some(rule) = self.rules.rule_for(trouble) else { return };
        let look = Observation { engine: EngineId::Only, now, bad: true, value };
        self.events.entry(trouble).or_default().observe(look, rule, &mut self.alerts);
    }
}

#[cfg(test)]
mod tests;
