//! How the model is asked to generate.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How the model is asked to generate. What is `None` is not sent: the server's default holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Generate to the token limit whatever the model says.
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
    /// Ask for the log probabilities of so many of the likeliest tokens at each place.
    #[serde(default)]
    pub logprobs: Option<u32>,
    /// Ask for beam search.
    #[serde(default)]
    pub use_beam_search: bool,
    /// Ask for the answer in one piece, when all of it is there, instead of as a stream.
    #[serde(default)]
    pub whole: bool,
    /// Merged last into every body: wins over everything else in it.
    pub extra_body: Map<String, Value>,
}
