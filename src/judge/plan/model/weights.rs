//! What a model weighs: its parameters by its shape, its bytes by its types.

use super::Attention;
use super::config::{Config, ModelError, excerpt};

const CURE: &str = "give --weights-bytes, the size of the weights' files together";

/// Families whose files do not say it in the fields that are read here.
const OTHERWISE: [&str; 13] = [
    "gpt2",
    "gptj",
    "gpt_neox",
    "gpt_bigcode",
    "opt",
    "bloom",
    "mpt",
    "falcon",
    "phi",
    "starcoder2",
    "chatglm",
    "llama4",
    "llama4_text",
];

/// Parameters by whether a quantisation takes them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters {
    /// Of the layers.
    layers: u64,
    /// Of the tables at both ends, which stay as they are.
    ends: u64,
}

impl Parameters {
    pub fn total(self) -> u64 {
        self.layers.saturating_add(self.ends)
    }
}

/// Norms are left out: they are a millionth.
pub(super) fn parameters(
    config: &Config,
    heads: u64,
    attention: Attention,
) -> Result<Parameters, ModelError> {
    if OTHERWISE.contains(&config.model_type()) {
        let why = format!("is {}, whose weights are not worked out here", config.model_type());
        return Err(config.wrong("model_type", &why, CURE));
    }
    let needed = |name| config.count(&[name])?.ok_or_else(|| config.wrong(name, "is missing", CURE));
    let (hidden, layers) = (needed("hidden_size")?, needed("num_hidden_layers")?);
    let vocabulary = match config.count(&["vocab_size"])? {
        Some(vocabulary) => vocabulary,
        // Files of Gemma 3 leave out what is the family's default.
        None if super::is_gemma_3(config) => 262_208,
        None => return Err(config.wrong("vocab_size", "is missing", CURE)),
    };
    let shared_ends = config.flag("tie_word_embeddings").unwrap_or_else(|| super::is_gemma_3(config));
    let attention = match attention {
        Attention::Heads { kv_heads, head_size } => of_heads(config, hidden, heads, kv_heads * head_size)?,
        Attention::Latent { .. } => of_latent(config, hidden, heads)?,
    };
    let experts = config.count(&["n_routed_experts", "num_local_experts", "num_experts"])?;
    let dense =
        if experts.is_some() { config.count_or_zero("first_k_dense_replace")?.min(layers) } else { layers };
    let mut all = layers as f64 * attention;
    if dense > 0 {
        all += dense as f64 * 3.0 * hidden as f64 * needed("intermediate_size")? as f64;
    }
    if let Some(experts) = experts {
        all += (layers - dense) as f64 * of_experts(config, hidden, experts)?;
    }
    let tables = if shared_ends { 1.0 } else { 2.0 };
    Ok(Parameters { layers: all as u64, ends: (tables * hidden as f64 * vocabulary as f64) as u64 })
}

/// Query, key, value and output of a layer, and the biases of the families that have some.
fn of_heads(config: &Config, hidden: u64, heads: u64, kv: u64) -> Result<f64, ModelError> {
    let size = match config.count(&["head_dim"])? {
        Some(size) => size,
        None if super::is_gemma_3(config) => 256,
        None => hidden / heads,
    };
    let (hidden, queries, kv) = (hidden as f64, heads as f64 * size as f64, kv as f64);
    let biases = if config.model_type().starts_with("qwen2") { queries + 2.0 * kv } else { 0.0 };
    Ok(2.0 * hidden * queries + 2.0 * hidden * kv + biases)
}

/// The same for latent attention: down to the latents, up to the heads, and out.
fn of_latent(config: &Config, hidden: u64, heads: u64) -> Result<f64, ModelError> {
    let size = |name| config.count(&[name])?.ok_or_else(|| config.wrong(name, "is missing", CURE));
    let (rank, rope, plain) = (size("kv_lora_rank")?, size("qk_rope_head_dim")?, size("qk_nope_head_dim")?);
    let value = size("v_head_dim")?;
    let [hidden, heads, rank, rope, plain, value] =
        [hidden, heads, rank, rope, plain, value].map(|n| n as f64);
    let queries = match config.count(&["q_lora_rank"])? {
        Some(low) => low as f64 * (hidden + heads * (plain + rope)),
        None => hidden * heads * (plain + rope),
    };
    Ok(queries + hidden * (rank + rope) + rank * heads * (plain + value) + heads * value * hidden)
}

/// The experts of a layer, those that every token takes, and the router.
fn of_experts(config: &Config, hidden: u64, experts: u64) -> Result<f64, ModelError> {
    let width = config.count(&["moe_intermediate_size", "intermediate_size"])?;
    let width = width.ok_or_else(|| config.wrong("moe_intermediate_size", "is missing", CURE))?;
    let shared = match config.count_or_zero("shared_expert_intermediate_size")? {
        0 => config.count_or_zero("n_shared_experts")? as f64 * width as f64,
        width => width as f64,
    };
    Ok(hidden as f64 * (3.0 * (experts as f64 * width as f64 + shared) + experts as f64))
}

/// Bytes of the parameters, as they are stored on the GPUs.
pub(super) fn bytes(config: &Config, parameters: Parameters) -> Result<u64, ModelError> {
    let number = number_bytes(config)?;
    let quantised = quantised_bits(config)?.map_or(number, |bits| bits / 8.0);
    Ok((parameters.layers as f64 * quantised + parameters.ends as f64 * number) as u64)
}

/// Bytes of a number. vLLM computes in 16 bits what is stored in 32.
pub(super) fn number_bytes(config: &Config) -> Result<f64, ModelError> {
    let name = config.word("torch_dtype").or_else(|| config.word("dtype")).unwrap_or("bfloat16");
    match name.trim_start_matches("torch.") {
        "bfloat16" | "float16" | "half" | "float32" | "float" | "auto" => Ok(2.0),
        "float8_e4m3fn" | "float8_e5m2" => Ok(1.0),
        other => Err(config.wrong(
            "torch_dtype",
            &format!("is {other:.40}, which is not known here"),
            "give --weights-bytes and --kv-dtype",
        )),
    }
}

/// Bits of a quantised number with its share of the scales.
fn quantised_bits(config: &Config) -> Result<Option<f64>, ModelError> {
    let Some(scheme) = config.get("quantization_config") else { return Ok(None) };
    let number = |name: &str| scheme.get(name).and_then(serde_json::Value::as_f64).filter(|n| *n > 0.0);
    let flag = |name: &str| scheme.get(name).and_then(serde_json::Value::as_bool) == Some(true);
    let bits = match scheme.get("quant_method").and_then(serde_json::Value::as_str) {
        Some("fp8" | "fbgemm_fp8") => Some(8.0),
        Some("mxfp4") => Some(4.25),
        // A scale of 16 bits and a zero point for each group.
        Some("awq" | "gptq" | "gptq_marlin" | "awq_marlin") => {
            number("bits").map(|bits| bits + (16.0 + bits) / number("group_size").unwrap_or(f64::INFINITY))
        }
        Some("bitsandbytes") if flag("load_in_4bit") => Some(4.5),
        Some("bitsandbytes") if flag("load_in_8bit") => Some(8.0),
        _ => None,
    };
    match bits {
        Some(bits) if bits <= 64.0 => Ok(Some(bits)),
        _ => {
            let why = format!("is {}, which is not known here", excerpt(scheme));
            Err(config.wrong("quantization_config", &why, CURE))
        }
    }
}
