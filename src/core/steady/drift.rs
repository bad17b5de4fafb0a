//! Whether a run was going somewhere all the time: work that piles up, latencies that grow.

use std::time::Duration;

use super::Span;
use crate::core::in_flight::InFlight;
use crate::core::record::Record;
use crate::core::spec::{Load, Steadiness};
use crate::core::stats::{Trend, percentile};

/// Standard errors below which a rise may be chance.
const SCORE: f64 = 3.0;

/// The queue of a server exactly at capacity wanders: over n arrivals by about √(2n), half of it from the arrivals, half
/// from the services. A rise must be well beyond that.
const WANDERING: f64 = 1.5;

/// In the in-flight trend.
const STRETCHES: usize = 100;

/// Fewer requests than this say nothing about a trend.
const FEWEST_REQUESTS: usize = 100;

/// What a run was drifting in, and how far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drift {
    /// Open loop: the share of the arrivals that piled up instead of being answered.
    PileUp {
        /// Rise of the requests in flight by requests that arrived meanwhile.
        share: f64,
        /// Whether it is more than chance.
        significant: bool,
    },
    /// Closed loop: TTFT at the end against TTFT at the start.
    Slowdown {
        /// Rise of the fitted line by its height at the start.
        share: f64,
        /// Whether it is more than chance.
        significant: bool,
    },
}

impl Drift {
    /// A pile-up of this share of the arrivals means more load than the server can take.
    pub const MOST_PILED_UP: f64 = 0.05;

    /// A TTFT that grew by this share over the run is no one number.
    pub const MOST_SLOWED: f64 = 0.5;

    /// Of a run under this load; `None` if it cannot be told: too few requests, or all due at once.
    pub fn of(load: &Load, records: &[Record]) -> Option<Self> {
        let answered = records.iter().filter(|record| record.succeeded()).count();
        if answered < FEWEST_REQUESTS {
            return None;
        }
        if load.is_closed_loop() {
            slowdown(load, records)
        } else if load.is_paced() && !load.rate_changes() {
            pile_up(records)
        } else {
            None
        }
    }

    /// How far.
    pub fn share(&self) -> f64 {
        match self {
            Self::PileUp { share, .. } | Self::Slowdown { share, .. } => *share,
        }
    }

    /// The share that is too much.
    pub fn bound(&self) -> f64 {
        match self {
            Self::PileUp { .. } => Self::MOST_PILED_UP,
            Self::Slowdown { .. } => Self::MOST_SLOWED,
        }
    }

    /// Whether it is more than chance and more than a trifle.
    pub fn is_real(&self) -> bool {
        let (Self::PileUp { significant, .. } | Self::Slowdown { significant, .. }) = self;
        *significant && self.share() > self.bound()
    }
}

/// The level between the filling of the queue (at most a third of the arrivals: in an overloaded server it never ends)
/// and the last arrival. It must grow beyond half of itself too.
///
/// By Little's law work that piles up also lengthens E2E, by the same share of the time; without that the level only
/// rises because answers are long and the run is short. The smaller of the two shares counts.
fn pile_up(records: &[Record]) -> Option<Drift> {
    let sent = || records.iter().filter_map(|record| record.times.sent);
    let (first, end) = (sent().min()?, sent().max()?);
    let mut lasted: Vec<Duration> = records.iter().filter_map(Record::e2e).collect();
    lasted.sort_unstable();
    let filled = percentile(&lasted, 90.0)?.min((end - first) / 3);
    let span = Span { start: first + filled, end };
    let levels = InFlight::of(records).within(span.start, span.length() / STRETCHES as u32, STRETCHES);
    let levels: Vec<f64> = levels.iter().map(|level| level.mean).collect();
    let trend = Trend::of(&levels)?;
    let within = || records.iter().filter(|record| span.holds(record.times.sent));
    let arrivals = within().count().max(1) as f64;
    let wandering = WANDERING * (2.0 * arrivals).sqrt();
    let answers = within().filter(|record| record.succeeded()).filter_map(Record::e2e);
    let slower = Trend::of(&answers.map(|e2e| e2e.as_secs_f64()).collect::<Vec<_>>())?;
    let significant = trend.score.min(slower.score) > SCORE && trend.rise > wandering.max(trend.start / 2.0);
    let share = (trend.rise / arrivals).min(slower.rise / span.length().as_secs_f64());
    Some(Drift::PileUp { share, significant })
}

