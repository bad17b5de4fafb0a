//! The table of metrics, and their computation from Records.
//!
//! Each latency has a [`Distribution`] ([`Latency`]); every other metric is one number ([`SCALARS`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{FailureClass, Record, TokenCount, TokenSource};
use crate::model::concurrency::{ConcurrencyCurve, Peak};
pub use crate::model::metrics::definitions::Latency;
pub(crate) use crate::model::metrics::definitions::{Direction, OUTPUT_THROUGHPUTS, SCALARS, Scalar, scalar};
pub(crate) use crate::model::metrics::groups::{GroupBy, GroupMetrics, LatencySummary};
use crate::model::run_spec::{Slo, SloFrom};
#[cfg(test)]
use crate::model::steady_state::SteadyWindow;
use crate::seconds;
use crate::stats::{Distribution, DurationSketch, Percent, RateInterval};
pub(crate) use fold::{MetricsFold, MetricsInput};
use measurement_window::MeasurementWindow;
use rates::SecondSums;
pub(crate) use sessions::SessionTotals;
use waterfall::Waterfall;

mod definitions;
mod fold;
mod groups;
mod measurement_window;
mod rates;
mod sessions;
mod tallies;
pub(crate) mod waterfall;

/// The metrics of a run, computed from its Records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    /// The time from t0 to the end of the last request; for a window, its length.
    #[serde(rename = "duration_s", with = "seconds")]
    pub duration: Duration,
    /// Requests that were answered.
    pub completed: usize,
    /// Requests that failed.
    pub failed: usize,
    /// Requests whose user left before the end, as scheduled: neither completed nor failed.
    #[serde(default)]
    pub abandoned: usize,
    /// Completed requests whose user was scheduled to leave later: counted as completed, but excluded from every
    /// latency.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub answered_before_leaving: usize,
    /// Prompt tokens of completed requests.
    pub input_tokens: TokenTotal,
    /// Output tokens of completed requests.
    pub output_tokens: TokenTotal,
    /// Texts embedded or ranked in completed requests; `None` for generation.
    #[serde(default)]
    pub input_sequences: Option<u64>,
    /// The total length of the recordings in completed requests; `None` without recordings.
    #[serde(default, rename = "input_audio_s", with = "seconds::option")]
    pub input_audio: Option<Duration>,
    /// Output tokens per event, over the completed requests; `None` where events are the only source of token counts.
    pub(crate) tokens_per_event: Option<ValueSummary>,
    /// Scheduled arrivals per second, over the requests that were sent; `None` if all were due at once.
    pub offered_rate: Option<f64>,
    /// Actual arrivals per second; `None` if all were due at once.
    pub achieved_rate: Option<f64>,
    /// The largest number of output tokens in one second of the run, with each request's usage spread over its events.
    /// It is never below the average, which it equals in a run shorter than one second.
    pub peak_output_tokens_per_s: Option<f64>,
    /// The largest number of requests in flight at any instant.
    pub peak_in_flight: usize,
    /// Whether `peak_in_flight` is a lower bound: a run of more requests than fit in memory may have had a few more in
    /// flight for some milliseconds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) peak_is_lower_bound: bool,
    /// Requests that met every limit of the SLO; `None` without an SLO.
    pub good: Option<usize>,
    /// Requests whose users were scheduled to stay, compared to the SLO: the denominator of the share of good requests.
    /// `None` without an SLO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) judged: Option<SloCounts>,
    /// 95 % intervals of the scalars that are rates or shares, by the scalar's key. Rates have none in runs shorter
    /// than ten seconds.
    pub rate_intervals: BTreeMap<String, RateInterval>,
    /// The latencies that have samples.
    pub latencies: BTreeMap<Latency, Distribution>,
    /// TPOT as vLLM computes it ([`Record::vllm_tpot`]), where it differs for any request; `None` where it does not. In
    /// results from before the two definitions were separate, TPOT itself is vLLM's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vllm_tpot: Option<Distribution>,
    /// The number of TPOTs by the source of the token count of their first output event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) first_event_by_source: BTreeMap<TokenSource, usize>,
    /// Completed requests by finish reason; `none` counts answers without one. Empty for backends that do not generate.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub finish_reasons: BTreeMap<String, usize>,
    /// Failures by class, most frequent first.
    pub failures: Vec<FailureCount>,
    /// The same metrics for each group of requests, by turn, class or adapter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) rows: BTreeMap<GroupBy, Vec<GroupMetrics>>,
    /// Totals of the sessions with several turns; `None` without sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sessions: Option<SessionTotals>,
    /// Where the time went; `None` if no answer has the server's own times. Of a run that keeps only a sample of its
    /// Records, that of the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waterfall: Option<Waterfall>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A number of tokens and the sources of its counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTotal {
    /// The number of tokens.
    pub total: u64,
    /// The number of requests by the source of their token count.
    pub requests_by_source: BTreeMap<TokenSource, usize>,
}

