//! The neutral value: tool, load, counts, rates and latencies, as stated.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::model::metrics::Latency;
use crate::model::units::Rate;
use crate::stats::{Distribution, Percent};

/// A benchmark tool whose results are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tool {
    /// This program.
    Servegauge,
    /// NVIDIA's aiperf.
    Aiperf,
    /// guidellm.
    Guidellm,
    /// `vllm bench serve`, the Python client.
    VllmBench,
    /// `vllm-rs bench serve`, the Rust client.
    VllmRsBench,
    /// SGLang's `bench_serving`.
    SglangBench,
    /// Kubernetes' inference-perf.
    InferencePerf,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Servegauge => "servegauge",
            Self::Aiperf => "aiperf",
            Self::Guidellm => "guidellm",
            Self::VllmBench => "vllm bench serve",
            Self::VllmRsBench => "vllm-rs bench serve",
            Self::SglangBench => "SGLang bench_serving",
            Self::InferencePerf => "inference-perf",
        })
    }
}

impl Tool {
    /// What counts the tokens of [`StatedTokens::recount`].
    pub(crate) fn recount_name(self) -> &'static str {
        match self {
            Self::SglangBench => "the text tokenized again",
            _ => "the server's usage",
        }
    }
}

/// What a result of a tool states.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StatedResult {
    /// The tool that measured it.
    pub tool: Tool,
    /// The tool's version.
    pub tool_version: Option<String>,
    /// Which of several results of the file this is, such as `2 of 3`; `None` for the only one.
    pub part: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// When the run started, as the tool writes it, or RFC 3339 where it writes a number.
    pub started: Option<String>,
    /// The load that was asked for.
    pub load: StatedLoad,
    /// Answered requests.
    pub completed: Option<u64>,
    /// Failed requests.
    pub failed: Option<u64>,
    /// Requests that the tool stopped before their end.
    pub unfinished: Option<u64>,
    /// The run's duration in seconds.
    pub duration_s: Option<f64>,
    /// The mean number of requests in flight.
    pub mean_in_flight: Option<f64>,
    /// The rate at which requests were sent, per second.
    pub arrival_rate: Option<f64>,
    /// Prompt tokens of answered requests.
    pub input_tokens: StatedTokens,
    /// Output tokens of answered requests.
    pub output_tokens: StatedTokens,
    /// The number of different prompts.
    pub distinct_prompts: Option<u64>,
    /// Rates and shares, by the keys of our metrics.
    pub rates: BTreeMap<&'static str, f64>,
    /// The statistics of the latencies.
    pub latencies: BTreeMap<Latency, StatedLatency>,
    /// Every request, where the file has them, in the order of their starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Vec<StatedRequest>>,
}

/// The load that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct StatedLoad {
    /// Arrivals per second; `"inf"` for all at once.
    pub request_rate: Option<Rate>,
    /// The shape of the gamma distribution of the gaps between arrivals; 1 is Poisson.
    pub burstiness: Option<f64>,
    /// The largest number of requests in flight.
    pub max_concurrency: Option<u64>,
}

/// Tokens of answered requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct StatedTokens {
    /// The tool's total.
    pub total: Option<u64>,
    /// The total by another count: the server's usage, or the tool's own tokenizer where `total` is the usage.
    pub recount: Option<u64>,
    /// The lengths of single requests.
    pub lengths: StatedLengths,
}

/// The lengths of the prompts or answers of single requests, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct StatedLengths {
    /// The shortest.
    pub min: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

/// The stated statistics of a latency, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct StatedLatency {
    /// The number of values; more than requests where the tool weights by tokens.
    pub n: Option<u64>,
    /// The arithmetic mean.
    pub mean_ms: Option<f64>,
    /// The standard deviation.
    pub std_ms: Option<f64>,
    /// The smallest value.
    pub min_ms: Option<f64>,
    /// The largest value.
    pub max_ms: Option<f64>,
    /// The percentiles, ascending.
    pub percentiles: Vec<StatedPercentile>,
}

/// A stated percentile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct StatedPercentile {
    /// The rank in percent.
    pub p: Percent,
    /// The value in milliseconds.
    pub value_ms: f64,
}

