//! A saved run: its specification, its environment and its measurements.
//!
//! The file is one JSON object (or several, one a line). vLLM's keys are at the top level, for tools that read them,
//! and everything that vLLM lacks is under `servegauge`. Only `servegauge` is read back, together with those of vLLM's
//! arrays that it would otherwise repeat.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bounded_file::{self, FileLimit};
use super::dataset::Provenance;
use super::digest::Digest;
use super::metrics::{Latency, Metrics};
use super::prediction::Prediction;
use super::probes::ProbeSummary;
use super::profile::ProfileReport;
use super::record::{Record, TokenSource};
use super::record_log::details::LoggedDetails;
use super::rfc3339;
use super::series::RunSeries;
use super::server::ServerMetrics;
use super::validity::Verdict;
use super::wall_time::WallTime;
use crate::model::run_records::SampledRecords;
use crate::model::run_spec::Spec;
use crate::model::stated;
use crate::model::steady_state::NoSteadyState;
use crate::stats::Percent;

mod baseline_history;
pub(crate) mod file;
mod flat_record;
mod invalid_metrics;
mod json;
mod nested_record;
pub(crate) mod pytorch;
mod server_start;
mod steady;
mod steady_json;
mod to_stated;
mod vllm;

pub(crate) use crate::model::run::baseline_history::{BaselinePromotion, JudgedRule, ReplacedBaseline};
pub(crate) use crate::model::run::server_start::ServerStart;
pub(crate) use crate::model::run::steady::{BeforeSteadyState, SteadyFold, SteadyState};
pub(crate) use vllm::file_name;

/// One measured run, or one that a model predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use = "save it, or read its metrics"]
pub struct Run {
    /// The program's version.
    pub version: String,
    /// The run's t0, which every offset is relative to, in the client's time zone.
    #[serde(with = "rfc3339")]
    pub(crate) started: Zoned,
    /// t0 as a number, with its uncertainty. Results of earlier versions have none, and their `started` precedes the
    /// warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) t0: Option<WallTime>,
    /// The command line, secrets masked.
    pub command: Vec<String>,
    /// Every flag of the run, from the command line or elsewhere, secrets masked: the flags that `--like` repeats.
    /// `None` for a run that the program did not make.
    #[serde(default)]
    pub(crate) settings: Option<Map<String, Value>>,
    /// Whether an interrupt ended the run early: the numbers cover the run until then.
    pub interrupted: bool,
    /// The requested run.
    pub spec: Spec,
    /// The user's labels of the run.
    pub(crate) notes: RunLabels,
    /// The metrics that reports show.
    pub(crate) selection: ReportSelection,
    /// The inputs of the run.
    pub(crate) inputs: RunInputs,
    /// The environment of the run.
    pub(crate) environment: RunEnvironment,
    /// The measurements.
    pub metrics: Metrics,
    /// Anomalies of the streams that did not fail a request.
    #[serde(default, skip_serializing_if = "StreamAnomalies::is_empty")]
    pub(crate) streams: StreamAnomalies,
    /// The results of the probes; `None` if none were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) probes: Option<ProbeSummary>,
    /// The report on the server's profiler; `None` if it was not requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<ProfileReport>,
    /// The server's own metrics during the run; `None` if it reports none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<ServerMetrics>,
    /// Problems with the server's metrics pages: the URL and the error, or that the pages have no values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unread_metrics: Vec<String>,
    /// The metrics of the steady-state window, or the reason why there is none.
    #[serde(with = "steady_json")]
    pub(crate) steady: Result<SteadyState, NoSteadyState>,
    /// The time series of the run.
    pub(crate) series: RunSeries,
    /// The verdict on the run's validity.
    pub validity: Verdict,
    /// Histograms in HdrHistogram's V2 format, base64, in nanoseconds.
    pub(crate) histograms: BTreeMap<Latency, String>,
    /// How the Records of a run with many requests were kept; `None` if all were in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sampled: Option<SampledRecords>,
    /// How the run became a baseline; `None` if no gate made it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) promotion: Option<BaselinePromotion>,
    /// How the Run was predicted; `None` for a measured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prediction: Option<Prediction>,
    /// Every request, with `--save-detailed`. [`Run::write`] writes them.
    #[serde(skip)]
    pub records: Option<Vec<Record>>,
    /// The gaps and texts of the records, if the run's record log has them and the records do not.
    #[serde(skip)]
    pub(crate) details: Option<LoggedDetails>,
    /// Two numbers of each request that vLLM always saves.
    #[serde(skip)]
    pub(crate) always: Vec<VllmRequestColumns>,
}

