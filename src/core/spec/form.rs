//! What texts of a dataset look like when they are sent, and which are sent at all.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a prompt is put to the endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As it stands in the dataset.
    #[default]
    Text,
    /// Through the model's chat template, on our side, where vLLM does so too: for endpoints that apply none.
    Rendered {
        /// More variables for the template: `--chat-template-kwargs`.
        kwargs: Map<String, Value>,
    },
    /// As a chat message that the server puts through the template; images and recordings go along.
    Chat,
}

/// Which lengths are sent, in tokens. `None` is the dataset's own bound, which most do not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// The shortest prompt.
    pub min_prompt_len: Option<u32>,
    /// The longest prompt.
    pub max_prompt_len: Option<u32>,
    /// The most for prompt and output together.
    pub max_total_len: Option<u32>,
    /// The same, as the model's context length.
    pub max_model_len: Option<u32>,
}

impl Bounds {
    /// These bounds, and those of a dataset where there are none.
    pub fn or(self, own: Self) -> Self {
        Self {
            min_prompt_len: self.min_prompt_len.or(own.min_prompt_len),
            max_prompt_len: self.max_prompt_len.or(own.max_prompt_len),
            max_total_len: self.max_total_len.or(own.max_total_len),
            max_model_len: self.max_model_len.or(own.max_model_len),
        }
    }

    /// The most for prompt and output together.
    pub fn total(self) -> Option<u32> {
        [self.max_total_len, self.max_model_len].into_iter().flatten().min()
    }

    /// In words: `a prompt of 4 to 1024 tokens, at most 2048 with its output`; `None` without any bound.
    pub fn in_words(self) -> Option<String> {
        let prompt = match (self.min_prompt_len, self.max_prompt_len) {
            (Some(min), Some(max)) => Some(format!("a prompt of {min} to {max} tokens")),
            (Some(min), None) => Some(format!("a prompt of at least {min} tokens")),
            (None, Some(max)) => Some(format!("a prompt of at most {max} tokens")),
            (None, None) => None,
        };
        let total = self.total().map(|total| format!("at most {total} tokens with its output"));
        let parts: Vec<String> = prompt.into_iter().chain(total).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_are_given_win_over_the_datasets_own() {
        let own = Bounds { min_prompt_len: Some(4), max_prompt_len: Some(1024), ..Bounds::default() };
        let given = Bounds { max_prompt_len: Some(9), max_model_len: Some(20), ..Bounds::default() };
        let both = given.or(own);
        assert_eq!((both.min_prompt_len, both.max_prompt_len, both.total()), (Some(4), Some(9), Some(20)));
    }

    #[test]
    fn the_model_length_and_the_total_length_are_one_bound() {
        let both = Bounds { max_total_len: Some(2048), max_model_len: Some(512), ..Bounds::default() };
        assert_eq!(both.total(), Some(512));
        assert_eq!(both.in_words().as_deref(), Some("at most 512 tokens with its output"));
        assert_eq!(Bounds::default().in_words(), None);
    }
}
