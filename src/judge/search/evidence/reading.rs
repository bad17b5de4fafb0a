//! What each request of a trial tells about a limit, those too that were cut off.

use std::slice;
use std::time::Duration;

use super::Sample;
use crate::core::metrics::{Latency, meets, samples};
use crate::core::record::{FailureClass, Record};
use crate::core::spec::{Slo, SloFrom};
use crate::core::stats::{self, Distribution, Percent, RateInterval, Share};

/// What one request tells about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It kept to the limit.
    Within,
    /// It did not.
    Beyond,
    /// It was cut off before either was certain.
    Censored,
}

/// How long requests took, in milliseconds.
pub struct Waits {
    /// Those that tell.
    pub ended: Vec<f64>,
    /// How long those lasted that were cut off.
    pub censored: Vec<f64>,
}

/// A latency of a request.
enum Known {
    Value(Duration),
    /// It was cut off, and is at least this.
    Longer(Duration),
    /// It failed after this time.
    Failed(Duration),
}

/// Whether each request was beyond a limit, the percentile of the known latencies, and by how much neighbours that are alike
/// inflate the variance of a share of them.
///
/// Shares of several trials average to the share of all of them, as percentiles do not.
pub fn percentile(
    sample: Sample<'_>,
    latency: Latency,
    p: Percent,
    limit_ms: f64,
) -> (Vec<Reading>, Option<f64>, f64) {
    let limit = Duration::try_from_secs_f64(limit_ms / 1e3).unwrap_or(Duration::MAX);
    let (mut told, mut values) = (Vec::new(), Vec::new());
    for known in sample.records.iter().filter_map(|record| known(record, latency)) {
        let (value, reading) = match known {
            Known::Value(value) => (value, if value > limit { Reading::Beyond } else { Reading::Within }),
            Known::Longer(waited) | Known::Failed(waited) if waited > limit => (waited, Reading::Beyond),
            Known::Longer(_) => {
                told.push(Reading::Censored);
                continue;
            }
            Known::Failed(_) => continue,
        };
        told.push(reading);
        values.push(value);
    }
    told.extend(in_flight(sample));
    let mut sorted = values.clone();
    sorted.sort_unstable();
    let Some(value) = stats::percentile(&sorted, p) else { return (told, None, 1.0) };
    let above: Vec<bool> = values.iter().map(|&found| found > value).collect();
    let spread = Share::of(&above).map_or(1.0, |share| share.inflation);
    (told, Some(ms(value)), spread)
}

/// Whether each request failed. Users who left neither failed nor did not.
pub fn failures(sample: Sample<'_>) -> Vec<Reading> {
    told(sample, |record| if record.succeeded() { Reading::Within } else { Reading::Beyond }, |_| false)
}

/// Whether each request missed a limit of the SLO.
pub fn misses(sample: Sample<'_>) -> Vec<Reading> {
    let slo = sample.slo;
    let ended = |record: &Record| if meets(record, slo) { Reading::Within } else { Reading::Beyond };
    told(sample, ended, |record| has_missed(record, slo))
}

/// The share beyond, of those that are known.
pub fn share(told: &[Reading]) -> Option<f64> {
    let beyond: Vec<bool> =
        told.iter().filter(|told| **told != Reading::Censored).map(|told| *told == Reading::Beyond).collect();
    Some(Share::of(&beyond)?.value())
}

/// How long requests took, and how long those lasted that were cut off.
pub fn waits(sample: Sample<'_>, latency: Latency) -> Waits {
    let mut waits = Waits { ended: Vec::new(), censored: vec![0.0; sample.in_flight] };
    for known in sample.records.iter().filter_map(|record| known(record, latency)) {
        match known {
            Known::Value(value) => waits.ended.push(ms(value)),
            Known::Longer(waited) => waits.censored.push(ms(waited)),
            Known::Failed(_) => {}
        }
    }
    waits
}

/// The mean of these milliseconds and its interval.
pub fn mean(values_ms: &[f64]) -> Option<(f64, Option<RateInterval>)> {
    let values = values_ms.iter().map(|ms| Duration::from_secs_f64(ms / 1e3)).collect();
    let distribution = Distribution::of(values, &[])?;
    let interval = distribution
        .mean_interval
        .map(|interval| RateInterval { low: ms(interval.low), high: ms(interval.high) });
    Some((ms(distribution.mean), interval))
}

/// Whether it was cut off by us.
pub fn was_cut_off(record: &Record) -> bool {
    record.failure().is_some_and(|failure| failure.class == FailureClass::Cancelled)
}

/// How long a request was in flight, to its end or until it was cut off.
pub fn waited(record: &Record) -> Option<Duration> {
    let sent = record.times.sent.unwrap_or(record.times.due);
    Some(record.times.done?.saturating_sub(sent))
}

/// `None` for a request that does not tell. One that failed counts against the failures, and here only if it had missed the limit
/// by then: otherwise an answer that is cut off after the limit would be better for having failed later.
fn known(record: &Record, latency: Latency) -> Option<Known> {
    if let Some(value) = samples(slice::from_ref(record), latency).next() {
        return Some(Known::Value(value));
    }
    if record.was_abandoned() {
        return None;
    }
    let from_due = record.times.done?.saturating_sub(record.times.due);
    let longer = match latency {
        // Its first token came before it was cut off.
        Latency::Ttft if record.times.first_token.is_some() => return record.ttft().map(Known::Value),
        Latency::TtftFromDue if record.times.first_token.is_some() => {
            return record.ttft_from_due().map(Known::Value);
        }
        Latency::Ttft | Latency::E2e => waited(record)?,
        Latency::TtftFromDue | Latency::E2eFromDue => from_due,
        Latency::Tpot | Latency::Itl | Latency::Lag => Duration::ZERO,
    };
    Some(if was_cut_off(record) { Known::Longer(longer) } else { Known::Failed(longer) })
}

fn told(
    sample: Sample<'_>,
    ended: impl Fn(&Record) -> Reading,
    has_missed: impl Fn(&Record) -> bool,
) -> Vec<Reading> {
    let tell = |record: &Record| match was_cut_off(record) {
        true if has_missed(record) => Reading::Beyond,
        true => Reading::Censored,
        false => ended(record),
    };
    let told = sample.records.iter().filter(|record| !record.was_abandoned()).map(tell);
    told.chain(in_flight(sample)).collect()
}

fn in_flight(sample: Sample<'_>) -> impl Iterator<Item = Reading> {
    std::iter::repeat_n(Reading::Censored, sample.in_flight)
}

/// Whether a request that was cut off had been in flight for longer than a limit allows.
fn has_missed(record: &Record, slo: &Slo) -> bool {
    let slo = slo.of_class(record.facets.as_ref().and_then(|facets| facets.class.as_deref()));
    let is_beyond = |latency: Latency, limit: Option<Duration>| {
        let found = known(record, latency);
        limit.zip(found).is_some_and(|(limit, found)| match found {
            Known::Value(value) | Known::Longer(value) | Known::Failed(value) => value > limit,
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
