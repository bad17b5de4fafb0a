//! Whether a run was going somewhere all the time: work that piles up, latencies that grow.
//!
//! # What it can see
//!
//! Whether work piles up is told from forty requests on, and only what is beyond the wandering of a queue exactly at
//! capacity counts: of n arrivals (those after the queue has filled) a share of 1.5·√(2/n). By simulation (a queue before 1, 10 and 100 servers; exponential,
//! constant and lognormal services; 400 runs each) a run at 70 % of the capacity is called overloaded in at most 0.8 % of
//! cases, one at 90 % in at most 5 %, whatever n. With few arrivals only a plain overload shows:
//!
//! | arrivals | 40 | 60 | 99 | 200 | 400 | 1000 | 10000 |
//! |---|---|---|---|---|---|---|---|
//! | least share that can be told | 34 % | 27 % | 21 % | 15 % | 11 % | 6.7 % | 5 % |
//!
//! At 2.4 times the capacity (58 % pile up) a server that takes one request at a time is caught in 72 % of runs of 40
//! requests, 92 % of 60 and 98 % of 99.

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

/// Fewer answers than this do not tell whether work piles up.
const FEWEST_ARRIVALS: usize = 40;

/// Fewer answers than this do not tell whether a closed loop slows down.
const FEWEST_OF_A_LOOP: usize = 100;

/// What a run was drifting in, and how far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drift {
    /// Open loop: the share of the arrivals that piled up instead of being answered.
    PileUp {
        /// Rise of the requests under way by requests that arrived meanwhile.
        share: f64,
        /// The least share that can be told from chance with as many arrivals.
        least: f64,
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

/// Why nothing can be told of a run's drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoDrift {
    /// For want of samples.
    #[error("{answered} requests were answered, {needed} are needed; send more")]
    TooFew {
        /// Answers that could be looked at.
        answered: usize,
        /// How many would do.
        needed: usize,
    },
    /// There was no steady load.
    #[error("all requests were due at once, or the rate was meant to change")]
    NoSteadyLoad,
    /// The cap of a closed loop was never reached, or not for long enough.
    #[error("the cap was never full for long enough; send more")]
    CapNotReached,
}

/// When a request is under way for the system that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// From due: before the cap and in the server.
    Due,
    /// From sent: in the server.
    Sent,
}

impl Since {
    fn start(self, record: &Record) -> Option<Duration> {
        match self {
            Self::Due => Some(record.times.due),
            Self::Sent => record.times.sent,
        }
    }

    fn e2e(self, record: &Record) -> Option<Duration> {
        match self {
            Self::Due => record.e2e_from_due(),
            Self::Sent => record.e2e(),
        }
    }
}

impl Drift {
    /// A pile-up of this share of the arrivals means more load than the server can take.
    pub const MOST_PILED_UP: f64 = 0.05;

    /// A TTFT that grew by this share over the run is no one number.
    pub const MOST_SLOWED: f64 = 0.5;

    /// Of a run under this load; `None` if it cannot be told.
    pub fn of(load: &Load, records: &[Record]) -> Option<Self> {
        Self::told(load, records).ok()
    }

    /// Of a run under this load, or why it cannot be told.
    ///
    /// Behind a cap, work that the server cannot take waits in the client: requests are under way from due there.
    pub fn told(load: &Load, records: &[Record]) -> Result<Self, NoDrift> {
        if load.is_closed_loop() {
            slowdown(load, records)
        } else if load.is_paced() && !load.rate_changes() {
            pile_up(records, if load.slots().is_some() { Since::Due } else { Since::Sent })
        } else {
            Err(NoDrift::NoSteadyLoad)
        }
    }

    /// Whether work that piles up does so in front of the cap alone: then the server's own latencies do not depend on how
    /// long the run was.
    pub fn is_held_by_cap(load: &Load, records: &[Record]) -> bool {
        load.slots().is_some() && !pile_up(records, Since::Sent).is_ok_and(|drift| drift.is_real())
    }

    /// How far.
    pub fn share(&self) -> f64 {
        match self {
            Self::PileUp { share, .. } | Self::Slowdown { share, .. } => *share,
        }
    }

