//! Turns a [`Spec`](crate::model::run_spec::Spec) into a [`Run`](crate::model::run::Run).
//!
//! A [`Session`] holds a server that has reported its model, and a tokenizer. A [`Runner`] makes the requests of a run
//! ([`Runner::prepare`]), sends them and assembles the Run ([`Runner::measure`]), as often as the caller asks. It
//! reports progress as [`Event`]s: this module prints nothing and knows no flags. Its [`Error`]s carry data; the caller
//! decides what to advise.

mod assemble;
mod cached_prompts;
mod common_prompts;
mod diagnostics;
mod ended_load;
mod error;
mod event;
mod ladder;
mod lengths;
mod live_load;
mod measure;
mod measured_records;
mod membership;
mod metrics_client;
#[cfg(feature = "cli")]
mod metrics_export;
mod options;
mod prepare;
mod prepared_run;
mod probes;
mod profiler;
mod record_log;
mod recover;
pub(crate) mod redact;
mod repeats;
mod scraper;
mod series;
#[cfg(feature = "cli")]
mod server_start;
mod session;
mod shared_run;
mod shared_workload;
mod stop;
mod wait_ready;

pub(crate) use cached_prompts::cached_prompts;
pub use error::Error;
pub use event::{Event, LoadProgress, Note, Phase, Warning};
pub(crate) use event::{NoTokenizer, Observer};
pub(crate) use ladder::{Ladder, LadderPlan, LadderStep, StepPrompts};
pub(crate) use membership::{Exchange, Membership, ReceivedLogs};
pub(crate) use metrics_client::{EMPTY, MetricsClient, ScrapeError};
#[cfg(feature = "cli")]
pub(crate) use metrics_export::{ExportAddresses, MetricsExporter, MetricsPage};
pub(crate) use options::{
    Invocation, ProfilerOptions, RecordDetail, RunOptions, ServerMetrics, SessionOptions, TokenizerChoice,
};
pub(crate) use prepared_run::{CopyLog, PreparedRun, Runner};
pub(crate) use record_log::{LogFile, discard as discard_log, numbered, suffixed};
pub(crate) use recover::{Recovered, recover};
pub(crate) use repeats::{Repeat, Repeats};
#[cfg(feature = "cli")]
pub(crate) use server_start::ServerStarter;
pub(crate) use session::{Contact, Session};
pub(crate) use shared_workload::SharedWorkload;
pub use stop::StopHandle;
#[cfg(test)]
pub(crate) use wait_ready::PERMANENT;