/// What a file states of one request.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct StatedRequest {
    /// The start in seconds after the first request's.
    pub start_s: Option<f64>,
    /// Whether the request failed.
    pub failed: bool,
    /// TTFT in milliseconds.
    pub ttft_ms: Option<f64>,
    /// TPOT in milliseconds.
    pub tpot_ms: Option<f64>,
    /// E2E in milliseconds.
    pub e2e_ms: Option<f64>,
    /// The gaps between output events in milliseconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub itl_ms: Vec<f64>,
    /// Prompt tokens.
    pub input_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: Option<u64>,
}

impl StatedResult {
    /// A result that states nothing yet.
    pub(crate) fn new(tool: Tool) -> Self {
        Self {
            tool,
            tool_version: None,
            part: None,
            model: None,
            started: None,
            load: StatedLoad::default(),
            completed: None,
            failed: None,
            unfinished: None,
            duration_s: None,
            mean_in_flight: None,
            arrival_rate: None,
            input_tokens: StatedTokens::default(),
            output_tokens: StatedTokens::default(),
            distinct_prompts: None,
            rates: BTreeMap::new(),
            latencies: BTreeMap::new(),
            requests: None,
        }
    }

    /// The tool with its version: `aiperf 0.13.0`.
    pub(crate) fn tool_name(&self) -> String {
        let version = self.tool_version.iter().map(|version| format!(" {version}"));
        std::iter::once(self.tool.to_string()).chain(version).collect()
    }

    /// The tool with its version and the part of the file: `guidellm 0.8.1, benchmark 2 of 3`.
    pub(crate) fn origin(&self) -> String {
        let part = self.part.iter().map(|part| format!(", {part}"));
        std::iter::once(self.tool_name()).chain(part).collect()
    }

    /// The number of requests that were answered or failed, as far as the file counts them.
    pub(crate) fn request_count(&self) -> Option<u64> {
        Some(self.completed? + self.failed.unwrap_or_default())
    }

    /// The share of failures; `None` where the file does not count both.
    pub(crate) fn failure_rate(&self) -> Option<f64> {
        let (completed, failed) = (self.completed?, self.failed?);
        let all = completed + failed;
        (all > 0).then(|| failed as f64 / all as f64)
    }

    /// The values of a latency over the answered requests, in the order of their starts; empty where the file has no
    /// requests. Values that are no durations are left out.
    pub(crate) fn samples(&self, latency: Latency) -> Vec<Duration> {
        self.sample_groups(latency).concat()
    }

    /// The same values by request: the gaps of one request depend on each other.
    pub(crate) fn sample_groups(&self, latency: Latency) -> Vec<Vec<Duration>> {
        let answered = self.requests.iter().flatten().filter(|request| !request.failed);
        let groups =
            answered.map(|request| request.values(latency).iter().filter_map(duration).collect::<Vec<_>>());
        groups.filter(|group| !group.is_empty()).collect()
    }

    /// The distributions of the latencies over the answered requests of the file, with intervals.
    pub(crate) fn distributions(&self, percents: &[Percent]) -> BTreeMap<Latency, Distribution> {
        let distribution =
            |latency| Some((latency, Distribution::from_values(self.samples(latency), percents)?));
        Latency::SELECTABLE.into_iter().filter_map(distribution).collect()
    }
}

impl StatedLatency {
    /// The stated percentile; `None` if this rank is not stated.
    pub(crate) fn percentile(&self, p: Percent) -> Option<f64> {
        self.percentiles.iter().find(|stated| stated.p == p).map(|stated| stated.value_ms)
    }

    /// Whether nothing is stated.
    pub(crate) fn is_empty(&self) -> bool {
        let values = [self.mean_ms, self.std_ms, self.min_ms, self.max_ms];
        values.iter().all(Option::is_none) && self.percentiles.is_empty()
    }

    /// Sorts the percentiles and removes repeated ones.
    pub(crate) fn sorted(mut self) -> Self {
        self.percentiles.sort_by(|a, b| a.p.total_cmp(&b.p));
        self.percentiles.dedup_by_key(|stated| stated.p);
        self
    }
}

impl StatedRequest {
    /// The values of a latency in milliseconds: one, or one for each gap.
    pub(crate) fn values(&self, latency: Latency) -> &[f64] {
        match latency {
            Latency::Ttft => self.ttft_ms.as_slice(),
            Latency::Tpot => self.tpot_ms.as_slice(),
            Latency::E2e => self.e2e_ms.as_slice(),
            Latency::Itl => &self.itl_ms,
            _ => &[],
        }
    }
}

fn duration(ms: &f64) -> Option<Duration> {
    Duration::try_from_secs_f64(ms / 1e3).ok()
}
