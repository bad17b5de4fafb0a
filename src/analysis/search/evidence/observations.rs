//! What each request of a trial shows about a limit, including requests that were cut off.

use std::slice;
use std::time::Duration;

use super::TrialSample;
use crate::model::metrics::{Latency, meets_slo, samples};
use crate::model::record::{FailureClass, Record};
use crate::model::run_spec::{Slo, SloFrom};
use crate::stats::{self, Distribution, Percent, Proportion, RateInterval};

/// What one request shows about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitObservation {
    /// The request met the limit.
    Within,
    /// The request violated the limit.
    Beyond,
    /// The request was cut off before either was certain.
    Censored,
}

/// The durations of requests, in milliseconds.
pub(super) struct RequestTimes {
    /// The durations of requests that ended.
    pub ended: Vec<f64>,
    /// The durations until the cut of requests that were cut off.
    pub censored: Vec<f64>,
}

/// A latency of a request.
enum ObservedLatency {
    Value(Duration),
    /// The request was cut off, so its latency is at least this.
    Longer(Duration),
    /// The request failed after this time.
    Failed(Duration),
}

/// Returns whether each request was beyond a limit, the percentile of the known latencies, and the factor by which the
/// similarity of successive requests inflates the variance of a share.
///
/// Shares of several trials average to the share of all of them, as percentiles do not.
pub(super) fn percentile(
    sample: TrialSample<'_>,
    latency: Latency,
    p: Percent,
    limit_ms: f64,
) -> (Vec<LimitObservation>, Option<f64>, f64) {
    let limit = Duration::try_from_secs_f64(limit_ms / 1e3).unwrap_or(Duration::MAX);
    let (mut outcomes, mut values) = (Vec::new(), Vec::new());
    for known in sample.records.iter().filter_map(|record| observed_latency(record, latency)) {
        let (value, reading) = match known {
            ObservedLatency::Value(value) => {
                (value, if value > limit { LimitObservation::Beyond } else { LimitObservation::Within })
            }
            ObservedLatency::Longer(waited) | ObservedLatency::Failed(waited) if waited > limit => {
                (waited, LimitObservation::Beyond)
            }
            ObservedLatency::Longer(_) => {
                outcomes.push(LimitObservation::Censored);
                continue;
            }
            ObservedLatency::Failed(_) => continue,
        };
        outcomes.push(reading);
        values.push(value);
    }
    outcomes.extend(in_flight_observations(sample));
    let mut sorted = values.clone();
    sorted.sort_unstable();
    let Some(value) = stats::percentile(&sorted, p) else { return (outcomes, None, 1.0) };
    let above: Vec<bool> = values.iter().map(|&found| found > value).collect();
    let spread = Proportion::from_events(&above).map_or(1.0, |share| share.inflation);
    (outcomes, Some(ms(value)), spread)
}

/// Returns whether each request failed. A request that its user abandoned counts as neither.
pub(super) fn failures(sample: TrialSample<'_>) -> Vec<LimitObservation> {
    let asked = |record: &Record| !record.is_abandoned();
    let ended = |record: &Record| {
        if record.is_success() { LimitObservation::Within } else { LimitObservation::Beyond }
    };
    observe_requests(sample, asked, ended, |_| false)
}

/// Returns whether each request of a user who was to stay violated a limit of the SLO.
pub(super) fn slo_misses(sample: TrialSample<'_>) -> Vec<LimitObservation> {
    let slo = sample.slo;
    let ended = |record: &Record| {
        if meets_slo(record, slo) { LimitObservation::Within } else { LimitObservation::Beyond }
    };
    observe_requests(sample, |record| !record.has_early_cancel(), ended, |record| has_missed_slo(record, slo))
}

/// The share of requests beyond the limit, among those with a known outcome.
pub(super) fn share_beyond(outcomes: &[LimitObservation]) -> Option<f64> {
    let beyond: Vec<bool> = outcomes
        .iter()
        .filter(|outcome| **outcome != LimitObservation::Censored)
        .map(|outcome| *outcome == LimitObservation::Beyond)
        .collect();
    Some(Proportion::from_events(&beyond)?.value())
}

