//! The sampling parameters of requests.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The sampling parameters of requests. A parameter that is `None` is not sent: the server's default applies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Generate up to the token limit, ignoring end-of-sequence tokens.
    pub ignore_eos: bool,
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `top_p`.
    pub top_p: Option<f64>,
    /// `top_k`.
    pub top_k: Option<i64>,
    /// `min_p`.
    pub min_p: Option<f64>,
    /// `frequency_penalty`.
    pub frequency_penalty: Option<f64>,
    /// `presence_penalty`.
    pub presence_penalty: Option<f64>,
    /// `repetition_penalty`.
    pub repetition_penalty: Option<f64>,
    /// Request the log probabilities of this number of the most likely tokens at each position.
    #[serde(default)]
    pub logprobs: Option<u32>,
    /// Request beam search.
    #[serde(default)]
    pub use_beam_search: bool,
    /// Request the answer in one piece instead of as a stream.
    #[serde(default)]
    pub whole: bool,
    /// Merged into every body last: overrides everything else in it.
    pub extra_body: Map<String, Value>,
}
