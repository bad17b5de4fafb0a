//! servegauge is a load generator and judge for LLM inference servers that speak the OpenAI API (vLLM first).
//!
//! *A [`Benchmark`] turns a [`Spec`] into a [`Run`]: the load generator sends the requests of a [`Dataset`] to a
//! [`Target`] when the [`Load`] says so, each becomes a [`Record`], and Records become [`Metrics`] with intervals and a
//! [`Validity`] verdict.* Runs are saved and loaded, and [`compare`], [`gate`] and [`search`] decide on them.
//!
//! # A measurement as a library
//!
//! ```
//! use servegauge::{Benchmark, Dataset, Latency, Load, Run, Target, compare};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # // A server: a simulated one, on a separate thread.
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # let listener = runtime.block_on(servegauge::sim::listen("127.0.0.1:0"))?;
//! # let url = format!("http://{}", listener.local_addr()?);
//! # std::thread::spawn(move || {
//! #     runtime.block_on(servegauge::sim::serve(listener, Default::default(), std::future::pending()))
//! # });
//! # let folder = std::env::temp_dir().join(format!("servegauge-{}", std::process::id()));
//! # let file = folder.join("before.json");
//! let run = Benchmark::new(Target::openai(&url))
//!     .dataset(Dataset::random(16, 8))
//!     .load(Load::poisson(200.0).warmup(4))
//!     .requests(40)
//!     .run()?;
//! println!("median TTFT {:?}", run.metrics.latencies[&Latency::Ttft].median);
//! run.save(&file)?;
//! # assert_eq!((run.metrics.completed, run.metrics.failed), (40, 0));
//! # assert_eq!(Run::load(&file)?.metrics, run.metrics);
//! # // It lasts a fraction of a second, so that there may be doubts about it.
//! # let other = Benchmark::new(Target::openai(&url))
//! #     .dataset(Dataset::random(16, 8)).load(Load::poisson(200.0).warmup(4)).requests(40);
//! # let _ = compare(&run, &other.run_with(|event| drop(format!("{event:?}")))?);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Benchmark::run_with`] reports progress and warnings as [`Event`]s; [`compare`] says which metrics of two Runs are
//! better, worse, the same, or cannot be told apart; [`gate`] applies rules; [`search`] finds the highest load that
//! meets them. The folder `examples` has a short program for each.
//!
//! # Features
//!
//! Default features build the program. A library needs none of them: `default-features = false` leaves out the command
//! line and its reports, Parquet files (`parquet`), the simulated server (`sim`) and tokenizers in this process
//! (`tokenizers`; without them the server counts tokens). What a build cannot do is an error that names the feature.
//!
//! # Inside
//!
//! ```text
//! cli         flags, printing, exit codes
//! report      writers of finished values
//! benchmark   a measurement in a few lines
//! runner      from a Spec to a Run: connect, prepare, warm up, measure, scrape, assemble
//! analysis    compare, gate, ab, search, sweep, plan, diagnose: pure functions of Runs, samples and log lines
//! predict     servers and fleets in virtual time, driven by the scheduler of sim
//! loadgen     worker threads, pacing, caps, sessions, cancellation
//! dataset     prompts and lengths                  tokenizer   counts of tokens
//! server      what is known of the server under test: metrics, logs, launch, monitor
//! client      one measured request: transport, HTTP/1, protocols
//! model       plain values: Spec, Record, Metrics, Run, validity
//! stats       intervals, tests, histograms
//! sim         a simulated vLLM that imports nothing of the rest
//! ```
//!
//! A module imports only modules of lower layers. The test in `tests/it/layers.rs` lists which module may import which,
//! and fails on any other import.

// Much of the crate serves the command line and `internals`, and a build without them leaves that unused. The default
// build reports what nothing uses.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unreachable_pub, unused_imports))]

mod analysis;
mod benchmark;
#[cfg(feature = "cli")]
mod cli;
mod client;
mod dataset;
mod loadgen;
mod model;
#[cfg(feature = "cli")]
mod predict;
#[cfg(feature = "cli")]
mod report;
mod runner;
mod seconds;
mod server;
#[cfg(feature = "cli")]
mod shards;
#[cfg(feature = "sim")]
pub mod sim;
mod stats;
#[cfg(feature = "cli")]
mod storage;
#[cfg(test)]
mod testing;
mod tokenizer;

pub use crate::analysis::compare::{
    Comparison, DifferenceVerdict, MetricComparison, MetricSample, NotComparable, SpecDifference, compare,
};
pub use crate::analysis::gate::{
    GateError, GateReport, GateRule, GateVerdict, RuleAnswer, RuleFinding, RuleSeverity, Undecided, gate,
};
pub use crate::analysis::search::boundary::Boundary;
pub use crate::analysis::search::{LoadAxis, SearchAnswer, SearchConfig, SearchError, SearchFinding, search};
pub use crate::model::metric_id::MetricId;
pub use crate::model::metrics::{FailureCount, Latency, Metrics, TokenTotal};
pub use crate::model::record::{
    Failure, FailureClass, FinishReason, Record, Timestamps, TokenCount, TokenSource,
};
pub use crate::model::rule::{MetricRule, RuleError};
pub use crate::model::run::{Run, RunError};
pub use crate::model::run_spec::{
    Backend, ConnectionOptions, Dataset, Load, Sampling, Slo, SloFrom, Spec, Target,
};
pub use crate::model::units::Rate;
pub use crate::model::validity::{Check, CheckName, CheckOutcome, Verdict as Validity};
pub use crate::runner::{Error, Event, LoadProgress, Note, Phase, StopHandle, Warning};
pub use crate::stats::{Distribution, DurationInterval, Percentile, RateInterval};
pub use benchmark::Benchmark;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub use cli::main;

/// What the benches and the integration tests use besides the public API. It may change in any version.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod internals {
    pub use crate::analysis::diagnose::RULES;
    pub use crate::cli::command;
    pub use crate::cli::setting_flags::with_flags;
    pub use crate::cli::vllm_compat::FLAG_DIFFERENCES;
    pub use crate::client::Client;
    pub use crate::client::clock::RunClock;
    pub use crate::client::request_timer::{Capture, CaptureGaps, CaptureText, RequestTimer};
    pub use crate::dataset::requests::{RequestRange, Requests};
    pub use crate::dataset::{bundled, prepare};
    pub use crate::loadgen::pacer::Pacer;
    pub use crate::loadgen::{LoadPhase, LoadPlan, LoadShare, StopHandle, run_load};
    pub use crate::model::arrival::{Offsets, Schedule};
    pub use crate::model::record::{Events, Milestone};
    pub use crate::model::record_log::PackedRecords;
    pub use crate::model::request::Request;
    pub use crate::model::request_id::RequestIds;
    pub use crate::model::rng::RunRng;
    pub use crate::model::run_spec::{HistoryMode, WorkloadSpec};
    pub use crate::model::wav;
    pub use crate::predict::fleet_cost::{TimedFleet, TimedRequest, TimedTotals};
    pub use crate::report::glossary::DEFINITIONS;
    pub use crate::server::log::{LogLines, parse_line};
    pub use crate::server::log_summary::{AlertRules, LogObserver, LogSummary};
    pub use crate::stats::DurationSketch;
    pub use crate::tokenizer::Tokenizer;
}
