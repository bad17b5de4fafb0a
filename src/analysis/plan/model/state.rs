//! The state of layers without attention: a fixed number of bytes per sequence, whatever its length.
//!
//! The shapes are those of vLLM's `MambaStateShapeCalculator`, and the types those of its `MambaStateDtypeCalculator`
//! (vllm/model_executor/layers/mamba/mamba_utils.py).

use super::attention;
use super::config::{CURE, ModelConfig, ModelError, value_excerpt};

/// The size of one layer's state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RecurrentState {
    /// The channels of the convolution that are divided among GPUs.
    channels: u64,
    /// The channels that each group of the state space adds. A group is never split.
    per_group: u64,
    groups: u64,
    /// The number of past steps that the convolution keeps.
    steps: u64,
    /// The number of values of the recurrent state.
    recurrent: u64,
    /// The bytes of each value of the recurrent state.
    recurrent_bytes: u64,
}

/// The bytes of a value in the model's own type: vLLM computes in 16 bits even if the file stores 32.
const MODEL_BYTES: u64 = 2;

impl RecurrentState {
    /// The bytes on each of `tp` GPUs.
    pub(super) fn bytes(&self, tp: u64) -> u64 {
        // With fewer groups than GPUs, each GPU has one.
        let groups = if self.groups.is_multiple_of(tp) { self.groups } else { tp };
        let channels = (self.channels + groups * self.per_group).div_ceil(tp);
        channels * self.steps * MODEL_BYTES + self.recurrent.div_ceil(tp) * self.recurrent_bytes
    }
}

/// Reads the state of a model's recurrent layers.
///
/// # Errors
///
/// For fields that are not known.
pub(super) fn read(config: &ModelConfig) -> Result<RecurrentState, ModelError> {
    if let Some(delta) = DeltaAttention::read(config)? {
        // The layer has convolutions over queries, keys and values, and a state that always has 32 bits.
        return Ok(RecurrentState {
            channels: 3 * delta.inner(),
            per_group: 0,
            groups: 1,
            steps: delta.kernel - 1,
            recurrent: delta.inner() * delta.size,
            recurrent_bytes: 4,
        });
    }
    if config.first_active("linear_num_value_heads").is_some() {
        return gated_delta_net(config);
    }
    let family = config.model_type();
    if config.first_active("conv_L_cache").is_some() {
        let channels = config.optional(&["conv_dim", "hidden_size"])?.unwrap_or_default();
        let steps = config.required_count(&["conv_L_cache"])? - 1;
        return Ok(RecurrentState {
            channels,
            steps,
            per_group: 0,
            groups: 1,
            recurrent: 0,
            recurrent_bytes: 0,
        });
    }
    if config.first_active("attn_type_list").is_some() || family.starts_with("minimax") {
        let heads = config.required_count(&["num_attention_heads"])?;
        let size = attention::head_size(config, heads)?;
        let recurrent = heads * size * size;
        return Ok(RecurrentState {
            channels: 0,
            per_group: 0,
            groups: 1,
            steps: 0,
            recurrent,
            recurrent_bytes: MODEL_BYTES,
        });
    }
    if heads(config)?.is_some() {
        return state_space(config);
    }
    if config.optional(&["mamba_d_state"])?.is_some() || matches!(family, "mamba" | "falcon_mamba") {
        return selective(config);
    }
    Err(config.wrong("layer_types", "has layers with a state, but no field has its size", CURE))
}

/// Qwen3-Next and Qwen3.5.
fn gated_delta_net(config: &ModelConfig) -> Result<RecurrentState, ModelError> {
    let count = |name| config.required_count(&[name]);
    let (keys, key_size) = (count("linear_num_key_heads")?, count("linear_key_head_dim")?);
    let (values, value_size) = (count("linear_num_value_heads")?, count("linear_value_head_dim")?);
    // If the type is missing, files of Qwen3.5 mean 32 bits, and files of Qwen3-Next the model's own type.
    let usual = if config.model_type().starts_with("qwen3_5") { 4 } else { MODEL_BYTES };
    Ok(RecurrentState {
        channels: 2 * keys * key_size + values * value_size,
        per_group: 0,
        groups: 1,
        steps: count("linear_conv_kernel_dim")? - 1,
        recurrent: values * key_size * value_size,
        recurrent_bytes: recurrent_bytes(config, usual)?,
    })
}

/// Kimi's delta attention, in the format of its own files (`linear_attn_config`) and in that of `transformers`.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeltaAttention {
    pub heads: u64,
    pub size: u64,
    pub kernel: u64,
}

impl DeltaAttention {
    pub(super) fn inner(self) -> u64 {
        self.heads * self.size
    }

