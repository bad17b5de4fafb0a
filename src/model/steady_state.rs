//! The steady-state window: the part of a run without its start-up and its drain.
//!
//! *Closed loop*: the window is the longest plateau of the requests in flight (of the active sessions, where there are
//! any) at 95 % of the cap (or another [`SteadyStateConfig::threshold`]) or more. Momentary dips (a slot between two
//! requests) belong to the plateau, longer ones end it: a window from the first crossing to the last would count a
//! stall in the middle as steady.
//!
//! *Open loop*: the window begins when the queue has filled, one P90 E2E after the first request was sent, and ends
//! with the arrivals.
//!
//! In both cases, the start then moves to the end of the transient in TTFT and E2E (MSER-5 on ranks), if the beginning
//! differs significantly from the rest. This removes the burst of prompts at the start of a closed loop, and does not
//! remove a stall in the middle. A transient that reaches half of the run, or lasts longer than ten times the P90 E2E,
//! is not a start-up: such a run never settled. The series are in the order of sending: in the order of completion the
//! short requests would come first and look like a start-up.
//!
//! Behind a concurrency cap of an open loop the requests wait in the client: there the queue has filled after one P90
//! of the E2E *from due*.
//!
//! Windows begin and end on whole seconds, because output events are kept by whole second.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::model::concurrency::{ConcurrencyCurve, FlightStart, Peak};
use crate::model::run_records::RunView;
use crate::model::run_spec::{Load, SteadyStateConfig};
use crate::seconds;
use crate::stats::{TruncationPoint, percentile};
pub(crate) use drift::Drift;
pub(crate) use latency_trend::LatencyTrend;

mod drift;
mod latency_trend;

/// A dip up to this length is a slot between two requests.
const MAX_DIP: Duration = Duration::from_secs(1);

/// The longest start-up of a run, in multiples of the P90 E2E.
const MAX_START_P90S: u32 = 10;

/// The least number of requests in a window.
const MIN_REQUESTS: usize = 50;

/// An interval of a run, as offsets from t0: `start <= t < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SteadyWindow {
    /// The start of the window: a whole second.
    #[serde(rename = "start_s", with = "seconds")]
    pub start: Duration,
    /// The end of the window: a whole second.
    #[serde(rename = "end_s", with = "seconds")]
    pub end: Duration,
    /// The number of requests sent in the window.
    pub requests: usize,
}

/// Why a run has no steady state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub(crate) enum NoSteadyState {
    /// The search for a window is disabled.
    #[error("not detected, because `spec.steadiness = none` is set")]
    NotLookedFor,
    /// All requests were due at once.
    #[error("all requests were due at once; give `load.request_rate` or `load.max_concurrency`")]
    AllAtOnce,
    /// The rate was meant to change.
    #[error(
        "the rate of arrivals went through a ramp or stages; give `load.request_rate` for a steady state"
    )]
    RateChanged,
    /// The cap was never reached.
    #[error(
        "at most {peak} requests or sessions were active at once, but the plateau begins at {needed}; send more"
    )]
    CapNotReached {
        /// The largest number of requests in flight.
        peak: u32,
        /// The number of requests in flight that a plateau needs.
        needed: u32,
    },
    /// The remaining window is too short.
    #[error(
        "the run is too short: without its start and end it has {requests} requests in {} s; at least 50 requests in {} s \
         are needed",
        length.as_secs(),
        needed.as_secs()
    )]
    TooShort {
        /// The number of requests sent in the window.
        requests: usize,
        /// The length of the window.
        #[serde(rename = "length_s", with = "seconds")]
        length: Duration,
        /// The least length of a window.
        #[serde(rename = "needed_s", with = "seconds")]
        needed: Duration,
    },
    /// The run drifted throughout, or its start-up never ended.
    #[error(
        "the run reached no steady state: it drifted throughout (see the warnings), or its start-up takes half of the run or \
         ten times the duration of a request; run longer"
    )]
    NeverSettled,
}

impl SteadyWindow {
    /// The largest number of requests in flight within the window.
    pub(crate) fn peak(&self, in_flight: &ConcurrencyCurve) -> Peak {
        let levels = in_flight.levels_within(self.start, self.end - self.start, 1);
        Peak { level: levels.first().map_or(0, |level| level.max), is_exact: true }
    }
}

