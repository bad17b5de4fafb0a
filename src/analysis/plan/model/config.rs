//! A model's `config.json`, read field by field.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{MAX_FIELD_VALUE, defaults, mistral};

/// Why a model's memory cannot be calculated. Each message is one line: the file, the field, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ModelError {
    /// The file is not a JSON object.
    #[error("{path} is not a model's config: {why}; give the config.json beside a model's weights", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A field cannot be used.
    #[error("{path}: `{field}` {why}; {cure}", path = path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// The reason.
        why: String,
        /// How to correct the problem.
        cure: String,
    },
}

/// What to do about a field on which the KV cache depends.
pub(super) const CURE: &str = "correct it, or give `plan.kv_tokens` instead";

/// The fields of the language model, and the fields that surround them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModelConfig {
    path: PathBuf,
    outer: Map<String, Value>,
    text: Map<String, Value>,
    /// The content of `hf_quant_config.json`, which accompanies some config files.
    quantization: Option<Value>,
}

/// The objects in which multimodal models keep the fields of their language model.
const NESTED: [&str; 6] =
    ["text_config", "llm_config", "language_config", "thinker_config", "language_model", "text_model"];

impl ModelConfig {
    pub(super) fn read(path: &Path, text: &str) -> Result<Self, ModelError> {
        let not_json = |why: String| ModelError::Json { path: path.to_owned(), why };
        let outer = match serde_json::from_str(text) {
            Ok(Value::Object(outer)) => mistral::translate_names(outer),
            Ok(_) => return Err(not_json("it is not a JSON object".into())),
            Err(error) => return Err(not_json(error.to_string())),
        };
        let nested =
            |map: &Map<String, Value>| NESTED.iter().find_map(|name| map.get(*name)?.as_object().cloned());
        // Qwen-Omni nests twice: thinker_config holds a text_config.
        let text = nested(&outer).map(|inner| nested(&inner).unwrap_or(inner));
        let text = match text {
            Some(mut text) => {
                defaults::fill_defaults(&mut text);
                text
            }
            None => outer.clone(),
        };
        Ok(Self { path: path.to_owned(), text, outer, quantization: None })
    }

    /// Adds the quantization from the text of an `hf_quant_config.json`.
    pub(super) fn with_quantization(mut self, text: &str) -> Result<Self, ModelError> {
        let not_json = |why: String| ModelError::Json { path: "hf_quant_config.json".into(), why };
        let value: Value = serde_json::from_str(text).map_err(|error| not_json(error.to_string()))?;
        self.quantization = value.get("quantization").cloned();
        Ok(self)
    }

    /// How the weights, and with them the keys and values, are quantized. The file beside the config has precedence.
    pub(super) fn quantization(&self) -> Option<&Value> {
        self.quantization.as_ref().or_else(|| self.get("quantization_config"))
    }

    /// The field's value, unless it is `null`.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let present = |map: &'_ Map<String, Value>| map.get(name).is_some_and(|value| !value.is_null());
        let map = if present(&self.text) { &self.text } else { &self.outer };
        map.get(name).filter(|value| !value.is_null())
    }

    /// A value of an object among the fields.
    pub(super) fn within(&self, object: &str, name: &str) -> Option<&Value> {
        self.get(object)?.get(name).filter(|value| !value.is_null())
    }

    /// The names of the language model's fields that are set: not `null`, `false`, 0, −1 or empty.
    pub(super) fn active_fields(&self) -> impl Iterator<Item = &str> {
        self.text.iter().filter(|(_, value)| !is_none(value)).map(|(name, _)| name.as_str())
    }

    /// The value of this field if it is set.
    pub(super) fn first_active(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|value| !is_none(value))
    }

    /// A count, under the first of these names that is present. 0 is an error.
    pub(super) fn count(&self, names: &[&str]) -> Result<Option<u64>, ModelError> {
        let Some((name, value)) = names.iter().find_map(|name| Some((*name, self.get(name)?))) else {
            return Ok(None);
        };
        self.counted(name, value).map(Some)
    }

    /// A count, under the first of these names that is set: 0, −1 and `false` count as not set.
    pub(super) fn optional(&self, names: &[&str]) -> Result<Option<u64>, ModelError> {
        let Some((name, value)) = names.iter().find_map(|name| Some((*name, self.first_active(name)?)))
        else {
            return Ok(None);
        };
        self.counted(name, value).map(Some)
    }

    /// Parses `value` as a count of at least 1; errors name `name`. A list that repeats one count for each layer
    /// (Hunyuan A13B) states that count.
    pub(super) fn counted(&self, name: &str, value: &Value) -> Result<u64, ModelError> {
        let value = match value.as_array().map(Vec::as_slice) {
            Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => first,
            _ => value,
        };
        let whole = |number: f64| (number.fract() == 0.0 && number >= 0.0).then_some(number as u64);
        match value.as_u64().or_else(|| value.as_f64().and_then(whole)) {
            Some(count) if (1..MAX_FIELD_VALUE).contains(&count) => Ok(count),
            _ => Err(self.wrong(name, &format!("is {}, not a count from 1 up", value_excerpt(value)), CURE)),
        }
    }

    /// A count that may be absent, which means 0.
    pub(super) fn count_or_zero(&self, name: &str) -> Result<u64, ModelError> {
        self.optional(&[name]).map(Option::unwrap_or_default)
    }

    /// A count that must be present.
    pub(super) fn required_count(&self, names: &[&str]) -> Result<u64, ModelError> {
        self.count(names)?.ok_or_else(|| self.missing(names[0]))
    }

    /// A list with a value for each of `count` layers. A longer list continues with layers for speculative decoding.
    pub(super) fn per_layer(
        &self,
        name: &str,
        value: &Value,
        count: usize,
    ) -> Result<Vec<Value>, ModelError> {
        match value.as_array() {
            Some(list) if list.len() >= count => Ok(list[..count].to_vec()),
            Some(list) => {
                Err(self.wrong(name, &format!("has {} entries for {count} layers", list.len()), CURE))
            }
            None => Err(self.wrong(name, &format!("is {}, not a list", value_excerpt(value)), CURE)),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    pub(super) fn word(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub(super) fn model_type(&self) -> &str {
        self.word("model_type").unwrap_or_default()
    }

    /// The config of a part other than the language model, if the file has one.
    pub(super) fn component(&self, names: &[&str]) -> Option<&Map<String, Value>> {
        names.iter().find_map(|name| self.outer.get(*name)?.as_object())
    }

    pub(super) fn missing(&self, field: &str) -> ModelError {
        self.wrong(field, "is missing", "add it, or give `plan.kv_tokens` instead")
    }

    pub(super) fn wrong(&self, field: &str, why: &str, cure: &str) -> ModelError {
        let [field, why, cure] = [field, why, cure].map(ToOwned::to_owned);
        ModelError::Field { path: self.path.clone(), field, why, cure }
    }
}

/// Whether a value means "not set": `null`, `false`, 0, −1, `auto` or something empty.
pub(super) fn is_none(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_f64().is_some_and(|number| number == 0.0 || number == -1.0),
        Value::String(text) => matches!(text.as_str(), "" | "none" | "auto"),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// A value on one line, truncated if it is long.
pub(super) fn value_excerpt(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
