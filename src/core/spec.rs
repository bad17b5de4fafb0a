//! Everything that determines a run, and nothing that performs one.
//!
//! A [`Spec`] is stored with the result: two runs with the same Spec against the same server are repeats.

mod collections;
mod form;
mod generated;
mod load;
mod pace;
mod sampling;
mod sessions;
mod slo;
mod steady;
mod target;
mod trace;
mod unique;
mod workload;

use serde::{Deserialize, Serialize};

pub use collections::{CustomMedia, Hf, Sonnet, SpecBench, SpeedBench};
pub use form::{Bounds, Form};
pub use generated::{MediaBucket, RandomBatch, RandomMedia, RandomRerank};
pub use load::Load;
pub use pace::{Pace, Ramp, RampBy, RampStrategy, Stage};
pub use sampling::Sampling;
pub use sessions::{Cancel, History, Sessions, Wait};
pub use slo::{Slo, SloFrom};
pub use steady::Steadiness;
pub use target::{Backend, Connection, Target, Task};
pub use trace::{Trace, TraceColumns, TraceKind, TraceWindow};
pub use unique::{Salt, SaltScope, Unique};
pub use workload::{
    Class, Dataset, Draw, Lora, LoraAssignment, PrefixRepetition, RandomLengths, RandomTurns, TurnCount,
    Workload,
};

/// The whole description of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Where requests go.
    pub target: Target,
    /// What is sent.
    pub workload: Workload,
    /// How the model is asked to generate.
    pub sampling: Sampling,
    /// When it is sent, and how much of it.
    pub load: Load,
    /// How users of several turns behave.
    #[serde(default)]
    pub sessions: Sessions,
    /// Users who leave early; `None`: all wait for the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Cancel>,
    /// What counts as good service.
    pub slo: Slo,
    /// What counts as steady; `None` looks for no window.
    #[serde(default = "looked_for")]
    pub steadiness: Option<Steadiness>,
    /// The share of failed requests above which a run is INVALID.
    pub max_failure_rate: f64,
    /// Seeds the workload, the arrivals and nothing else.
    pub seed: u64,
    /// Whose random numbers the seed gives. Results from before there was a choice have our own.
    #[serde(default)]
    pub rng: Rng,
}

/// Whose random numbers a seed gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rng {
    /// Those of vLLM's Python client: the same seed gives the same prompts at the same times.
    Python,
    /// Our own: asking for more requests keeps the first ones, and prompts are written on all cores.
    #[default]
    Native,
}

fn looked_for() -> Option<Steadiness> {
    Some(Steadiness::default())
}
