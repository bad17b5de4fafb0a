//! The number of bits per parameter, from the quantization config, and the type of keys and values that it sets.

use fancy_regex::Regex;
use serde_json::Value;

use super::attention::KvType;
use super::config::{CURE, ModelConfig, ModelError, is_none, value_excerpt};
use super::matrix;

/// The bits of an unquantized parameter: vLLM computes in 16 bits even if the file stores 32.
const UNQUANTIZED: f64 = 16.0;

/// The part of a model that is quantized.
#[derive(Debug)]
enum QuantizedPart {
    /// All linear layers.
    Linear,
    /// The experts only.
    Experts,
    /// The matrices whose names match.
    Named(Regex),
}

/// How a model's matrices are quantized.
#[derive(Debug)]
pub(super) struct QuantizationScheme {
    /// The bits of parameters that are not quantized.
    base: f64,
    groups: Vec<(QuantizedPart, f64)>,
    /// The names of matrices that stay as they are.
    ignored: Vec<Regex>,
    /// Whether vLLM pads the experts, as it does for 4-bit experts in the MX format.
    pub pads_experts: bool,
}

/// Matrices that no scheme quantizes.
const NEVER_QUANTIZED: [&str; 8] =
    ["embed_tokens", "lm_head", "per_layer", "altup", "laurel", ".gate", "conv1d", "weights_proj"];

impl QuantizationScheme {
    /// The bits per parameter of a matrix, including its share of the scales.
    pub(super) fn bits(&self, name: &str) -> f64 {
        if NEVER_QUANTIZED.iter().any(|part| name.starts_with(part) || name.ends_with(part)) {
            return self.base;
        }
        let is = |pattern: &Regex| pattern.is_match(&format!("model.{name}")).unwrap_or(false);
        if self.ignored.iter().any(is) {
            return self.base;
        }
        let group = self.groups.iter().find(|(target, _)| match target {
            QuantizedPart::Linear => true,
            QuantizedPart::Experts => name.contains(".experts."),
            QuantizedPart::Named(pattern) => is(pattern),
        });
        group.map_or(self.base, |(_, bits)| *bits)
    }

    /// Reads the scheme.
    ///
    /// # Errors
    ///
    /// For a scheme that is not known.
    pub(super) fn read(config: &ModelConfig) -> Result<Self, ModelError> {
        let base = if check_dtype(config, matrix::CURE)?.is_some() { 8.0 } else { UNQUANTIZED };
        let mut read = Self { base, groups: Vec::new(), ignored: Vec::new(), pads_experts: false };
        let Some(scheme) = config.quantization() else { return Ok(read) };
        let unknown = || {
            let why = format!("is {}, which servegauge does not support", value_excerpt(scheme));
            config.wrong("quantization_config", &why, matrix::CURE)
        };
        read.ignored = ignored(scheme).ok_or_else(unknown)?;
        let word = |name: &str| scheme.get(name).and_then(Value::as_str);
        let method = word("quant_method");
        read.groups = if let Some(algorithm) = word("quant_algo") {
            by_algorithm(scheme, algorithm)
        } else if let Some(groups) = scheme.get("config_groups").and_then(Value::as_object) {
            let groups = groups.values().map(group).collect::<Option<Vec<_>>>();
            groups.map(|groups| groups.into_iter().flatten().collect())
        } else {
            by_method(scheme, method.unwrap_or_default()).map(|group| vec![group])
        }
        .ok_or_else(unknown)?;
        read.pads_experts = method == Some("mxfp4");
        Ok(read)
    }
}

fn number(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64).filter(|number| *number > 0.0)
}

/// Reads the scheme's list of matrices that stay as they are; `None` if a pattern is not understood.
fn ignored(scheme: &Value) -> Option<Vec<Regex>> {
    let names =
        ["ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers", "llm_int8_skip_modules"];
    let lists = names.iter().filter_map(|name| scheme.get(*name)?.as_array());
    lists.flatten().filter_map(Value::as_str).map(pattern).collect()
}

