//! Recognizes, by its shape, a field that says something of each layer.
//!
//! New models name the kinds of their layers in their own fields. Such a list may be about attention whatever its
//! name, so the planner does not take the layers for full attention as long as it does not know the field.

use serde_json::Value;

/// Fields of this shape that say nothing about what is kept: experts and feed-forward parts, rotary embeddings, and
/// short lists that may have the length of a small model.
const HARMLESS: &[&str] = &[
    "architectures",
    "aux_hidden_state_layer_ids",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "dense_mlp_idx",
    "eagle_aux_hidden_state_layer_ids",
    "eos_token_id",
    "expert_swiglu_limit_list",
    "ffn_multipliers",
    "intermediate_size",
    "keys_to_ignore_at_inference",
    "layer_rope_theta",
    "mlp_multipliers",
    "mlp_only_layers",
    "moe_intermediate_size",
    "moe_layer_freq",
    "moe_layer_indices",
    "moe_layers",
    "moe_layers_enum",
    "moe_topk",
    "no_rope_layers",
    "num_experts",
    "num_shared_expert",
    "pad_token_id",
    "partial_rotary_factors",
    "pruned_heads",
    "rope_theta",
    "share_expert_swiglu_limit_list",
    "stop_token_ids",
    "suppress_tokens",
    "swiglu_limits",
    "swiglu_limits_shared",
    "time_step_limit",
    "transformers_version",
    "use_rope_layers",
    "yarn_only_types",
];

/// Beginnings of objects that are not about the layers of the language model.
const OTHER_PARTS: [&str; 9] = [
    "auto_map",
    "compression_config",
    "id2label",
    "label2id",
    "quantization_config",
    "rope_",
    "sparsity_config",
    "task_specific_params",
    "tts_",
];

/// A pattern of fewer letters looks like a short word.
const SHORTEST_PATTERN: usize = 8;

/// The kinds of layers that a pattern of letters has at most.
const MOST_LETTERS: usize = 4;

/// Returns the name of the field if `value`, or a value directly within it, has an entry for each layer or lists
/// layers. A model has `count` layers, or `with_predicting` with those for speculative decoding.
pub(super) fn find(name: &str, value: &Value, count: usize, with_predicting: usize) -> Option<String> {
    if is_harmless(name) {
        return None;
    }
    if is_per_layer(name, value, count, with_predicting) {
        return Some(name.to_owned());
    }
    let inner = value.as_object()?.iter();
    let mut inner = inner.filter(|(inner, _)| !is_harmless(inner));
    let (inner, _) = inner.find(|(inner, value)| is_per_layer(inner, value, count, with_predicting))?;
    Some(format!("{name}.{inner}"))
}

fn is_harmless(name: &str) -> bool {
    HARMLESS.contains(&name) || OTHER_PARTS.iter().any(|beginning| name.starts_with(beginning))
}

fn is_per_layer(name: &str, value: &Value, count: usize, with_predicting: usize) -> bool {
    match value {
        Value::Array(list) => {
            (count..=with_predicting).contains(&list.len()) || lists_layers(name, list, count)
        }
        Value::Object(map) => {
            map.len() == count && (0..count).all(|place| map.contains_key(&place.to_string()))
        }
        Value::String(text) => is_pattern(text, count),
        _ => false,
    }
}

/// Whether a list with a name about layers has numbers of layers, in order.
fn lists_layers(name: &str, list: &[Value], count: usize) -> bool {
    let places: Option<Vec<u64>> = list.iter().map(Value::as_u64).collect();
    ["layer", "idx", "block"].iter().any(|part| name.contains(part))
        && places.is_some_and(|places| {
            places.is_sorted_by(|one, next| one < next)
                && places.last().is_some_and(|last| *last <= count as u64)
        })
}

/// Whether a text has a letter for each layer, of a few kinds.
fn is_pattern(text: &str, count: usize) -> bool {
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() != count || count < SHORTEST_PATTERN {
        return false;
    }
    letters.sort_unstable();
    letters.dedup();
    letters.len() <= MOST_LETTERS
}
