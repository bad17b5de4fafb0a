//! The feed-forward part of each layer: dense, or a mixture of experts.

use serde_json::Value;

use super::config::{ModelConfig, ModelError, value_excerpt};
use super::layer::{FeedForward, Layer};
use super::matrix::{CURE, Matrices, Sharing, hidden, needed};

/// The field names for the number of experts in a layer.
pub(super) const EXPERT_COUNT_FIELDS: [&str; 4] =
    ["n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts"];

/// The field names for the number of experts that compute a token.
pub(super) const ACTIVE_EXPERT_FIELDS: [&str; 6] = [
    "num_experts_per_tok",
    "experts_per_token",
    "top_k_experts",
    "moe_topk",
    "moe_k",
    "num_experts_per_token",
];

/// Activations of feed-forward layers without a gate.
const UNGATED: [&str; 5] = ["relu2", "relu", "relu_squared", "xielu", "gelu_new"];

/// Families without a gate whose activation does not show it.
const UNGATED_FAMILIES: [&str; 5] = ["starcoder2", "phi", "nemotron", "apertus", "bloom"];

/// The number of matrices in a feed-forward layer: up, down and, in most models, a gate.
fn matrices_of_each(config: &ModelConfig) -> u64 {
    let names = ["mlp_hidden_act", "hidden_act", "hidden_activation", "activation_function"];
    let activation = names.iter().find_map(|name| config.word(name)).unwrap_or("silu");
    let ungated = UNGATED.contains(&activation) || UNGATED_FAMILIES.contains(&config.model_type());
    if ungated { 2 } else { 3 }
}

/// Adds the feed-forward part of the layer at `place`.
///
/// # Errors
///
/// For a field that is missing or not understood.
pub(super) fn matrices(
    config: &ModelConfig,
    hidden: u64,
    layer: &Layer,
    place: usize,
    all: &mut Matrices,
) -> Result<(), ModelError> {
    let each = matrices_of_each(config);
    // Checkpoints with both parts put the experts beside the dense layer.
    let at = format!("layers.{place}{}", if is_beside_dense(config) { "" } else { ".mlp" });
    let mut dense =
        |width: u64| all.add(format!("layers.{place}.mlp.up_proj"), (hidden, each * width), Sharing::Divided);
    let experts = config.optional(&EXPERT_COUNT_FIELDS)?;
    match (layer.feed_forward, experts) {
        (FeedForward::Absent, _) => return Ok(()),
        (FeedForward::Width(width), _) => {
            dense(width);
            return Ok(());
        }
        (FeedForward::ByFields, Some(_)) if is_beside_dense(config) => {
            dense(dense_width(config, layer, place)?);
        }
        (FeedForward::ByFields, Some(_)) if has_experts(config, place)? => {}
        (FeedForward::Experts, Some(_)) => {}
        _ => {
            dense(dense_width(config, layer, place)?);
            return Ok(());
        }
    }
    add_experts(config, hidden, experts.unwrap_or_default(), &at, all)
}

/// Gemma 4 and Grok 2: each layer has a dense part beside its experts.
fn is_beside_dense(config: &ModelConfig) -> bool {
    ["enable_moe_block", "residual_moe"].iter().any(|name| config.flag(name) == Some(true))
}

/// Adds a layer's experts, its shared experts, and the router.
fn add_experts(
    config: &ModelConfig,
    hidden: u64,
    experts: u64,
    at: &str,
    all: &mut Matrices,
) -> Result<(), ModelError> {
    let each = matrices_of_each(config);
    let width = expert_width(config)?;
    let latent = config.optional(&["moe_latent_size"])?;
    all.add(
        format!("{at}.experts.0.up_proj"),
        (latent.unwrap_or(hidden), each * experts * width),
        Sharing::Divided,
    );
    all.add(format!("{at}.fc1_latent_proj"), (hidden, 2 * latent.unwrap_or_default()), Sharing::Whole);
    all.add(
        format!("{at}.shared_experts.up_proj"),
        (hidden, each * shared_width(config, width)?),
        Sharing::Divided,
    );
    all.add(format!("{at}.gate"), (hidden, experts), Sharing::Whole);
    Ok(())
}

