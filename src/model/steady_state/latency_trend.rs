//! Detects a change of TTFT or TPOT over a run in either direction, as from a cache that warms up or a clock that slows
//! down.

use std::time::Duration;

use super::TimeSpan;
use super::drift::filled_span;
use crate::model::concurrency::FlightStart;
use crate::model::metrics::Latency;
use crate::model::record::Record;
use crate::model::run_records::RunView;
use crate::model::run_spec::{Load, SteadyStateConfig};
use crate::stats::LinearTrend;

/// A change of fewer standard errors than this may be chance.
const SCORE: f64 = 4.0;

/// The least number of answers for a trend.
const MIN_REQUESTS: usize = 100;

/// How a latency changed from the start of a run to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LatencyTrend {
    /// The latency: TTFT or TPOT.
    pub latency: Latency,
    /// The change as a share of the value at the start; negative if the latency fell.
    pub change: f64,
    /// Whether the change is more than chance.
    pub significant: bool,
}

impl LatencyTrend {
    /// The largest acceptable change.
    pub(crate) const MAX_CHANGE: f64 = 0.2;

    /// Measures the trend of the latency that changed most, a significant one first; `None` without a steady load or
    /// with fewer than a hundred answers under it. The trend is that of logarithms, so that one slow answer does not
    /// outweigh many others.
    pub(crate) fn measure<'a>(load: &Load, run: impl Into<RunView<'a>>) -> Option<Self> {
        let run = run.into();
        let (span, storm) = under_load(load, run)?;
        let within = || {
            run.records.iter().filter(move |record| record.is_success() && span.contains(record.times.sent()))
        };
        let trend = |latency, of: fn(&Record) -> Option<Duration>| {
            let logs: Vec<f64> = within()
                .skip(storm)
                .filter_map(of)
                .map(|time| time.as_secs_f64())
                .filter(|time| *time > 0.0)
                .map(f64::ln)
                .collect();
            let trend = LinearTrend::fit(&logs).filter(|_| logs.len() >= MIN_REQUESTS)?;
            Some(Self { latency, change: trend.rise.exp_m1(), significant: trend.score.abs() > SCORE })
        };
        let trends = [trend(Latency::Ttft, Record::ttft), trend(Latency::Tpot, Record::tpot)];
        trends
            .into_iter()
            .flatten()
            .max_by(|a, b| a.significant.cmp(&b.significant).then(a.change.abs().total_cmp(&b.change.abs())))
    }

    /// Returns whether the change is more than chance and exceeds its bound.
    pub(crate) fn is_significant(&self) -> bool {
        self.significant && self.change.abs() > Self::MAX_CHANGE
    }
}

/// The interval of steady load, and the number of requests to skip at its start.
fn under_load(load: &Load, run: RunView<'_>) -> Option<(TimeSpan, usize)> {
    if load.is_closed_loop() {
        let full = super::plateau(load, SteadyStateConfig::default().threshold, run).ok()?;
        Some((full, load.closed_loop_size()?.get() / run.weight))
    } else if load.is_paced() && !load.has_changing_rate() {
        Some((filled_span(run.records, FlightStart::Sent)?, 0))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::Milestone;
    use crate::testing::queue::{Queue, closed_load, open_load};

    /// A queue whose times within an answer grow by this share over the run.
    fn drifting(utilisation: f64, growth: f64, seed: u64) -> LatencyTrend {
        let queue = Queue { servers: 1000, seed, ..Queue::default() };
        let rate = 10.0 * utilisation;
        let mut records = queue.open(1000, rate);
        for (i, record) in records.iter_mut().enumerate() {
            let by = 1.0 + growth * i as f64 / 1000.0;
            let times = &mut record.times;
            let due = times.due();
            for milestone in [Milestone::FirstToken, Milestone::LastToken, Milestone::Done] {
                times.map_time(milestone, |at| due + at.saturating_sub(due).mul_f64(by));
            }
        }
        LatencyTrend::measure(&open_load(rate), &records).unwrap()
    }

    #[test]
    fn latencies_that_rise_or_fall_over_the_run_are_seen() {
        for growth in [0.6, -0.4] {
            let found = drifting(0.7, growth, 1);
            assert!(found.is_significant() && (found.change - growth).abs() < 0.15, "{growth}: {found:?}");
        }
    }

    #[test]
    fn latencies_of_a_steady_queue_have_no_trend() {
        let alarms = (0..100).filter(|&seed| {
            let queue = Queue { seed, ..Queue::default() };
            let rate = queue.rate(0.8);
            LatencyTrend::measure(&open_load(rate), &queue.open(1000, rate)).unwrap().is_significant()
        });
        assert!(alarms.count() <= 3);
        let alarms = (0..50).filter(|&seed| {
            let records = Queue { seed, ..Queue::default() }.closed(700, 20);
            LatencyTrend::measure(&closed_load(20), &records).unwrap().is_significant()
        });
        assert!(alarms.count() <= 2);
    }

    #[test]
    fn few_answers_and_a_burst_have_no_trend() {
        assert_eq!(LatencyTrend::measure(&open_load(10.0), &Queue::default().open(90, 10.0)), None);
        assert_eq!(LatencyTrend::measure(&open_load(f64::INFINITY), &Queue::default().open(500, 10.0)), None);
    }
}