impl TokenTotal {
    fn add(&mut self, tokens: TokenCount) {
        self.total += u64::from(tokens.count);
        *self.requests_by_source.entry(tokens.source).or_default() += 1;
    }
}

/// Requests whose users were scheduled to stay, compared to the SLO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SloCounts {
    /// The number of requests, failed ones included.
    pub requests: usize,
    /// Requests that met every limit.
    pub good: usize,
    /// Answered requests without a value that a limit applies to, such as the TPOT of an answer in one event; they are
    /// not good.
    pub unmeasured: usize,
}

impl SloCounts {
    /// Adds a Record that ended.
    fn add(&mut self, record: &Record, slo: &Slo) {
        if !record.has_early_cancel() {
            let verdict = slo_result(record, slo);
            self.requests += 1;
            self.good += usize::from(verdict == Some(true));
            self.unmeasured += usize::from(verdict.is_none());
        }
    }

    /// The share of good requests; `None` without requests.
    pub(crate) fn ratio(self) -> Option<f64> {
        (self.requests > 0).then(|| self.good as f64 / self.requests as f64)
    }
}

/// The distribution of a number over requests. Percentiles interpolate linearly between closest ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ValueSummary {
    /// The number of requests.
    pub n: usize,
    /// The smallest value.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest value.
    pub max: f64,
}

impl ValueSummary {
    /// Summarizes values in any order; `None` without values.
    pub(crate) fn from_values(values: impl Iterator<Item = f64>) -> Option<Self> {
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

/// The percentiles that every run has, besides the requested ones: the columns of the report's table.
pub(crate) const TABLE_PERCENTS: [Percent; 4] = [50.0, 90.0, 95.0, 99.0];

/// The requested percentiles in their order, then those of the table that are not among them.
fn with_table_percents(asked: &[Percent]) -> Vec<Percent> {
    let others = TABLE_PERCENTS.into_iter().filter(|p| !asked.contains(p));
    asked.iter().copied().chain(others).collect()
}

/// One class of failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// The class of the failures.
    pub class: FailureClass,
    /// The number of failures.
    pub count: usize,
    /// The detail of the first failure of the class.
    pub example: String,
    /// What helps against a failure that the set-up causes; `None` if nothing is known to help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Metrics {
    /// Computes the metrics of Records, given in the order of the schedule. `itl` holds the gaps that count, since
    /// Records may not keep them. Latencies have the percentiles of `percents` and `TABLE_PERCENTS`.
    pub fn compute(records: &[Record], itl: &DurationSketch, slo: &Slo, percents: &[Percent]) -> Self {
        let mut fold = MetricsFold::whole_run(slo);
        records.iter().for_each(|record| fold.add(record));
        let peak = Peak { level: ConcurrencyCurve::from_records(records).peak(), is_exact: true };
        fold.finish(&MetricsInput { kept: records.into(), itl: Some(itl), percents, peak })
    }

    /// Computes the metrics of a window of a run, as [`MetricsFold::steady`] does. ITL exists only where the Records
    /// keep their gaps.
    #[cfg(test)]
    pub(crate) fn compute_window(
        window: &SteadyWindow,
        records: &[Record],
        slo: &Slo,
        percents: &[Percent],
    ) -> Self {
        let mut fold = MetricsFold::steady(window, slo);
        records.iter().for_each(|record| fold.add(record));
        let peak = window.peak(&ConcurrencyCurve::from_records(records));
        fold.finish(&MetricsInput { kept: records.into(), itl: None, percents, peak })
    }

    /// Removes all sampling intervals: those of simulated requests would describe the length of the simulation.
    pub(crate) fn remove_intervals(&mut self) {
        self.rate_intervals.clear();
        self.latencies.values_mut().chain(&mut self.vllm_tpot).for_each(Distribution::remove_intervals);
        self.rows.values_mut().flatten().for_each(GroupMetrics::remove_intervals);
    }

    /// The number of requests, answered or not.
    pub fn request_count(&self) -> usize {
        self.completed + self.failed + self.abandoned
    }

    /// The counts behind the share of good requests; `None` without an SLO. In results from before these counts were
    /// stored, they cover all requests that were not abandoned.
    pub(crate) fn slo_counts(&self) -> Option<SloCounts> {
        let before = || SloCounts {
            requests: self.completed + self.failed,
            good: self.good.unwrap_or_default(),
            unmeasured: 0,
        };
        self.judged.or(self.good.map(|_| before()))
    }

    /// TPOT as vLLM computes it, for vLLM's keys; `None` without samples.
    pub(crate) fn vllm_tpot(&self) -> Option<&Distribution> {
        self.vllm_tpot.as_ref().or(self.latencies.get(&Latency::Tpot))
    }

    /// Returns whether the server returned vectors or scores: metrics of output tokens then do not apply.
    pub(crate) fn is_pooling(&self) -> bool {
        self.input_sequences.is_some()
    }

    /// Returns whether the output tokens of the answers were removed, because they are wrong.
    fn lacks_output_tokens(&self) -> bool {
        !self.is_pooling() && self.completed > 0 && self.output_tokens.requests_by_source.is_empty()
    }

    /// A count divided by the run's duration; `None` if the duration is zero.
    fn per_second(&self, count: f64) -> Option<f64> {
        let seconds = self.duration.as_secs_f64();
        (seconds > 0.0).then(|| count / seconds)
    }
}

/// The values of a latency over the requests that have it, in the order of the Records.
pub(crate) fn samples(records: &[Record], latency: Latency) -> impl Iterator<Item = Duration> {
    latency_values(records.iter(), latency)
}

/// The gaps between output events that count, for the Records that keep them.
pub(crate) fn gaps(records: &[Record]) -> impl Iterator<Item = Duration> {
    recorded_gaps(records.iter())
}

fn recorded_gaps<'a>(records: impl Iterator<Item = &'a Record>) -> impl Iterator<Item = Duration> {
    records
        .filter(|record| Latency::Itl.applies_to(record))
        .flat_map(|record| record.events.gaps.iter().flatten())
}

