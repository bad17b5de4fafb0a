//! Detects drift over a whole run: work that piles up, latencies that grow.
//!
//! # Sensitivity
//!
//! A pile-up of work can be detected from forty requests on. Only a pile-up beyond the random walk of a queue exactly
//! at capacity counts: for n arrivals (those after the queue has filled) a share of 1.5·√(2/n). In simulations (a queue
//! before 1, 10 and 100 servers; exponential, constant and lognormal services; 400 runs each) a run at 70 % of the
//! capacity is reported as overloaded in at most 0.8 % of cases, one at 90 % in at most 5 %, for every n. With few
//! arrivals only a clear overload is detectable:
//!
//! | arrivals | 40 | 60 | 99 | 200 | 400 | 1000 | 10000 |
//! |---|---|---|---|---|---|---|---|
//! | least detectable share | 34 % | 27 % | 21 % | 15 % | 11 % | 6.7 % | 5 % |
//!
//! At 2.4 times the capacity (58 % pile up) a server that takes one request at a time is detected in 72 % of runs of 40
//! requests, 92 % of 60 and 98 % of 99.

use std::time::Duration;

use super::TimeSpan;
use crate::model::concurrency::FlightStart;
use crate::model::record::Record;
use crate::model::run_records::RunView;
use crate::model::run_spec::{Load, SteadyStateConfig};
use crate::stats::{LinearTrend, percentile};

/// A rise of fewer standard errors than this may be chance.
const SCORE: f64 = 3.0;

/// The queue of a server exactly at capacity does a random walk: over n arrivals about √(2n), half of it from the
/// arrivals, half from the services. A significant rise must clearly exceed that.
const QUEUE_WANDER: f64 = 1.5;

/// The number of intervals of the in-flight trend.
const STRETCHES: usize = 100;

/// The least number of answers for detecting a pile-up.
const MIN_ARRIVALS: usize = 40;

/// The least number of answers for detecting a slowdown of a closed loop.
const MIN_LOOP_ANSWERS: usize = 100;

/// The drift of a run, and its size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Drift {
    /// Open loop: the share of the arrivals that piled up instead of being answered.
    PileUp {
        /// The rise in requests in flight, divided by the requests that arrived meanwhile.
        share: f64,
        /// The least share that is distinguishable from chance with this number of arrivals.
        least: f64,
        /// Whether the rise is more than chance.
        significant: bool,
    },
    /// Closed loop: TTFT at the end compared to TTFT at the start.
    Slowdown {
        /// The rise of the fitted line, divided by its height at the start.
        share: f64,
        /// Whether the rise is more than chance.
        significant: bool,
    },
}

/// Why the drift of a run is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DriftUnknown {
    /// There are too few samples.
    #[error("{answered} requests were answered, {needed} are needed; send more")]
    TooFew {
        /// The number of usable answers.
        answered: usize,
        /// The number of answers that would suffice.
        needed: usize,
    },
    /// The load was not steady.
    #[error("all requests were due at once, or the rate was meant to change")]
    NoSteadyLoad,
    /// The cap of a closed loop was never reached, or not for long enough.
    #[error("the cap was never full for long enough; send more")]
    CapNotReached,
}

impl Drift {
    /// A pile-up of this share of the arrivals means that the load exceeds the server's capacity.
    pub(crate) const MAX_PILE_UP: f64 = 0.05;

    /// A TTFT that grew by this share over the run cannot be summarized as one number.
    pub(crate) const MAX_SLOWDOWN: f64 = 0.5;

    /// Measures the drift of a run under this load; `None` if it is unknown.
    pub(crate) fn measure<'a>(load: &Load, run: impl Into<RunView<'a>>) -> Option<Self> {
        Self::try_measure(load, run).ok()
    }

    /// Measures the drift of a run under this load, or returns why it is unknown.
    ///
    /// Behind a cap, work beyond the server's capacity waits in the client: there, requests count as in flight from
    /// due.
    pub(crate) fn try_measure<'a>(load: &Load, run: impl Into<RunView<'a>>) -> Result<Self, DriftUnknown> {
        let run = run.into();
        if load.is_closed_loop() {
            slowdown(load, run)
        } else if load.is_paced() && !load.has_changing_rate() {
            pile_up(run, if load.closed_loop_size().is_some() { FlightStart::Due } else { FlightStart::Sent })
        } else {
            Err(DriftUnknown::NoSteadyLoad)
        }
    }

    /// Returns whether work piles up only in front of the cap: then the server's own latencies do not depend on the
    /// length of the run.
    pub(crate) fn is_cap_limited<'a>(load: &Load, run: impl Into<RunView<'a>>) -> bool {
        load.closed_loop_size().is_some()
            && !pile_up(run.into(), FlightStart::Sent).is_ok_and(|drift| drift.is_significant())
    }

    /// The size of the drift.
    pub(crate) fn share(&self) -> f64 {
        match self {
            Self::PileUp { share, .. } | Self::Slowdown { share, .. } => *share,
        }
    }

    /// The largest acceptable share, or the least one distinguishable from chance if that is larger.
    pub(crate) fn bound(&self) -> f64 {
        match self {
            Self::PileUp { least, .. } => least.max(Self::MAX_PILE_UP),
            Self::Slowdown { .. } => Self::MAX_SLOWDOWN,
        }
    }

    /// Returns whether the drift is more than chance and exceeds its bound.
    pub(crate) fn is_significant(&self) -> bool {
        let (Self::PileUp { significant, .. } | Self::Slowdown { significant, .. }) = self;
        *significant && self.share() > self.bound()
    }
}

