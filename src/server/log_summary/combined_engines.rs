//! The combined load of engines that share it.

use std::collections::BTreeMap;

use crate::server::log::{EngineId, LogTime, StatsLine};
use crate::server::log_summary::engine_levels::EngineLevels;

/// Adds up the lines of one round: the latest line of each engine.
#[derive(Debug, Clone, Default)]
pub(super) struct CombinedEngines {
    round: BTreeMap<EngineId, StatsLine>,
    now: Option<LogTime>,
    several: bool,
    levels: EngineLevels,
}

impl CombinedEngines {
    /// Adds the next periodic line. A second line of the same engine begins a new round; an idle engine writes none.
    pub(super) fn add(&mut self, stats: &StatsLine, now: Option<LogTime>) {
        if !matches!(stats.engine, EngineId::Number(_)) {
            return;
        }
        if self.round.contains_key(&stats.engine) {
            self.close_round();
        }
        self.round.insert(stats.engine, stats.clone());
        self.now = now;
    }

    /// Returns the combined levels, or `None` unless there were several engines.
    pub(super) fn finish(&mut self) -> Option<EngineLevels> {
        self.close_round();
        self.several.then(|| std::mem::take(&mut self.levels))
    }

    fn close_round(&mut self) {
        let round = std::mem::take(&mut self.round);
        self.several |= round.len() > 1;
        let Some(sum) = round.into_values().reduce(add_stats) else { return };
        self.levels.add(&sum, self.now);
    }
}

/// Adds up two engines. The fuller cache counts. Hit rates are dropped, since their weights are unknown.
fn add_stats(one: StatsLine, other: StatsLine) -> StatsLine {
    let merged = |a: Option<f64>, b: Option<f64>, merge: fn(f64, f64) -> f64| {
        [a, b].into_iter().flatten().reduce(merge)
    };
    let added = |a: Option<u64>, b: Option<u64>| [a, b].into_iter().flatten().reduce(u64::saturating_add);
    StatsLine {
        prompt: merged(one.prompt, other.prompt, |a, b| a + b),
        generation: merged(one.generation, other.generation, |a, b| a + b),
        running: one.running.saturating_add(other.running),
        waiting: added(one.waiting, other.waiting),
        swapped: added(one.swapped, other.swapped),
        deferred: added(one.deferred, other.deferred),
        preemptions: one.preemptions.saturating_add(other.preemptions),
        kv: merged(one.kv, other.kv, f64::max),
        cpu_kv: merged(one.cpu_kv, other.cpu_kv, f64::max),
        hit_rate: None,
        external_hit_rate: None,
        mm_hit_rate: None,
        ..one
    }
}
