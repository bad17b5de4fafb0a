//! The flags of the KV pool.

use std::fs::{self, File};
use std::io::BufReader;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::share;
use crate::cli::exit::Halt;
use crate::cli::target;
use crate::drive::client::control::Control;
use crate::judge::plan::memory::{self, Memory};
use crate::judge::plan::model::Model;
use crate::judge::plan::pool::Pool;
use crate::server::kv_pool;

#[derive(Debug, Args)]
#[command(next_help_heading = "KV pool (one of these)")]
pub struct PoolArgs {
    /// Tokens that the pool holds
    #[arg(long, value_name = "TOKENS")]
    kv_tokens: Option<NonZeroU64>,
    /// Ask the /metrics of a vLLM server: blocks × block size
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// vLLM's start-up log, which has `GPU KV cache size: … tokens` (or `# GPU blocks: …`, of 16 tokens)
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// A model's config.json; with --gpu-memory the pool is worked out
    #[arg(long, value_name = "FILE", requires = "gpu_memory")]
    model_config: Option<PathBuf>,
    #[command(flatten)]
    gpus: GpuArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With --model-config")]
struct GpuArgs {
    /// Memory of each GPU: 80GB (80 × 10⁹), 80GiB
    #[arg(long, value_name = "SIZE", requires = "model_config", value_parser = share::bytes)]
    gpu_memory: Option<u64>,
    /// GPUs that share the model by tensor parallelism
    #[arg(long, value_name = "GPUS", visible_alias = "tensor-parallel-size", default_value = "1")]
    tp: NonZeroU64,
    /// The share of the memory that vLLM takes
    #[arg(long, value_name = "SHARE", default_value = "0.9", value_parser = share::utilization)]
    gpu_memory_utilization: f64,
    /// Type of keys and values
    #[arg(long, value_enum, value_name = "TYPE", visible_alias = "kv-cache-dtype", default_value = "auto")]
    kv_dtype: KvType,
    /// Size of all weights together [default: by the config's shape and type]
    #[arg(long, value_name = "SIZE", value_parser = share::bytes)]
    weights_bytes: Option<u64>,
    /// Memory of each GPU for activations, CUDA graphs and a vision part
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = share::bytes)]
    reserved_memory: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KvType {
    /// The model's own
    Auto,
    /// 16 bits
    #[value(alias = "bfloat16", alias = "float16", alias = "fp16")]
    Bf16,
    /// 8 bits
    #[value(alias = "fp8_e4m3", alias = "fp8_e5m2", alias = "int8")]
    Fp8,
}

impl KvType {
    fn bytes(self) -> Option<f64> {
        match self {
            Self::Auto => None,
            Self::Bf16 => Some(2.0),
            Self::Fp8 => Some(1.0),
        }
    }
}

/// The pool that the flags describe.
pub fn pool(args: &PoolArgs) -> Result<Pool, Halt> {
    if let Some(tokens) = args.kv_tokens {
        return Ok(Pool::of_tokens(tokens.get(), "--kv-tokens"));
    }
    if let Some(url) = &args.base_url {
        return of_server(url);
    }
    if let Some(path) = &args.log {
        return of_log(path);
    }
    let path = args.model_config.as_deref().ok_or_else(|| Halt::usage("give --kv-tokens"))?;
    of_model(path, &args.gpus)
}

fn of_server(url: &str) -> Result<Pool, Halt> {
    let target = target::of_url(url);
    let page = format!("{}/metrics", target.base_url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Halt::failed)?;
    let control = Control::new(&target).map_err(Halt::usage)?;
    let text = runtime.block_on(control.metrics()).ok_or_else(|| {
        Halt::failed(format!("{page} does not answer; is the server running? --kv-tokens plans without it"))
    })?;
    let tokens = kv_pool::on_page(&text).ok_or_else(|| {
        Halt::failed(format!(
            "{page} does not tell the size of the KV pool (vllm:cache_config_info with num_gpu_blocks); --log reads it from \
             the start-up log, --kv-tokens takes it"
        ))
    })?;
    Ok(Pool::of_tokens(tokens, page))
}

fn of_log(path: &Path) -> Result<Pool, Halt> {
    let unreadable = |error| Halt::usage(format!("cannot read --log {}: {error}", path.display()));
    let log = File::open(path).map_err(unreadable)?;
    let tokens = kv_pool::in_log(BufReader::new(log)).map_err(unreadable)?;
    let tokens = tokens.ok_or_else(|| {
        Halt::usage(format!(
            "{}: no line says `GPU KV cache size: … tokens` or `# GPU blocks: …`; give the log from vLLM's start, or --kv-tokens",
            path.display()
        ))
    })?;
    Ok(Pool::of_tokens(tokens, path.display().to_string()))
}

fn of_model(path: &Path, gpus: &GpuArgs) -> Result<Pool, Halt> {
    let text = fs::read_to_string(path)
        .map_err(|error| Halt::usage(format!("cannot read --model-config {}: {error}", path.display())))?;
    let model = Model::from_json(path, &text).map_err(Halt::usage)?;
    let memory = Memory {
        gpu: gpus.gpu_memory.ok_or_else(|| Halt::usage("--model-config needs --gpu-memory, such as 80GB"))?,
        tp: gpus.tp.get(),
        utilization: gpus.gpu_memory_utilization,
        weights: gpus.weights_bytes,
        reserved: gpus.reserved_memory,
    };
    memory::pool(&model, memory, gpus.kv_dtype.bytes(), &path.display().to_string()).map_err(Halt::usage)
}
