//! Defaults of fields that the files of some families leave out, from their configuration classes in `transformers`.

use serde_json::{Map, Value};

/// A family's names and the fields that its files may leave out, with their defaults.
type ModelFamily = (&'static [&'static str], &'static [(&'static str, i64)]);

const DEFAULTS: [ModelFamily; 4] = [
    (
        &["gemma3_text", "gemma3"],
        &[
            ("vocab_size", 262_208),
            ("hidden_size", 2304),
            ("intermediate_size", 9216),
            ("num_hidden_layers", 26),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("head_dim", 256),
            ("sliding_window", 4096),
        ],
    ),
    (
        &["mistral"],
        &[
            ("vocab_size", 32_000),
            ("hidden_size", 4096),
            ("intermediate_size", 14_336),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 8),
            ("sliding_window", 4096),
        ],
    ),
    (
        &["llama"],
        &[
            ("vocab_size", 32_000),
            ("hidden_size", 4096),
            ("intermediate_size", 11_008),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
        ],
    ),
    (
        &["qwen2"],
        &[
            ("vocab_size", 151_936),
            ("hidden_size", 4096),
            ("intermediate_size", 22_016),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 32),
            ("num_key_value_heads", 32),
        ],
    ),
];

/// Adds the fields that the config of a nested language model leaves out. A field that is present stays, even if it is
/// `null`.
pub(super) fn fill_defaults(text: &mut Map<String, Value>) {
    let family = text.get("model_type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let fields = DEFAULTS.iter().find(|(families, _)| families.contains(&family.as_str()));
    for (name, value) in fields.map_or(&[][..], |(_, fields)| fields) {
        text.entry(*name).or_insert_with(|| Value::from(*value));
    }
}
