//! Which tokens a model's configuration calls special.
//!
//! A `tokenizer.json` marks special tokens itself, but Python's `all_special_ids`, which vLLM's client leaves out of random
//! prompts, are those that `tokenizer_config.json` beside it gives a role or lists.

use std::path::Path;

use serde_json::Value;

/// The file beside `tokenizer.json`.
const CONFIG: &str = "tokenizer_config.json";

const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const LISTS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// The names in the configuration beside a `tokenizer.json`; `None` without a readable one.
pub(super) fn named_beside(tokenizer_json: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(tokenizer_json.with_file_name(CONFIG)).ok()?;
    named(&serde_json::from_str(&text).ok()?)
}

fn named(config: &Value) -> Option<Vec<String>> {
    let config = config.as_object()?;
    let roles = ROLES.iter().filter_map(|role| config.get(*role));
    let listed = LISTS.iter().filter_map(|list| config.get(*list)).flat_map(members);
    Some(roles.chain(listed).filter_map(name).map(str::to_owned).collect())
}

/// A list, or as some have it, an object from roles to tokens.
fn members(list: &Value) -> Vec<&Value> {
    match list {
        Value::Array(tokens) => tokens.iter().collect(),
        Value::Object(tokens) => tokens.values().collect(),
        _ => Vec::new(),
    }
}

/// A token is a string, or an object with its `content`.
fn name(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn roles_and_lists_name_special_tokens_in_any_of_their_shapes() {
        let config = json!({
            "bos_token": {"content": "<s>", "lstrip": false},
            "eos_token": "</s>",
            "pad_token": null,
            "additional_special_tokens": ["<a>", {"content": "<b>"}],
            "extra_special_tokens": {"image_token": "<c>"},
            "model_max_length": 8192,
        });
        assert_eq!(named(&config).unwrap(), ["<s>", "</s>", "<a>", "<b>", "<c>"]);
        assert_eq!(named(&json!({})).unwrap(), [""; 0]);
        assert_eq!(named(&json!([1])), None);
    }

    #[test]
    fn without_a_readable_configuration_nothing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer_json = folder.path().join("tokenizer.json");
        assert_eq!(named_beside(&tokenizer_json), None);
        std::fs::write(folder.path().join(CONFIG), "{").unwrap();
        assert_eq!(named_beside(&tokenizer_json), None);
    }
}
