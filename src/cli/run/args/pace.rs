//! A rate that changes during the run, and probes beside it.

use clap::{Args, ValueEnum};

use crate::cli::run::values;
use crate::core::spec::Stage;
use crate::core::units::Rate;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RampStrategyName {
    /// The same growth in each second
    Linear,
    /// The same factor in each second
    Exponential,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RampByName {
    /// A curve over time
    Time,
    /// A curve over the number of the request, as in vLLM, where `linear` grows exponentially in time
    Index,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Changing rates")]
pub struct PaceArgs {
    /// Raise the rate from --ramp-up-start-rps to --ramp-up-end-rps over the run
    #[arg(
        long,
        value_enum,
        value_name = "CURVE",
        requires = "ramp_up_start_rps",
        requires = "ramp_up_end_rps"
    )]
    pub ramp_up_strategy: Option<RampStrategyName>,
    /// Requests per second at the beginning; a linear ramp may begin at 0
    #[arg(long, value_name = "RATE", value_parser = values::rate_or_zero, requires = "ramp_up_strategy")]
    pub ramp_up_start_rps: Option<f64>,
    /// Requests per second at the end: of --duration, or when --num-prompts have been sent
    #[arg(long, value_name = "RATE", value_parser = values::rate_or_zero, requires = "ramp_up_strategy")]
    pub ramp_up_end_rps: Option<f64>,
    /// What the ramp is a curve over. vLLM's way is `index`; unlike there, `linear` over time is linear
    #[arg(long, value_enum, value_name = "WHAT", default_value = "time", requires = "ramp_up_strategy")]
    pub ramp_up_by: RampByName,
    /// One rate after the other: 10s:5,60s:20,10s:0
    #[arg(long, value_name = "TIME:RATE,…", value_delimiter = ',', value_parser = values::stage)]
    pub stages: Vec<Stage>,
    /// Beside the load, send this many one-token requests a second on connections of their own, at their times whatever
    /// the server does; they count in no metric but their own, and under no cap
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = values::rate_or_zero)]
    pub probe_request_rate: f64,
}

impl PaceArgs {
    /// The probes' rate; `None` for no probes.
    pub fn probes(&self) -> Option<Rate> {
        Rate::per_second(self.probe_request_rate)
    }

    /// The flag that makes the rate change, if there is one.
    pub fn flag(&self) -> Option<&'static str> {
        match (self.ramp_up_strategy, self.stages.as_slice()) {
            (Some(_), _) => Some("--ramp-up-strategy"),
            (None, [_, ..]) => Some("--stages"),
            (None, []) => None,
        }
    }
}