    /// The share that is too much, and can be told from chance.
    pub fn bound(&self) -> f64 {
        match self {
            Self::PileUp { least, .. } => least.max(Self::MOST_PILED_UP),
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
fn pile_up(records: &[Record], since: Since) -> Result<Drift, NoDrift> {
    let answered = records.iter().filter(|record| record.succeeded()).count();
    if answered < FEWEST_ARRIVALS {
        return Err(NoDrift::TooFew { answered, needed: FEWEST_ARRIVALS });
    }
    // Too few of them came after the queue had filled.
    let too_few = NoDrift::TooFew { answered, needed: answered + answered / 2 };
    let span = filled(records, since).ok_or(too_few)?;
    let under_way = records.iter().filter_map(|record| Some((since.start(record)?, record.times.done?)));
    let levels = InFlight::spans(under_way).within(span.start, span.length() / STRETCHES as u32, STRETCHES);
    let levels: Vec<f64> = levels.iter().map(|level| level.mean).collect();
    let trend = Trend::of(&levels).ok_or(too_few)?;
    let within = || records.iter().filter(|record| span.holds(since.start(record)));
    let arrivals = within().count().max(1) as f64;
    let wandering = WANDERING * (2.0 * arrivals).sqrt();
    let answers = within().filter(|record| record.succeeded()).filter_map(|record| since.e2e(record));
    let slower = Trend::of(&answers.map(|e2e| e2e.as_secs_f64()).collect::<Vec<_>>()).ok_or(too_few)?;
    let significant = trend.score.min(slower.score) > SCORE && trend.rise > wandering.max(trend.start / 2.0);
    let share = (trend.rise / arrivals).min(slower.rise / span.length().as_secs_f64());
    Ok(Drift::PileUp { share, least: wandering / arrivals, significant })
}

/// From the filling of the queue to the last arrival.
pub(super) fn filled(records: &[Record], since: Since) -> Option<Span> {
    let starts = || records.iter().filter_map(|record| since.start(record));
    let (first, end) = (starts().min()?, starts().max()?);
    let mut lasted: Vec<Duration> = records.iter().filter_map(|record| since.e2e(record)).collect();
    lasted.sort_unstable();
    let filled = percentile(&lasted, 90.0)?.min((end - first) / 3);
    Some(Span { start: first + filled, end })
}

/// The TTFT while the cap was full, without the storm at the start (as many requests as the cap).
fn slowdown(load: &Load, records: &[Record]) -> Result<Drift, NoDrift> {
    let threshold = Steadiness::default().threshold;
    let full = super::plateau(load, threshold, records).map_err(|_| NoDrift::CapNotReached)?;
    let ttfts = records
        .iter()
        .filter(|record| record.succeeded() && full.holds(record.times.sent))
        .filter_map(|record| Some(record.ttft()?.as_secs_f64()));
    let ttfts: Vec<f64> = ttfts.skip(load.slots().map_or(1, usize::from)).collect();
    let too_few = NoDrift::TooFew { answered: ttfts.len(), needed: FEWEST_OF_A_LOOP };
    if ttfts.len() < FEWEST_OF_A_LOOP {
        return Err(too_few);
    }
    let trend = Trend::of(&ttfts).ok_or(too_few)?;
    let mean = ttfts.iter().sum::<f64>() / ttfts.len() as f64;
    // A line fitted to a steep rise may begin near zero: the mean keeps the share finite.
    let share = trend.rise / trend.start.max(mean / 10.0).max(f64::MIN_POSITIVE);
    Ok(Drift::Slowdown { share, significant: trend.score > SCORE })
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

    /// The records of a queue whose servers are the slots of a client's cap: work waits in the client.
    fn behind_a_cap(mut records: Vec<Record>) -> Vec<Record> {
        for record in &mut records {
            let begun = record.times.first_token.map(|at| at.saturating_sub(Duration::from_millis(25)));
            record.times.sent = record.times.sent.max(begun);
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
            let drift = Drift::of(&load, &records).unwrap();
            assert_eq!(drift.is_real(), piles_up, "{utilisation} {n}: {drift:?}");
            assert!(Drift::is_held_by_cap(&load, &records));
        }
        // A cap that was never reached holds nothing: the server itself drowns.
        let rate = queue.rate(1.5);
        let wide = Load { max_concurrency: std::num::NonZeroUsize::new(100_000), ..open_load(rate) };
        let records = queue.open(1000, rate);
        assert!(Drift::of(&wide, &records).unwrap().is_real() && !Drift::is_held_by_cap(&wide, &records));
    }

    #[test]
    fn a_plain_overload_shows_in_few_requests_and_a_load_below_capacity_never_does() {
        let one_at_a_time = |utilisation: f64, n: usize, seed: u64| {
            let queue = Queue { servers: 1, seed, ..Queue::default() };
            let rate = queue.rate(utilisation);
            Drift::of(&open_load(rate), &queue.open(n, rate))
        };
        let caught = |utilisation: f64, n: usize| {
            let drifts = (0..100).filter_map(|seed| one_at_a_time(utilisation, n, seed));
            drifts.filter(Drift::is_real).count()
        };
        for n in [40, 60, 99] {
            assert!(caught(0.7, n) <= 2, "{n}");
        }
        let (fewest, more) = (caught(2.4, 40), caught(2.4, 99));
        assert!(fewest >= 55 && more >= 95, "{fewest} {more}");
        // What it cannot tell from chance, it does not call nothing.
        assert!((one_at_a_time(0.7, 99, 1).unwrap().bound() - 0.2).abs() < 0.05);
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
        let told = |load: &Load, records: &[Record]| Drift::told(load, records).unwrap_err();
        let few = NoDrift::TooFew { answered: 39, needed: 40 };
        assert_eq!(told(&open_load(10.0), &Queue::default().open(39, 10.0)), few);
        let of_a_loop = told(&closed_load(10), &Queue::default().closed(90, 10));
        assert!(matches!(of_a_loop, NoDrift::TooFew { needed: 100, .. }), "{of_a_loop}");
        let burst = Queue::default().open(200, 10.0);
        assert_eq!(told(&open_load(f64::INFINITY), &burst), NoDrift::NoSteadyLoad);
        assert_eq!(told(&closed_load(1000), &Queue::default().closed(200, 10)), NoDrift::CapNotReached);
    }
}