/// Measures the level between the filling of the queue (at most a third of the arrivals: in an overloaded server it
/// never ends) and the last arrival. The level must also grow beyond half of itself.
///
/// By Little's law work that piles up also lengthens E2E, by the same share of the time; without that the level only
/// rises because answers are long and the run is short. The smaller of the two shares counts.
fn pile_up(run: RunView<'_>, since: FlightStart) -> Result<Drift, DriftUnknown> {
    let records = run.records;
    let answered = records.iter().filter(|record| record.is_success()).count();
    if answered < MIN_ARRIVALS {
        return Err(DriftUnknown::TooFew { answered, needed: MIN_ARRIVALS });
    }
    // Too few requests arrived after the queue had filled.
    let too_few = DriftUnknown::TooFew { answered, needed: answered + answered / 2 };
    let span = filled_span(records, since).ok_or(too_few)?;
    let levels = run.in_flight(since).levels_within(span.start, span.length() / STRETCHES as u32, STRETCHES);
    let levels: Vec<f64> = levels.iter().map(|level| level.mean).collect();
    let trend = LinearTrend::fit(&levels).ok_or(too_few)?;
    let within = || records.iter().filter(|record| span.contains(since.start(record)));
    let arrivals = (within().count() * run.weight).max(1) as f64;
    let wandering = QUEUE_WANDER * (2.0 * arrivals).sqrt();
    let answers = within().filter(|record| record.is_success()).filter_map(|record| since.e2e(record));
    let slower =
        LinearTrend::fit(&answers.map(|e2e| e2e.as_secs_f64()).collect::<Vec<_>>()).ok_or(too_few)?;
    let significant = trend.score.min(slower.score) > SCORE && trend.rise > wandering.max(trend.start / 2.0);
    let share = (trend.rise / arrivals).min(slower.rise / span.length().as_secs_f64());
    Ok(Drift::PileUp { share, least: wandering / arrivals, significant })
}

/// The interval from the filling of the queue to the last arrival.
pub(super) fn filled_span(records: &[Record], since: FlightStart) -> Option<TimeSpan> {
    let starts = || records.iter().filter_map(|record| since.start(record));
    let (first, end) = (starts().min()?, starts().max()?);
    let mut lasted: Vec<Duration> = records.iter().filter_map(|record| since.e2e(record)).collect();
    lasted.sort_unstable();
    let filled = percentile(&lasted, 90.0)?.min((end - first) / 3);
    Some(TimeSpan { start: first + filled, end })
}

