//! The KV pool by a model's shape and the memory of its GPUs.

use super::model::{Model, ModelError};
use super::pool::{Pool, Unit};

/// The GPUs and how they are used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// Bytes of each.
    pub gpu: u64,
    /// How many share the model by tensor parallelism; at least 1.
    pub tp: u64,
    /// The share of the memory that vLLM takes, above 0 and at most 1.
    pub utilization: f64,
    /// Bytes of all weights together; `None` works them out.
    pub weights: Option<u64>,
    /// Bytes of each GPU that neither weights nor the pool have: activations, CUDA graphs.
    pub reserved: u64,
}

/// Why a model's pool cannot be worked out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The config will not do.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Nothing is left for keys and values.
    #[error(
        "{origin}: weights of {weights} GB over --tp {tp} leave no room for a KV pool in {taken} GB of each GPU; raise --tp \
         or --gpu-memory, or quantise the weights"
    )]
    NoRoom {
        /// Whose weights.
        origin: String,
        /// Their gigabytes.
        weights: u64,
        /// Over how many GPUs.
        tp: u64,
        /// Gigabytes that vLLM takes of each.
        taken: u64,
    },
}

const GIGA: f64 = 1e9;

/// The pool of each GPU: what vLLM takes less the weights and what is reserved. `number` is the bytes of a key's or value's
/// number; `None` is the model's own type. `origin` says whose model.
///
/// # Errors
/// When the config lacks something, or the weights leave no room.
pub fn pool(model: &Model, memory: Memory, number: Option<f64>, origin: &str) -> Result<Pool, MemoryError> {
    let number = number.map_or_else(|| model.number_bytes(), Ok)?;
    let cost = model.cost(number, memory.tp)?;
    let weights = memory.weights.map_or_else(|| model.weight_bytes(), Ok)?;
    let taken = memory.gpu as f64 * memory.utilization;
    let left = taken - weights as f64 / memory.tp as f64 - memory.reserved as f64;
    if left < cost.per_token() {
        return Err(MemoryError::NoRoom {
            origin: origin.to_owned(),
            weights: (weights as f64 / GIGA).round() as u64,
            tp: memory.tp,
            taken: (taken / GIGA).round() as u64,
        });
    }
    let mut notes = vec![format!(
        "keys and values of a token: {} bytes; weights: {:.1} GB",
        model.bytes_per_token(number),
        weights as f64 / GIGA
    )];
    notes.extend(model.notes());
    if memory.reserved == 0 {
        notes.push(
            "activations and CUDA graphs are not counted (--reserved-memory); the start-up log has the true size".into(),
        );
    }
    Ok(Pool { capacity: left as u64, unit: Unit::Bytes, cost, origin: origin.to_owned(), notes })
}