/// Finds the steady-state window of a run under this load. The number of requests in it is exact if all Records are
/// kept.
pub(crate) fn find_window<'a>(
    load: &Load,
    rules: SteadyStateConfig,
    run: impl Into<RunView<'a>>,
) -> Result<SteadyWindow, NoSteadyState> {
    let run: RunView<'a> = run.into();
    let records = run.records;
    let full = match load.is_closed_loop() {
        true => plateau(load, rules.threshold, run)?,
        false if load.has_changing_rate() => return Err(NoSteadyState::RateChanged),
        false if load.is_paced() => arrivals(load, records),
        false => return Err(NoSteadyState::AllAtOnce),
    };
    if Drift::measure(load, run).is_some_and(|drift| drift.is_significant()) {
        return Err(NoSteadyState::NeverSettled);
    }
    let sent_in = |span: TimeSpan| records.iter().filter(move |record| span.contains(record.times.sent()));
    let mut start = full.start;
    for latency in [Record::ttft, Record::e2e] {
        start = start.max(settled_from(sent_in(full), latency)?.unwrap_or_default());
    }
    if start - full.start > max_start(sent_in(full)) {
        return Err(NoSteadyState::NeverSettled);
    }
    let whole = TimeSpan { start: next_second(start), end: Duration::from_secs(full.end.as_secs()) };
    let requests = sent_in(whole).count() * run.weight;
    let length = whole.end.saturating_sub(whole.start);
    if requests < MIN_REQUESTS || length < rules.shortest {
        return Err(NoSteadyState::TooShort { requests, length, needed: rules.shortest });
    }
    Ok(SteadyWindow { start: whole.start, end: whole.end, requests })
}

#[derive(Debug, Clone, Copy, Default)]
struct TimeSpan {
    start: Duration,
    end: Duration,
}

impl TimeSpan {
    fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }

    fn contains(&self, at: Option<Duration>) -> bool {
        at.is_some_and(|at| self.start <= at && at < self.end)
    }
}

fn next_second(at: Duration) -> Duration {
    Duration::from_secs(at.as_secs() + u64::from(at.subsec_nanos() > 0))
}

/// The send time of the first request after the transient of the latency.
fn settled_from<'a>(
    records: impl Iterator<Item = &'a Record> + Clone,
    latency: fn(&Record) -> Option<Duration>,
) -> Result<Option<Duration>, NoSteadyState> {
    let mut series = records
        .filter(|record| record.is_success())
        .filter_map(|record| Some((record.times.sent()?, latency(record)?.as_secs_f64())));
    let values: Vec<f64> = series.clone().map(|(_, value)| value).collect();
    match TruncationPoint::from_series(&values) {
        TruncationPoint::From(0) => Ok(None),
        TruncationPoint::From(first) => Ok(series.nth(first).map(|(sent, _)| sent)),
        TruncationPoint::Never => Err(NoSteadyState::NeverSettled),
    }
}

/// The longest time that can pass as the start-up of a run: several generations of requests.
fn max_start<'a>(records: impl Iterator<Item = &'a Record>) -> Duration {
    MAX_START_P90S * p90(records.filter(|record| record.is_success()).filter_map(Record::e2e))
}

fn p90(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    percentile(&times, 90.0).unwrap_or_default()
}

/// The interval from the filling of the queue to the last arrival.
fn arrivals(load: &Load, records: &[Record]) -> TimeSpan {
    let sent = || records.iter().filter_map(|record| record.times.sent());
    let lasted: fn(&Record) -> Option<Duration> =
        if load.closed_loop_size().is_some() { Record::e2e_from_due } else { Record::e2e };
    let filled = p90(records.iter().filter(|record| record.is_success()).filter_map(lasted));
    TimeSpan { start: sent().min().unwrap_or_default() + filled, end: sent().max().unwrap_or_default() }
}

