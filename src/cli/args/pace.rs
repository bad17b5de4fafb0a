//! Flags of a rate that changes during the run, and of probes sent beside the load.

use clap::{Args, ValueEnum};

use crate::cli::args::values;
use crate::model::run_spec::RateStep;
use crate::model::units::Rate;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RampStrategyName {
    /// The rate grows by the same amount each second
    Linear,
    /// The rate grows by the same factor each second
    Exponential,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RampByName {
    /// A curve over time
    Time,
    /// A curve over the request's number, as in vLLM, where `linear` grows exponentially in time
    Index,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pace (changing rates)")]
pub(crate) struct PaceArgs {
    /// Raise the rate from --ramp-up-start-rps to --ramp-up-end-rps over the run
    #[arg(
        long,
        value_enum,
        value_name = "CURVE",
        requires = "ramp_up_start_rps",
        requires = "ramp_up_end_rps"
    )]
    pub ramp_up_strategy: Option<RampStrategyName>,
    /// Requests per second at the start; a linear ramp may start at 0
    #[arg(long, value_name = "RATE", value_parser = values::rate_or_zero, requires = "ramp_up_strategy")]
    pub ramp_up_start_rps: Option<f64>,
    /// Requests per second at the end
    ///
    /// The end is that of --duration, or when --num-prompts requests are sent.
    #[arg(long, value_name = "RATE", value_parser = values::rate_or_zero, requires = "ramp_up_strategy")]
    pub ramp_up_end_rps: Option<f64>,
    /// The ramp's independent variable; vLLM uses `index`
    ///
    /// Unlike vLLM's, a `linear` ramp over `time` is linear in time.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "time", requires = "ramp_up_strategy")]
    pub ramp_up_by: RampByName,
    /// Rates in sequence, each with its duration: 10s:5,60s:20,10s:0
    #[arg(long, value_name = "TIME:RATE,…", value_delimiter = ',', value_parser = values::stage)]
    pub stages: Vec<RateStep>,
    /// One-token probe requests per second to send beside the load
    ///
    /// Probes have their own connections. They are sent on schedule whatever the server does, and no cap applies to
    /// them. They count in no metric but their own.
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = values::rate_or_zero)]
    pub probe_request_rate: f64,
}

impl PaceArgs {
    /// Returns the rate of the probes; `None` if no probes are sent.
    pub(crate) fn probes(&self) -> Option<Rate> {
        Rate::per_second(self.probe_request_rate)
    }

    /// Returns the flag that makes the rate change, if one was given.
    pub(crate) fn flag(&self) -> Option<&'static str> {
        match (self.ramp_up_strategy, self.stages.as_slice()) {
            (Some(_), _) => Some("--ramp-up-strategy"),
            (None, [_, ..]) => Some("--stages"),
            (None, []) => None,
        }
    }
}
