//! How the rate of arrivals goes through a run.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::units::seconds;

/// How the rate of arrivals goes through a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Pace {
    /// `request_rate` from the beginning to the end.
    #[default]
    Steady,
    /// From one rate to another.
    Ramp(Ramp),
    /// One rate after the other.
    Stages {
        /// In the order of the run.
        stages: Vec<Stage>,
    },
    /// As the dataset's time stamps say.
    Trace,
}

/// A rate that goes from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// The curve.
    pub strategy: RampStrategy,
    /// What it is a curve over.
    pub by: RampBy,
    /// Requests per second at the beginning. Only a linear ramp over time may begin at 0.
    pub start: f64,
    /// Requests per second at the end.
    pub end: f64,
}

/// The curve of a ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RampStrategy {
    /// The same growth in each second.
    Linear,
    /// The same factor in each second.
    Exponential,
}

impl RampStrategy {
    /// vLLM's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Exponential => "exponential",
        }
    }
}

/// What a ramp is a curve over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RampBy {
    /// Time: `linear` is linear.
    Time,
    /// The number of the request, as in vLLM: its `linear` grows exponentially in time.
    Index,
}

/// A stretch of a run with one rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// How long it lasts.
    #[serde(rename = "length_s", with = "seconds")]
    pub length: Duration,
    /// Requests per second; 0 is a pause.
    pub rate: f64,
}

impl fmt::Display for Pace {
    /// `ramp linear, 1 to 20 req/s over time`, `stages 10s:5, 1m:20`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steady => f.write_str("steady"),
            Self::Trace => f.write_str("as in the trace"),
            Self::Ramp(Ramp { strategy, by, start, end }) => {
                let over = if *by == RampBy::Time { "time" } else { "the number of the request" };
                write!(f, "ramp {}, {start} to {end} req/s over {over}", strategy.name())
            }
            Self::Stages { stages } => {
                let stage = |stage: &Stage| {
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
