//! The layers of Nemotron NAS, where each block states its parts.

use serde_json::Value;

use super::config::{CURE, ModelConfig, ModelError, is_none, value_excerpt};
use super::layer::{FeedForward, Layer, Mixer};

/// Parts of an attention that change what it keeps, and that are not supported here.
const UNKNOWN: [&str; 4] = ["sparsify", "unshifted_sink", "num_sink_tokens", "mamba"];

/// Reads `block_configs`.
///
/// # Errors
///
/// For a block that is not understood.
pub(super) fn read(
    config: &ModelConfig,
    field: &str,
    value: &Value,
    count: usize,
) -> Result<Vec<Layer>, ModelError> {
    let blocks = config.per_layer(field, value, count)?;
    let layer = |block: &Value| {
        let part = |name: &str| block.get(name).cloned().unwrap_or_default();
        let mut layer = attention(config, field, &part("attention"))?;
        layer.feed_forward = feed_forward(config, &part("ffn"))?;
        Ok(layer)
    };
    blocks.iter().map(layer).collect()
}

fn has_flag(part: &Value, name: &str) -> bool {
    part.get(name).and_then(Value::as_bool) == Some(true)
}

fn number(part: &Value, name: &str) -> Option<f64> {
    part.get(name).and_then(Value::as_f64).filter(|number| *number > 0.0)
}

fn attention(config: &ModelConfig, field: &str, part: &Value) -> Result<Layer, ModelError> {
    if has_flag(part, "no_op") || has_flag(part, "replace_with_linear") {
        return Ok(Layer::new(Mixer::Absent));
    }
    let unknown =
        UNKNOWN.iter().find_map(|name| Some((name, part.get(*name).filter(|value| !is_none(value))?)));
    if let Some((name, value)) = unknown {
        let why = format!("has `{name}` {}, which servegauge does not support", value_excerpt(value));
        return Err(config.wrong(field, &why, CURE));
    }
    let heads = config.required_count(&["num_attention_heads"])?;
    let group = number(part, "n_heads_in_group").map(|group| heads as f64 / group);
    let kv_heads = number(part, "num_key_value_heads").or(group).map(|kv_heads| kv_heads as u64);
    if kv_heads.unwrap_or_default() == 0 && config.optional(&["num_key_value_heads"])?.is_none() {
        return Err(config.wrong(field, "has a block without `n_heads_in_group`", CURE));
    }
    let window = number(part, "window_length").map(|window| Mixer::Windowed(window as u64));
    Ok(Layer { kv_heads, ..Layer::new(window.unwrap_or(Mixer::Full)) })
}

fn feed_forward(config: &ModelConfig, part: &Value) -> Result<FeedForward, ModelError> {
    Ok(match (number(part, "intermediate_size"), number(part, "ffn_mult")) {
        _ if has_flag(part, "no_op") => FeedForward::Absent,
        (Some(width), _) => FeedForward::Width(width as u64),
        (None, Some(factor)) => {
            FeedForward::Width(gated_width(factor, config.required_count(&["hidden_size"])?))
        }
        (None, None) => FeedForward::ByFields,
    })
}

/// Two thirds of a multiple of the hidden size, rounded up to a multiple of 256 as Nemotron NAS does.
fn gated_width(factor: f64, hidden: u64) -> u64 {
    ((2.0 * factor * hidden as f64 / 3.0) as u64).next_multiple_of(256)
}
