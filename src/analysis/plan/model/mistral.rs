//! Translates the `params.json` of Mistral's (and Meta's) own format into the field names of `config.json`.

use serde_json::{Map, Value, json};

/// Mistral's names and those of `config.json`, according to vLLM's Mistral config parser.
const NAMES: [(&str, &str); 12] = [
    ("dim", "hidden_size"),
    ("n_layers", "num_hidden_layers"),
    ("n_heads", "num_attention_heads"),
    ("n_kv_heads", "num_key_value_heads"),
    ("hidden_dim", "intermediate_size"),
    ("norm_eps", "rms_norm_eps"),
    ("tied_embeddings", "tie_word_embeddings"),
    ("vision_encoder", "vision_config"),
    ("max_seq_len", "max_position_embeddings"),
    ("model_parallel", "pretraining_tp"),
    ("_sliding_window", "sliding_window"),
    ("quantization", "quantization_config"),
];

/// The names within `moe`.
const EXPERTS: [(&str, &str); 5] = [
    ("num_experts", "num_local_experts"),
    ("num_experts_per_tok", "num_experts_per_tok"),
    ("expert_hidden_dim", "moe_intermediate_size"),
    ("first_k_dense_replace", "first_k_dense_replace"),
    ("num_shared_experts", "n_shared_experts"),
];

/// Renames the fields to those of `config.json`. A file that is already in that format does not change.
pub(super) fn translate_names(mut fields: Map<String, Value>) -> Map<String, Value> {
    if !(fields.contains_key("dim") && fields.contains_key("n_layers")) {
        return fields;
    }
    for (theirs, ours) in NAMES {
        if let Some(value) = fields.remove(theirs) {
            fields.insert(ours.to_owned(), value);
        }
    }
    if let Some(moe) = fields.remove("moe") {
        for (theirs, ours) in EXPERTS {
            if let Some(value) = moe.get(theirs) {
                fields.insert(ours.to_owned(), value.clone());
            }
        }
    }
    if let Some(scheme) = fields.get_mut("quantization_config")
        && scheme.get("qformat_weight").and_then(Value::as_str) == Some("fp8_e4m3")
    {
        *scheme = json!({ "quant_method": "fp8" });
    }
    fields.entry("model_type").or_insert_with(|| json!("mistral"));
    fields
}
