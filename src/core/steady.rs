//! The steady-state window: the part of a run in which neither its start nor its end shows.
//!
//! *Closed loop*: the longest plateau of the requests in flight (of the active sessions, where there are any) at 95 % of the
//! cap (or another [`Steadiness::threshold`]) or more. Dips of a moment (a slot
//! between two requests) belong to it, longer ones end it: from the first crossing to the last would count a stall in
//! the middle as steady.
//!
//! *Open loop*: begins when the queue has filled (nine of ten requests last no longer than this after the first was
//! sent) and ends with the arrivals.
//!
//! In both, the start is then moved on to where TTFT and E2E have forgotten it (MSER-5 on ranks), if their start is
//! significantly unlike the rest: that takes away the storm of prompts with which a closed loop begins, and leaves a stall
//! in the middle where it is. A start that reaches to the half of the run, or lasts longer than ten times the P90 E2E, is
//! none: such a run never settled. The series are in the order of sending: in the order of completion the short requests
//! would come first and look like a start-up of their own.
//!
//! Behind a cap of a paced load the requests wait in the client: there the queue has filled when nine of ten requests last no
//! longer *from due*.
//!
//! Windows begin and end on whole seconds, because output events are kept by whole second.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::in_flight::InFlight;
use super::record::Record;
use super::spec::{Load, Steadiness};
use super::stats::{Settling, percentile};
use super::units::seconds;
pub use drift::{Drift, NoDrift};
pub use latency_trend::LatencyTrend;

mod drift;
mod latency_trend;

/// A dip up to this is a slot between two requests.
const LONGEST_DIP: Duration = Duration::from_secs(1);

/// In P90 E2E.
const LONGEST_START: u32 = 10;

/// Fewer requests than this say nothing.
const FEWEST_REQUESTS: usize = 50;

/// A stretch of a run, as offsets from t0: `start <= t < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Where it begins: a whole second.
    #[serde(rename = "start_s", with = "seconds")]
    pub start: Duration,
    /// Where it ends: a whole second.
    #[serde(rename = "end_s", with = "seconds")]
    pub end: Duration,
    /// Requests sent in it.
    pub requests: usize,
}

/// Why a run has no steady state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NoWindow {
    /// Nobody wants to know.
    #[error("it was not looked for: --no-steady-state")]
    NotLookedFor,
    /// All requests were due at once.
    #[error("all requests were due at once; give --request-rate or --max-concurrency")]
    AllAtOnce,
    /// The rate was meant to change.
    #[error("the rate of arrivals went through a ramp or stages; give --request-rate for a steady state")]
    RateChanged,
    /// The cap was never reached.
    #[error("at most {peak} requests or sessions were under way, the plateau begins at {needed}; send more")]
    CapNotReached {
        /// The most in flight.
        peak: u32,
        /// What a plateau needs.
        needed: u32,
    },
    /// What is left is too short.
    #[error(
        "only {requests} requests in {} s are left between start and end, 50 in {} s are needed; run longer",
        length.as_secs(),
        needed.as_secs()
    )]
    TooShort {
        /// Requests sent in it.
        requests: usize,
        /// Its length.
        #[serde(rename = "length_s", with = "seconds")]
        length: Duration,
        /// The shortest that would do.
        #[serde(rename = "needed_s", with = "seconds")]
        needed: Duration,
    },
    /// The run drifted all the time, or its start never ended.
    #[error(
        "the run never settled: it drifted all the time (see the validity section), or its start is unlike the rest for \
         half of it or ten times as long as a request takes; run longer"
    )]
    NeverSettled,
}

/// Finds the window of a run under this load. Records are in the order of the schedule.
pub fn window(load: &Load, rules: Steadiness, records: &[Record]) -> Result<Window, NoWindow> {
    let full = match load.is_closed_loop() {
        true => plateau(load, rules.threshold, records)?,
        false if load.rate_changes() => return Err(NoWindow::RateChanged),
        false if load.is_paced() => arrivals(load, records),
        false => return Err(NoWindow::AllAtOnce),
    };
    if Drift::of(load, records).is_some_and(|drift| drift.is_real()) {
        return Err(NoWindow::NeverSettled);
    }
    let sent_in = |span: Span| records.iter().filter(move |record| span.holds(record.times.sent));
    let mut start = full.start;
    for latency in [Record::ttft, Record::e2e] {
        start = start.max(settled(sent_in(full), latency)?.unwrap_or_default());
    }
    if start - full.start > longest_start(sent_in(full)) {
        return Err(NoWindow::NeverSettled);
    }
    let whole = Span { start: next_second(start), end: Duration::from_secs(full.end.as_secs()) };
    let requests = sent_in(whole).count();
    let length = whole.end.saturating_sub(whole.start);
    if requests < FEWEST_REQUESTS || length < rules.shortest {
        return Err(NoWindow::TooShort { requests, length, needed: rules.shortest });
    }
    Ok(Window { start: whole.start, end: whole.end, requests })
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: Duration,
    end: Duration,
}

