//! The one table of metrics: keys, names, units, directions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Judged, Metrics};
use crate::core::record::Record;

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
}

impl Latency {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 7] =
        [Self::Ttft, Self::Tpot, Self::E2e, Self::Itl, Self::TtftFromDue, Self::E2eFromDue, Self::Lag];

    /// Those that the server alone answers for, in the order of reports.
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

    /// vLLM's key for it, in its JSON and for `--percentile-metrics`, where it has one.
    pub fn vllm_key(self) -> Option<&'static str> {
        match self {
            Self::Ttft | Self::Tpot | Self::E2e | Self::Itl => Some(self.key()),
            Self::Lag => Some("client_queue_time"),
            Self::E2eFromDue => Some("e2el_including_client_queue"),
            Self::TtftFromDue => None,
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

    /// Whether it is a time within a stream, which an answer in one piece has not.
    pub fn needs_stream(self) -> bool {
        matches!(self, Self::Ttft | Self::Tpot | Self::Itl | Self::TtftFromDue)
    }

    /// Its value for one request that it counts for; ITL has many and is not here.
    pub fn counted(self, record: &Record) -> Option<Duration> {
        self.of(record).filter(|_| self.counts(record))
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

    /// Whether it counts for a request. Lag does for all of them: it is the client's, whatever the server answers. The
    /// others are of answers to users who were to stay: of those who were to leave, only the quick answers would be seen.
    pub fn counts(self, record: &Record) -> bool {
        self == Self::Lag || (record.succeeded() && !record.was_to_leave())
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
pub const SCALARS: [Scalar; 9] = [
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
        value: |metrics| match metrics.is_of_pooling() {
            true => None,
            false => metrics.per_second(metrics.output_tokens.total as f64),
        },
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
        value: |metrics| metrics.judged().and_then(Judged::ratio),
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
