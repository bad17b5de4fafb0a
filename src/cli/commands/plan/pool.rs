//! The flags of the KV pool.

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::Args;

use super::gpu::{self, GpuArgs};
use crate::analysis::plan::pool::KvPool;
use crate::analysis::plan::reconcile::{self, Source};
use crate::cli::args::values;
use crate::cli::commands::run::metrics_url;
use crate::cli::exit::CliError;
use crate::cli::target;
use crate::client::admin::{AdminClient, AdminError};
use crate::model::secrets;
use crate::server::kv_pool::{self, ServerFacts};

#[derive(Debug, Args)]
#[command(next_help_heading = "KV pool (one of these; several are compared)")]
pub(super) struct PoolArgs {
    /// Size of the pool in tokens
    #[arg(long, value_name = "TOKENS", conflicts_with_all = ["base_url", "log", "model_config"], value_parser = values::number::<NonZeroU64>)]
    kv_tokens: Option<NonZeroU64>,
    /// URL of a running vLLM server; the pool size is read from its /metrics
    #[arg(long, alias = "url", value_name = "URL")]
    base_url: Option<String>,
    /// Start-up log of the server
    ///
    /// From vLLM `GPU KV cache size: … tokens` (or `# GPU blocks: …`, times the block size), from SGLang
    /// `max_total_num_tokens=…`.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// config.json of the model (or Mistral's params.json), with --gpu or --gpu-memory
    #[arg(long, value_name = "FILE", requires = "card")]
    model_config: Option<PathBuf>,
    #[command(flatten)]
    gpus: GpuArgs,
}

/// Returns the pool that the flags describe. The order of precedence is: what a server reports now, what it reported
/// at its start, what is computed. Contradictions between them become notes of the pool.
pub(super) fn resolve_pool(args: &PoolArgs) -> Result<KvPool, CliError> {
    if let Some(tokens) = args.kv_tokens {
        return Ok(KvPool::from_tokens(tokens.get(), "--kv-tokens"));
    }
    let mut notes = Vec::new();
    let page = match args.base_url.as_deref().map(pool_from_server) {
        // The start-up log, or the model, is enough without the page.
        Some(Err(why)) if args.log.is_some() || args.model_config.is_some() => {
            notes.push(why.message().to_owned());
            None
        }
        page => page.transpose()?,
    };
    let log = args.log.as_deref().map(pool_from_log).transpose()?;
    let (mut pools, mut sources) = (Vec::new(), Vec::new());
    let mut measured = ServerFacts::default();
    for (pool, facts) in [page, log].into_iter().flatten() {
        measured = measured.or(&facts);
        sources.push(Source { name: pool.origin.clone(), is_measured: true, facts });
        pools.push(pool);
    }
    if let Some(path) = &args.model_config {
        sources.push(Source { name: "the command".into(), is_measured: false, facts: args.gpus.facts() });
        match gpu::pool_from_model(path, &args.gpus, &measured) {
            Ok((pool, facts)) => {
                sources.push(Source { name: pool.origin.clone(), is_measured: false, facts });
                pools.push(pool);
            }
            // The server's report is enough without the config.
            Err(why) if !pools.is_empty() => notes.push(why.message().to_owned()),
            Err(why) => return Err(why),
        }
    }
    let mut pool = pools.into_iter().next().ok_or_else(|| CliError::usage("give --kv-tokens"))?;
    pool.notes.extend(reconcile::contradictions(&sources));
    pool.notes.extend(notes);
    Ok(pool)
}

/// Reads the pool from a server's metrics page.
fn pool_from_server(url: &str) -> Result<(KvPool, ServerFacts), CliError> {
    let target = target::of_url(url);
    let page = metrics_url(url)
        .map_err(|error| CliError::usage(format!("--base-url {}: {error}", secrets::mask_url(url))))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::io)?;
    let control = AdminClient::new(&target).map_err(CliError::usage)?.with_metrics_at(&page);
    let page = secrets::mask_url(&page);
    let text = runtime.block_on(control.metrics_page()).map_err(|error| {
        let why = match error {
            AdminError::Unreachable { cause, .. } => {
                format!("{page} does not answer ({cause}); is the server running?")
            }
            error => format!("{error};"),
        };
        CliError::usage(format!("{why} --kv-tokens plans without it"))
    })?;
    let size = kv_pool::size_on_page(&text).ok_or_else(|| {
        CliError::usage(format!(
            "{page} does not report the size of the KV pool (vllm:cache_config_info with num_gpu_blocks); --log reads it from \
             the start-up log, --kv-tokens sets it"
        ))
    })?;
    let facts = ServerFacts::from_page(&text);
    Ok((KvPool { notes: size.notes, ..KvPool::from_tokens(size.tokens, page) }, facts))
}

/// Reads the pool from a start-up log.
fn pool_from_log(path: &Path) -> Result<(KvPool, ServerFacts), CliError> {
    let unreadable = |error| CliError::usage(format!("cannot read --log {}: {error}", path.display()));
    let open = || File::open(path).map(BufReader::new).map_err(unreadable);
    let size = kv_pool::size_in_log(open()?).map_err(unreadable)?;
    let size = size.ok_or_else(|| {
        CliError::usage(format!(
            "{}: no line has `GPU KV cache size: … tokens` or `# GPU blocks: …` (vLLM), or `max_total_num_tokens=…` (SGLang); \
             give the log from the server's start, or --kv-tokens, which other servers need",
            path.display()
        ))
    })?;
    let facts = ServerFacts::from_log(open()?).map_err(unreadable)?;
    Ok((KvPool { notes: size.notes, ..KvPool::from_tokens(size.tokens, path.display().to_string()) }, facts))
}
