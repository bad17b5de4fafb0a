//! Everything that determines a run, and nothing that performs one.
//!
//! A [`Spec`] is stored with the result: two runs with the same Spec against the same server are repeats.

mod collections;
mod form;
mod generated;
mod load;
mod sampling;
mod slo;
mod target;
mod workload;

use serde::{Deserialize, Serialize};

pub use collections::{CustomMedia, Hf, Sonnet, SpecBench, SpeedBench};
pub use form::{Bounds, Form};
pub use generated::{MediaBucket, RandomBatch, RandomMedia, RandomRerank};
pub use load::Load;
pub use sampling::Sampling;
pub use slo::{Slo, SloFrom};
pub use target::{Backend, Connection, Target, Task};
pub use workload::{Dataset, Draw, Lora, LoraAssignment, PrefixRepetition, RandomLengths, Workload};

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
    /// What counts as good service.
    pub slo: Slo,
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
