//! The parameters of a model's vision part, assuming the usual shape of a vision transformer.

use serde_json::{Map, Value};

use super::config::ModelConfig;

/// Returns the parameters of the vision part: `Some(0)` for a model without one, `None` if the config does not
/// determine them.
pub(super) fn parameters(config: &ModelConfig, hidden: u64) -> Option<u64> {
    let Some(part) = config.component(&["vision_config", "vision_encoder"]) else { return Some(0) };
    let count = |names: &[&str]| names.iter().find_map(|name| part.get(*name).and_then(Value::as_u64));
    // Qwen2-VL calls the width `embed_dim`, and uses `hidden_size` for the width of the output.
    let width = count(&["embed_dim", "vt_hidden_size", "hidden_size"])?;
    let layers = count(&["depth", "num_hidden_layers", "vt_num_hidden_layers"])?;
    let ratio = part.get("mlp_ratio").and_then(Value::as_f64).map(|ratio| (ratio * width as f64) as u64);
    let inner = count(&["intermediate_size", "vt_intermediate_size"]).or(ratio)?;
    let is_gated = matches!(word(part, "hidden_act"), Some("silu" | "swiglu"))
        || word(part, "model_type") == Some("gemma4_vision");
    let blocks = layers * (4 * width * width + if is_gated { 3 } else { 2 } * width * inner);
    let patch = count(&["patch_size"]).unwrap_or(14) * count(&["temporal_patch_size"]).unwrap_or(1).max(1);
    let patches = width * 3 * patch * count(&["patch_size"]).unwrap_or(14);
    let positions =
        width * count(&["num_position_embeddings", "position_embedding_size"]).unwrap_or_default();
    Some(blocks + patches + positions + projector(part, width, hidden))
}

fn word<'a>(part: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    part.get(name).and_then(Value::as_str)
}

/// The parameters of the projector, from the width of the vision part to that of the language model.
fn projector(part: &Map<String, Value>, width: u64, hidden: u64) -> u64 {
    match part.get("spatial_merge_size").and_then(Value::as_u64) {
        // The projector merges squares of patches; in Qwen3-VL some of the vision layers do so too.
        Some(side) => {
            let merged = side * side * width;
            let mergers = part.get("deepstack_visual_indexes").and_then(Value::as_array).map_or(0, Vec::len);
            (1 + mergers as u64) * (merged * merged + merged * hidden)
        }
        None => width * hidden,
    }
}
