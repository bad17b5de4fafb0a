//! How the model is asked to generate.

use clap::Args;
use serde_json::{Map, Value};

use crate::cli::run::values;

#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling (not given: the server's default)")]
pub struct SamplingArgs {
    /// Generate to the token limit whatever the model says; always so with random prompts
    #[arg(long)]
    pub ignore_eos: bool,
    /// Sampling temperature
    #[arg(long, value_name = "X")]
    pub temperature: Option<f64>,
    /// Nucleus sampling
    #[arg(long, value_name = "X")]
    pub top_p: Option<f64>,
    /// Sample among this many tokens
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub top_k: Option<i64>,
    /// Least probability relative to the likeliest token
    #[arg(long, value_name = "X")]
    pub min_p: Option<f64>,
    /// Frequency penalty
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f64>,
    /// Presence penalty
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub presence_penalty: Option<f64>,
    /// Repetition penalty
    #[arg(long, value_name = "X")]
    pub repetition_penalty: Option<f64>,
    /// Ask for the log probabilities of the N likeliest tokens at each place
    #[arg(long, value_name = "N")]
    pub logprobs: Option<u32>,
    /// Send `use_beam_search: true`, for servers that know it (vLLM's own client has this flag and sends nothing)
    #[arg(long)]
    pub use_beam_search: bool,
    /// Ask for each answer in one piece instead of as a stream; then E2E is all there is to measure. (In `vllm bench serve`
    /// this flag downloads a dataset whole: a deliberate difference)
    #[arg(long)]
    pub no_stream: bool,
    /// A JSON object merged last into every request body
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    pub extra_body: Option<Map<String, Value>>,
}