impl Span {
    fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }

    fn holds(&self, at: Option<Duration>) -> bool {
        at.is_some_and(|at| self.start <= at && at < self.end)
    }
}

fn next_second(at: Duration) -> Duration {
    Duration::from_secs(at.as_secs() + u64::from(at.subsec_nanos() > 0))
}

/// When the first request was sent from which on the latency has forgotten the start.
fn settled<'a>(
    records: impl Iterator<Item = &'a Record>,
    latency: fn(&Record) -> Option<Duration>,
) -> Result<Option<Duration>, NoWindow> {
    let series: Vec<(Duration, f64)> = records
        .filter(|record| record.succeeded())
        .filter_map(|record| Some((record.times.sent?, latency(record)?.as_secs_f64())))
        .collect();
    let values: Vec<f64> = series.iter().map(|(_, value)| *value).collect();
    match Settling::of(&values) {
        Settling::From(0) => Ok(None),
        Settling::From(first) => Ok(series.get(first).map(|(sent, _)| *sent)),
        Settling::Never => Err(NoWindow::NeverSettled),
    }
}

/// What may pass for the start of a run: some generations of requests.
fn longest_start<'a>(records: impl Iterator<Item = &'a Record>) -> Duration {
    LONGEST_START * p90(records.filter(|record| record.succeeded()).filter_map(Record::e2e))
}

fn p90(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    percentile(&times, 90.0).unwrap_or_default()
}

/// From the filling of the queue to the last arrival.
fn arrivals(load: &Load, records: &[Record]) -> Span {
    let sent = || records.iter().filter_map(|record| record.times.sent);
    let lasted: fn(&Record) -> Option<Duration> =
        if load.slots().is_some() { Record::e2e_from_due } else { Record::e2e };
    let filled = p90(records.iter().filter(|record| record.succeeded()).filter_map(lasted));
    Span { start: sent().min().unwrap_or_default() + filled, end: sent().max().unwrap_or_default() }
}

