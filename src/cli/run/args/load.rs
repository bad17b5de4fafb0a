//! When it is sent.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use crate::cli::run::values;
use crate::core::units::Rate;

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Requests per second; `inf` sends all at once, or as fast as --max-concurrency lets them [default: inf]
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    pub request_rate: Option<Rate>,
    /// Gamma shape of the gaps: 1 is Poisson, below is burstier, above more even, `inf` a metronome
    #[arg(long, value_name = "SHAPE", default_value = "1", value_parser = values::burstiness)]
    pub burstiness: f64,
    /// Leave the arrivals as drawn, instead of scaling them to end at exactly num-prompts / request-rate as vLLM does
    #[arg(long)]
    pub no_normalize_arrivals: bool,
    /// At most this many requests in flight
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub max_concurrency: Option<NonZeroUsize>,
    /// Send for this long at most; what is in flight then may finish (a bare number is seconds)
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub duration: Option<Duration>,
    /// Requests sent before the run and not measured, with prompts of their own; the run takes over without a pause
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::count_or_zero)]
    pub num_warmups: usize,
    /// The same for a time: the load of the run, not measured (a bare number is seconds)
    #[arg(long, value_name = "TIME", value_parser = values::seconds, conflicts_with = "num_warmups")]
    pub warmup: Option<Duration>,
    /// Open so many connections before the run, so that no request waits for one [without N: --max-concurrency, or 64]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "0", value_parser = values::count_or_zero)]
    pub preconnect: Option<usize>,
    /// How many threads send; one core can take about 100,000 events a second
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::threads)]
    pub workers: NonZeroUsize,
    /// Empty the server's prefix cache before the run (vLLM has this with VLLM_SERVER_DEV_MODE=1)
    #[arg(long)]
    pub reset_prefix_cache: bool,
    /// Wait up to this many seconds for the server to answer a first request; 0 does not ask
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = values::seconds)]
    pub ready_check_timeout_sec: Duration,
    /// Send the whole load even where the first requests all fail alike (refused, HTTP 401, an unknown model)
    #[arg(long)]
    pub keep_going: bool,
}
