//! The one table of metrics, and the sums of Records that fill it.
//!
//! Latencies have a [`Distribution`] each ([`Latency`]); everything else is one number ([`SCALARS`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{FailureClass, Record, TokenCount, TokenSource};
use super::spec::Slo;
use super::stats::{Distribution, Percent, Tally};
use super::units::seconds;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
}

/// The latencies. All are better when lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// First output event − sent.
    Ttft,
    /// (last token − first token) / (output tokens − 1).
    Tpot,
    /// Last output event − sent.
    #[serde(rename = "e2el")]
    E2e,
    /// Gap between output events.
    Itl,
    /// First output event − due.
    TtftFromDue,
    /// Last output event − due.
    #[serde(rename = "e2el_from_due")]
    E2eFromDue,
    /// sent − due.
    Lag,
}

impl Latency {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 7] =
        [Self::Ttft, Self::Tpot, Self::E2e, Self::Itl, Self::TtftFromDue, Self::E2eFromDue, Self::Lag];

    /// Those that `--percentile-metrics` chooses among, in the order of reports.
    pub const SELECTABLE: [Self; 4] = [Self::Ttft, Self::Tpot, Self::E2e, Self::Itl];

    /// The key in JSON and on the command line, vLLM's where it has one.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::E2e => "e2el",
            Self::Itl => "itl",
            Self::TtftFromDue => "ttft_from_due",
            Self::E2eFromDue => "e2el_from_due",
            Self::Lag => "lag",
        }
    }

    /// The latency with this key.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|latency| latency.key() == key)
    }

    /// The short name in reports.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Tpot => "TPOT",
            Self::E2e => "E2E",
            Self::Itl => "ITL",
            Self::TtftFromDue => "TTFT from due",
            Self::E2eFromDue => "E2E from due",
            Self::Lag => "lag",
        }
    }

    /// The title of its section in reports.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ttft => "Time to First Token",
            Self::Tpot => "Time per Output Token",
            Self::E2e => "End-to-End Latency",
            Self::Itl => "Inter-token Latency",
            Self::TtftFromDue => "Time to First Token from due",
            Self::E2eFromDue => "End-to-End Latency from due",
            Self::Lag => "Lag (sent − due)",
        }
    }

    /// Its value for one request; ITL has many and is not here.
    fn of(self, record: &Record) -> Option<Duration> {
        match self {
            Self::Ttft => record.ttft(),
            Self::Tpot => record.tpot(),
            Self::E2e => record.e2e(),
            Self::TtftFromDue => record.ttft_from_due(),
            Self::E2eFromDue => record.e2e_from_due(),
            Self::Lag => record.lag(),
            Self::Itl => None,
        }
    }

    /// Whether failed requests have it too: lag is the client's, whatever the server answers.
    fn counts_failures(self) -> bool {
        self == Self::Lag
    }
}

/// A metric that is one number.
pub struct Scalar {
    /// The key in JSON, vLLM's where it has one.
    pub key: &'static str,
    /// The name in reports.
    pub label: &'static str,
    /// The unit in reports.
    pub unit: &'static str,
    /// Which way is better.
    pub direction: Direction,
    /// Its value; `None` where it does not apply.
    pub value: fn(&Metrics) -> Option<f64>,
}

/// The metrics that are one number, in the order of reports.
pub const SCALARS: [Scalar; 6] = [
    Scalar {
        key: "request_throughput",
        label: "Request throughput",
        unit: "req/s",
        direction: Direction::Higher,
        value: |metrics| metrics.per_second(metrics.completed as f64),
    },
    Scalar {
        key: "input_throughput",
        label: "Input token throughput",
        unit: "tok/s",
        direction: Direction::Higher,
        value: |metrics| metrics.per_second(metrics.input_tokens.total as f64),
    },
    Scalar {
        key: "output_throughput",
        label: "Output token throughput",
        unit: "tok/s",
        direction: Direction::Higher,
        value: |metrics| metrics.per_second(metrics.output_tokens.total as f64),
    },
    Scalar {
        key: "total_token_throughput",
        label: "Total token throughput",
        unit: "tok/s",
        direction: Direction::Higher,
        value: |metrics| {
            metrics.per_second((metrics.input_tokens.total + metrics.output_tokens.total) as f64)
        },
    },
    Scalar {
        key: "request_goodput",
        label: "Request goodput",
        unit: "req/s",
        direction: Direction::Higher,
        value: |metrics| metrics.per_second(metrics.good? as f64),
    },
    Scalar {
        key: "failure_rate",
        label: "Failure rate",
        unit: "",
        direction: Direction::Lower,
        value: |metrics| {
            let all = metrics.completed + metrics.failed;
            (all > 0).then(|| metrics.failed as f64 / all as f64)
        },
    },
];

/// The scalar with this key.
pub fn scalar(key: &str) -> Option<&'static Scalar> {
    SCALARS.iter().find(|scalar| scalar.key == key)
}

