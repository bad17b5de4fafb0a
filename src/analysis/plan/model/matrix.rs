//! A matrix of a model, described by its shape.

use super::config::{ModelConfig, ModelError};

/// What to do if a shape is not known.
pub(super) const CURE: &str =
    "give `plan.weights`, the total size of the weight files, or `plan.weights_index`, their index";

/// How GPUs share a matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sharing {
    /// Each GPU has a part.
    Divided,
    /// Each GPU has all of it.
    Whole,
    /// Each GPU has some of this number of heads, and at least one.
    Heads(u64),
}

impl Sharing {
    /// The number of GPUs, of `tp`, that divide the matrix among them.
    pub(super) fn parts(self, tp: u64) -> u64 {
        match self {
            Self::Divided => tp,
            Self::Whole => 1,
            Self::Heads(heads) => tp.min(heads),
        }
    }
}

/// One matrix, or several of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    /// The name that checkpoints use, from `layers.` on.
    pub name: String,
    pub parameters: f64,
    pub sharing: Sharing,
}

/// The matrices of a model.
#[derive(Debug, Default)]
pub(super) struct Matrices(pub Vec<Matrix>);

impl Matrices {
    /// Adds a matrix with these two dimensions.
    pub(super) fn add(&mut self, name: impl Into<String>, sides: (u64, u64), sharing: Sharing) {
        let parameters = sides.0 as f64 * sides.1 as f64;
        if parameters > 0.0 {
            self.0.push(Matrix { name: name.into(), parameters, sharing });
        }
    }
}

/// The size of the hidden state.
pub(super) fn hidden(config: &ModelConfig) -> Result<u64, ModelError> {
    needed(config, &["hidden_size", "n_embd", "n_embed", "d_model"])
}

/// The first of these fields that the file has. An error if it has none, because the shape is then unknown.
pub(super) fn needed(config: &ModelConfig, names: &[&str]) -> Result<u64, ModelError> {
    config.optional(names)?.ok_or_else(|| config.wrong(names[0], "is missing", CURE))
}
