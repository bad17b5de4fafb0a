//! The format in which prompts are sent, and the bounds of their lengths.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The format in which a prompt is sent to the endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptFormat {
    /// The text of the dataset, unchanged.
    #[default]
    Text,
    /// The client renders the model's chat template, where vLLM does so too: for endpoints that apply none.
    Rendered {
        /// Additional variables for the template: `--chat-template-kwargs`.
        kwargs: Map<String, Value>,
    },
    /// A chat message, to which the server applies the template; images and recordings are included.
    Chat,
}

/// The bounds of the lengths that are sent, in tokens. `None` uses the dataset's own bound, which most do not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LengthBounds {
    /// The minimum prompt length.
    pub min_prompt_len: Option<u32>,
    /// The maximum prompt length.
    pub max_prompt_len: Option<u32>,
    /// The maximum of prompt and output together.
    pub max_total_len: Option<u32>,
    /// The model's context length, which also limits prompt and output together.
    pub max_model_len: Option<u32>,
}

impl LengthBounds {
    /// These bounds, with a dataset's own where one is missing.
    pub fn or_default(self, own: Self) -> Self {
        Self {
            min_prompt_len: self.min_prompt_len.or(own.min_prompt_len),
            max_prompt_len: self.max_prompt_len.or(own.max_prompt_len),
            max_total_len: self.max_total_len.or(own.max_total_len),
            max_model_len: self.max_model_len.or(own.max_model_len),
        }
    }

    /// The maximum of prompt and output together.
    pub fn max_total(self) -> Option<u32> {
        [self.max_total_len, self.max_model_len].into_iter().flatten().min()
    }

    /// Describes the bounds: `a prompt of 4 to 1024 tokens, at most 2048 with its output`; `None` without any bound.
    pub fn describe(self) -> Option<String> {
        let prompt = match (self.min_prompt_len, self.max_prompt_len) {
            (Some(min), Some(max)) => Some(format!("a prompt of {min} to {max} tokens")),
            (Some(min), None) => Some(format!("a prompt of at least {min} tokens")),
            (None, Some(max)) => Some(format!("a prompt of at most {max} tokens")),
            (None, None) => None,
        };
        let total = self.max_total().map(|total| format!("at most {total} tokens with its output"));
        let parts: Vec<String> = prompt.into_iter().chain(total).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_are_given_win_over_the_datasets_own() {
        let own =
            LengthBounds { min_prompt_len: Some(4), max_prompt_len: Some(1024), ..LengthBounds::default() };
        let given =
            LengthBounds { max_prompt_len: Some(9), max_model_len: Some(20), ..LengthBounds::default() };
        let both = given.or_default(own);
        assert_eq!(
            (both.min_prompt_len, both.max_prompt_len, both.max_total()),
            (Some(4), Some(9), Some(20))
        );
    }

    #[test]
    fn the_model_length_and_the_total_length_are_one_bound() {
        let both =
            LengthBounds { max_total_len: Some(2048), max_model_len: Some(512), ..LengthBounds::default() };
        assert_eq!(both.max_total(), Some(512));
        assert_eq!(both.describe().as_deref(), Some("at most 512 tokens with its output"));
        assert_eq!(LengthBounds::default().describe(), None);
    }
}