/// The longest stretch with this share of a closed loop's slots in use or more, moments aside.
fn plateau(load: &Load, share: f64, records: &[Record]) -> Result<Span, NoWindow> {
    let needed = (load.slots().map_or(1, usize::from) as f64 * share).ceil() as u32;
    // A session uses its slot while its user thinks, too.
    let in_flight = match load.max_active_sessions {
        Some(_) => InFlight::sessions(records.iter()),
        None => InFlight::of(records),
    };
    let mut longest = Span::default();
    let mut current: Option<Span> = None;
    let mut up = None;
    for (at, level) in in_flight.steps() {
        match (up, level >= needed) {
            (None, true) => up = Some(at),
            (Some(start), false) => {
                current = Some(match current {
                    Some(before) if start - before.end <= LONGEST_DIP => Span { end: at, ..before },
                    _ => Span { start, end: at },
                });
                longest = current.into_iter().chain([longest]).max_by_key(Span::length).unwrap_or_default();
                up = None;
            }
            _ => {}
        }
    }
    if longest.length().is_zero() {
        return Err(NoWindow::CapNotReached { peak: in_flight.peak(), needed });
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::Facets;
    use crate::core::simulated::{Queue, closed_load as closed, open_load as open, record};

    fn find(load: &Load, records: &[Record]) -> Result<Window, NoWindow> {
        window(load, Steadiness::default(), records)
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_closed_loop_is_steady_while_the_cap_is_full() {
        let records = Queue::default().closed(2000, 20);
        let window = find(&closed(20), &records).unwrap();
        let end = records.iter().filter_map(|record| record.times.done).max().unwrap();
        assert!(window.start < end / 2, "{window:?} of {end:?}");
        assert!(end - window.end < s(8), "{window:?} of {end:?}");
        assert!(window.requests > 900, "{window:?}");
    }

    #[test]
    fn a_closed_loop_of_sessions_is_steady_while_their_users_think() {
        // Four users who are answered within 0.2 s and then think for 0.8 s, three turns each.
        let mut records = Vec::new();
        for turn in 0..90_u32 {
            for user in 0..4 {
                let due = s(u64::from(turn)) + Duration::from_millis(10) * user;
                let mut record =
                    record(0, due, due + Duration::from_millis(50), due + Duration::from_millis(200));
                let (session, turns) = (Some(turn / 3 * 4 + user), Some(3));
                record.facets = Some(Facets { session, turns, ..Facets::default() }.into());
                records.push(record);
            }
        }
        let sessions = Load { max_active_sessions: std::num::NonZeroUsize::new(4), ..open(f64::INFINITY) };
        let found = find(&sessions, &records).unwrap();
        assert!(found.start <= s(60) && found.end >= s(85), "{found:?}");
    }

    #[test]
    fn a_long_dip_ends_the_plateau() {
        // 4 users, 0.1 s each: 20 s, a stall of 5 s in which nothing is sent, 40 s.
        let mut records = Vec::new();
        for (from, until) in [(0, 20), (25, 65)] {
            for i in 0..(until - from) * 10 {
                let due = s(from) + Duration::from_millis(100) * i as u32;
                let done = due + Duration::from_millis(100);
                (0..4).for_each(|_| records.push(record(0, due, due + Duration::from_millis(20), done)));
            }
        }
        let window = find(&closed(4), &records).unwrap();
        assert!(window.start >= s(25) && window.end >= s(64), "{window:?}");
    }

    #[test]
    fn a_cap_that_was_never_reached_is_said_so() {
        let records = Queue::default().closed(10, 20);
        let found = find(&closed(20), &records);
        assert_eq!(found, Err(NoWindow::CapNotReached { peak: 10, needed: 19 }));
    }

    #[test]
    fn the_threshold_and_the_shortest_window_are_the_users() {
        let records = Queue::default().closed(2000, 20);
        // Never more than 20 of a cap of 40 in flight.
        assert!(find(&closed(40), &records).is_err());
        let half = Steadiness { threshold: 0.5, ..Steadiness::default() };
        assert!(window(&closed(40), half, &records).is_ok());
        let long = Steadiness { threshold: 0.5, shortest: s(100_000) };
        let found = window(&closed(40), long, &records);
        assert!(matches!(found, Err(NoWindow::TooShort { needed, .. }) if needed == s(100_000)), "{found:?}");
    }

    #[test]
    fn an_open_loop_is_steady_from_its_filling_to_its_last_arrival() {
        let queue = Queue::default();
        let records = queue.open(2000, queue.rate(0.7));
        let found = find(&open(queue.rate(0.7)), &records).unwrap();
        let last = records.iter().filter_map(|record| record.times.sent).max().unwrap();
        assert!(found.start >= s(1) && found.start < last / 2, "{found:?} of {last:?}");
        assert_eq!(found.end, s(last.as_secs()));
    }

    #[test]
    fn a_start_with_slow_answers_is_not_in_the_window() {
        let queue = Queue::default();
        let slow_for = |long: Duration| {
            let mut records = queue.open(2000, queue.rate(0.5));
            for record in records.iter_mut().filter(|record| record.times.due < long) {
                record.times.first_token = record.times.first_token.map(|at| at + s(3));
                record.times.last_token = record.times.last_token.map(|at| at + s(3));
            }
            find(&open(queue.rate(0.5)), &records)
        };
        let found = slow_for(s(10)).unwrap();
        assert!((s(9)..s(14)).contains(&found.start), "{found:?}");
        // Ten generations of requests are no start.
        assert_eq!(slow_for(s(80)), Err(NoWindow::NeverSettled));
    }

    #[test]
    fn a_stall_in_the_middle_stays_in_the_window() {
        let queue = Queue::default();
        let records = |stalls: &[u64]| {
            let mut records = queue.open(2000, queue.rate(0.5));
            for record in &mut records {
                let stalled = |at: &&u64| (**at..**at + 2).contains(&record.times.due.as_secs());
                if stalls.iter().any(|at| stalled(&at)) {
                    record.times.first_token = record.times.first_token.map(|at| at + s(5));
                    record.times.last_token = record.times.last_token.map(|at| at + s(5));
                }
            }
            records
        };
        let load = open(queue.rate(0.5));
        let quiet = find(&load, &records(&[])).unwrap();
        assert_eq!(find(&load, &records(&[40, 90])).unwrap().start, quiet.start);
    }

    #[test]
    fn overload_behind_a_cap_has_no_steady_window() {
        let queue = Queue::default();
        let rate = queue.rate(1.2);
        let mut records = queue.open(2000, rate);
        for record in &mut records {
            record.times.sent = record.times.sent.max(record.times.first_token);
        }
        let capped = Load { max_concurrency: std::num::NonZeroUsize::new(10), ..open(rate) };
        assert_eq!(find(&capped, &records), Err(NoWindow::NeverSettled));
    }

    #[test]
    fn an_overloaded_server_never_settles() {
        let queue = Queue::default();
        let rate = queue.rate(1.5);
        let records = queue.open(2000, rate);
        let found = find(&open(rate), &records);
        assert!(matches!(found, Err(NoWindow::NeverSettled | NoWindow::TooShort { .. })), "{found:?}");
    }

    #[test]
    fn everything_at_once_and_nothing_at_all_have_no_window() {
        assert_eq!(find(&open(f64::INFINITY), &[]), Err(NoWindow::AllAtOnce));
        let none = NoWindow::TooShort { requests: 0, length: Duration::ZERO, needed: s(5) };
        assert_eq!(find(&open(5.0), &[]), Err(none));
        assert!(find(&closed(4), &[]).is_err());
    }
}
