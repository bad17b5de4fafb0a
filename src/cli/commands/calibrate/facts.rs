//! The engine facts of a calibration, and who states each: a flag, else the log, else the runs' metrics, else nobody.

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;

use crate::cli::args::values;
use crate::cli::exit::CliError;
use crate::model::run::Run;
use crate::model::server::ServerSignal;
use crate::predict::server_model::{EngineFact, EngineFacts, FactSource};
use crate::server::kv_pool::ServerFacts;

/// vLLM's own defaults (V1 engine, API server).
const MAX_NUM_SEQS: u64 = 256;
const MAX_NUM_BATCHED_TOKENS: u64 = 8192;
const BLOCK_SIZE: u64 = 16;

/// A pool that no run fills: where its size is not known, the simulation must not preempt.
const UNKNOWN_BLOCKS: u64 = 1 << 20;

#[derive(Debug, Args)]
#[command(next_help_heading = "Engine facts (flag, else log, else the runs' metrics, else vLLM's default)")]
pub(super) struct FactArgs {
    /// Start-up log of the server
    #[arg(long, value_name = "FILE")]
    engine_log: Option<PathBuf>,
    /// Most sequences that the server computes at once
    #[arg(long, value_name = "N", value_parser = values::number::<NonZeroU32>)]
    max_num_seqs: Option<NonZeroU32>,
    /// Most tokens in a step
    #[arg(long, value_name = "N", value_parser = values::number::<NonZeroU32>)]
    max_num_batched_tokens: Option<NonZeroU32>,
    /// Number of KV blocks of each server
    #[arg(long, value_name = "N", value_parser = values::number::<NonZeroU32>)]
    num_gpu_blocks: Option<NonZeroU32>,
    /// Tokens in a KV block
    #[arg(long, value_name = "N", value_parser = values::number::<NonZeroU32>)]
    block_size: Option<NonZeroU32>,
}

/// What the runs state about the server.
#[derive(Debug, Default)]
pub(super) struct FactSources {
    num_gpu_blocks: Option<u64>,
    block_size: Option<u64>,
    version: Option<String>,
}

impl FactSources {
    /// Takes what a run's metrics state. The first run that states a fact counts.
    pub(super) fn add_run(&mut self, run: &Run) {
        let replicas = run.server.iter().flat_map(|server| &server.replicas);
        let engines = replicas.filter_map(|replica| replica.facts.get(&ServerSignal::CacheConfig)).flatten();
        for labels in engines {
            let count = |label: &str| labels.get(label)?.trim().parse().ok().filter(|count| *count > 0);
            self.num_gpu_blocks = self.num_gpu_blocks.or_else(|| count("num_gpu_blocks"));
            self.block_size = self.block_size.or_else(|| count("block_size"));
        }
        self.version = self.version.take().or_else(|| run.environment.server_version.clone());
    }
}

/// The facts by their precedence.
pub(super) fn resolve(args: &FactArgs, runs: &FactSources) -> Result<EngineFacts, CliError> {
    let log = match &args.engine_log {
        None => ServerFacts::default(),
        Some(path) => {
            let unreadable =
                |error| CliError::usage(format!("cannot read --engine-log {}: {error}", path.display()));
            let file = File::open(path).map_err(unreadable)?;
            ServerFacts::from_log(BufReader::new(file)).map_err(unreadable)?
        }
    };
    let block_size = fact(args.block_size, log.block_size, runs.block_size, BLOCK_SIZE);
    let log_blocks = log.pool_tokens.map(|tokens| tokens / block_size.value).filter(|blocks| *blocks > 0);
    Ok(EngineFacts {
        max_num_seqs: fact(args.max_num_seqs, log.max_num_seqs, None, MAX_NUM_SEQS),
        max_num_batched_tokens: fact(
            args.max_num_batched_tokens,
            log.max_num_batched_tokens,
            None,
            MAX_NUM_BATCHED_TOKENS,
        ),
        num_gpu_blocks: fact(args.num_gpu_blocks, log_blocks, runs.num_gpu_blocks, UNKNOWN_BLOCKS),
        block_size,
        version: log.version.or_else(|| runs.version.clone()),
    })
}

fn fact(flag: Option<NonZeroU32>, log: Option<u64>, metrics: Option<u64>, assumed: u64) -> EngineFact {
    let stated = [
        (flag.map(|value| u64::from(value.get())), FactSource::Flag),
        (log, FactSource::Log),
        (metrics, FactSource::Metrics),
    ];
    let found = stated.into_iter().find_map(|(value, source)| Some(EngineFact { value: value?, source }));
    found.unwrap_or(EngineFact { value: assumed, source: FactSource::Assumed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_precedes_the_log_the_log_the_metrics_and_the_rest_is_assumed() {
        let seven = NonZeroU32::new(7);
        let found = |flag, log, metrics| {
            let EngineFact { value, source } = fact(flag, log, metrics, 1);
            (value, source)
        };
        assert_eq!(found(seven, Some(8), Some(9)), (7, FactSource::Flag));
        assert_eq!(found(None, Some(8), Some(9)), (8, FactSource::Log));
        assert_eq!(found(None, None, Some(9)), (9, FactSource::Metrics));
        assert_eq!(found(None, None, None), (1, FactSource::Assumed));
    }
}
