//! Compares a plan with the server's own metrics: where preemptions began, and how full the KV pool was.

use super::super::CapacityPlan;
use super::{NOTABLE_DIFFERENCE, PlanComparison, comparison_row};
use crate::model::server::{ServerMetrics, ServerSignal};

/// What a server's metrics show.
#[derive(Debug, Clone, Copy)]
pub(super) struct ObservedServer {
    /// The number of servers; each has its own pool.
    replicas: f64,
    /// The peak number of requests computed at once, on all servers together.
    running: f64,
    /// The highest share of a pool in use; `None` if it was not reported.
    kv: Option<f64>,
    /// The number of preemptions; `None` if it was not reported.
    preemptions: Option<f64>,
    /// The running requests at the first preemption.
    onset: Option<f64>,
}

impl ObservedServer {
    /// `None` for a server that does not report its running requests.
    pub(super) fn from_metrics(server: &ServerMetrics) -> Option<Self> {
        Some(Self {
            replicas: server.replicas.len() as f64,
            running: server.gauge_summary(ServerSignal::Running)?.peak,
            kv: server.gauge_summary(ServerSignal::KvUsage).map(|usage| usage.peak),
            preemptions: server.counter_total(ServerSignal::Preemptions),
            onset: server.gauge_at_first_increase(ServerSignal::Preemptions, ServerSignal::Running),
        })
    }
}

/// The ranges that a plan predicts. The two limits are for requests that are all at the same stage, and for requests at
/// all stages.
#[derive(Debug, Clone, Copy)]
pub(super) struct PredictedServer {
    /// The concurrency at which preemptions begin.
    onset: (f64, f64),
    /// The share of the pool in use at the peak of running requests; at most 1.
    kv: (f64, f64),
    /// The share of the pool for requests at all stages.
    kv_at_all_stages: f64,
    /// The concurrency at which preemptions begin, for requests at all stages.
    onset_at_all_stages: f64,
}

impl PredictedServer {
    pub(super) fn predict(plan: &CapacityPlan, seen: &ObservedServer) -> Self {
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

pub(super) fn rows(expected: &PredictedServer, seen: &ObservedServer) -> [PlanComparison; 3] {
    let percent = |share: f64| 100.0 * share;
    let none = (seen.running <= expected.onset.0).then_some(0.0);
    [
        comparison_row("running when preemptions began", "", Some(expected.onset_at_all_stages), seen.onset),
        comparison_row("preemptions at the run's concurrency", "", none, seen.preemptions),
        comparison_row(
            "KV usage peak at the run's concurrency",
            "%",
            Some(percent(expected.kv_at_all_stages)),
            seen.kv.map(percent),
        ),
    ]
}

pub(super) fn findings(expected: &PredictedServer, seen: &ObservedServer) -> Vec<String> {
    preemption(expected, seen).into_iter().chain(usage(expected, seen)).collect()
}

fn preemption(expected: &PredictedServer, seen: &ObservedServer) -> Option<String> {
    let (low, high) = expected.onset;
    let (count, running) = (seen.preemptions?, seen.running);
    if count == 0.0 && running > high * (1.0 + NOTABLE_DIFFERENCE) {
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
        onset if onset < low * (1.0 - NOTABLE_DIFFERENCE) => {
            ", earlier than planned: the pool is smaller, or requests are longer"
        }
        onset if onset > high * (1.0 + NOTABLE_DIFFERENCE) => {
            ", later than planned: the pool is larger, or requests are shorter"
        }
        _ => "",
    };
    Some(format!(
        "{count} preemptions, from {onset} running on; the plan expects the first between {low} and {high}{verdict}"
    ))
}

fn usage(expected: &PredictedServer, seen: &ObservedServer) -> Option<String> {
    let (low, high) = expected.kv;
    let kv = seen.kv?;
    let cause = match kv {
        kv if kv > (high * (1.0 + NOTABLE_DIFFERENCE)).min(1.0) => {
            "the pool is smaller than planned, or requests are longer"
        }
        kv if kv < low * (1.0 - NOTABLE_DIFFERENCE) => {
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
