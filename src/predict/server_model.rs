//! The model of a server, as a file: what a calibration found, how sure it is, and where it came from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::calibration::figures::RunFigures;
use super::calibration::measured::LeftOut;
use super::calibration::overhead::OverheadSeconds;
use super::calibration::replay::CalibrationFleet;
use super::noise::{IntakeDelay, InvalidNoise, StepNoise};
use super::replica::ServerConfig;
use super::seen_steps::{SeenSteps, SeenWork};
use super::step_time::{InvalidCoefficients, StepTimeCoefficients, StepTimeModel};
use super::ticks::Ticks;
use crate::model::digest::Digest;
pub(crate) use crate::sim::scheduler::SchedulerLimits;

/// The version of the file's format. A file of another version is refused.
pub(crate) const FORMAT: u32 = 1;

/// The fewest members with which an interval of 90 % is more than the range of a few.
const MIN_MEMBERS: usize = 20;

/// The largest factor of the times before the queue. A larger one is the quotient of two times that are both almost zero.
const MOST_INTAKE_FACTOR: f64 = 10.0;

/// A model of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerModel {
    /// [`FORMAT`].
    pub servegauge_model: u32,
    /// The program's version.
    pub program: String,
    /// The model that the server serves, if the runs state it.
    pub served_model: Option<String>,
    pub facts: EngineFacts,
    /// The servers of the calibration runs.
    pub fleet: CalibrationFleet,
    /// The best estimate.
    pub costs: ServerCosts,
    /// The best estimate term by term, with intervals.
    pub coefficients: Vec<CoefficientEstimate>,
    /// Other costs that fit about as well.
    pub members: Vec<ServerCosts>,
    pub residuals: StepResiduals,
    /// The time of requests before the queue in seconds, each with the number of requests in flight at its server. They
    /// replace `overhead.base`, whose value is their median.
    pub intake: Vec<(u32, f64)>,
    /// The amounts of work in the steps of the calibration runs.
    pub hull: SeenSteps,
    /// The shortest and the longest prompt.
    pub prompt_tokens: [u32; 2],
    /// The longest prompt with its output.
    pub longest_sequence: u32,
    /// The load points that the model was fitted on.
    pub points: Vec<PointCheck>,
    /// The runs that the model was fitted on.
    pub runs: Vec<RunCheck>,
    /// The runs that it was checked on.
    pub holdout: Vec<RunCheck>,
    /// What the runs do not tell, in sentences.
    pub not_identified: Vec<String>,
    /// Where the simulated runs differ from what the server reported.
    pub doubts: Vec<String>,
}

/// The times of a server, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerCosts {
    pub step_time: StepTimeCoefficients,
    pub overhead: OverheadSeconds,
}

/// What is known of the engine's limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineFacts {
    pub max_num_seqs: EngineFact,
    pub max_num_batched_tokens: EngineFact,
    pub num_gpu_blocks: EngineFact,
    pub block_size: EngineFact,
    /// The engine's version, if it is known.
    pub version: Option<String>,
}

/// A fact and who states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineFact {
    pub value: u64,
    pub source: FactSource,
}

/// Who states a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FactSource {
    /// A flag of the calibration.
    Flag,
    /// The server's start-up log.
    Log,
    /// The server's metrics.
    Metrics,
    /// Nobody: a default of vLLM.
    Assumed,
}

/// A coefficient with its interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CoefficientEstimate {
    /// What the time is for.
    pub name: String,
    /// In seconds.
    pub value: f64,
    /// The interval of 90 %.
    pub interval: [f64; 2],
}

/// The factors by which measured steps were longer than the model says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StepResiduals {
    pub decode: Vec<f64>,
    pub mixed: Vec<f64>,
}

/// A load point without single requests, as it was measured and as it was fitted. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PointCheck {
    pub name: String,
    pub concurrency: f64,
    pub measured_tpot: f64,
    pub fitted_tpot: f64,
}

/// A run as it was measured, and as the model simulates it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunCheck {
    pub name: String,
    /// SHA-256 of the file, if it was read from one.
    pub sha256: Option<Digest>,
    pub requests: u64,
    pub left_out: LeftOut,
    pub measured: RunFigures,
    pub simulated: RunFigures,
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerModelError {
    #[error("{path} is not a model of a server: {why}", path = path.display())]
    Format { path: PathBuf, why: String },
    #[error("{path} is a model in format {found}, and this version reads format {FORMAT}: calibrate again", path = path.display())]
    Version { path: PathBuf, found: u64 },
}

