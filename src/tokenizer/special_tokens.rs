//! Determines which tokens Python treats as special.
//!
//! A `tokenizer.json` marks special tokens itself, but Python's `all_special_ids`, which vLLM's client excludes from
//! random prompts, differs. It contains the tokens that the `tokenizer_config.json` beside it lists or gives a role,
//! those of `special_tokens_map.json`, and the defaults of the tokenizer's class. The rules here are those of
//! transformers 5.19, as recorded by `scripts/python-fixtures/specials.py`.

use std::path::Path;

use crate::model::bounded_file::{self, FileLimit};
use serde_json::{Map, Value};

const CONFIG: &str = "tokenizer_config.json";
pub(super) const MAP: &str = "special_tokens_map.json";
pub(super) const MODEL: &str = "config.json";

const LISTS: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];
const BY_MODEL: &str = "model_specific_special_tokens";

/// The default special tokens of a tokenizer class, by role.
type DefaultTokens = &'static [(&'static str, &'static str)];

const GPT2: DefaultTokens =
    &[("unk_token", "<|endoftext|>"), ("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>")];
const GPT_NEOX: DefaultTokens = &[
    ("unk_token", "<|endoftext|>"),
    ("bos_token", "<|endoftext|>"),
    ("eos_token", "<|endoftext|>"),
    ("pad_token", "<|padding|>"),
];
const LLAMA: DefaultTokens = &[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")];
const QWEN2: DefaultTokens =
    &[("unk_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>"), ("pad_token", "<|endoftext|>")];
const GEMMA: DefaultTokens = &[
    ("unk_token", "<unk>"),
    ("bos_token", "<bos>"),
    ("eos_token", "<eos>"),
    ("pad_token", "<pad>"),
    ("mask_token", "<mask>"),
];
const COHERE: DefaultTokens = &[
    ("unk_token", "<UNK>"),
    ("bos_token", "<BOS_TOKEN>"),
    ("eos_token", "<|END_OF_TURN_TOKEN|>"),
    ("pad_token", "<PAD>"),
    ("cls_token", "<CLS>"),
    ("sep_token", "<SEP>"),
    ("mask_token", "<MASK_TOKEN>"),
];
const BERT: DefaultTokens = &[
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];
const ROBERTA: DefaultTokens = &[
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("sep_token", "</s>"),
    ("cls_token", "<s>"),
    ("unk_token", "<unk>"),
    ("pad_token", "<pad>"),
    ("mask_token", "<mask>"),
];

/// Tokenizer classes of generating and embedding models that have default special tokens, each with the models that use
/// the class without naming it. All other classes are assumed to have no defaults.
const CLASSES: [(&str, DefaultTokens, &[&str]); 11] = [
    (
        "GPT2Tokenizer",
        GPT2,
        &["codegen", "dbrx", "gpt2", "gpt_neo", "gptj", "jais2", "opt", "phi", "starcoder2"],
    ),
    (
        "GPTNeoXTokenizer",
        GPT_NEOX,
        &["falcon_mamba", "gpt_neox", "mamba", "mamba2", "mpt", "olmo", "olmoe", "rwkv"],
    ),
    ("LlamaTokenizer", LLAMA, &[]),
    ("CodeLlamaTokenizer", LLAMA, &["code_llama"]),
    ("Qwen2Tokenizer", QWEN2, &QWEN2_MODELS),
    ("Qwen3_5Tokenizer", QWEN2, &["qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text"]),
    (
        "GemmaTokenizer",
        GEMMA,
        &["gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text", "recurrent_gemma"],
    ),
    ("CohereTokenizer", COHERE, &["aya_vision", "cohere", "cohere2"]),
    ("BertTokenizer", BERT, &["bert", "distilbert", "electra", "nomic_bert"]),
    ("RobertaTokenizer", ROBERTA, &["bart", "roberta"]),
    ("XLMRobertaTokenizer", ROBERTA, &["xlm-roberta", "gte", "jina_embeddings_v3"]),
];

/// Models whose tokenizer is Qwen2's, whatever class their configuration names.
const QWEN2_MODELS: [&str; 11] = [
    "qwen2",
    "qwen2_moe",
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen2_audio",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "qwen3_vl",
    "qwen3_vl_moe",
    "qwen3_omni_moe",
];

/// The special tokens that the files beside a `tokenizer.json` define. Returns `None` if a file cannot be read or none
/// exists. In that case, Python would draw `<|endoftext|>` for prompts like any other word.
pub(super) fn special_tokens_beside(tokenizer_json: &Path) -> Option<Vec<String>> {
    let beside = |file: &str| -> Option<Option<Map<String, Value>>> {
        match bounded_file::read_text(&tokenizer_json.with_file_name(file), FileLimit::TOKENIZER) {
            Ok(text) => Some(Some(serde_json::from_str(&text).ok()?)),
            Err(_) => Some(None),
        }
    };
    let (config, map, model) = (beside(CONFIG)?, beside(MAP)?, beside(MODEL).flatten());
    if config.is_none() && map.is_none() && model.is_none() {
        return None;
    }
    Some(special_tokens(&config.unwrap_or_default(), map.as_ref(), &model.unwrap_or_default()))
}

fn special_tokens(
    config: &Map<String, Value>,
    map: Option<&Map<String, Value>>,
    model: &Map<String, Value>,
) -> Vec<String> {
    // A configuration that lists all added tokens overrides the older map.
    let map = map.filter(|_| !config.contains_key("added_tokens_decoder"));
    let defaults = default_tokens(config, model);
    let is_said = |role: &str| config.contains_key(role) || map.is_some_and(|map| map.contains_key(role));
    let unsaid = defaults.iter().filter(|(role, _)| !is_said(role)).map(|(_, token)| *token);
    let from_map = |role: &String| map.and_then(|map| name(map.get(role)?));
    let roles = config.iter().filter(|(key, _)| key.ends_with("_token"));
    let roles = roles.filter_map(|(role, token)| from_map(role).or_else(|| name(token)));
    let mapped = map.into_iter().flatten().filter(|(key, _)| key.ends_with("_token"));
    let list = LISTS.iter().find_map(|list| config.get(*list));
    let list = list.or_else(|| LISTS.iter().find_map(|list| map?.get(*list)));
    let listed = list.into_iter().chain(config.get(BY_MODEL)).flat_map(members).filter_map(name);
    let all = unsaid.chain(roles).chain(mapped.filter_map(|(_, token)| name(token))).chain(listed);
    all.map(str::to_owned).collect()
}

/// The default special tokens of the tokenizer's class.
fn default_tokens(config: &Map<String, Value>, model: &Map<String, Value>) -> DefaultTokens {
    let text = |object: &Map<String, Value>, key: &str| object.get(key)?.as_str().map(str::to_owned);
    let kind = text(model, "model_type").unwrap_or_default();
    if QWEN2_MODELS.contains(&kind.as_str()) {
        return QWEN2;
    }
    let class = text(config, "tokenizer_class").or_else(|| text(model, "tokenizer_class"));
    let found = match class.as_deref() {
        Some(class) => {
            let class = class.strip_suffix("Fast").unwrap_or(class);
            CLASSES.iter().find(|(name, ..)| *name == class)
        }
        None => CLASSES.iter().find(|(_, _, models)| models.contains(&kind.as_str())),
    };
    found.map_or(&[], |(_, defaults, _)| *defaults)
}

/// The members of a list. Some files have an object from roles to tokens instead.
fn members(list: &Value) -> Vec<&Value> {
    match list {
        Value::Array(tokens) => tokens.iter().collect(),
        Value::Object(tokens) => tokens.values().collect(),
        _ => Vec::new(),
    }
}

/// The name of a token, which is a string or an object with `content`.
fn name(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flate2::read::GzDecoder;
    use serde::Deserialize;

    use super::*;
    use crate::dataset::bundled;
    use crate::tokenizer::LocalTokenizer;

    #[derive(Deserialize)]
    struct Recorded {
        name: String,
        files: BTreeMap<String, Option<Value>>,
        ids: Vec<u32>,
    }

    /// The special tokens of transformers in twenty-eight folders, as recorded by
    /// `scripts/python-fixtures/specials.py`. In the folder with no other file beside the tokenizer, we exclude the
    /// tokens that the `tokenizer.json` marks.
    #[test]
    fn special_tokens_are_those_of_python() {
        let bytes = include_bytes!("../../tests/fixtures/python/specials.json.gz");
        let recorded: Vec<Recorded> = serde_json::from_reader(GzDecoder::new(&bytes[..])).unwrap();
        assert!(recorded.len() > 25);
        for Recorded { name, files, ids } in recorded {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tokenizer.json");
            std::fs::write(&path, bundled::tokenizer_json()).unwrap();
            for (file, content) in &files {
                if let Some(content) = content {
                    std::fs::write(folder.path().join(file), content.to_string()).unwrap();
                }
            }
            let local = LocalTokenizer::from_file(&path, name.clone()).unwrap();
            let allowed = local.non_special_ids();
            let special: Vec<u32> = (0..local.vocabulary_size()).filter(|id| !allowed.contains(id)).collect();
            let is_alone = files.values().all(Option::is_none);
            assert_eq!(special, if is_alone { vec![0] } else { ids }, "{name}: {files:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_names_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer_json = folder.path().join("tokenizer.json");
        assert_eq!(special_tokens_beside(&tokenizer_json), None);
        std::fs::write(folder.path().join(CONFIG), "{").unwrap();
        assert_eq!(special_tokens_beside(&tokenizer_json), None);
    }
}