/// Parts of names that differ between checkpoints, and the names used here.
const SYNONYMS: [(&str, &str); 15] = [
    ("block_sparse_moe", "mlp"),
    ("feed_forward", "mlp"),
    ("mixer.experts", "mlp.experts"),
    ("mixer.shared_experts", "mlp.shared_experts"),
    ("mixer.gate", "mlp.gate"),
    ("mixer.up_proj", "mlp.up_proj"),
    ("mixer.down_proj", "mlp.down_proj"),
    ("mixer.in_proj", "linear_attn.in_proj"),
    ("mixer.out_proj", "linear_attn.out_proj"),
    ("mixer.", "self_attn."),
    ("mamba.", "linear_attn."),
    ("shared_expert.", "shared_experts."),
    ("shared_mlp.", "shared_experts."),
    ("in_proj_qkv", "in_proj_qkvz"),
    ("in_proj_qkvzz", "in_proj_qkvz"),
];

/// Parses a name in which `*` stands for anything, or a regular expression after `re:`. A name also matches everything
/// below it.
fn pattern(text: &str) -> Option<Regex> {
    let synonyms =
        |text: &str| SYNONYMS.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    if let Some(expression) = text.strip_prefix("re:") {
        return Regex::new(&synonyms(expression)).ok();
    }
    let own = synonyms(text);
    let from = own
        .find("layers.")
        .or_else(|| own.rfind('.').map(|dot| dot + 1))
        .filter(|_| !own.contains('*') || own.contains("layers."));
    let own = &own[from.unwrap_or_default()..];
    let escaped = fancy_regex::escape(own).replace(r"\*", ".*");
    Regex::new(&format!(r"^(?:.*\.)?{escaped}(?:\..*)?$")).ok()
}

/// Reads an algorithm of NVIDIA's ModelOpt.
fn by_algorithm(scheme: &Value, algorithm: &str) -> Option<Vec<(QuantizedPart, f64)>> {
    if algorithm != "MIXED_PRECISION" {
        return Some(vec![(QuantizedPart::Linear, algorithm_bits(algorithm, scheme)?)]);
    }
    let layers = scheme.get("quantized_layers")?.as_object()?;
    let group = |(name, layer): (&String, &Value)| {
        let algorithm = layer.get("quant_algo")?.as_str()?;
        Some((QuantizedPart::Named(pattern(name)?), algorithm_bits(algorithm, layer)?))
    };
    layers.iter().map(group).collect()
}

fn algorithm_bits(algorithm: &str, scheme: &Value) -> Option<f64> {
    Some(match algorithm {
        "FP8" | "FP8_PER_CHANNEL_PER_TOKEN" | "INT8_SQ" | "W8A8_SQ_PER_CHANNEL" => 8.0,
        "FP8_PB_WO" | "FP8_PB_REAL" => 8.0 + 32.0 / (128.0 * 128.0),
        "MXFP8" => 8.0 + 8.0 / 32.0,
        "MXFP4" => 4.0 + 8.0 / 32.0,
        "NVFP4" | "W4A16_NVFP4" | "NVFP4_AWQ" | "W4A8_NVFP4_FP8" => 4.0 + 8.0 / 16.0,
        "W4A16_AWQ" | "INT4_AWQ" | "W4A8_AWQ" => 4.0 + 16.0 / number(scheme, "group_size").unwrap_or(128.0),
        _ => return None,
    })
}

/// Reads a group of `compressed-tensors`.
fn group(group: &Value) -> Option<Vec<(QuantizedPart, f64)>> {
    let weights = group.get("weights").filter(|weights| !is_none(weights));
    let bits = weights.map_or(Some(UNQUANTIZED), weight_bits)?;
    let targets = group.get("targets")?.as_array()?;
    let target = |name: &Value| match name.as_str()? {
        "Linear" => Some((QuantizedPart::Linear, bits)),
        "FusedMoE" => Some((QuantizedPart::Experts, bits)),
        name => Some((QuantizedPart::Named(pattern(name)?), bits)),
    };
    targets.iter().map(target).collect()
}

/// The bits per parameter: the value itself and a share of the scale of its group or block. The scale has 8 bits with
/// 4-bit floats, otherwise 16, and a zero point where the scheme has one.
fn weight_bits(weights: &Value) -> Option<f64> {
    let bits = number(weights, "num_bits")?;
    let is_float = weights.get("type").and_then(Value::as_str) == Some("float");
    let block = weights.get("block_structure").and_then(Value::as_array);
    if let Some(block) = block {
        let area: f64 = block.iter().filter_map(Value::as_f64).product();
        return Some(bits + 32.0 / area);
    }
    let Some(size) = number(weights, "group_size") else { return Some(bits) };
    let scale = if is_float && bits <= 4.0 { 8.0 } else { 16.0 };
    let is_symmetric = weights.get("symmetric").and_then(Value::as_bool) != Some(false);
    Some(bits + (scale + if is_symmetric { 0.0 } else { bits }) / size)
}

