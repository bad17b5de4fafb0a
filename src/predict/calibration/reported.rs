//! What the server itself reported during a run.

use crate::model::server::{ServerMetrics, ServerSignal};

/// The load that a server reported, of all replicas together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ReportedLoad {
    /// Means over the run.
    pub running: f64,
    pub waiting: f64,
    /// The highest share of blocks in use.
    pub peak_kv_usage: Option<f64>,
    pub preemptions: Option<f64>,
    /// The share of prompt tokens that were in the prefix cache.
    pub prefix_hits: Option<f64>,
}

impl ReportedLoad {
    /// Takes the server's metrics; `None` if they lack the running and waiting requests.
    pub(crate) fn new(metrics: &ServerMetrics) -> Option<Self> {
        Some(Self {
            running: metrics.gauge_summary(ServerSignal::Running)?.mean,
            waiting: metrics.gauge_summary(ServerSignal::Waiting)?.mean,
            peak_kv_usage: metrics.gauge_summary(ServerSignal::KvUsage).map(|usage| usage.peak),
            preemptions: metrics.counter_total(ServerSignal::Preemptions),
            prefix_hits: metrics.prefix_hit_rate(),
        })
    }
}
