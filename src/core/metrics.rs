//! The one table of metrics, and the sums of Records that fill it.
//!
//! Latencies have a [`Distribution`] each ([`Latency`]); everything else is one number ([`SCALARS`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{FailureClass, Record, TokenCount, TokenSource};
use super::spec::{Slo, SloFrom};
use super::stats::{Distribution, Percent, RateInterval, Tally};
use super::steady::Window;
use super::units::seconds;
pub use facets::{Facet, Row, Timing};
use scope::Scope;
pub use sessions::SessionTotals;
pub use table::{Direction, Latency, SCALARS, Scalar, scalar};

mod facets;
mod rates;
mod scope;
mod sessions;
mod table;

/// What a run's Records add up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// t0 to the end of the last request; for a window, its length.
    #[serde(rename = "duration_s", with = "seconds")]
    pub duration: Duration,
    /// Requests that got their answer.
    pub completed: usize,
    /// Requests that did not.
    pub failed: usize,
    /// Requests whose user left before the end, as some were to: neither of the two.
    #[serde(default)]
    pub abandoned: usize,
    /// Completed requests whose user was to leave later: counted like the others, and in no latency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub answered_before_leaving: usize,
    /// Prompt tokens of completed requests.
    pub input_tokens: Tokens,
    /// Output tokens of completed requests.
    pub output_tokens: Tokens,
    /// Texts embedded or ranked in completed requests; `None` where text was generated.
    #[serde(default)]
    pub input_sequences: Option<u64>,
    /// The length of the recordings in completed requests; `None` without any.
    #[serde(default, rename = "input_audio_s", with = "seconds::option")]
    pub input_audio: Option<Duration>,
    /// Output tokens an event carried, over the completed requests; `None` where nobody counted but the events.
    pub tokens_per_event: Option<Spread>,
    /// Arrivals per second as scheduled, over those that were sent; `None` for all at once.
    pub offered_rate: Option<f64>,
    /// Arrivals per second as sent; `None` for all at once.
    pub achieved_rate: Option<f64>,
    /// Most output tokens in one second of the run, usage apportioned to the events; never below the average, which it
    /// is in a run that is over before its second.
    pub peak_output_tokens_per_s: Option<f64>,
    /// Most requests in flight at any instant, exactly.
    pub peak_in_flight: usize,
    /// Requests that met every limit of the SLO; `None` without an SLO.
    pub good: Option<usize>,
    /// Requests of users who were to stay, held against the SLO: the share of good requests is theirs. `None` without an SLO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// 95 % intervals of the scalars that are rates, by the scalar's key; none for runs of less than ten seconds.
    pub rate_intervals: BTreeMap<String, RateInterval>,
    /// The latencies that have samples.
    pub latencies: BTreeMap<Latency, Distribution>,
    /// TPOT as vLLM computes it ([`Record::vllm_tpot`]), where that differs for any request; `None` where it does not. In a
    /// result from before there was another, TPOT itself is vLLM's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vllm_tpot: Option<Distribution>,
    /// How many TPOTs rest on whose count of the tokens in the first output event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub first_event_by_source: BTreeMap<TokenSource, usize>,
    /// Failures by class, most frequent first.
    pub failures: Vec<FailureCount>,
    /// The same figures for each value of a facet that the requests have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rows: BTreeMap<Facet, Vec<Row>>,
    /// Of sessions of several turns; `None` without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionTotals>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A number of tokens and who counted them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The sum.
    pub total: u64,
    /// How many requests were counted by whom.
    pub requests_by_source: BTreeMap<TokenSource, usize>,
}

impl Tokens {
    fn add(&mut self, tokens: TokenCount) {
        self.total += u64::from(tokens.count);
        *self.requests_by_source.entry(tokens.source).or_default() += 1;
    }
}

/// Requests of users who were to stay, held against the SLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// How many, failed ones included.
    pub requests: usize,
    /// Those that met every limit.
    pub good: usize,
    /// Those answered without a value that a limit is on, such as the TPOT of an answer in one event; they are not good.
    pub unmeasured: usize,
}

impl Judged {
    /// Records that ended, held against the SLO.
    fn of<'a>(records: impl Iterator<Item = &'a Record>, slo: &Slo) -> Self {
        let mut judged = Self { requests: 0, good: 0, unmeasured: 0 };
        for record in records.filter(|record| !record.was_to_leave()) {
            let verdict = judge(record, slo);
            judged.requests += 1;
            judged.good += usize::from(verdict == Some(true));
            judged.unmeasured += usize::from(verdict.is_none());
        }
        judged
    }

    /// The share of good requests; `None` without any request.
    pub fn ratio(self) -> Option<f64> {
        (self.requests > 0).then(|| self.good as f64 / self.requests as f64)
    }
}

/// How a number is spread over requests. Percentiles interpolate linearly between closest ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Over how many requests.
    pub n: usize,
    /// The least.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of values in any order; `None` without any.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let at = |p: f64| {
            let rank = p / 100.0 * (values.len() - 1) as f64;
            let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
            low + (high - low) * rank.fract()
        };
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Self { n: values.len(), min, mean, p50: at(50.0), p99: at(99.0), max })
    }
}

/// One class of failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// The class.
    pub class: FailureClass,
    /// How many.
    pub count: usize,
    /// What the first of them looked like.
    pub example: String,
}

