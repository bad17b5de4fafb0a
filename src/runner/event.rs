//! The events that a run emits.

use std::sync::Arc;
use std::time::Duration;

use super::metrics_client::ScrapeError;
use crate::client::admin::AdminError;
use crate::dataset;
use crate::model::record::Record;
use crate::model::validity::Check;
use crate::model::wall_time::WallTime;
use crate::tokenizer::TokenizerError;

/// Receives events, from any thread. It must return quickly, because ended requests wait for it.
pub(crate) type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// An event of a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A phase begins.
    Phase(Phase),
    /// The progress of the dataset's preparation.
    Preparing(dataset::PrepareProgress),
    /// The measured load begins at this t0. With a paced warm-up, the first arrival may be up to one gap later.
    Started(WallTime),
    /// The progress of the measured load, five times a second.
    Progress(LoadProgress),
    /// What the checks say of the measured load until now, once a second: those that ended requests decide.
    ChecksSoFar(&'a [Check]),
    /// A sample of the server's own metrics during the measured load, over all replicas. A level is `None` if no
    /// replica reports it.
    ServerLevels {
        /// The number of requests that the server is processing.
        running: Option<f64>,
        /// The number of requests that wait in the server.
        waiting: Option<f64>,
        /// The share of the KV cache in use, of the fullest replica.
        kv_usage: Option<f64>,
    },
    /// A measured request has ended.
    RequestEnded(&'a Record),
    /// The user asked for the end of the run. In-flight requests have a grace period to finish.
    Stopping {
        /// The length of the grace period.
        grace: Duration,
    },
    /// One of several runs begins.
    Repeat {
        /// The number of the run, from 1.
        number: usize,
        /// The number of runs.
        of: usize,
        /// The seed of the run.
        seed: u64,
    },
    /// A step of a ladder begins.
    Step {
        /// The number of the step, from 1.
        number: usize,
        /// The number of steps.
        of: usize,
        /// The load of the step: `concurrency 8`.
        load: &'a str,
    },
    /// The run has a condition that weakens the result, or that the user did not ask for.
    Warning(Warning),
    /// The run has something useful to report.
    Note(Note),
}

/// The phases of a run, in order. A run without a warm-up has no warm-up phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The requests are being made.
    Preparing,
    /// The preparation is over: it succeeded or failed.
    Prepared,
    /// A first request checks whether the server answers.
    WaitingForServer,
    /// The load runs unmeasured.
    WarmUp {
        /// The number of requests to send; `None` if the duration decides.
        requests: Option<u64>,
    },
    /// The load is measured.
    Measuring {
        /// The number of requests to send; `None` if the duration decides.
        requests: Option<u64>,
        /// The time after which no more requests are sent; `None` if their number decides.
        duration: Option<Duration>,
    },
    /// No more requests are sent, and the run waits for in-flight requests.
    Draining,
    /// The load has ended. The last readings are taken and the Run is assembled.
    Assembling,
}

/// The progress of the measured load, over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress {
    /// The time since t0.
    pub elapsed: Duration,
    /// The number of requests sent until now.
    pub sent: usize,
    /// The number of requests that are sent and have not ended.
    pub in_flight: usize,
    /// The number of gaps between output events until now.
    pub gaps: u64,
}

/// A condition that weakens the result, or that the user did not ask for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Warning {
    /// TLS certificates are not checked.
    InsecureTls,
    /// Prompt lengths are estimated from the text.
    EstimatedLengths {
        /// Why there is no tokenizer of the model.
        no_local: NoTokenizer,
        /// Why the server does not count tokens.
        no_remote: String,
    },
    /// The Spec asks for the model's chat template, and there is none.
    NoChatTemplate {
        /// The tokenizer, which has no chat template.
        tokenizer: String,
    },
    /// The dataset has rows that cannot be used, or prompts that differ from the request.
    Dataset(String),
    /// Requests of the warm-up failed.
    WarmupFailed {
        /// The number of requests that failed.
        failed: usize,
        /// The number of requests sent.
        sent: usize,
    },
    /// A metrics page cannot be read.
    MetricsNotRead {
        /// The URL of the page.
        url: String,
        /// Why the page cannot be read.
        error: ScrapeError,
    },
    /// A metrics page is an engine's and has no metrics: see `EMPTY`.
    EmptyMetrics,
    /// The server's profiler did not run as configured.
    Profiler(String),
    /// The record log cannot be written. The run continues without it.
    RecordLog {
        /// The path of the record log.
        path: String,
        /// Why the log cannot be written.
        cause: String,
    },
    /// The client's metrics cannot be pushed to the gateway.
    PushFailed(String),
    /// The answers have output that the client does not read.
    UnreadOutput(String),
    /// A server that this program started did not end as requested.
    Server(String),
    /// A client that shares the run is lost, its share is not whole, or it shares its host with others.
    Shards(String),
}

/// Why no tokenizer of the model was found.
#[derive(Debug)]
#[non_exhaustive]
pub enum NoTokenizer {
    /// The options skip the search for a tokenizer.
    Skipped,
    /// The model's name is not known.
    NoModelName,
    /// The model's name is neither a path nor a hub id.
    NotAName(String),
    /// The tokenizer's files cannot be read.
    Unreadable(TokenizerError),
}

/// Useful information about a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Note {
    /// The server's metrics are not read during the run, because they could not be read before it.
    MetricsUnavailable(AdminError),
    /// The server is asked for one token first, to find out whether it counts tokens. Otherwise the text of all answers
    /// would have to be kept, which takes much memory.
    AsksWhetherTokensAreCounted,
    /// The server is writing its profile, and the run waits for it.
    ProfileIsWritten,
    /// The server does not reset its prefix cache between the runs of a repetition. The text says why.
    CacheNotReset(String),
    /// The dataset is too small for every run to have its own prompts.
    PromptsInCommon {
        /// The number of runs.
        runs: usize,
        /// The number of requests of each run.
        requests: usize,
        /// The number of dataset entries that can be used.
        candidates: usize,
    },
    /// The server's prefix cache may already contain these prompts.
    PromptsMayBeCached {
        /// The number of prompt tokens that the server has looked up in the cache since its start.
        looked_up: u64,
    },
    /// The client's own metrics are served at this URL.
    MetricsServed {
        /// The URL of the metrics.
        url: String,
    },
    /// A server that this program started is not healthy yet.
    ServerStarting {
        /// The name of the server.
        name: String,
        /// The time since the server was started.
        elapsed: Duration,
        /// The last line of the server's log.
        line: Option<String>,
    },
}
