//! Whether TTFT or TPOT changed over a run, either way: a cache that got warm, a clock that fell.

use std::time::Duration;

use super::Span;
use super::drift::{Since, filled};
use crate::core::metrics::Latency;
use crate::core::record::Record;
use crate::core::spec::{Load, Steadiness};
use crate::core::stats::Trend;

/// Standard errors below which a change may be chance.
const SCORE: f64 = 4.0;

/// Fewer answers than this do not tell.
const FEWEST: usize = 100;

/// How a latency changed from the start of a run to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyTrend {
    /// TTFT or TPOT.
    pub latency: Latency,
    /// By this share of its value at the start; negative if it fell.
    pub change: f64,
    /// Whether that is more than chance.
    pub significant: bool,
}

impl LatencyTrend {
    /// A change up to this share is let pass.
    pub const MOST: f64 = 0.2;

    /// Of the latency that changed most, the significant one first; `None` without a steady load or with fewer than a
    /// hundred answers under it. The trend is that of logarithms, so that no slow answer outweighs many others.
    pub fn of(load: &Load, records: &[Record]) -> Option<Self> {
        let (span, storm) = under_load(load, records)?;
        let within =
            || records.iter().filter(move |record| record.succeeded() && span.holds(record.times.sent));
        let trend = |latency, of: fn(&Record) -> Option<Duration>| {
            let logs: Vec<f64> = within()
                .skip(storm)
                .filter_map(of)
                .map(|time| time.as_secs_f64())
                .filter(|time| *time > 0.0)
                .map(f64::ln)
                .collect();
            let trend = Trend::of(&logs).filter(|_| logs.len() >= FEWEST)?;
            Some(Self { latency, change: trend.rise.exp_m1(), significant: trend.score.abs() > SCORE })
        };
        let trends = [trend(Latency::Ttft, Record::ttft), trend(Latency::Tpot, Record::tpot)];
        trends
            .into_iter()
            .flatten()
            .max_by(|a, b| a.significant.cmp(&b.significant).then(a.change.abs().total_cmp(&b.change.abs())))
    }

    /// Whether it is more than chance and more than a trifle.
    pub fn is_real(&self) -> bool {
        self.significant && self.change.abs() > Self::MOST
    }
}

/// Where the load was steady, and how many requests of the start to leave out.
fn under_load(load: &Load, records: &[Record]) -> Option<(Span, usize)> {
    if load.is_closed_loop() {
        let full = super::plateau(load, Steadiness::default().threshold, records).ok()?;
        Some((full, load.slots()?.get()))
    } else if load.is_paced() && !load.rate_changes() {
        Some((filled(records, Since::Sent)?, 0))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::simulated::{Queue, closed_load, open_load};

    /// A queue whose times within an answer grow by this share over the run.
    fn drifting(utilisation: f64, growth: f64, seed: u64) -> LatencyTrend {
        let queue = Queue { servers: 1000, seed, ..Queue::default() };
        let rate = 10.0 * utilisation;
        let mut records = queue.open(1000, rate);
        for (i, record) in records.iter_mut().enumerate() {
            let by = 1.0 + growth * i as f64 / 1000.0;
            let times = &mut record.times;
            let due = times.due;
            for at in [&mut times.first_token, &mut times.last_token, &mut times.done] {
                *at = at.map(|at| due + at.saturating_sub(due).mul_f64(by));
            }
        }
        LatencyTrend::of(&open_load(rate), &records).unwrap()
    }

    #[test]
    fn latencies_that_rise_or_fall_over_the_run_are_seen() {
        for growth in [0.6, -0.4] {
            let found = drifting(0.7, growth, 1);
            assert!(found.is_real() && (found.change - growth).abs() < 0.15, "{growth}: {found:?}");
        }
    }

    #[test]
    fn latencies_of_a_steady_queue_have_no_trend() {
        let alarms = (0..100).filter(|&seed| {
            let queue = Queue { seed, ..Queue::default() };
            let rate = queue.rate(0.8);
            LatencyTrend::of(&open_load(rate), &queue.open(1000, rate)).unwrap().is_real()
        });
        assert!(alarms.count() <= 3);
        let alarms = (0..50).filter(|&seed| {
            let records = Queue { seed, ..Queue::default() }.closed(700, 20);
            LatencyTrend::of(&closed_load(20), &records).unwrap().is_real()
        });
        assert!(alarms.count() <= 2);
    }

    #[test]
    fn few_answers_and_a_burst_have_no_trend() {
        assert_eq!(LatencyTrend::of(&open_load(10.0), &Queue::default().open(90, 10.0)), None);
        assert_eq!(LatencyTrend::of(&open_load(f64::INFINITY), &Queue::default().open(500, 10.0)), None);
    }
}
