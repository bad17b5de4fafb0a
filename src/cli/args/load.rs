//! Flags that decide when requests are sent.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use crate::cli::args::values::{self, ValueList};
use crate::model::units::Rate;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Requests per second, or a list: 1,2,4 is a ladder [default: inf]
    ///
    /// With `inf`, requests are sent all at once, or as fast as --max-concurrency allows. A ladder measures each rate in
    /// turn, and prints one table of them all. vLLM's --sweep-request-rate is the same.
    #[arg(long, alias = "sweep-request-rate", value_name = "RATE", value_parser = values::rates)]
    pub request_rate: Option<ValueList<Rate>>,
    /// Gamma shape of the arrival gaps: 1 is Poisson, below 1 is burstier
    ///
    /// Above 1 is more even, and `inf` is evenly spaced.
    #[arg(long, value_name = "SHAPE", default_value = "1", value_parser = values::burstiness)]
    pub burstiness: f64,
    /// Keep the arrivals as drawn, without vLLM's rescaling
    ///
    /// vLLM scales the arrivals so that they end at exactly num-prompts / request-rate.
    #[arg(long)]
    pub no_normalize_arrivals: bool,
    /// The most requests in flight, or a list: 1,2,4,8 is a ladder
    ///
    /// A ladder measures each value in turn, and prints one table of them all. vLLM's --sweep-max-concurrency is the
    /// same.
    #[arg(long, alias = "sweep-max-concurrency", value_name = "N", value_parser = values::counts)]
    pub max_concurrency: Option<ValueList<NonZeroUsize>>,
    /// Stop sending after this time (a bare number is seconds)
    ///
    /// Requests in flight at that time may finish.
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub duration: Option<Duration>,
    /// Requests sent before the run and not measured, with separate prompts [default: 0]
    ///
    /// The run follows without a pause. A step of a ladder has by default as many as it has requests in flight, or ten
    /// seconds of its rate.
    #[arg(long, value_name = "N", value_parser = values::count_or_zero)]
    pub num_warmups: Option<usize>,
    /// Warm up with the run's load for this time (a bare number is seconds)
    ///
    /// The warm-up is not measured.
    #[arg(long, value_name = "TIME", value_parser = values::seconds, conflicts_with = "num_warmups")]
    pub warmup: Option<Duration>,
    /// Open N connections before the run [without N: --max-concurrency, or 64]
    ///
    /// No request then waits for a connection.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "0", value_parser = values::count_or_zero)]
    pub preconnect: Option<usize>,
    /// Number of sending threads; one core handles about 100,000 events a second
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::threads)]
    pub workers: NonZeroUsize,
    /// Reset the server's prefix cache before the run
    ///
    /// vLLM supports this with VLLM_SERVER_DEV_MODE=1.
    #[arg(long)]
    pub reset_prefix_cache: bool,
    /// Wait up to this many seconds for a first response; 0 skips the check
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = values::seconds)]
    pub ready_check_timeout_sec: Duration,
    /// Send the whole load even if the first requests all fail alike
    ///
    /// Examples of such failures: connection refused, HTTP 401, an unknown model.
    #[arg(long)]
    pub keep_going: bool,
}

impl LoadArgs {
    /// The rate, or the first one of a ladder.
    pub(crate) fn first_rate(&self) -> Option<Rate> {
        self.request_rate.as_ref().map(ValueList::first)
    }

    /// The cap on requests in flight, or the first one of a ladder.
    pub(crate) fn first_cap(&self) -> Option<NonZeroUsize> {
        self.max_concurrency.as_ref().map(ValueList::first)
    }

    /// The name of the flag whose list makes a ladder.
    pub(crate) fn ladder_flag(&self) -> Option<&'static str> {
        let caps = self.max_concurrency.as_ref().filter(|caps| caps.is_list()).map(|_| "--max-concurrency");
        caps.or(self.request_rate.as_ref().filter(|rates| rates.is_list()).map(|_| "--request-rate"))
    }
}
