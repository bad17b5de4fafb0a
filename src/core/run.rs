//! A saved run: what was asked, where it ran, what was measured.
//!
//! The file is one JSON object (or several, one a line): vLLM's keys at the top level, for the tools that read those,
//! and everything vLLM lacks under `servebench`. Only `servebench` is read back (and from vLLM's arrays what it would
//! repeat).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::dataset::Provenance;
use super::digest::Digest;
use super::metrics::{Latency, Metrics};
use super::probes::Probes;
use super::profile::Capture;
use super::record::{Record, TokenSource};
use super::series::Series;
use super::server::ServerSide;
use super::spec::Spec;
use super::stats::Percent;
use super::steady::{self, NoWindow, Window};
use super::units::seconds;
use super::validity::Verdict;
use super::wall_time::WallTime;

mod believable;
pub mod file;
mod json;
mod promotion;
pub mod pytorch;
#[cfg(test)]
pub(crate) mod sample;
mod start;
mod vllm;

pub use promotion::{JudgedRule, Promotion, Replaced};
pub use start::ServerStart;
pub use vllm::file_name;

/// The version of the `servebench` object; it changes when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// One measured run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// The program's version.
    pub version: String,
    /// t0, which every offset in here counts from, in the client's time zone.
    pub started: Zoned,
    /// The same as a number, with its doubt; results of earlier versions have none, and their `started` lies before the
    /// warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t0: Option<WallTime>,
    /// The command line, secrets masked.
    pub command: Vec<String>,
    /// Every flag that it was given, on the command line or elsewhere, secrets masked: what `--like` does again. A run that
    /// was not made by the program has none.
    #[serde(default)]
    pub settings: Option<Map<String, Value>>,
    /// Whether it was cut short by an interrupt: the numbers are of what was measured until then.
    pub interrupted: bool,
    /// What was asked for.
    pub spec: Spec,
    /// What the user said of it.
    pub notes: Notes,
    /// What is shown of it.
    pub selection: Selection,
    /// What it was fed.
    pub inputs: Inputs,
    /// Where it ran.
    pub environment: Environment,
    /// What was measured.
    pub metrics: Metrics,
    /// What became of the probes, if any were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// What became of the server's profiler, if it was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Capture>,
    /// What the server said of itself meanwhile, if it says anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSide>,
    /// The same for the steady-state window, or why there is none.
    pub steady: Result<Steady, NoWindow>,
    /// The run second by second.
    pub series: Series,
    /// Whether to believe it.
    pub validity: Verdict,
    /// HdrHistogram V2, base64, in nanoseconds.
    pub histograms: BTreeMap<Latency, String>,
    /// How it became a baseline, if a gate made it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// Every request, with `--save-detailed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<Record>>,
    /// Two numbers of each request that vLLM always saves.
    #[serde(skip)]
    pub always: Vec<Always>,
}

/// What vLLM saves of each request even without details, in seconds; zero for a failed one, as vLLM has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Always {
    /// E2E.
    pub latency: f64,
    /// sent − due.
    pub queue_time: f64,
}

impl Always {
    /// Of one request.
    pub fn of(record: &Record) -> Self {
        let latency = record.e2e().filter(|_| record.succeeded()).unwrap_or_default().as_secs_f64();
        Self { latency, queue_time: record.lag().unwrap_or_default().as_secs_f64() }
    }
}

/// The part of a run in which neither its start nor its end shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steady {
    /// Where it is.
    pub window: Window,
    /// What was measured in it.
    pub metrics: Metrics,
    /// What was left out before it; a result from before this was counted has none.
    #[serde(default)]
    pub before: Before,
}

/// The requests that were sent before the steady-state window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// How many.
    pub requests: usize,
    /// Their mean TTFT; `None` where no answer had a first token.
    #[serde(rename = "mean_ttft_s", with = "seconds::option")]
    pub ttft: Option<Duration>,
    /// Their mean E2E; `None` where none was answered.
    #[serde(rename = "mean_e2el_s", with = "seconds::option")]
    pub e2e: Option<Duration>,
}

impl Before {
    fn of(window: &Window, records: &[Record]) -> Self {
        let sent = || records.iter().filter(|record| record.times.sent.is_some_and(|at| at < window.start));
        let mean = |latency: fn(&Record) -> Option<Duration>| {
            let times: Vec<Duration> =
                sent().filter(|record| record.succeeded()).filter_map(latency).collect();
            (!times.is_empty()).then(|| times.iter().sum::<Duration>().div_f64(times.len() as f64))
        };
        Self { requests: sent().count(), ttft: mean(Record::ttft), e2e: mean(Record::e2e) }
    }
}

impl Steady {
    /// Finds it and sums it up. Records are in the order of the schedule.
    pub fn of(spec: &Spec, records: &[Record], percents: &[Percent]) -> Result<Self, NoWindow> {
        let rules = spec.steadiness.ok_or(NoWindow::NotLookedFor)?;
        let window = steady::window(&spec.load, rules, records)?;
        let metrics = Metrics::within(&window, records, &spec.slo, percents);
        Ok(Self { window, metrics, before: Before::of(&window, records) })
    }
}

/// What the user said of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// `--label`: stands in for the backend in the file name.
    pub label: Option<String>,
    /// `--metadata K=V`: put flat among vLLM's keys.
    pub metadata: BTreeMap<String, String>,
}

/// What is shown of a run: `--percentile-metrics` and `--metric-percentiles`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The latencies with a section of their own.
    pub latencies: Vec<Latency>,
    /// Percentiles, 0 ..= 100.
    pub percents: Vec<Percent>,
}

/// What a run was fed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Where the requests came from.
    pub dataset: Provenance,
    /// Who counted tokens.
    pub tokenizer: TokenizerOrigin,
    /// SHA-256 over the prompts as they were sent, in their order.
    #[serde(default)]
    pub prompts: Option<Digest>,
}

/// Where token counts come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerOrigin {
    /// A path, a hub id with its revision, a URL, or `estimate`.
    pub origin: String,
    /// Of the `tokenizer.json`, if it is ours.
    pub sha256: Option<Digest>,
    /// What its counts are worth.
    pub source: TokenSource,
}

/// Where a run ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The client's host name.
    pub host: String,
    /// Its system: `Linux 6.1.0 x86_64`.
    pub system: String,
    /// Its usable processors.
    pub cpus: usize,
    /// What the server's `/version` says.
    pub server_version: Option<String>,
    /// When a sweep or an A/B launched the server; `None` if it was started elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_launched: Option<Timestamp>,
}

/// Why a run could not be saved or read.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is no result of ours.
    #[error("{path} is not a servebench result: {why}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}; give another --result-dir or --result-filename", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Run {
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

    /// Writes the file whole or not at all. Makes missing folders.
    pub fn save(&self, path: &Path) -> Result<(), RunError> {
        file::write_with(path, |out| self.write(out))
    }

    /// Adds a line to a file of runs, which keeps what it had whatever happens.
    pub fn append(&self, path: &Path) -> Result<(), RunError> {
        file::append(path, |out| self.write(out))
    }

    /// Reads a file that [`Run::save`] wrote, or the last run of one that [`Run::append`] wrote.
    pub fn load(path: &Path) -> Result<Self, RunError> {
        let text = fs::read(path).map_err(|source| RunError::Read { path: path.to_owned(), source })?;
        json::read(&text).map_err(|why| RunError::Format { path: path.to_owned(), why })
    }
}

#[cfg(test)]
mod tests;
