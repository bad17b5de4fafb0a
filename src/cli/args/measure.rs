//! Flags that decide what is measured, and which requests count as good.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::args::values::{self, Objective};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GoodputFrom {
    /// When the request was due: the latency that a user experiences
    Due,
    /// When the request was sent, as in vLLM
    Sent,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Measuring")]
pub(crate) struct MeasureArgs {
    /// Latencies to report and store: any of ttft, tpot, e2el, itl, client_queue_time (the lag),
    /// e2el_including_client_queue (E2E from the due time)
    #[arg(long, value_name = "LIST", default_value = "ttft,tpot,e2el,itl")]
    pub percentile_metrics: String,
    /// Percentiles to report
    #[arg(long, value_name = "LIST", default_value = "99")]
    pub metric_percentiles: String,
    /// Latency limits of a good request, in ms or with a unit: ttft:500 e2el:5s
    #[arg(long, value_name = "KEY:LIMIT", num_args = 1.., value_parser = values::objective)]
    pub goodput: Vec<Objective>,
    /// Start time of goodput's TTFT and E2E
    #[arg(long, value_enum, default_value = "due")]
    pub goodput_from: GoodputFrom,
    /// Share of failed requests above which the run is INVALID: 1% or 0.01
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = values::share)]
    pub max_failure_rate: f64,
    /// Share of --max-concurrency at which a closed loop's steady state begins
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = values::share)]
    pub steady_state_threshold: f64,
    /// Shortest steady state to report (a bare number is seconds); otherwise 5 s
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub steady_state_min_window: Option<Duration>,
    /// Do not detect the steady state
    #[arg(long)]
    pub no_steady_state: bool,
    /// Measure N times with different seeds, and show the spread
    ///
    /// Each run uses the next seed, and starts with an empty prefix cache if the server supports resetting it.
    /// Results are saved as ...-r1, -r2.
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::count)]
    pub repeats: NonZeroUsize,
    /// Exit with code 0 instead of 3 when the run is INVALID
    #[arg(long)]
    pub allow_invalid: bool,
    /// Run the server's profiler during the measurement, after the warm-up
    ///
    /// vLLM has a profiler with --profiler-config.
    #[arg(long)]
    pub profile: bool,
    /// Start profiling at this time of the measured run (a bare number is seconds)
    ///
    /// Profiling lasts for --profile-duration.
    #[arg(long, value_name = "TIME", value_parser = values::seconds, conflicts_with = "profile_batch_threshold")]
    pub profile_after: Option<Duration>,
    /// Start profiling when the server has N running requests
    ///
    /// If the server has no metrics, profiling starts when N requests are in flight. It lasts for --profile-duration.
    #[arg(long, visible_alias = "profile-when-running", value_name = "N", value_parser = values::number::<u64>)]
    pub profile_batch_threshold: Option<u64>,
    /// Duration of profiling [default: 5; to the end with --profile alone]
    ///
    /// A bare number is seconds.
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub profile_duration: Option<Duration>,
}