/// The longest interval in which at least this share of a closed loop's slots is in use, except for momentary dips.
fn plateau(load: &Load, share: f64, run: RunView<'_>) -> Result<TimeSpan, NoSteadyState> {
    let needed = (load.closed_loop_size().map_or(1, usize::from) as f64 * share).ceil() as u32;
    // A session uses its slot while its user thinks, too.
    let in_flight = match load.max_active_sessions {
        Some(_) => run.sessions(),
        None => run.in_flight(FlightStart::Sent),
    };
    let mut longest = TimeSpan::default();
    let mut current: Option<TimeSpan> = None;
    let mut up = None;
    for (at, level) in in_flight.steps() {
        match (up, level >= needed) {
            (None, true) => up = Some(at),
            (Some(start), false) => {
                current = Some(match current {
                    Some(before) if start - before.end <= MAX_DIP => TimeSpan { end: at, ..before },
                    _ => TimeSpan { start, end: at },
                });
                longest =
                    current.into_iter().chain([longest]).max_by_key(TimeSpan::length).unwrap_or_default();
                up = None;
            }
            _ => {}
        }
    }
    if longest.length().is_zero() {
        return Err(NoSteadyState::CapNotReached { peak: in_flight.peak(), needed });
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Milestone, RequestLabels};
    use crate::testing::queue::{Queue, closed_load as closed, open_load as open, record};

    fn find(load: &Load, records: &[Record]) -> Result<SteadyWindow, NoSteadyState> {
        find_window(load, SteadyStateConfig::default(), records)
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_closed_loop_is_steady_while_the_cap_is_full() {
        let records = Queue::default().closed(2000, 20);
        let window = find(&closed(20), &records).unwrap();
        let end = records.iter().filter_map(|record| record.times.done()).max().unwrap();
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
                record.facets = Some(RequestLabels { session, turns, ..RequestLabels::default() }.into());
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
        assert_eq!(found, Err(NoSteadyState::CapNotReached { peak: 10, needed: 19 }));
    }

    #[test]
    fn the_threshold_and_the_shortest_window_are_the_users() {
        let records = Queue::default().closed(2000, 20);
        // Never more than 20 of a cap of 40 in flight.
        assert!(find(&closed(40), &records).is_err());
        let half = SteadyStateConfig { threshold: 0.5, ..SteadyStateConfig::default() };
        assert!(find_window(&closed(40), half, &records).is_ok());
        let long = SteadyStateConfig { threshold: 0.5, shortest: s(100_000) };
        let found = find_window(&closed(40), long, &records);
        assert!(
            matches!(found, Err(NoSteadyState::TooShort { needed, .. }) if needed == s(100_000)),
            "{found:?}"
        );
    }

    #[test]
    fn an_open_loop_is_steady_from_its_filling_to_its_last_arrival() {
        let queue = Queue::default();
        let records = queue.open(2000, queue.rate(0.7));
        let found = find(&open(queue.rate(0.7)), &records).unwrap();
        let last = records.iter().filter_map(|record| record.times.sent()).max().unwrap();
        assert!(found.start >= s(1) && found.start < last / 2, "{found:?} of {last:?}");
        assert_eq!(found.end, s(last.as_secs()));
    }

    #[test]
    fn a_start_with_slow_answers_is_not_in_the_window() {
        let queue = Queue::default();
        let slow_for = |long: Duration| {
            let mut records = queue.open(2000, queue.rate(0.5));
            for record in records.iter_mut().filter(|record| record.times.due() < long) {
                record.times.map_time(Milestone::FirstToken, |at| at + s(3));
                record.times.map_time(Milestone::LastToken, |at| at + s(3));
            }
            find(&open(queue.rate(0.5)), &records)
        };
        let found = slow_for(s(10)).unwrap();
        assert!((s(9)..s(14)).contains(&found.start), "{found:?}");
        // Ten generations of requests exceed the longest start-up.
        assert_eq!(slow_for(s(80)), Err(NoSteadyState::NeverSettled));
    }

    #[test]
    fn a_stall_in_the_middle_stays_in_the_window() {
        let queue = Queue::default();
        let records = |stalls: &[u64]| {
            let mut records = queue.open(2000, queue.rate(0.5));
            for record in &mut records {
                let stalled = |at: &&u64| (**at..**at + 2).contains(&record.times.due().as_secs());
                if stalls.iter().any(|at| stalled(&at)) {
                    record.times.map_time(Milestone::FirstToken, |at| at + s(5));
                    record.times.map_time(Milestone::LastToken, |at| at + s(5));
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
            record.times.set(Milestone::Sent, record.times.sent().max(record.times.first_token()));
        }
        let capped = Load { max_concurrency: std::num::NonZeroUsize::new(10), ..open(rate) };
        assert_eq!(find(&capped, &records), Err(NoSteadyState::NeverSettled));
    }

    #[test]
    fn an_overloaded_server_never_settles() {
        let queue = Queue::default();
        let rate = queue.rate(1.5);
        let records = queue.open(2000, rate);
        let found = find(&open(rate), &records);
        assert!(
            matches!(found, Err(NoSteadyState::NeverSettled | NoSteadyState::TooShort { .. })),
            "{found:?}"
        );
    }

    #[test]
    fn everything_at_once_and_nothing_at_all_have_no_window() {
        assert_eq!(find(&open(f64::INFINITY), &[]), Err(NoSteadyState::AllAtOnce));
        let none = NoSteadyState::TooShort { requests: 0, length: Duration::ZERO, needed: s(5) };
        assert_eq!(find(&open(5.0), &[]), Err(none));
        assert!(find(&closed(4), &[]).is_err());
    }
}
