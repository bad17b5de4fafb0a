//! How the arrival rate changes over a run.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// How the arrival rate changes over a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum RateSchedule {
    /// The rate is `request_rate` throughout.
    #[default]
    Steady,
    /// The rate goes from one value to another.
    Ramp(Ramp),
    /// The rate changes in steps.
    Stages {
        /// The steps, in the order of the run.
        stages: Vec<RateStep>,
    },
    /// The dataset's timestamps determine the arrivals.
    Trace,
}

/// A rate that goes from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ramp {
    /// The curve of the ramp.
    pub strategy: RampStrategy,
    /// The variable that the curve depends on.
    pub by: RampBy,
    /// Requests per second at the beginning. Only a linear ramp over time may begin at 0.
    pub start: f64,
    /// Requests per second at the end.
    pub end: f64,
}

/// The curve of a ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RampStrategy {
    /// The rate grows by the same amount each second.
    Linear,
    /// The rate grows by the same factor each second.
    Exponential,
}

impl RampStrategy {
    /// vLLM's name for the curve.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Exponential => "exponential",
        }
    }
}

/// The variable that a ramp's curve depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RampBy {
    /// Time: `linear` is linear in time.
    Time,
    /// The request index, as in vLLM: its `linear` grows exponentially in time.
    Index,
}

/// A part of a run with one rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct RateStep {
    /// The duration of the step.
    #[serde(rename = "length_s", with = "seconds")]
    pub length: Duration,
    /// Requests per second; 0 is a pause.
    pub rate: f64,
}

impl fmt::Display for RateSchedule {
    /// Writes `ramp linear, 1 to 20 req/s over time` or `stages 10s:5, 1m:20`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steady => f.write_str("steady"),
            Self::Trace => f.write_str("as in the trace"),
            Self::Ramp(Ramp { strategy, by, start, end }) => {
                let over = if *by == RampBy::Time { "time" } else { "the number of the request" };
                write!(f, "ramp {}, {start} to {end} req/s over {over}", strategy.name())
            }
            Self::Stages { stages } => {
                let stage = |stage: &RateStep| {
                    format!(
                        "{}:{}",
                        humantime::format_duration(stage.length).to_string().replace(' ', ""),
                        stage.rate
                    )
                };
                write!(f, "stages {}", stages.iter().map(stage).collect::<Vec<_>>().join(", "))
            }
        }
    }
}