pub(super) fn expert_width(config: &ModelConfig) -> Result<u64, ModelError> {
    needed(config, &["moe_intermediate_size", "expert_intermediate_size", "intermediate_size"])
}

/// The total width of the experts that every token uses.
fn shared_width(config: &ModelConfig, width: u64) -> Result<u64, ModelError> {
    let family = config.model_type();
    if family.starts_with("llama4") {
        return Ok(width);
    }
    let count = config.optional(&[
        "n_shared_experts",
        "num_shared_experts",
        "num_shared_expert",
        "moe_num_shared_experts",
    ])?;
    let own = config.optional(&[
        "share_expert_dim",
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "shared_intermediate_size",
    ])?;
    Ok(match own {
        Some(own) if family == "nemotron_h" => own * count.unwrap_or(1),
        Some(own) => own,
        None => width * count.unwrap_or_default(),
    })
}

pub(super) fn dense_width(config: &ModelConfig, layer: &Layer, place: usize) -> Result<u64, ModelError> {
    let family = config.model_type();
    if family.starts_with("granitemoe") && config.optional(&EXPERT_COUNT_FIELDS)?.is_none() {
        return needed(config, &["shared_intermediate_size", "intermediate_size"]);
    }
    if family.starts_with("lfm2") && config.flag("block_auto_adjust_ff_dim") != Some(false) {
        let width = needed(config, &["block_ff_dim", "intermediate_size"])? * 2 / 3;
        let multiple = config.optional(&["block_multiple_of"])?.unwrap_or(256);
        return Ok(width.next_multiple_of(multiple));
    }
    match family {
        // Qwen 1 counts the gate and the value together.
        "qwen" => return Ok(needed(config, &["intermediate_size"])? / 2),
        "bloom" => return Ok(config.optional(&["n_inner"])?.unwrap_or(4 * hidden(config)?)),
        _ => {}
    }
    if let Some(list) = config.get("intermediate_size").filter(|value| value.is_array()) {
        let width = list.get(place).unwrap_or(&Value::Null);
        return config.counted("intermediate_size", width);
    }
    let own = ["dense_intermediate_size", "intermediate_size_mlp", "ffn_hidden_size", "block_ff_dim"];
    let width = match config.optional(&own)? {
        Some(width) => width,
        None => needed(config, &["intermediate_size"])?,
    };
    let double = layer.shares && config.flag("use_double_wide_mlp") == Some(true);
    Ok(if double { 2 * width } else { width })
}

/// Whether the layer at `place` has experts, in a model that has some.
fn has_experts(config: &ModelConfig, place: usize) -> Result<bool, ModelError> {
    let place = place as u64;
    let at = |value: &Value| value.get(place as usize).cloned().unwrap_or_default();
    if let Some(kinds) = config.first_active("mlp_layer_types") {
        return match at(kinds).as_str() {
            Some("sparse") => Ok(true),
            Some("dense") => Ok(false),
            _ => {
                let why = format!("has {} for layer {place}", value_excerpt(&at(kinds)));
                Err(config.wrong("mlp_layer_types", &why, CURE))
            }
        };
    }
    if let Some(flags) = config.get("moe_layer_freq").filter(|value| value.is_array()) {
        return Ok(at(flags).as_u64() == Some(1));
    }
    if let Some(listed) = config.word("moe_layers_enum") {
        return Ok(listed.split(',').any(|number| number.trim().parse() == Ok(place)));
    }
    let dense = config.get("mlp_only_layers").and_then(Value::as_array);
    if dense.is_some_and(|places| places.iter().any(|other| other.as_u64() == Some(place))) {
        return Ok(false);
    }
    let number = |names: &[&str]| config.optional(names);
    if let Some(period) = number(&["expert_layer_period"])? {
        return Ok(place % period == number(&["expert_layer_offset"])?.unwrap_or_default() % period);
    }
    if let Some(step) = number(&["decoder_sparse_step", "interleave_moe_layer_step"])? {
        return Ok((place + 1).is_multiple_of(step));
    }
    let first = number(&["first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"])?;
    let last = number(&["moe_layer_end_index"])?.unwrap_or(u64::MAX);
    let every = number(&["moe_layer_freq", "moe_layer_interval"])?.unwrap_or(1);
    Ok(place >= first.unwrap_or_default() && place <= last && place.is_multiple_of(every))
}
