//! What is measured, and what counts as good.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::run::values::{self, Objective};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GoodputFrom {
    /// When the request was due: what a user felt
    Due,
    /// When it was sent: vLLM's way
    Sent,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Measuring")]
pub struct MeasureArgs {
    /// Latencies with a section in the report and keys in the JSON: ttft, tpot, e2el, itl; client_queue_time (the lag) and
    /// e2el_including_client_queue (E2E from due)
    #[arg(long, value_name = "LIST", default_value = "ttft,tpot,e2el,itl")]
    pub percentile_metrics: String,
    /// Percentiles to report
    #[arg(long, value_name = "LIST", default_value = "99")]
    pub metric_percentiles: String,
    /// Service levels that a good request meets, in milliseconds (or with a unit): ttft:500 tpot:50 e2el:5s
    #[arg(long, value_name = "KEY:LIMIT", num_args = 1.., value_parser = values::objective)]
    pub goodput: Vec<Objective>,
    /// Where goodput's TTFT and E2E begin
    #[arg(long, value_enum, default_value = "due")]
    pub goodput_from: GoodputFrom,
    /// The share of failed requests above which the run is INVALID: 1% or 0.01
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = values::share)]
    pub max_failure_rate: f64,
    /// In a closed loop, the share of --max-concurrency at which the steady state begins
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = values::share)]
    pub steady_state_threshold: f64,
    /// The shortest steady state worth reporting (a bare number is seconds); without this, 5 s will do
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub steady_state_min_window: Option<Duration>,
    /// Look for no steady state
    #[arg(long)]
    pub no_steady_state: bool,
    /// Let the server's profiler run while it is measured, from after the warm-up on (vLLM has one with
    /// --profiler-config)
    #[arg(long)]
    pub profile: bool,
    /// Profile from so long after the measured run began (a bare number is seconds), for --profile-duration
    #[arg(long, value_name = "TIME", value_parser = values::seconds, conflicts_with = "profile_batch_threshold")]
    pub profile_after: Option<Duration>,
    /// Profile once the server has so many requests running (without metrics: once so many are in flight), for
    /// --profile-duration
    #[arg(long, visible_alias = "profile-when-running", value_name = "N")]
    pub profile_batch_threshold: Option<u64>,
    /// Measure so many times, each time with the next seed and an emptied prefix cache (where the server takes that order), and
    /// report how much the runs differ; results are saved as ...-r1, -r2
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::count)]
    pub repeats: NonZeroUsize,
    /// How long the profiler runs (a bare number is seconds) [default: 5; to the end with --profile alone]
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub profile_duration: Option<Duration>,
    /// End with exit code 0 instead of 3 when the run is INVALID
    #[arg(long)]
    pub allow_invalid: bool,
}
