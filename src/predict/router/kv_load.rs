use super::{FleetView, Router, least_loaded};
use crate::predict::ticks::Ticks;
use crate::predict::workload::SimulatedRequest;
use crate::sim::scheduler::SchedulerLoad;

/// The replica that reports the lowest sum of KV use and queue, the queue as a share of the longest one. llm-d's
/// scheduler scores with the same two reports, and reads them every 50 ms.
pub(super) struct KvLoad {
    refresh_period: Ticks,
    last: Option<usize>,
}

impl KvLoad {
    pub(super) fn new(refresh_period: Ticks) -> Self {
        Self { refresh_period, last: None }
    }
}

impl Router for KvLoad {
    fn route(&mut self, _: &SimulatedRequest, fleet: &FleetView<'_>) -> usize {
        let signals = fleet.signals;
        let longest = signals.iter().map(|load| load.waiting).max().unwrap_or_default().max(1);
        let last = self.last.unwrap_or(signals.len() - 1);
        let place = least_loaded(signals.len(), last, |place| {
            let SchedulerLoad { kv_usage, waiting, .. } = signals[place];
            kv_usage + waiting as f64 / longest as f64
        });
        self.last = Some(place);
        place
    }

    fn refresh_period(&self) -> Option<Ticks> {
        Some(self.refresh_period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::router::tests::request;

    #[test]
    fn the_reports_decide_and_not_the_requests_in_flight() {
        let load = |waiting, kv_usage| SchedulerLoad { running: 0, waiting, kv_usage };
        let signals = [load(0, 0.9), load(0, 0.2), load(4, 0.1)];
        let view = FleetView { now: Ticks::ZERO, in_flight: &[0, 50, 0], signals: &signals };
        assert_eq!(KvLoad::new(Ticks::from_seconds(0.05)).route(&request(None, &[]), &view), 1);
    }
}
