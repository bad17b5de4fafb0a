//! Calculates the KV pool from a model's shape and the memory of its GPUs.
//!
//! vLLM takes a share of each GPU's memory. It subtracts the weights, the peak of a warm-up pass, the memory of NCCL
//! and the CUDA context, and in newer versions the CUDA graphs. The rest is the pool. The estimates were fitted on
//! published start-up logs (docs/capacity.md).

use super::model::weights::Widths;
use super::model::{KvType, ModelArchitecture, ModelError};
use super::pool::{KvPool, MemoryLine, PoolUnit};
use crate::analysis::plan::gpus::{Gpu, GpuMake};
use crate::analysis::plan::vllm_version::VllmVersion;

/// The GPUs, and how the server uses them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GpuSetup {
    /// The kind of GPU.
    pub gpu: Gpu,
    /// The number of GPUs that share the model by tensor parallelism; at least 1.
    pub tp: u64,
    /// The share of the memory that vLLM takes, above 0 and at most 1; `None` is the version's default.
    pub utilization: Option<f64>,
    /// The source of the weights' size.
    pub weights: WeightsSource,
    /// The bytes of each GPU that neither weights nor the pool use; `None` estimates them.
    pub reserved: Option<u64>,
    /// The largest number of requests computed at once; `None` is the version's default.
    pub max_num_seqs: Option<u64>,
    /// The largest number of tokens in a step; `None` is the version's default.
    pub max_num_batched_tokens: Option<u64>,
    /// Whether the server runs without CUDA graphs.
    pub enforce_eager: bool,
    /// The version of vLLM.
    pub version: VllmVersion,
    /// The type of keys and values; `None` is the model's own.
    pub kv_type: Option<KvType>,
}

/// The source of the weights' size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WeightsSource {
    /// Estimated from the config's shape and types.
    Estimated,
    /// The given bytes of all weights.
    Given(u64),
    /// The bytes of all files from their index, and the index's name.
    Indexed(u64, String),
}

/// Why a model's pool cannot be calculated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MemoryError {
    /// The config cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No memory is left for keys and values.
    #[error(
        "{origin}: weights of {weights} GB and {other} GB of activations and the like leave no room for a KV pool in {taken} GB \
         of each of {tp} GPUs; raise `plan.tp` or `plan.gpu_memory`, lower --max-num-seqs, or quantize the weights"
    )]
    NoRoom {
        /// The source of the model.
        origin: String,
        /// The weights on each GPU, in gigabytes.
        weights: u64,
        /// The other memory on each GPU, in gigabytes.
        other: String,
        /// The number of GPUs.
        tp: u64,
        /// The memory that vLLM takes of each GPU, in gigabytes.
        taken: u64,
    },
}

const GIGA: f64 = 1e9;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Calculates the pool of each GPU: the memory that vLLM takes, minus the weights and all other memory. `origin` names
/// the model's source.
///
/// # Errors
///
/// When the config lacks a field, or no memory is left.
pub(crate) fn gpu_pool(
    model: &ModelArchitecture,
    memory: &GpuSetup,
    origin: &str,
) -> Result<KvPool, MemoryError> {
    let kv = model.kv_type(memory.kv_type, memory.gpu.make == GpuMake::Blackwell)?;
    let cost = model.kv_cost(kv, memory.tp)?;
    let weights = weights(model, memory)?;
    let utilization = memory.utilization.unwrap_or_else(|| memory.version.utilization());
    let taken = memory.gpu.bytes as f64 * utilization;
    let other = other(model, memory);
    let others: u64 = other.iter().map(|line| line.bytes).sum();
    let left = taken - weights.bytes as f64 - others as f64;
    if left < cost.request_cost(1.0) {
        return Err(MemoryError::NoRoom {
            origin: origin.to_owned(),
            weights: (weights.bytes as f64 / GIGA).round() as u64,
            other: format!("{:.1}", others as f64 / GIGA),
            tp: memory.tp,
            taken: (taken / GIGA).round() as u64,
        });
    }
    let whole = model.kv_cost(kv, 1)?;
    let mut notes = vec![match whole.state {
        0.0 => format!("keys and values: {} bytes per token", whole.per_token()),
        state => format!(
            "keys and values: {} bytes per token; states: {state} bytes per sequence",
            whole.per_token()
        ),
    }];
    let printed = model.printed_bytes_per_token(kv, memory.tp).filter(|charged| *charged > 0.0);
    if let Some(charged) = printed.filter(|charged| *charged > cost.per_token()) {
        notes.push(format!(
            "vLLM pads groups of layers and allocates {charged} bytes per token on each GPU, so its log reports fewer tokens \
             than this plan"
        ));
    }
    notes.extend(model.notes());
    if memory.weights == WeightsSource::Estimated && model.lacks_vision() {
        notes.push(
            "the weights are those of the language model only: add the vision part with `plan.reserved`"
                .into(),
        );
    }
    let mut lines = vec![gpu_line(&memory.gpu), taken_line(taken, utilization, memory), weights];
    lines.extend(other);
    Ok(KvPool {
        capacity: left as u64,
        unit: PoolUnit::Bytes,
        cost,
        origin: origin.to_owned(),
        notes,
        memory: lines,
        printed_tokens: printed.map(|charged| (left / charged) as u64),
    })
}