/// The TTFT while the cap was full, without the storm at the start (as many requests as the cap).
fn slowdown(load: &Load, records: &[Record]) -> Option<Drift> {
    let full = super::plateau(load, Steadiness::default().threshold, records).ok()?;
    let ttfts = records
        .iter()
        .filter(|record| record.succeeded() && full.holds(record.times.sent))
        .filter_map(|record| Some(record.ttft()?.as_secs_f64()));
    let ttfts: Vec<f64> = ttfts.skip(load.slots()?.get()).collect();
    if ttfts.len() < FEWEST_REQUESTS {
        return None;
    }
    let trend = Trend::of(&ttfts)?;
    let mean = ttfts.iter().sum::<f64>() / ttfts.len() as f64;
    // A line fitted to a steep rise may begin near zero: the mean keeps the share finite.
    let share = trend.rise / trend.start.max(mean / 10.0).max(f64::MIN_POSITIVE);
    Some(Drift::Slowdown { share, significant: trend.score > SCORE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::simulated::{Queue, closed_load, open_load};

    fn open(utilisation: f64, n: usize, seed: u64) -> Drift {
        let queue = Queue { seed, ..Queue::default() };
        let rate = queue.rate(utilisation);
        Drift::of(&open_load(rate), &queue.open(n, rate)).unwrap()
    }

    fn closed(cap: usize, n: usize, seed: u64) -> Drift {
        Drift::of(&closed_load(cap), &Queue { seed, ..Queue::default() }.closed(n, cap)).unwrap()
    }

    fn alarms(drift: impl Fn(u64) -> Drift) -> usize {
        (0..100).filter(|&seed| drift(seed).is_real()).count()
    }

    #[test]
    fn a_server_below_its_capacity_does_not_drift() {
        for (utilisation, n) in [(0.3, 200), (0.7, 200), (0.5, 1000), (0.8, 1000)] {
            assert_eq!(alarms(|seed| open(utilisation, n, seed)), 0, "{utilisation} {n}");
        }
        assert!(alarms(|seed| open(0.9, 1000, seed)) <= 1);
    }

    #[test]
    fn a_server_above_its_capacity_piles_work_up() {
        for (utilisation, n, least) in [(1.2, 1000, 90), (1.5, 500, 90), (3.0, 200, 100), (10.0, 200, 100)] {
            let found = alarms(|seed| open(utilisation, n, seed));
            assert!(found >= least, "{utilisation} {n}: {found}");
        }
        let Drift::PileUp { share, .. } = open(1.5, 3000, 1) else { panic!("an open loop") };
        // One in three arrivals is more than 1.5 times the capacity lets through.
        assert!((share - 1.0 / 3.0).abs() < 0.05, "{share}");
    }

    #[test]
    fn long_answers_in_a_short_run_do_not_pile_up() {
        let found = alarms(|seed| {
            let queue =
                Queue { servers: 100_000, service: Duration::from_secs(20), seed, ..Queue::default() };
            Drift::of(&open_load(20.0), &queue.open(1000, 20.0)).unwrap()
        });
        assert!(found <= 2, "{found}");
    }

    #[test]
    fn a_closed_loop_at_full_load_does_not_drift() {
        for (cap, n) in [(5, 200), (20, 500), (50, 1000)] {
            assert_eq!(alarms(|seed| closed(cap, n, seed)), 0, "{cap} {n}");
        }
    }

    #[test]
    fn a_closed_loop_that_slows_down_drifts() {
        let queue = Queue { servers: 100, ..Queue::default() };
        let mut records = queue.closed(1000, 20);
        for (i, record) in records.iter_mut().enumerate() {
            record.times.first_token =
                record.times.first_token.map(|at| at + Duration::from_micros(100) * i as u32);
        }
        let drift = Drift::of(&closed_load(20), &records).unwrap();
        assert!(drift.is_real() && drift.share() > 1.0, "{drift:?}");
    }

    #[test]
    fn too_few_requests_and_all_at_once_cannot_be_told() {
        let records = Queue::default().open(99, 10.0);
        assert_eq!(Drift::of(&open_load(10.0), &records), None);
        assert_eq!(Drift::of(&open_load(f64::INFINITY), &Queue::default().open(200, 10.0)), None);
        assert_eq!(Drift::of(&closed_load(1000), &Queue::default().closed(200, 10)), None);
    }
}