/// Anomalies of a run's streams that did not fail a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StreamAnomalies {
    /// Events that were not part of an answer and were ignored: pings, and comments that a gateway sent as data.
    pub ignored_events: u64,
    /// Streams that repeated their whole text in every event; the text was counted once.
    pub repeating_streams: u64,
    /// The ignored events that are not pings: JSON of another kind, and texts.
    #[serde(skip_serializing_if = "is_zero")]
    pub unknown_events: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_unknown_event: Option<String>,
    /// Events with text in fields that are not read, by the field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unread_fields: BTreeMap<String, u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl StreamAnomalies {
    /// Returns whether there are no anomalies.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A sentence on the fields that are not read; `None` if there are none.
    pub(crate) fn unread_fields(&self) -> Option<String> {
        let fields = self.unread_fields.iter();
        let fields: Vec<_> = fields.map(|(name, events)| format!("{name} ({events} events)")).collect();
        let fields = fields.join(", ");
        (!fields.is_empty()).then(|| {
            format!(
                "deltas have text in fields that are not read: {fields}; if this is output, TTFT is too late, and counts \
                 of events and text are too low"
            )
        })
    }
}

/// The numbers that vLLM saves for each request even without details, in seconds; zero for a failed request, as in
/// vLLM.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct VllmRequestColumns {
    /// E2E.
    pub latency: f64,
    /// sent − due.
    pub queue_time: f64,
}

impl VllmRequestColumns {
    /// Computes the numbers of one request.
    pub(crate) fn from_record(record: &Record) -> Self {
        let latency = record.e2e().filter(|_| record.is_success()).unwrap_or_default().as_secs_f64();
        Self { latency, queue_time: record.lag().unwrap_or_default().as_secs_f64() }
    }
}

/// The user's labels of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunLabels {
    /// `--label`: replaces the backend in the file name.
    pub label: Option<String>,
    /// `--metadata K=V`: top-level keys among vLLM's keys.
    pub metadata: BTreeMap<String, String>,
}

/// The metrics that reports of a run show: `--percentile-metrics` and `--metric-percentiles`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReportSelection {
    /// The latencies that have a section in reports.
    pub latencies: Vec<Latency>,
    /// Percentiles, 0 ..= 100.
    pub percents: Vec<Percent>,
}

/// The inputs of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunInputs {
    /// The source of the requests.
    pub dataset: Provenance,
    /// The source of the token counts.
    pub tokenizer: TokenizerOrigin,
    /// SHA-256 over the prompts as they were sent, in order.
    #[serde(default)]
    pub prompts: Option<Digest>,
}

/// Where token counts come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerOrigin {
    /// A path, a hub ID with its revision, a URL, or `estimate`.
    pub origin: String,
    /// SHA-256 of the `tokenizer.json`; `None` if the client did not use one.
    pub sha256: Option<Digest>,
    /// The kind of the token counts.
    pub source: TokenSource,
}

/// The environment of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunEnvironment {
    /// The client's host name.
    pub host: String,
    /// The client's operating system: `Linux 6.1.0 x86_64`.
    pub system: String,
    /// The number of processors that the client may use.
    pub cpus: usize,
    /// The version reported by the server's `/version`.
    pub server_version: Option<String>,
    /// When a sweep or an A/B test launched the server; `None` if it was started elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_launched: Option<Timestamp>,
}

/// Why a run could not be saved or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not a result of this program.
    #[error("{path} is not a servegauge result: {why}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with the content.
        why: String,
    },
    /// The file is a result of another tool.
    #[error(
        "{path} is not a servegauge result: it is a result of {tool}, which `report`, `compare`, `gate` and `audit` read",
        path = path.display()
    )]
    OtherTool {
        /// The file.
        path: PathBuf,
        /// The tool.
        tool: String,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Run {
    /// Replaces the requests that are saved with the Run.
    #[doc(hidden)]
    pub fn replace_records(&mut self, records: Vec<Record>) {
        self.always = records.iter().map(VllmRequestColumns::from_record).collect();
        self.records = Some(records);
    }

    /// Whether the Run was predicted by a model, and nothing of it was measured.
    pub fn is_predicted(&self) -> bool {
        self.prediction.is_some()
    }

    /// Writes the file's content.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        Ok(json::write(self, out)?)
    }

    /// The file's content.
    pub fn to_json(&self) -> String {
        let mut bytes = Vec::new();
        self.write(&mut bytes).expect("a Run has only string keys");
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }

    /// vLLM's file name: `{label or backend}-{rate}qps{-concurrencyN}-{model}-{date}.json`.
    pub fn file_name(&self) -> String {
        file_name(&self.spec, self.notes.label.as_deref(), &self.started)
    }

    /// Writes the file completely or not at all. Creates missing folders.
    pub fn save(&self, path: &Path) -> Result<(), RunError> {
        file::write_with(path, |out| self.write(out))
    }

    /// Appends a line to a file of runs; the existing lines survive any failure.
    pub fn append(&self, path: &Path) -> Result<(), RunError> {
        file::append(path, |out| self.write(out))
    }

    /// Reads a file that [`Run::save`] wrote, or the last run of one that [`Run::append`] wrote.
    pub fn load(path: &Path) -> Result<Self, RunError> {
        let text = bounded_file::read_json(path, FileLimit::RESULT)
            .map_err(|source| RunError::Read { path: path.to_owned(), source })?;
        json::read(&text).map_err(|why| match stated::recognize(&text) {
            Some(tool) => RunError::OtherTool { path: path.to_owned(), tool: tool.to_string() },
            None => RunError::Format { path: path.to_owned(), why },
        })
    }
}

#[cfg(test)]
mod tests;