fn gpu_line(gpu: &Gpu) -> MemoryLine {
    let source = match gpu.name {
        Some(name) => format!("{name}, as CUDA reports it"),
        None => {
            "given by `plan.gpu_memory`; CUDA reports slightly less, which `plan.gpu` knows by the card's name"
                .to_owned()
        }
    };
    MemoryLine { what: "memory of each GPU", bytes: gpu.bytes, source }
}

fn taken_line(taken: f64, utilization: f64, memory: &GpuSetup) -> MemoryLine {
    let source = match memory.utilization {
        Some(_) => format!("{utilization}, given by `plan.utilization`"),
        None => format!("{utilization}, the default of vLLM {}", memory.version),
    };
    MemoryLine { what: "taken by vLLM", bytes: taken as u64, source }
}

/// The weights on each GPU.
fn weights(model: &ModelArchitecture, memory: &GpuSetup) -> Result<MemoryLine, ModelError> {
    let shared = |bytes: u64| bytes as f64 / memory.tp as f64;
    let (bytes, source) = match &memory.weights {
        WeightsSource::Given(bytes) => {
            (shared(*bytes), "given by `plan.weights`, divided over the GPUs".to_owned())
        }
        WeightsSource::Indexed(bytes, path) => {
            // The ratio of the loaded bytes to the bytes in files, for matrices that are on several GPUs or converted
            // there.
            let estimates = model.loaded_bytes(memory.tp).ok().zip(model.weight_bytes().ok());
            let growth =
                estimates.map_or(1.0 / memory.tp as f64, |(loaded, files)| loaded as f64 / files as f64);
            (*bytes as f64 * growth, format!("{:.2} GB by {path}", *bytes as f64 / GIGA))
        }
        WeightsSource::Estimated => {
            let files = model.weight_bytes()? as f64 / GIGA;
            (
                model.loaded_bytes(memory.tp)? as f64,
                format!("{files:.1} GB in files by the config's shape and types"),
            )
        }
    };
    Ok(MemoryLine { what: "weights", bytes: bytes as u64, source })
}

/// The memory that neither the weights nor the pool use.
fn other(model: &ModelArchitecture, memory: &GpuSetup) -> Vec<MemoryLine> {
    if let Some(bytes) = memory.reserved {
        return vec![MemoryLine { what: "reserved", bytes, source: "given by `plan.reserved`".into() }];
    }
    let is_large = memory.gpu.is_large_memory();
    let seqs = memory.max_num_seqs.unwrap_or_else(|| memory.version.max_num_seqs(is_large));
    let tokens = memory.max_num_batched_tokens;
    let tokens = tokens.unwrap_or_else(|| memory.version.max_num_batched_tokens(is_large));
    let mut lines = Vec::new();
    if let Ok(widths) = model.widths() {
        lines.push(activations(&widths, seqs, tokens, memory.tp));
    }
    let outside = match memory.tp {
        1 => 0.1,
        2 => 0.5,
        _ => 1.2,
    };
    lines.push(MemoryLine {
        what: "CUDA context and NCCL",
        bytes: (outside * GIB) as u64,
        source: format!("{outside} GiB at `plan.tp` {}, the middle of published logs", memory.tp),
    });
    if memory.version.includes_cuda_graphs() && !memory.enforce_eager {
        lines.push(graphs(seqs));
    }
    lines
}

/// The bytes per sequence and vocabulary entry in the sampler's warm-up: logits and probabilities of 32 bits, sorted
/// values and indices. Fitted on 21 published logs, with a median error of 4 %.
const SAMPLER_BYTES: f64 = 40.0;

/// The peak of the warm-up: either the sampler with the largest number of sequences, or the forward pass.
fn activations(widths: &Widths, seqs: u64, tokens: u64, tp: u64) -> MemoryLine {
    let sampler = SAMPLER_BYTES * seqs as f64 * widths.vocabulary;
    let tp = tp as f64;
    let feed_forward = match widths.expert {
        Some(expert) => widths.chosen * (3.0 * expert / tp + widths.hidden),
        None => 3.0 * widths.dense / tp,
    };
    let forward = 2.0 * tokens as f64 * (2.5 * widths.hidden + feed_forward);
    let source = if sampler >= forward {
        format!(
            "the sampler's warm-up with --max-num-seqs {seqs}: 40 bytes x {seqs} x {} entries",
            widths.vocabulary
        )
    } else {
        format!("a forward pass of --max-num-batched-tokens {tokens}")
    };
    MemoryLine { what: "activations", bytes: sampler.max(forward) as u64, source }
}

/// The bytes per captured batch size; published estimates lie between 0.005 and 0.05 GiB.
const GRAPH_BYTES: f64 = 0.01 * GIB;

/// The CUDA graphs: one for each batch size of vLLM's list, up to twice the number of sequences and at most 512.
fn graphs(seqs: u64) -> MemoryLine {
    let most = (2 * seqs).clamp(1, 512);
    let sizes = [1, 2, 4].into_iter().chain((8..256).step_by(8)).chain((256..=512).step_by(16));
    let count = sizes.filter(|size| *size <= most).count();
    MemoryLine {
        what: "CUDA graphs",
        bytes: (count as f64 * GRAPH_BYTES) as u64,
        source: format!("{count} batch sizes, 0.01 GiB each: rough, charged from v0.21 on"),
    }
}
