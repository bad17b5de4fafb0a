//! The specification of a run: everything that determines it, and nothing that executes it.
//!
//! A [`Spec`] is stored with the result: two runs with the same Spec against the same server are repeats.

mod collections;
mod generated;
mod load;
mod prompt_format;
mod rate_schedule;
mod sampling;
mod sessions;
mod slo;
mod steady_state;
mod target;
mod trace;
mod unique_prefix;
mod workload;

use serde::{Deserialize, Serialize};

pub(crate) use crate::model::run_spec::prompt_format::{LengthBounds, PromptFormat};
pub(crate) use crate::model::run_spec::rate_schedule::{Ramp, RampBy, RampStrategy, RateSchedule, RateStep};
pub(crate) use crate::model::run_spec::steady_state::SteadyStateConfig;
pub(crate) use crate::model::run_spec::unique_prefix::{Salt, SaltScope, UniquePrefix};
pub(crate) use collections::{CustomMedia, HfDataset, SonnetDataset, SpecBench, SpeedBench};
pub(crate) use generated::{MediaBucket, RandomBatch, RandomLengths, RandomMedia, RandomRerank};
pub use load::Load;
pub use sampling::Sampling;
pub use sessions::HistoryMode;
pub(crate) use sessions::{EarlyCancel, SessionSpec, WaitTime};
pub use slo::{Slo, SloFrom};
pub use target::{Backend, ConnectionOptions, Target};
pub(crate) use target::{BackendTask, api_root};
pub(crate) use trace::{Trace, TraceColumns, TraceKind, TraceLengths, TraceWindow};
pub use workload::{Dataset, WorkloadSpec};
pub(crate) use workload::{
    DatasetSampling, LoraAdapters, LoraAssignment, PrefixRepetition, RandomTurns, TurnCount, WorkloadClass,
};

/// The complete specification of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spec {
    /// The server that receives the requests.
    pub target: Target,
    /// The requests to send.
    pub(crate) workload: WorkloadSpec,
    /// The sampling parameters.
    pub sampling: Sampling,
    /// When requests are sent, and how many.
    pub load: Load,
    /// The behavior of users in sessions of several turns.
    #[serde(default)]
    pub(crate) sessions: SessionSpec,
    /// Users who leave early; `None` if all wait for the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancel: Option<EarlyCancel>,
    /// The service level objective.
    pub slo: Slo,
    /// The requirements for a steady-state window; `None` disables the search for one.
    #[serde(default = "looked_for")]
    pub(crate) steadiness: Option<SteadyStateConfig>,
    /// The share of failed requests above which a run is INVALID, 0 to 1.
    pub max_failure_rate: f64,
    /// The seed of the workload and the arrivals, and of nothing else.
    pub seed: u64,
    /// The random number generator. Results from before there was a choice used the native one.
    #[serde(default)]
    pub(crate) rng: RngKind,
}

/// The kind of random number generator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RngKind {
    /// The generators of vLLM's Python client: the same seed gives the same prompts at the same times.
    Python,
    /// The native generator: requesting more prompts keeps the first ones, and prompts are generated on all cores.
    #[default]
    Native,
}

fn looked_for() -> Option<SteadyStateConfig> {
    Some(SteadyStateConfig::default())
}