/// The members of a model are no servers.
#[derive(Debug, thiserror::Error)]
enum InvalidModel {
    #[error(transparent)]
    Coefficients(#[from] InvalidCoefficients),
    #[error(transparent)]
    Noise(#[from] InvalidNoise),
    #[error("it has {0} members, and at least {MIN_MEMBERS} are needed for intervals")]
    Members(usize),
    #[error("{0} is 0")]
    Zero(&'static str),
}

impl EngineFacts {
    /// The scheduler's limits.
    pub(crate) fn limits(&self) -> SchedulerLimits {
        let count = |fact: EngineFact| usize::try_from(fact.value).unwrap_or(usize::MAX);
        SchedulerLimits {
            max_num_seqs: count(self.max_num_seqs),
            max_num_batched_tokens: count(self.max_num_batched_tokens),
            chunked_prefill: true,
            // vLLM keeps one block for padding.
            usable_blocks: count(self.num_gpu_blocks).saturating_sub(1),
            block_size: count(self.block_size),
            prefix_caching: false,
        }
    }

    /// The facts by the names of vLLM's settings.
    pub(crate) fn by_name(&self) -> [(&'static str, EngineFact); 4] {
        [
            ("max_num_seqs", self.max_num_seqs),
            ("max_num_batched_tokens", self.max_num_batched_tokens),
            ("num_gpu_blocks", self.num_gpu_blocks),
            ("block_size", self.block_size),
        ]
    }
}

impl ServerModel {
    /// Reads a model from the text of a file.
    ///
    /// # Errors
    ///
    /// The text is not a model, or one of another version, or a coefficient is out of range.
    pub(crate) fn parse(text: &[u8], path: &Path) -> Result<Self, ServerModelError> {
        let format = |why: String| ServerModelError::Format { path: path.to_owned(), why };
        let value: serde_json::Value =
            serde_json::from_slice(text).map_err(|error| format(error.to_string()))?;
        let version = value.get("servegauge_model").and_then(serde_json::Value::as_u64);
        match version {
            None => return Err(format("it has no servegauge_model; `calibrate` writes models".to_owned())),
            Some(found) if found != u64::from(FORMAT) => {
                return Err(ServerModelError::Version { path: path.to_owned(), found });
            }
            Some(_) => {}
        }
        let model: Self = serde_json::from_value(value).map_err(|error| format(error.to_string()))?;
        model.check().map_err(|error| format(error.to_string()))?;
        Ok(model)
    }

    /// The file's text.
    pub(crate) fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a model has only string keys");
        text + "\n"
    }

    fn check(&self) -> Result<(), InvalidModel> {
        if let Some((name, _)) = self.facts.by_name().into_iter().find(|(_, fact)| fact.value == 0) {
            return Err(InvalidModel::Zero(name));
        }
        if self.members.len() < MIN_MEMBERS {
            return Err(InvalidModel::Members(self.members.len()));
        }
        let limits = self.facts.limits();
        self.server(&self.costs, limits)?;
        self.members.iter().try_for_each(|costs| self.server(costs, limits).map(drop))
    }

    /// A server with some costs of this model, and other limits if need be.
    fn server(&self, costs: &ServerCosts, limits: SchedulerLimits) -> Result<ServerConfig, InvalidModel> {
        let noise = StepNoise::new(&self.residuals.decode, &self.residuals.mixed)?;
        Ok(ServerConfig {
            noise: noise.with_intake(self.intake_delays(costs)),
            overhead: costs.overhead.to_ticks(),
            ..ServerConfig::new(limits, StepTimeModel::new(&costs.step_time)?)
        })
    }

    /// The measured times before the queue, in proportion to the fixed one of a member.
    fn intake_delays(&self, costs: &ServerCosts) -> Vec<IntakeDelay> {
        let base = self.costs.overhead.base;
        let factor = if base > 0.0 { (costs.overhead.base / base).min(MOST_INTAKE_FACTOR) } else { 1.0 };
        let delay = |(in_flight, seconds): &(u32, f64)| IntakeDelay {
            in_flight: *in_flight,
            delay: Ticks::from_seconds(seconds * factor),
        };
        self.intake.iter().map(delay).collect()
    }

    /// What the calibration has seen.
    pub(crate) fn seen(&self) -> SeenWork {
        SeenWork { steps: self.hull, prompts: self.prompt_tokens }
    }

    /// The server with the best costs, then that of each member, with these limits.
    pub(crate) fn servers(
        &self,
        limits: SchedulerLimits,
    ) -> Result<(ServerConfig, Vec<ServerConfig>), String> {
        let server = |costs| self.server(costs, limits).map_err(|error| error.to_string());
        let members: Result<_, _> = self.members.iter().map(server).collect();
        Ok((server(&self.costs)?, members?))
    }
}

#[cfg(test)]
pub(crate) mod tests;