/// What a run's Records add up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// t0 to the end of the last request.
    #[serde(rename = "duration_s", with = "seconds")]
    pub duration: Duration,
    /// Requests that got their answer.
    pub completed: usize,
    /// Requests that did not.
    pub failed: usize,
    /// Prompt tokens of completed requests.
    pub input_tokens: Tokens,
    /// Output tokens of completed requests.
    pub output_tokens: Tokens,
    /// Arrivals per second as scheduled, over those that were sent; `None` for all at once.
    pub offered_rate: Option<f64>,
    /// Arrivals per second as sent; `None` for all at once.
    pub achieved_rate: Option<f64>,
    /// Most output tokens in one second of the run: usage apportioned to the events.
    pub peak_output_tokens_per_s: Option<f64>,
    /// Most requests in flight at any instant, exactly.
    pub peak_in_flight: usize,
    /// Requests that met every limit of the SLO; `None` without an SLO.
    pub good: Option<usize>,
    /// The latencies that have samples.
    pub latencies: BTreeMap<Latency, Distribution>,
    /// Failures by class, most frequent first.
    pub failures: Vec<FailureCount>,
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
    /// Sums up Records. `itl` holds every gap of the run, since Records need not.
    pub fn of(records: &[Record], itl: &Tally, slo: &Slo, percents: &[Percent]) -> Self {
        let good = records.iter().filter(|record| record.succeeded());
        let mut metrics = Self {
            duration: records.iter().filter_map(|record| record.times.done).max().unwrap_or_default(),
            completed: good.clone().count(),
            failed: records.iter().filter(|record| !record.succeeded()).count(),
            input_tokens: Tokens::default(),
            output_tokens: Tokens::default(),
            offered_rate: rate(records, |record| Some(record.times.due)),
            achieved_rate: rate(records, |record| record.times.sent),
            peak_output_tokens_per_s: peak_output_tokens(records),
            peak_in_flight: peak_in_flight(records),
            good: slo.is_set().then(|| good.clone().filter(|record| meets(record, slo)).count()),
            latencies: latencies(records, itl, percents),
            failures: failures(records),
        };
        for record in good {
            metrics.input_tokens.add(record.prompt_tokens);
            metrics.output_tokens.add(record.output_tokens);
        }
        metrics
    }

    /// A count over the run's duration; `None` for a run that took no time.
    fn per_second(&self, count: f64) -> Option<f64> {
        let seconds = self.duration.as_secs_f64();
        (seconds > 0.0).then(|| count / seconds)
    }
}

/// Whether a request met every limit. One token has no TPOT, so none to miss.
fn meets(record: &Record, slo: &Slo) -> bool {
    let within = |value: Option<Duration>, limit: Option<Duration>| match (value, limit) {
        (Some(value), Some(limit)) => value <= limit,
        _ => true,
    };
    within(record.ttft(), slo.ttft) && within(record.tpot(), slo.tpot) && within(record.e2e(), slo.e2e)
}

fn latencies(records: &[Record], itl: &Tally, percents: &[Percent]) -> BTreeMap<Latency, Distribution> {
    let distribution = |latency: Latency| match latency {
        Latency::Itl => itl.distribution(percents, &super::stats::Clusters::unknown()),
        _ => Distribution::of(samples(records, latency).collect(), percents),
    };
    Latency::ALL.into_iter().filter_map(|latency| Some((latency, distribution(latency)?))).collect()
}

/// The values of a latency over the requests that have it.
pub fn samples(records: &[Record], latency: Latency) -> impl Iterator<Item = Duration> {
    records
        .iter()
        .filter(move |record| record.succeeded() || latency.counts_failures())
        .filter_map(move |record| latency.of(record))
}

/// Arrivals per second over the sent requests, from t0 to the last of them.
fn rate(records: &[Record], when: fn(&Record) -> Option<Duration>) -> Option<f64> {
    let sent = records.iter().filter(|record| record.times.sent.is_some());
    let last = sent.clone().filter_map(when).max()?.as_secs_f64();
    let scheduled = sent.clone().any(|record| record.times.due > Duration::ZERO);
    (scheduled && last > 0.0).then(|| sent.count() as f64 / last)
}

/// Each request's tokens are spread over its events, so that the peak is never below the average.
fn peak_output_tokens(records: &[Record]) -> Option<f64> {
    let mut by_second = BTreeMap::<u32, f64>::new();
    for record in records.iter().filter(|record| record.succeeded() && record.events.count > 0) {
        let per_event = f64::from(record.output_tokens.count) / f64::from(record.events.count);
        for (second, events) in &record.events.by_second {
            *by_second.entry(*second).or_default() += per_event * f64::from(*events);
        }
    }
    by_second.into_values().reduce(f64::max)
}

/// The exact maximum: a request is in flight from sent to done; an end goes before a start at the same instant.
fn peak_in_flight(records: &[Record]) -> usize {
    let mut edges: Vec<(Duration, i64)> = records
        .iter()
        .filter_map(|record| Some([(record.times.sent?, 1), (record.times.done?, -1)]))
        .flatten()
        .collect();
    edges.sort_unstable();
    let in_flight = edges.into_iter().scan(0, |level, (_, step)| {
        *level += step;
        Some(*level)
    });
    usize::try_from(in_flight.max().unwrap_or(0)).unwrap_or(0)
}

fn failures(records: &[Record]) -> Vec<FailureCount> {
    let mut by_class = BTreeMap::<FailureClass, FailureCount>::new();
    for failure in records.iter().filter_map(|record| record.outcome.as_ref().err()) {
        by_class
            .entry(failure.class)
            .or_insert_with(|| FailureCount {
                class: failure.class,
                count: 0,
                example: failure.detail.clone(),
            })
            .count += 1;
    }
    let mut failures: Vec<_> = by_class.into_values().collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}

#[cfg(test)]
mod tests;
