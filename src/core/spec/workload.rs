//! What is sent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Sampling, Slo, Trace};

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Where prompts come from.
    pub dataset: Dataset,
    /// The tokenizer as asked for: a file, a directory or a hub id; `None` means the model's.
    pub tokenizer: Option<String>,
    /// How many requests to prepare; of a trace at most.
    pub num_prompts: usize,
}

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Dataset {
    /// First two turns of ShareGPT conversations.
    Sharegpt {
        /// The file; `None` is the bundled one.
        path: Option<PathBuf>,
        /// Ask for this many output tokens instead of the answer's length.
        output_len: Option<u32>,
    },
    /// Random tokens of given lengths.
    Random(RandomLengths),
    /// Requests as others once made them.
    Trace(Trace),
    /// Several datasets at once.
    Mix {
        /// The file that describes it.
        path: PathBuf,
        /// What is in it.
        classes: Vec<Class>,
    },
}

impl Dataset {
    /// vLLM's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sharegpt { .. } => "sharegpt",
            Self::Random(_) => "random",
            Self::Trace(trace) => trace.kind.name(),
            Self::Mix { .. } => "mix",
        }
    }
}

/// A class of a mixed workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// How reports call it.
    pub name: String,
    /// How often it is drawn, relative to the others.
    pub weight: f64,
    /// Where its prompts come from.
    pub dataset: Dataset,
    /// How the model is asked to generate; wins over the run's.
    pub sampling: Sampling,
    /// The LoRA adapter that it asks for.
    pub adapter: Option<String>,
    /// What counts as good service for it; `None` is what does for the run.
    pub slo: Option<Slo>,
}

/// The parameters of the `random` dataset; lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomLengths {
    /// Prompt length, without the prefix.
    pub input_len: u32,
    /// Output length.
    pub output_len: u32,
    /// Length of the prefix that all prompts share.
    pub prefix_len: u32,
    /// Input lengths are uniform in `len·(1−r) ..= len·(1+r)`.
    pub input_range_ratio: f64,
    /// The same for output lengths.
    pub output_range_ratio: f64,
}
