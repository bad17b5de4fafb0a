//! The model of a prediction, with the engine's flags that the user replaces.

use std::path::Path;

use super::args::EngineArgs;
use crate::cli::exit::CliError;
use crate::model::bounded_file::{self, FileLimit};
use crate::model::digest::Digest;
use crate::model::prediction::PredictionModel;
use crate::predict::router::RouterPolicy;
use crate::predict::server_model::{FactSource, SchedulerLimits, ServerModel};
use crate::predict::what_if::ServerEnsemble;

/// A model that is ready to simulate.
pub(crate) struct LoadedModel {
    /// The servers.
    pub servers: ServerEnsemble,
    /// Where the model comes from.
    pub origin: PredictionModel,
    /// The tokens of a block.
    pub block_tokens: u32,
    /// The replicas of the calibration, and their router.
    pub fleet: (usize, RouterPolicy),
    /// What a reader must know about the model.
    pub notes: Vec<String>,
}

impl LoadedModel {
    /// Loads a model, and replaces what the flags give.
    pub(crate) fn load(path: &Path, args: &EngineArgs) -> Result<Self, CliError> {
        let unreadable = |error| CliError::usage(format!("cannot read {}: {error}", path.display()));
        let text = bounded_file::read_json(path, FileLimit::RESULT).map_err(unreadable)?;
        let model = ServerModel::parse(&text, path).map_err(CliError::usage)?;
        let limits = limits(&model, args)?;
        let (central, members) = model.servers(limits).map_err(CliError::usage)?;
        Ok(Self {
            servers: ServerEnsemble { central, members, seen: model.seen() },
            origin: PredictionModel {
                path: path.display().to_string(),
                sha256: Digest::from_bytes(&text),
                calibrated_on: model.runs.iter().map(|run| run.name.clone()).collect(),
            },
            block_tokens: u32::try_from(limits.block_size).unwrap_or(u32::MAX),
            fleet: (model.fleet.replicas, model.fleet.router),
            notes: notes(&model, args),
        })
    }
}

/// The scheduler's limits. Without a flag, prompts are computed whole: a model does not say whether its engine caches.
fn limits(model: &ServerModel, args: &EngineArgs) -> Result<SchedulerLimits, CliError> {
    let known = model.facts.limits();
    let blocks = args.num_gpu_blocks.map(|blocks| {
        // vLLM keeps one block for padding.
        match blocks.get() - 1 {
            0 => Err(CliError::usage("--num-gpu-blocks must be at least 2: one block is kept for padding")),
            usable => Ok(usable),
        }
    });
    Ok(SchedulerLimits {
        max_num_seqs: args.max_num_seqs.map_or(known.max_num_seqs, usize::from),
        max_num_batched_tokens: args.max_num_batched_tokens.map_or(known.max_num_batched_tokens, usize::from),
        usable_blocks: blocks.transpose()?.unwrap_or(known.usable_blocks),
        block_size: args.block_size.map_or(known.block_size, |size| size.get() as usize),
        prefix_caching: args.enable_prefix_caching,
        ..known
    })
}

/// The assumed facts that no flag replaces, and what the calibration says against itself.
fn notes(model: &ServerModel, args: &EngineArgs) -> Vec<String> {
    let given = [
        args.max_num_seqs.is_some(),
        args.max_num_batched_tokens.is_some(),
        args.num_gpu_blocks.is_some(),
        args.block_size.is_some(),
    ];
    let facts = model.facts.by_name().into_iter().zip(given);
    let assumed: Vec<String> = facts
        .filter(|((_, fact), is_given)| fact.source == FactSource::Assumed && !is_given)
        .map(|((name, fact), _)| format!("{name} {}", fact.value))
        .collect();
    let mut notes = Vec::new();
    if !assumed.is_empty() {
        notes.push(format!("assumed of the engine, because no run states it: {}", assumed.join(", ")));
    }
    notes.extend(model.doubts.iter().cloned());
    notes.extend(model.not_identified.iter().cloned());
    notes
}