impl Metrics {
    /// Sums up Records, given in the order of the schedule. `itl` holds the gaps that count, since Records need not.
    pub fn of(records: &[Record], itl: &Tally, slo: &Slo, percents: &[Percent]) -> Self {
        Scope::run(records).metrics(itl, slo, percents)
    }

    /// Sums up a window of the run: latencies over the requests that were sent in it, counts and request throughput
    /// over those that ended in it, output tokens over the events in it. ITL only where the Records keep their gaps.
    pub fn within(window: &Window, records: &[Record], slo: &Slo, percents: &[Percent]) -> Self {
        let scope = Scope::window(records, window);
        let itl = kept_gaps(scope.started()).collect();
        scope.metrics(&itl, slo, percents)
    }

    /// Requests, answered or not.
    pub fn requests(&self) -> usize {
        self.completed + self.failed + self.abandoned
    }

    /// What the share of good requests is of; `None` without an SLO. A result from before it was stored has all requests
    /// that were not abandoned.
    pub fn judged(&self) -> Option<Judged> {
        let before = || Judged {
            requests: self.completed + self.failed,
            good: self.good.unwrap_or_default(),
            unmeasured: 0,
        };
        self.judged.or(self.good.map(|_| before()))
    }

    /// TPOT as vLLM computes it, for vLLM's keys; `None` without samples.
    pub fn vllm_tpot(&self) -> Option<&Distribution> {
        self.vllm_tpot.as_ref().or(self.latencies.get(&Latency::Tpot))
    }

    /// Whether the server made vectors or scores: then nothing that counts output tokens applies.
    pub fn is_of_pooling(&self) -> bool {
        self.input_sequences.is_some()
    }

    /// A count over the run's duration; `None` for a run that took no time.
    fn per_second(&self, count: f64) -> Option<f64> {
        let seconds = self.duration.as_secs_f64();
        (seconds > 0.0).then(|| count / seconds)
    }
}

/// The values of a latency over the requests that have it, in the order of the Records.
pub fn samples(records: &[Record], latency: Latency) -> impl Iterator<Item = Duration> {
    values(records.iter(), latency)
}

/// The gaps between output events that count, as far as the Records keep them.
pub fn gaps(records: &[Record]) -> impl Iterator<Item = Duration> {
    kept_gaps(records.iter())
}

fn kept_gaps<'a>(records: impl Iterator<Item = &'a Record>) -> impl Iterator<Item = Duration> {
    records
        .filter(|record| Latency::Itl.counts(record))
        .flat_map(|record| record.events.gaps.iter().flatten().copied())
}

/// The time between the output events of each request and the number of gaps that makes, in the order of the Records.
pub fn gap_sums(records: &[Record]) -> impl Iterator<Item = (Duration, u32)> {
    records.iter().filter_map(scope::gaps)
}

/// What makes the scalars that are rates, by the scalar's key: (what happened, seconds) in each second of a run.
pub fn by_second(records: &[Record], slo: &Slo) -> BTreeMap<&'static str, Vec<(f64, f64)>> {
    rates::by_second(Scope::run(records), slo)
}

/// Whether each request that somebody waited for failed, in the order of the Records.
pub fn failures(records: &[Record]) -> impl Iterator<Item = bool> {
    records.iter().filter(|record| !record.was_abandoned()).map(Record::failed)
}

/// Whether each request whose user was to stay met every limit of the SLO, in the order of the Records.
pub fn successes(records: &[Record], slo: &Slo) -> impl Iterator<Item = bool> {
    records.iter().filter(|record| !record.was_to_leave()).map(move |record| meets(record, slo))
}

fn values<'a>(records: impl Iterator<Item = &'a Record>, latency: Latency) -> impl Iterator<Item = Duration> {
    records.filter_map(move |record| latency.counted(record))
}

/// Whether a request is known to have met every limit.
pub fn meets(record: &Record, slo: &Slo) -> bool {
    judge(record, slo) == Some(true)
}

/// Whether a request met every limit; `None` if it missed none that could be measured, but one could not.
///
/// Nothing of an answer of one token comes after its first event, so a limit on TPOT does not apply to it.
fn judge(record: &Record, slo: &Slo) -> Option<bool> {
    if !record.succeeded() {
        return Some(false);
    }
    let slo = slo.of_class(record.facets.as_ref().and_then(|facets| facets.class.as_deref()));
    let (ttft, e2e) = match slo.from {
        SloFrom::Due => (record.ttft_from_due(), record.e2e_from_due()),
        SloFrom::Sent => (record.ttft(), record.e2e()),
    };
    let tpot_limit = slo.tpot.filter(|_| !record.is_one_token());
    let limited = [(ttft, slo.ttft), (record.tpot(), tpot_limit), (e2e, slo.e2e)];
    let mut limited = limited.into_iter().filter_map(|(value, limit)| Some((value, limit?)));
    let is_missed = |(value, limit): (Option<Duration>, Duration)| value.is_some_and(|value| value > limit);
    let is_unmeasured = limited.clone().any(|(value, _)| value.is_none());
    match limited.any(is_missed) {
        true => Some(false),
        false if is_unmeasured => None,
        false => Some(true),
    }
}

#[cfg(test)]
mod tests;
