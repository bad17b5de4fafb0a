//! The definitions of the metrics: keys, names, units, directions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Metrics, SloCounts};
use crate::model::record::Record;

/// Whether lower or higher values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Lower is better.
    Lower,
    /// Higher is better.
    Higher,
}

/// The latencies. Lower is better for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Latency {
    /// First output event − sent.
    Ttft,
    /// (last output event − first) / tokens after the first output event.
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
    /// The request's time in the server's queue, where its answer reports it.
    ServerQueue,
    /// From the server's first step with the request to its first token, where its answer reports it.
    ServerPrefill,
    /// From the server's first token to its last, where its answer reports it.
    ServerDecode,
}

impl Latency {
    /// All latencies, in the order of reports.
    pub const ALL: [Self; 10] = [
        Self::Ttft,
        Self::Tpot,
        Self::E2e,
        Self::Itl,
        Self::TtftFromDue,
        Self::E2eFromDue,
        Self::Lag,
        Self::ServerQueue,
        Self::ServerPrefill,
        Self::ServerDecode,
    ];

    /// The server's own times, in the order in which they pass.
    pub(crate) const BY_SERVER: [Self; 3] = [Self::ServerQueue, Self::ServerPrefill, Self::ServerDecode];

    /// The latencies that depend on the server alone, in the order of reports.
    pub const SELECTABLE: [Self; 4] = [Self::Ttft, Self::Tpot, Self::E2e, Self::Itl];

    /// The key in JSON and on the command line: vLLM's key, if there is one.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::E2e => "e2el",
            Self::Itl => "itl",
            Self::TtftFromDue => "ttft_from_due",
            Self::E2eFromDue => "e2el_from_due",
            Self::Lag => "lag",
            Self::ServerQueue => "server_queue",
            Self::ServerPrefill => "server_prefill",
            Self::ServerDecode => "server_decode",
        }
    }

    /// vLLM's key for the latency, in its JSON and for `--percentile-metrics`; `None` if vLLM has none.
    pub(crate) fn vllm_key(self) -> Option<&'static str> {
        match self {
            Self::Ttft | Self::Tpot | Self::E2e | Self::Itl => Some(self.key()),
            Self::Lag => Some("client_queue_time"),
            Self::E2eFromDue => Some("e2el_including_client_queue"),
            Self::TtftFromDue | Self::ServerQueue | Self::ServerPrefill | Self::ServerDecode => None,
        }
    }

    /// The latency with this key.
    pub(crate) fn from_key(key: &str) -> Option<Self> {
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
            Self::ServerQueue => "server queue",
            Self::ServerPrefill => "server prefill",
            Self::ServerDecode => "server decode",
        }
    }

    /// The title of the latency's section in reports.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Ttft => "Time to First Token",
            Self::Tpot => "Time per Output Token",
            Self::E2e => "End-to-End Latency",
            Self::Itl => "Inter-token Latency",
            Self::TtftFromDue => "Time to First Token from due",
            Self::E2eFromDue => "End-to-End Latency from due",
            Self::Lag => "Lag (sent − due)",
            Self::ServerQueue => "Time in the Server's Queue",
            Self::ServerPrefill => "Prefill by the Server",
            Self::ServerDecode => "Decode by the Server",
        }
    }

    /// Returns whether the latency is a time within a stream, which an answer in one piece does not have.
    pub(crate) fn is_stream_only(self) -> bool {
        matches!(self, Self::Ttft | Self::Tpot | Self::Itl | Self::TtftFromDue)
    }

    /// The latency's value for a request that it applies to; `None` for ITL, which has many values.
    pub(crate) fn counted_value(self, record: &Record) -> Option<Duration> {
        self.value(record).filter(|_| self.applies_to(record))
    }

    /// The latency's value for a request; `None` for ITL, which has many values.
    fn value(self, record: &Record) -> Option<Duration> {
        match self {
            Self::Ttft => record.ttft(),
            Self::Tpot => record.tpot(),
            Self::E2e => record.e2e(),
            Self::TtftFromDue => record.ttft_from_due(),
            Self::E2eFromDue => record.e2e_from_due(),
            Self::Lag => record.lag(),
            Self::ServerQueue => record.server_times().queue.get(),
            Self::ServerPrefill => record.server_times().prefill.get(),
            Self::ServerDecode => record.server_times().decode.get(),
            Self::Itl => None,
        }
    }

    /// Returns whether the latency applies to a request. Lag applies to all: it measures the client, whatever the
    /// server answers. The others apply to answers to users who were scheduled to stay: of users who leave early, only
    /// the quick answers would be observed.
    pub(crate) fn applies_to(self, record: &Record) -> bool {
        self == Self::Lag || (record.is_success() && !record.has_early_cancel())
    }
}

/// A metric that is one number.
pub(crate) struct Scalar {
    /// The key in JSON: vLLM's key, if there is one.
    pub key: &'static str,
    /// The name in reports.
    pub label: &'static str,
    /// The unit in reports.
    pub unit: &'static str,
    /// Whether lower or higher is better.
    pub direction: Direction,
    /// Computes the value; `None` where the metric does not apply.
    pub value: fn(&Metrics) -> Option<f64>,
}

/// The metrics that are one number, in the order of reports.
pub(crate) const SCALARS: [Scalar; 9] = [
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
        value: |metrics| match metrics.is_pooling() || metrics.lacks_output_tokens() {
            true => None,
            false => metrics.per_second(metrics.output_tokens.total as f64),
        },
    },
    Scalar {
        key: "total_token_throughput",
        label: "Total token throughput",
        unit: "tok/s",
        direction: Direction::Higher,
        value: |metrics| match metrics.lacks_output_tokens() {
            true => None,
            false => metrics.per_second((metrics.input_tokens.total + metrics.output_tokens.total) as f64),
        },
    },
    Scalar {
        key: "input_sequence_throughput",
        label: "Input sequence throughput",
        unit: "inputs/s",
        direction: Direction::Higher,
        value: |metrics| metrics.per_second(metrics.input_sequences? as f64),
    },
    Scalar {
        key: "rtfx",
        label: "RTFx (audio over time)",
        unit: "",
        direction: Direction::Higher,
        value: |metrics| metrics.per_second(metrics.input_audio?.as_secs_f64()),
    },
    Scalar {
        key: "request_goodput",
        label: "Request goodput",
        unit: "req/s",
        direction: Direction::Higher,
        value: |metrics| metrics.per_second(metrics.good? as f64),
    },
    Scalar {
        key: "goodput_ratio",
        label: "Goodput ratio",
        unit: "",
        direction: Direction::Higher,
        value: |metrics| metrics.slo_counts().and_then(SloCounts::ratio),
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

/// The keys of the scalars that count output tokens.
pub(crate) const OUTPUT_THROUGHPUTS: [&str; 2] = ["output_throughput", "total_token_throughput"];

/// The scalar with this key.
pub(crate) fn scalar(key: &str) -> Option<&'static Scalar> {
    SCALARS.iter().find(|scalar| scalar.key == key)
}
