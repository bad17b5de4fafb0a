//! Flags that compute the KV pool from a model's config and the memory of its GPUs.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};

use crate::analysis::plan::gpus::Gpu;
use crate::analysis::plan::memory::{self, GpuSetup, WeightsSource};
use crate::analysis::plan::model::{KvType, ModelArchitecture, weights};
use crate::analysis::plan::pool::KvPool;
use crate::analysis::plan::reconcile;
use crate::analysis::plan::vllm_version::VllmVersion;
use crate::cli::args::values;
use crate::cli::commands::plan::fraction;
use crate::cli::exit::CliError;
use crate::model::bounded_file::{self, FileLimit};
use crate::server::kv_pool::ServerFacts;

#[derive(Debug, Args)]
#[command(next_help_heading = "With --model-config")]
#[command(group(ArgGroup::new("card").args(["gpu", "gpu_memory"])))]
pub(super) struct GpuArgs {
    /// Name of the GPU, such as H100, A100-40 or MI300X
    ///
    /// Its memory is what CUDA reports.
    #[arg(long, value_name = "NAME", requires = "model_config", value_parser = Gpu::from_name)]
    gpu: Option<Gpu>,
    /// Memory of each GPU: 80GB (80 × 10⁹), 80GiB
    #[arg(long, value_name = "SIZE", requires = "model_config", value_parser = fraction::bytes)]
    gpu_memory: Option<u64>,
    /// GPUs that share the model by tensor parallelism [default: the log's, or 1]
    #[arg(long, value_name = "GPUS", visible_alias = "tensor-parallel-size", value_parser = values::number::<NonZeroU64>)]
    tp: Option<NonZeroU64>,
    /// Share of the memory that vLLM uses [default: 0.92 from v0.20, 0.9 before]
    #[arg(long, value_name = "SHARE", value_parser = fraction::utilization)]
    gpu_memory_utilization: Option<f64>,
    /// Data type of keys and values
    #[arg(long, value_enum, value_name = "TYPE", visible_alias = "kv-cache-dtype", default_value = "auto")]
    kv_dtype: KvDtype,
    /// Size of all weights [default: computed from the config]
    #[arg(long, value_name = "SIZE", conflicts_with = "weights_index", value_parser = fraction::bytes)]
    weights_bytes: Option<u64>,
    /// model.safetensors.index.json of the weights, which has their exact size
    ///
    /// By default, the one beside the config is used.
    #[arg(long, value_name = "FILE")]
    weights_index: Option<PathBuf>,
    /// Memory per GPU beside weights and pool [default: estimated]
    #[arg(long, value_name = "SIZE", value_parser = fraction::bytes)]
    reserved_memory: Option<u64>,
    /// vLLM's --max-num-seqs; more needs more memory [default: vLLM's]
    ///
    /// The sampler's warm-up allocates memory for each sequence.
    #[arg(long, value_name = "REQUESTS", value_parser = values::number::<NonZeroU64>)]
    max_num_seqs: Option<NonZeroU64>,
    /// vLLM's --max-num-batched-tokens; more needs more memory [default: vLLM's]
    ///
    /// The forward pass allocates memory for each token.
    #[arg(long, value_name = "TOKENS", value_parser = values::number::<NonZeroU64>)]
    max_num_batched_tokens: Option<NonZeroU64>,
    /// vLLM runs without CUDA graphs
    #[arg(long)]
    enforce_eager: bool,
    /// Version of vLLM, for its defaults [default: the log's, or 0.31.0]
    #[arg(long, value_name = "VERSION")]
    vllm_version: Option<VllmVersion>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KvDtype {
    /// The model's own
    Auto,
    /// 16 bits
    #[value(alias = "bfloat16", alias = "float16", alias = "fp16")]
    Bf16,
    /// 8 bits
    #[value(alias = "fp8_e4m3", alias = "fp8_e5m2", alias = "int8")]
    Fp8,
    /// 8 bits, latents with their scales
    #[value(name = "fp8_ds_mla")]
    Fp8DsMla,
}

impl KvDtype {
    fn kv_type(self) -> Option<KvType> {
        match self {
            Self::Auto => None,
            Self::Bf16 => Some(KvType::Half),
            Self::Fp8 => Some(KvType::Byte),
            Self::Fp8DsMla => Some(KvType::ScaledLatents),
        }
    }
}

impl GpuArgs {
    /// Returns the server facts that the flags state.
    pub(super) fn facts(&self) -> ServerFacts {
        let kv_dtype = self.kv_dtype.to_possible_value().filter(|_| self.kv_dtype != KvDtype::Auto);
        ServerFacts {
            tp: self.tp.map(NonZeroU64::get),
            utilization: self.gpu_memory_utilization,
            kv_dtype: kv_dtype.map(|value| value.get_name().to_owned()),
            max_num_seqs: self.max_num_seqs.map(NonZeroU64::get),
            max_num_batched_tokens: self.max_num_batched_tokens.map(NonZeroU64::get),
            enforce_eager: self.enforce_eager.then_some(true),
            ..ServerFacts::default()
        }
    }
}

/// Computes the pool of a model on these GPUs, and the facts that its server would report. Settings that a server
/// reported take precedence over the flags, so that the two pools can be compared.
pub(super) fn pool_from_model(
    path: &Path,
    args: &GpuArgs,
    measured: &ServerFacts,
) -> Result<(KvPool, ServerFacts), CliError> {
    let text = read_file(path, "--model-config")?;
    let beside = |name: &str| path.parent().map(|folder| folder.join(name)).filter(|file| file.is_file());
    let quantization = beside("hf_quant_config.json").map(|file| read_file(&file, "--model-config"));
    let model = ModelArchitecture::from_json(path, &text, quantization.transpose()?.as_deref())
        .map_err(CliError::usage)?;
    let gpu = args.gpu.clone().or_else(|| args.gpu_memory.map(Gpu::from_memory));
    let index = args.weights_index.clone().or_else(|| beside("model.safetensors.index.json"));
    let weights = match (args.weights_bytes, index) {
        (Some(bytes), _) => WeightsSource::Given(bytes),
        (None, Some(index)) => {
            let bytes = weights::indexed_bytes(&index, &read_file(&index, "--weights-index")?);
            WeightsSource::Indexed(bytes.map_err(CliError::usage)?, index.display().to_string())
        }
        (None, None) => WeightsSource::Estimated,
    };
    let settings = measured.clone().or(&args.facts());
    let kv_dtype = settings.kv_dtype.as_deref().and_then(|name| KvDtype::from_str(name, true).ok());
    let version = settings.version.as_deref().and_then(|version| version.parse().ok());
    let memory = GpuSetup {
        gpu: gpu.ok_or_else(|| {
            CliError::usage("--model-config needs --gpu, such as H100, or --gpu-memory, such as 80GB")
        })?,
        tp: settings.tp.unwrap_or(1),
        utilization: settings.utilization,
        weights,
        reserved: args.reserved_memory,
        max_num_seqs: settings.max_num_seqs,
        max_num_batched_tokens: settings.max_num_batched_tokens,
        enforce_eager: settings.enforce_eager.unwrap_or_default(),
        version: args.vllm_version.or(version).unwrap_or(VllmVersion::LATEST_KNOWN),
        kv_type: kv_dtype.unwrap_or(args.kv_dtype).kv_type(),
    };
    let pool = memory::gpu_pool(&model, &memory, &path.display().to_string()).map_err(CliError::usage)?;
    let facts = reconcile::expected(&model, &pool);
    Ok((pool, facts))
}

fn read_file(path: &Path, flag: &str) -> Result<String, CliError> {
    bounded_file::read_text(path, FileLimit::CONFIG)
        .map_err(|error| CliError::usage(format!("cannot read {flag} {}: {error}", path.display())))
}
