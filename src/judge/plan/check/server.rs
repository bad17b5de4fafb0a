//! What the server's own metrics say of a plan: where it began to preempt, and how full its KV pool was.

use super::super::Plan;
use super::{Comparison, NOTABLE, row};
use crate::core::server::{ServerSide, Signal};

/// What a server showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Servers that were asked; each has a pool of its own.
    replicas: f64,
    /// The most requests that were computed at once, on all servers.
    running: f64,
    /// The highest share of a pool that was in use; `None` if it was not told.
    kv: Option<f64>,
    /// Preemptions; `None` if they were not told.
    preemptions: Option<f64>,
    /// Requests running when the first was preempted.
    onset: Option<f64>,
}

impl Seen {
    /// `None` of a server that does not tell how many requests it computes.
    pub fn of(server: &ServerSide) -> Option<Self> {
        Some(Self {
            replicas: server.replicas.len() as f64,
            running: server.gauged(Signal::Running)?.peak,
            kv: server.gauged(Signal::KvUsage).map(|usage| usage.peak),
            preemptions: server.counted(Signal::Preemptions),
            onset: server.level_at_first(Signal::Preemptions, Signal::Running),
        })
    }
}

/// What a plan expects, as ranges: the two limits are for requests that are all at the same stage, and at all stages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Concurrency at which preemptions begin.
    onset: (f64, f64),
    /// The share of the pool in use when most requests ran; at most 1.
    kv: (f64, f64),
    /// The share for requests at all stages.
    kv_at_all_stages: f64,
    /// Concurrency at which preemptions begin, for requests at all stages.
    onset_at_all_stages: f64,
}

impl Expected {
    pub fn of(plan: &Plan, seen: &Seen) -> Self {
        let limits = [plan.limit, plan.at_all_stages.limit].map(|limit| limit.max(1) as f64 * seen.replicas);
        let onset = (limits[0].min(limits[1]), limits[0].max(limits[1]));
        let share = |limit: f64| (seen.running / limit).min(1.0);
        Self {
            onset,
            kv: (share(onset.1), share(onset.0)),
            kv_at_all_stages: share(limits[1]),
            onset_at_all_stages: limits[1],
        }
    }
}

pub(super) fn rows(expected: &Expected, seen: &Seen) -> [Comparison; 3] {
    let percent = |share: f64| 100.0 * share;
    let none = (seen.running <= expected.onset.0).then_some(0.0);
    [
        row("running when preemptions began", "", Some(expected.onset_at_all_stages), seen.onset),
        row("preemptions at the run's concurrency", "", none, seen.preemptions),
        row(
            "KV usage peak at the run's concurrency",
            "%",
            Some(percent(expected.kv_at_all_stages)),
            seen.kv.map(percent),
        ),
    ]
}

pub(super) fn findings(expected: &Expected, seen: &Seen) -> Vec<String> {
    preemption(expected, seen).into_iter().chain(usage(expected, seen)).collect()
}

fn preemption(expected: &Expected, seen: &Seen) -> Option<String> {
    let (low, high) = expected.onset;
    let (count, running) = (seen.preemptions?, seen.running);
    if count == 0.0 && running > high * (1.0 + NOTABLE) {
        return Some(format!(
            "no preemption with {running} running, where the plan has room for {high}: the pool is larger than planned, or \
             requests are shorter"
        ));
    }
    if count == 0.0 {
        return Some(format!(
            "no preemption with at most {running} running: the plan has room for {low} at least"
        ));
    }
    let onset = seen.onset?;
    let verdict = match onset {
        onset if onset < low * (1.0 - NOTABLE) => {
            ", earlier than planned: the pool is smaller, or requests are longer"
        }
        onset if onset > high * (1.0 + NOTABLE) => {
            ", later than planned: the pool is larger, or requests are shorter"
        }
        _ => "",
    };
    Some(format!(
        "{count} preemptions, from {onset} running on; the plan expects the first between {low} and {high}{verdict}"
    ))
}

fn usage(expected: &Expected, seen: &Seen) -> Option<String> {
    let (low, high) = expected.kv;
    let kv = seen.kv?;
    let cause = match kv {
        kv if kv > (high * (1.0 + NOTABLE)).min(1.0) => {
            "the pool is smaller than planned, or requests are longer"
        }
        kv if kv < low * (1.0 - NOTABLE) => {
            "prompts share their beginnings, the pool is larger than planned, or requests are shorter"
        }
        _ => return None,
    };
    let [low, high, kv] = [low, high, kv].map(|share| 100.0 * share);
    Some(format!(
        "the KV pool was {kv:.0} % full at most, where the plan expects {low:.0} to {high:.0} % with {} running: {cause}",
        seen.running
    ))
}
