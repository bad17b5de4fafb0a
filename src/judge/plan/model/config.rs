//! A model's `config.json`, read field by field.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::MOST;

/// Why a model's memory cannot be worked out. One line: the file, the field, the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No JSON object.
    #[error("{path} is not a model's config: {why}; give the config.json beside a model's weights", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// One field will not do.
    #[error("{path}: `{field}` {why}; {cure}", path = path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        why: String,
        /// What to do.
        cure: String,
    },
}

/// The fields of the language model, and those around it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    path: PathBuf,
    outer: Map<String, Value>,
    text: Map<String, Value>,
}

/// Where models that also see keep the fields of their language model.
const NESTED: [&str; 3] = ["text_config", "llm_config", "language_config"];

impl Config {
    pub fn read(path: &Path, text: &str) -> Result<Self, ModelError> {
        let not_json = |why: String| ModelError::Json { path: path.to_owned(), why };
        let outer = match serde_json::from_str(text) {
            Ok(Value::Object(outer)) => outer,
            Ok(_) => return Err(not_json("it is no JSON object".into())),
            Err(error) => return Err(not_json(error.to_string())),
        };
        let nested = NESTED.iter().find_map(|name| outer.get(*name)?.as_object().cloned());
        Ok(Self { path: path.to_owned(), text: nested.unwrap_or_else(|| outer.clone()), outer })
    }

    /// The field's value, unless it is `null`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let present = |map: &'_ Map<String, Value>| map.get(name).is_some_and(|value| !value.is_null());
        let map = if present(&self.text) { &self.text } else { &self.outer };
        map.get(name).filter(|value| !value.is_null())
    }

    /// A count under the first of its names that is there.
    pub fn count(&self, names: &[&str]) -> Result<Option<u64>, ModelError> {
        let Some((name, value)) = names.iter().find_map(|name| Some((*name, self.get(name)?))) else {
            return Ok(None);
        };
        match value.as_u64() {
            Some(count) if (1..MOST).contains(&count) => Ok(Some(count)),
            _ => Err(self.wrong(
                name,
                &format!("is {}, not a count from 1 up", excerpt(value)),
                "correct it, or give --kv-tokens instead",
            )),
        }
    }

    /// A count that may be 0 or absent, both of which are 0.
    pub fn count_or_zero(&self, name: &str) -> Result<u64, ModelError> {
        match self.get(name).and_then(Value::as_u64) {
            Some(0) => Ok(0),
            _ => self.count(&[name]).map(Option::unwrap_or_default),
        }
    }

    /// The same for one that must be there.
    pub fn needed(&self, names: &[&str]) -> Result<u64, ModelError> {
        self.count(names)?.ok_or_else(|| self.missing(names[0]))
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    pub fn word(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub fn model_type(&self) -> &str {
        self.word("model_type").unwrap_or_default()
    }

    pub fn has_vision(&self) -> bool {
        self.outer.contains_key("vision_config")
    }

    pub fn missing(&self, field: &str) -> ModelError {
        self.wrong(field, "is missing", "add it, or give --kv-tokens instead")
    }

    pub fn wrong(&self, field: &str, why: &str, cure: &str) -> ModelError {
        let [field, why, cure] = [field, why, cure].map(ToOwned::to_owned);
        ModelError::Field { path: self.path.clone(), field, why, cure }
    }
}

/// A value on one line, cut where it is long.
pub(super) fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