/// The growth of TTFT while the cap was full, without the burst at the start (as many requests as the cap).
fn slowdown(load: &Load, run: RunView<'_>) -> Result<Drift, DriftUnknown> {
    let threshold = SteadyStateConfig::default().threshold;
    let full = super::plateau(load, threshold, run).map_err(|_| DriftUnknown::CapNotReached)?;
    let ttfts = run
        .records
        .iter()
        .filter(|record| record.is_success() && full.contains(record.times.sent()))
        .filter_map(|record| Some(record.ttft()?.as_secs_f64()));
    let ttfts: Vec<f64> = ttfts.skip(load.closed_loop_size().map_or(1, usize::from) / run.weight).collect();
    let too_few = DriftUnknown::TooFew { answered: ttfts.len(), needed: MIN_LOOP_ANSWERS };
    if ttfts.len() < MIN_LOOP_ANSWERS {
        return Err(too_few);
    }
    let trend = LinearTrend::fit(&ttfts).ok_or(too_few)?;
    let mean = ttfts.iter().sum::<f64>() / ttfts.len() as f64;
    // A line fitted to a steep rise may begin near zero: the mean keeps the share finite.
    let share = trend.rise / trend.start.max(mean / 10.0).max(f64::MIN_POSITIVE);
    Ok(Drift::Slowdown { share, significant: trend.score > SCORE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::Milestone;
    use crate::testing::queue::{Queue, closed_load, open_load};

    fn open(utilisation: f64, n: usize, seed: u64) -> Drift {
        let queue = Queue { seed, ..Queue::default() };
        let rate = queue.rate(utilisation);
        Drift::measure(&open_load(rate), &queue.open(n, rate)).unwrap()
    }

    fn closed(cap: usize, n: usize, seed: u64) -> Drift {
        Drift::measure(&closed_load(cap), &Queue { seed, ..Queue::default() }.closed(n, cap)).unwrap()
    }

    /// The records of a queue whose servers are the slots of a client's cap: work waits in the client.
    fn behind_a_cap(mut records: Vec<Record>) -> Vec<Record> {
        for record in &mut records {
            let begun = record.times.first_token().map(|at| at.saturating_sub(Duration::from_millis(25)));
            record.times.set(Milestone::Sent, record.times.sent().max(begun));
        }
        records
    }

    #[test]
    fn overload_behind_a_cap_piles_up_before_it() {
        let queue = Queue { seed: 1, ..Queue::default() };
        for (utilisation, n, piles_up) in [(1.2, 1000, true), (2.4, 99, true), (0.7, 1000, false)] {
            let rate = queue.rate(utilisation);
            let load = Load { max_concurrency: std::num::NonZeroUsize::new(10), ..open_load(rate) };
            let records = behind_a_cap(queue.open(n, rate));
            let drift = Drift::measure(&load, &records).unwrap();
            assert_eq!(drift.is_significant(), piles_up, "{utilisation} {n}: {drift:?}");
            assert!(Drift::is_cap_limited(&load, &records));
        }
        // A cap that was never reached has no effect: the server itself is overloaded.
        let rate = queue.rate(1.5);
        let wide = Load { max_concurrency: std::num::NonZeroUsize::new(100_000), ..open_load(rate) };
        let records = queue.open(1000, rate);
        assert!(
            Drift::measure(&wide, &records).unwrap().is_significant()
                && !Drift::is_cap_limited(&wide, &records)
        );
    }

    #[test]
    fn a_plain_overload_shows_in_few_requests_and_a_load_below_capacity_never_does() {
        let one_at_a_time = |utilisation: f64, n: usize, seed: u64| {
            let queue = Queue { servers: 1, seed, ..Queue::default() };
            let rate = queue.rate(utilisation);
            Drift::measure(&open_load(rate), &queue.open(n, rate))
        };
        let caught = |utilisation: f64, n: usize| {
            let drifts = (0..100).filter_map(|seed| one_at_a_time(utilisation, n, seed));
            drifts.filter(Drift::is_significant).count()
        };
        for n in [40, 60, 99] {
            assert!(caught(0.7, n) <= 2, "{n}");
        }
        let (fewest, more) = (caught(2.4, 40), caught(2.4, 99));
        assert!(fewest >= 55 && more >= 95, "{fewest} {more}");
        // A check that cannot distinguish a drift from chance reports its bound.
        assert!((one_at_a_time(0.7, 99, 1).unwrap().bound() - 0.2).abs() < 0.05);
    }

    fn alarms(drift: impl Fn(u64) -> Drift) -> usize {
        (0..100).filter(|&seed| drift(seed).is_significant()).count()
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
            Drift::measure(&open_load(20.0), &queue.open(1000, 20.0)).unwrap()
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
            record.times.map_time(Milestone::FirstToken, |at| at + Duration::from_micros(100) * i as u32);
        }
        let drift = Drift::measure(&closed_load(20), &records).unwrap();
        assert!(drift.is_significant() && drift.share() > 1.0, "{drift:?}");
    }

    #[test]
    fn too_few_requests_and_all_at_once_are_unknown() {
        let unknown_reason = |load: &Load, records: &[Record]| Drift::try_measure(load, records).unwrap_err();
        let few = DriftUnknown::TooFew { answered: 39, needed: 40 };
        assert_eq!(unknown_reason(&open_load(10.0), &Queue::default().open(39, 10.0)), few);
        let of_a_loop = unknown_reason(&closed_load(10), &Queue::default().closed(90, 10));
        assert!(matches!(of_a_loop, DriftUnknown::TooFew { needed: 100, .. }), "{of_a_loop}");
        let burst = Queue::default().open(200, 10.0);
        assert_eq!(unknown_reason(&open_load(f64::INFINITY), &burst), DriftUnknown::NoSteadyLoad);
        assert_eq!(
            unknown_reason(&closed_load(1000), &Queue::default().closed(200, 10)),
            DriftUnknown::CapNotReached
        );
    }
}
