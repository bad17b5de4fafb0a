//! The chat template of a tokenizer, from the files beside its `tokenizer.json`.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value};

use super::TokenizerError;
use crate::model::bounded_file::{self, FileLimit};

/// The file with the chat template and the names of the special tokens.
pub(super) const CONFIG: &str = "tokenizer_config.json";
/// The file with the chat template of newer models. It takes precedence.
pub(super) const TEMPLATE: &str = "chat_template.jinja";
/// The special tokens that a template can use.
const SPECIAL_TOKEN_KEYS: [&str; 4] = ["bos_token", "eos_token", "pad_token", "unk_token"];

/// The chat template of a model and its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatConfig {
    /// The Jinja template.
    pub template: String,
    /// Special tokens by name, such as `bos_token`.
    pub tokens: Map<String, Value>,
    /// The file that contains the template.
    pub origin: String,
}

impl ChatConfig {
    /// Reads the files of a folder. Returns `None` if the model has no template.
    pub(super) fn from_folder(folder: &Path) -> Result<Option<Self>, TokenizerError> {
        let (config_path, template_path) = (folder.join(CONFIG), folder.join(TEMPLATE));
        let config = match text(&config_path)? {
            None => Map::new(),
            Some(json) => serde_json::from_str(&json).map_err(|error| TokenizerError::Config {
                path: config_path.display().to_string(),
                cause: error.to_string(),
            })?,
        };
        let own = text(&template_path)?.map(|template| (template, template_path));
        let found = own.or_else(|| Some((template_in_config(&config)?, config_path)));
        Ok(found.map(|(template, path)| Self {
            template,
            tokens: tokens(&config),
            origin: path.display().to_string(),
        }))
    }
}

fn text(path: &Path) -> Result<Option<String>, TokenizerError> {
    match bounded_file::read_text(path, FileLimit::TOKENIZER) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TokenizerError::Unreadable { path: path.display().to_string(), source }),
    }
}

/// The template. If there are several, the one named `default`.
fn template_in_config(config: &Map<String, Value>) -> Option<String> {
    match config.get("chat_template")? {
        Value::String(template) => Some(template.clone()),
        Value::Array(several) => {
            let default = several.iter().find(|one| one["name"] == "default")?;
            default["template"].as_str().map(str::to_owned)
        }
        _ => None,
    }
}

/// The special tokens by name. In the file, a token is its text, or an object that holds the text.
fn tokens(config: &Map<String, Value>) -> Map<String, Value> {
    let text = |name| {
        let token = config.get(name)?;
        token.as_str().or_else(|| token["content"].as_str())
    };
    SPECIAL_TOKEN_KEYS.into_iter().filter_map(|name| Some((name.to_owned(), text(name)?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn chat(files: &[(&str, &str)]) -> Result<Option<ChatConfig>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        ChatConfig::from_folder(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_template_is_in_the_configuration_or_in_a_file_of_its_own() {
        let config = json!({"chat_template": "a", "bos_token": {"content": "<s>"}, "eos_token": "</s>", "unk_token": null});
        let one = chat(&[(CONFIG, &config.to_string())]).unwrap().unwrap();
        assert_eq!((one.template.as_str(), one.tokens.len()), ("a", 2));
        assert_eq!((&one.tokens["bos_token"], &one.tokens["eos_token"]), (&json!("<s>"), &json!("</s>")));
        let both = chat(&[(CONFIG, &config.to_string()), (TEMPLATE, "b")]).unwrap().unwrap();
        assert_eq!((both.template.as_str(), both.tokens.len()), ("b", 2));
        assert!(both.origin.ends_with(TEMPLATE), "{}", both.origin);
    }

    #[test]
    fn of_several_templates_the_default_one_counts() {
        let config = json!({"chat_template": [
            {"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"},
        ]});
        assert_eq!(chat(&[(CONFIG, &config.to_string())]).unwrap().unwrap().template, "d");
    }

    #[test]
    fn a_model_without_a_template_has_none_and_a_broken_file_is_told() {
        assert_eq!(chat(&[]), Ok(None));
        assert_eq!(chat(&[(CONFIG, "{}")]), Ok(None));
        let error = chat(&[(CONFIG, "{\"chat_template\":")]).unwrap_err();
        assert!(error.contains(CONFIG) && error.contains("line 1 column"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