/// The time between the first and last output event of each request and its number of gaps, in the order of the
/// Records.
pub(crate) fn gap_sums(records: &[Record]) -> impl Iterator<Item = (Duration, u32)> {
    records.iter().filter_map(measurement_window::gaps)
}

/// The data of each rate metric, by its key: a pair (events, duration in seconds) for each second of the run.
pub(crate) fn by_second(records: &[Record], slo: &Slo) -> BTreeMap<&'static str, Vec<(f64, f64)>> {
    let mut seconds = SecondSums::new(MeasurementWindow::WHOLE_RUN);
    records.iter().for_each(|record| seconds.add(record, slo));
    let end = records.iter().filter_map(|record| record.times.done()).max();
    seconds.by_second(end.unwrap_or_default(), slo)
}

/// Whether each request that was not abandoned failed, in the order of the Records.
pub(crate) fn failures(records: &[Record]) -> impl Iterator<Item = bool> {
    failed(records.iter())
}

fn failed<'a>(records: impl Iterator<Item = &'a Record>) -> impl Iterator<Item = bool> {
    records.filter(|record| !record.is_abandoned()).map(Record::is_failure)
}

/// Whether each request whose user was scheduled to stay met every limit of the SLO, in the order of the Records.
pub(crate) fn successes(records: &[Record], slo: &Slo) -> impl Iterator<Item = bool> {
    good(records.iter(), slo)
}

fn good<'a>(records: impl Iterator<Item = &'a Record>, slo: &Slo) -> impl Iterator<Item = bool> {
    records.filter(|record| !record.has_early_cancel()).map(move |record| meets_slo(record, slo))
}

fn latency_values<'a>(
    records: impl Iterator<Item = &'a Record>,
    latency: Latency,
) -> impl Iterator<Item = Duration> {
    records.filter_map(move |record| latency.counted_value(record))
}

/// Returns whether a request is known to have met every limit.
pub(crate) fn meets_slo(record: &Record, slo: &Slo) -> bool {
    slo_result(record, slo) == Some(true)
}

/// Returns whether a request met every limit; `None` if it violated no measurable limit, but one was not measurable.
///
/// An answer of one token has nothing after its first event, so a limit on TPOT does not apply to it.
fn slo_result(record: &Record, slo: &Slo) -> Option<bool> {
    if !record.is_success() {
        return Some(false);
    }
    let slo = slo.for_class(record.facets.as_ref().and_then(|facets| facets.class.as_deref()));
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