    /// Reads the fields; `None` for a model without delta attention.
    pub(super) fn read(config: &ModelConfig) -> Result<Option<Self>, ModelError> {
        const OWN: &str = "linear_attn_config";
        if config.first_active(OWN).is_some() {
            let count = |name: &str| {
                let value = config.within(OWN, name);
                config
                    .counted(OWN, value.ok_or_else(|| config.wrong(OWN, &format!("has no `{name}`"), CURE))?)
            };
            let (heads, size) = (count("num_heads")?, count("head_dim")?);
            return Ok(Some(Self { heads, size, kernel: count("short_conv_kernel_size")? }));
        }
        let Some(heads) = config.optional(&["linear_num_heads"])? else { return Ok(None) };
        let kernel = config.required_count(&["linear_conv_kernel_dim", "short_conv_kernel_size"])?;
        Ok(Some(Self { heads, size: config.required_count(&["linear_head_dim"])?, kernel }))
    }
}

const HEADS: [&str; 3] = ["mamba_num_heads", "mamba_n_heads", "n_mamba_heads"];
/// The field names for the size of a state.
pub(super) const STATE: [&str; 3] = ["ssm_state_size", "mamba_d_state", "state_size"];
/// The field names for the size of a convolution.
pub(super) const KERNEL: [&str; 2] = ["conv_kernel", "mamba_d_conv"];

/// The number of heads of Mamba 2; `None` for Mamba 1, which has no heads.
pub(super) fn heads(config: &ModelConfig) -> Result<Option<u64>, ModelError> {
    match config.model_type() {
        "mamba2" => config.required_count(&["num_heads"]).map(Some),
        _ => config.optional(&HEADS),
    }
}

/// The number of groups of Mamba 2.
pub(super) fn groups(config: &ModelConfig) -> Result<u64, ModelError> {
    if config.model_type() == "plamo2" {
        // The convolution of this family covers only the heads.
        return Ok(0);
    }
    Ok(config.optional(&["n_groups", "mamba_n_groups", "mamba_ngroups"])?.unwrap_or(1))
}

/// Mamba 2.
fn state_space(config: &ModelConfig) -> Result<RecurrentState, ModelError> {
    let inner = inner(config)?;
    let state = config.required_count(&STATE)?;
    Ok(RecurrentState {
        channels: inner,
        per_group: 2 * state,
        groups: groups(config)?,
        steps: config.required_count(&KERNEL)? - 1,
        recurrent: inner * state,
        recurrent_bytes: recurrent_bytes(config, MODEL_BYTES)?,
    })
}

/// Mamba 1.
fn selective(config: &ModelConfig) -> Result<RecurrentState, ModelError> {
    let inner = inner(config)?;
    Ok(RecurrentState {
        channels: inner,
        per_group: 0,
        groups: 1,
        steps: config.required_count(&KERNEL)? - 1,
        recurrent: inner * config.required_count(&STATE)?,
        recurrent_bytes: recurrent_bytes(config, MODEL_BYTES)?,
    })
}

/// The inner width of a state-space layer.
pub(super) fn inner(config: &ModelConfig) -> Result<u64, ModelError> {
    if matches!(config.model_type(), "mamba" | "falcon_mamba")
        && let Some(width) = config.optional(&["intermediate_size"])?
    {
        return Ok(width);
    }
    let size = match config.model_type() {
        "mamba2" => config.optional(&["head_dim"])?,
        "plamo2" => config.optional(&["hidden_size_per_head"])?,
        _ => config.optional(&["mamba_head_dim", "mamba_d_head", "mamba_headdim"])?,
    };
    if let Some((heads, size)) = heads(config)?.zip(size) {
        return Ok(heads * size);
    }
    if let Some(width) = config.optional(&["mamba_d_ssm"])? {
        return Ok(width);
    }
    let expand = config.optional(&["mamba_expand", "expand"])?.unwrap_or(2);
    Ok(expand * config.required_count(&["hidden_size"])?)
}

/// The bytes of a value of the recurrent state, from the type that the file states.
fn recurrent_bytes(config: &ModelConfig, usual: u64) -> Result<u64, ModelError> {
    let Some((name, value)) = ["mamba_ssm_dtype", "mamba_ssm_cache_dtype"]
        .into_iter()
        .find_map(|name| Some((name, config.get(name)?)))
    else {
        return Ok(usual);
    };
    match value.as_str().map(|word| word.trim_start_matches("torch.")) {
        Some("float32") => Ok(4),
        Some("bfloat16" | "float16") => Ok(2),
        Some("auto") => Ok(usual),
        _ => Err(config.wrong(
            name,
            &format!("is {}, which servegauge does not support", value_excerpt(value)),
            CURE,
        )),
    }
}