/// Reads the name of a method.
fn by_method(scheme: &Value, method: &str) -> Option<(QuantizedPart, f64)> {
    let flag = |name: &str| scheme.get(name).and_then(Value::as_bool) == Some(true);
    let bits = match method {
        "fp8" | "fbgemm_fp8" | "deepseek_v4_fp8" => {
            let block = scheme.get("weight_block_size").and_then(Value::as_array);
            let area = block.map(|sides| sides.iter().filter_map(Value::as_f64).product::<f64>());
            let scale_bits = if scheme.get("scale_fmt").is_some() { 8.0 } else { 32.0 };
            8.0 + area.filter(|area| *area > 0.0).map_or(0.0, |area| scale_bits / area)
        }
        "mxfp4" => return Some((QuantizedPart::Experts, 4.0 + 8.0 / 32.0)),
        "experts_int8" => return Some((QuantizedPart::Experts, 8.0)),
        // Each group has a scale of 16 bits and a zero point.
        "awq" | "gptq" | "gptq_marlin" | "awq_marlin" | "auto-round" | "intel/auto-round" => {
            let bits = number(scheme, "bits")?;
            bits + number(scheme, "group_size").map_or(0.0, |size| (16.0 + bits) / size)
        }
        "bitsandbytes" if flag("load_in_4bit") => 4.5,
        "bitsandbytes" if flag("load_in_8bit") => 8.0,
        _ => return None,
    };
    (bits <= 64.0).then_some((QuantizedPart::Linear, bits))
}

/// Reads the type of keys and values that the checkpoint sets; `None` if it does not set one.
///
/// # Errors
///
/// For a type that is not known.
pub(super) fn kv_type(config: &ModelConfig) -> Result<Option<KvType>, ModelError> {
    let scheme = config.quantization().unwrap_or(&Value::Null);
    let active = |name: &str| scheme.get(name).filter(|value| !is_none(value));
    let wrong = |name: &str, value: &Value| {
        let why = format!("is {}, which servegauge does not support", value_excerpt(value));
        Err(config.wrong(&format!("quantization_config.{name}"), &why, "give `plan.kv_type`"))
    };
    if let Some(cache) = active("kv_cache_scheme") {
        let bits = cache.get("num_bits").and_then(Value::as_u64);
        let group = cache.get("group_size").filter(|size| !is_none(size)).map(Value::as_u64);
        return match (bits, cache.get("type").and_then(Value::as_str)) {
            (Some(8), None | Some("float" | "int")) => Ok(Some(KvType::Byte)),
            // Of the types with 4 bits, only the size of NVFP4's scales is known: 8 bits for 16 values.
            (Some(4), Some("float")) if matches!(group, None | Some(Some(16))) => Ok(Some(KvType::Nvfp4)),
            (Some(16), _) => Ok(None),
            _ => wrong("kv_cache_scheme", cache),
        };
    }
    if let Some(algorithm) = active("kv_cache_quant_algo") {
        return match algorithm.as_str() {
            Some("FP8" | "INT8") => Ok(Some(KvType::Byte)),
            Some("NVFP4") => Ok(Some(KvType::Nvfp4)),
            _ => wrong("kv_cache_quant_algo", algorithm),
        };
    }
    if let Some(other) = active("kv_cache_quant_config") {
        return wrong("kv_cache_quant_config", other);
    }
    check_dtype(config, CURE)
}

/// Returns the type that the model computes in if that type has 8 bits.
fn check_dtype(config: &ModelConfig, cure: &str) -> Result<Option<KvType>, ModelError> {
    let name = config.word("torch_dtype").or_else(|| config.word("dtype")).unwrap_or("bfloat16");
    match name.trim_start_matches("torch.") {
        "bfloat16" | "float16" | "half" | "float32" | "float" | "auto" => Ok(None),
        "float8_e4m3fn" | "float8_e5m2" => Ok(Some(KvType::Byte)),
        other => Err(config.wrong(
            "torch_dtype",
            &format!("is {other:.40}, which servegauge does not support"),
            cure,
        )),
    }
}