/// The durations of requests that ended, and of those that were cut off.
pub(super) fn request_times(sample: TrialSample<'_>, latency: Latency) -> RequestTimes {
    let mut waits = RequestTimes { ended: Vec::new(), censored: vec![0.0; sample.in_flight] };
    for known in sample.records.iter().filter_map(|record| observed_latency(record, latency)) {
        match known {
            ObservedLatency::Value(value) => waits.ended.push(ms(value)),
            ObservedLatency::Longer(waited) => waits.censored.push(ms(waited)),
            ObservedLatency::Failed(_) => {}
        }
    }
    waits
}

/// The mean of these values in milliseconds, with its interval.
pub(super) fn mean_with_interval(values_ms: &[f64]) -> Option<(f64, Option<RateInterval>)> {
    let values = values_ms.iter().map(|ms| Duration::from_secs_f64(ms / 1e3)).collect();
    let distribution = Distribution::from_values(values, &[])?;
    let interval = distribution
        .mean_interval
        .map(|interval| RateInterval { low: ms(interval.low), high: ms(interval.high) });
    Some((ms(distribution.mean), interval))
}

/// Whether the client cut the request off.
pub(super) fn is_cut_off(record: &Record) -> bool {
    record.failure().is_some_and(|failure| failure.class == FailureClass::Cancelled)
}

/// How long a request was in flight, to its end or until it was cut off.
pub(crate) fn waited_time(record: &Record) -> Option<Duration> {
    let sent = record.times.sent().unwrap_or(record.times.due());
    Some(record.times.done()?.saturating_sub(sent))
}

/// `None` for a request without this latency. A failed request counts against the failure rate, and here only if it had
/// violated the limit before it failed. Otherwise an answer that is cut off after the limit would be better for having
/// failed later.
fn observed_latency(record: &Record, latency: Latency) -> Option<ObservedLatency> {
    if let Some(value) = samples(slice::from_ref(record), latency).next() {
        return Some(ObservedLatency::Value(value));
    }
    if record.has_early_cancel() {
        return None;
    }
    let from_due = record.times.done()?.saturating_sub(record.times.due());
    let longer = match latency {
        // The first token arrived before the cut.
        Latency::Ttft if record.times.first_token().is_some() => {
            return record.ttft().map(ObservedLatency::Value);
        }
        Latency::TtftFromDue if record.times.first_token().is_some() => {
            return record.ttft_from_due().map(ObservedLatency::Value);
        }
        Latency::Ttft | Latency::E2e => waited_time(record)?,
        Latency::TtftFromDue | Latency::E2eFromDue => from_due,
        _ => Duration::ZERO,
    };
    Some(if is_cut_off(record) { ObservedLatency::Longer(longer) } else { ObservedLatency::Failed(longer) })
}

fn observe_requests(
    sample: TrialSample<'_>,
    asked: impl Fn(&Record) -> bool,
    ended: impl Fn(&Record) -> LimitObservation,
    has_missed: impl Fn(&Record) -> bool,
) -> Vec<LimitObservation> {
    let tell = |record: &Record| match is_cut_off(record) {
        true if has_missed(record) => LimitObservation::Beyond,
        true => LimitObservation::Censored,
        false => ended(record),
    };
    let outcomes = sample.records.iter().filter(|record| asked(record)).map(tell);
    outcomes.chain(in_flight_observations(sample)).collect()
}

fn in_flight_observations(sample: TrialSample<'_>) -> impl Iterator<Item = LimitObservation> {
    std::iter::repeat_n(LimitObservation::Censored, sample.in_flight)
}

/// Whether a request that was cut off had already been in flight longer than a limit allows.
fn has_missed_slo(record: &Record, slo: &Slo) -> bool {
    let slo = slo.for_class(record.facets.as_ref().and_then(|facets| facets.class.as_deref()));
    let is_beyond = |latency: Latency, limit: Option<Duration>| {
        let found = observed_latency(record, latency);
        limit.zip(found).is_some_and(|(limit, found)| match found {
            ObservedLatency::Value(value)
            | ObservedLatency::Longer(value)
            | ObservedLatency::Failed(value) => value > limit,
        })
    };
    let (ttft, e2e) = match slo.from {
        SloFrom::Due => (Latency::TtftFromDue, Latency::E2eFromDue),
        SloFrom::Sent => (Latency::Ttft, Latency::E2e),
    };
    is_beyond(ttft, slo.ttft) || is_beyond(e2e, slo.e2e)
}

fn ms(value: Duration) -> f64 {
    value.as_secs_f64() * 1e3
}
