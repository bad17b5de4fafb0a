//! Everything that determines a run, and nothing that performs one.
//!
//! A [`Spec`] is stored with the result: two runs with the same Spec against the same server are repeats.

mod load;
mod sampling;
mod sessions;
mod slo;
mod target;
mod workload;

use serde::{Deserialize, Serialize};

pub use load::Load;
pub use sampling::Sampling;
pub use sessions::{Cancel, History, Sessions, Wait};
pub use slo::{Slo, SloFrom};
pub use target::{Backend, Connection, Target};
pub use workload::{Dataset, RandomLengths, RandomTurns, TurnCount, Workload};

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
    /// The share of failed requests above which a run is INVALID.
    pub max_failure_rate: f64,
    /// Seeds the workload, the arrivals and nothing else.
    pub seed: u64,
}
