//! Options of runs, in addition to their Specs.

use std::time::Duration;

use serde_json::{Map, Value};

use super::record_log::LogFile;
use crate::client::request_timer::{CaptureGaps, CaptureText};
use crate::model::profile::ProfileTrigger;
use crate::model::run::{ReportSelection, RunLabels};
use crate::model::setting_names::SettingNames;

/// Options that determine how a session finds its server and tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionOptions {
    /// How long to wait for a server that does not answer yet. Zero does not wait.
    pub ready_timeout: Duration,
    /// Whether the server's metrics are read.
    pub reads_metrics: bool,
    /// The tokenizer that counts tokens.
    pub tokenizer: TokenizerChoice,
}

/// The tokenizer that counts tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenizerChoice {
    /// A file, a folder, or a hub id.
    Named(String),
    /// The tokenizer of the bundled conversations and of the simulator.
    Bundled,
    /// The model's tokenizer, else the server's, else an estimate.
    Model,
    /// The server's tokenizer, else an estimate.
    Server,
}

/// Options that apply to every run of a runner.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunOptions {
    /// How long the server may take to answer a first request. Zero sends no such request.
    pub ready_timeout: Duration,
    /// Whether to empty the server's prefix cache before each run.
    pub reset_prefix_cache: bool,
    /// Whether to send the whole load even if the first requests all fail alike.
    pub keep_going: bool,
    /// How the server's own metrics are read; `None` does not read them.
    pub server_metrics: Option<ServerMetrics>,
    /// When the server's profiler runs; `None` does not use it.
    pub profiler: Option<ProfilerOptions>,
    /// What is kept of each request.
    pub detail: RecordDetail,
    /// The number of Records above which they are kept in a record log and not in memory; `None` keeps all in memory.
    pub most_records: Option<usize>,
    /// The selection of the Run's metrics for the report.
    pub selection: ReportSelection,
    /// The labels that the user gives the Run.
    pub notes: RunLabels,
    /// The user-facing names of the settings that advice in the Run mentions. If it is empty, advice uses the paths in
    /// the Spec.
    pub setting_names: &'static SettingNames,
}

/// How the server's own metrics are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerMetrics {
    /// The time between two readings.
    pub interval: Duration,
    /// The URLs of the metrics pages. If it is empty, the target's own page is read.
    pub urls: Vec<String>,
}

/// When the server's profiler runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ProfilerOptions {
    /// The event that starts the profiler.
    pub trigger: ProfileTrigger,
    /// How long the profiler runs. `None` is five seconds if the profile has a trigger, else until the end of the load.
    pub duration: Option<Duration>,
}

/// What is kept of each request after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordDetail {
    /// Whether the generated text is kept.
    pub text: CaptureText,
    /// Whether every gap between output events is kept.
    pub gaps: CaptureGaps,
    /// Whether text and gaps may be in the run's record log only.
    pub in_log: bool,
}

impl RecordDetail {
    /// Keeps times and counts only.
    pub(crate) const NONE: Self = Self { text: CaptureText::Never, gaps: CaptureGaps::Never, in_log: false };

    /// Keeps times, counts and every gap, which comparisons need.
    pub(crate) const GAPS: Self = Self { gaps: CaptureGaps::Always, ..Self::NONE };

    /// Keeps everything that can be saved of a request.
    pub(crate) const ALL: Self = Self { text: CaptureText::Always, gaps: CaptureGaps::Always, in_log: false };

    /// Returns this detail for a run with a record log: text and gaps that are not needed elsewhere are in the log
    /// only.
    pub(crate) fn logged(self) -> Self {
        match self.in_log {
            true => Self { text: CaptureText::UntilEnded, gaps: CaptureGaps::UntilEnded, ..self },
            false => self,
        }
    }

    /// Whether everything that is kept of a request may be in the record log only.
    pub(crate) fn fits_in_log(self) -> bool {
        !self.in_log && self.text != CaptureText::Always && self.gaps != CaptureGaps::Always
    }

    /// Returns this detail for a run with an observer, if `is_observed`: an ended request then includes its gaps.
    pub(crate) fn observed(self, is_observed: bool) -> Self {
        if is_observed { Self { gaps: self.gaps.max(CaptureGaps::UntilEnded), ..self } } else { self }
    }
}

/// How a run was requested. It is stored with the Run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Invocation {
    /// The command line. Its secrets are masked before it is stored.
    pub command: Vec<String>,
    /// The effective settings by name, with secrets masked.
    pub settings: Map<String, Value>,
    /// The record log; `None` writes none.
    pub record_log: Option<LogFile>,
}
