//! Sampling flags of the requests.

use clap::Args;
use serde_json::{Map, Value};

use crate::cli::args::values;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling (not given: the server's default)")]
pub(crate) struct SamplingArgs {
    /// Generate up to the token limit, past any end; always on for random prompts
    #[arg(long)]
    pub ignore_eos: bool,
    /// Let the model end its responses, also with random prompts
    ///
    /// The field ignore_eos is then not sent: some servers reject it.
    #[arg(long, conflicts_with = "ignore_eos")]
    pub no_ignore_eos: bool,
    /// Sampling temperature
    #[arg(long, value_name = "X", value_parser = values::number::<f64>)]
    pub temperature: Option<f64>,
    /// Nucleus sampling
    #[arg(long, value_name = "X", value_parser = values::number::<f64>)]
    pub top_p: Option<f64>,
    /// Sample from this many tokens
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = values::number::<i64>)]
    pub top_k: Option<i64>,
    /// Minimum probability relative to the most likely token
    #[arg(long, value_name = "X", value_parser = values::number::<f64>)]
    pub min_p: Option<f64>,
    /// Frequency penalty
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = values::number::<f64>)]
    pub frequency_penalty: Option<f64>,
    /// Presence penalty
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = values::number::<f64>)]
    pub presence_penalty: Option<f64>,
    /// Repetition penalty
    #[arg(long, value_name = "X", value_parser = values::number::<f64>)]
    pub repetition_penalty: Option<f64>,
    /// Request the log probabilities of the N most likely tokens at each position
    #[arg(long, value_name = "N", value_parser = values::number::<u32>)]
    pub logprobs: Option<u32>,
    /// Send `use_beam_search: true`, for servers that support it
    ///
    /// vLLM's own client has this flag and sends nothing.
    #[arg(long)]
    pub use_beam_search: bool,
    /// Request each response whole instead of as a stream; only E2E is then measured
    ///
    /// In `vllm bench serve` this flag downloads a whole dataset; the difference is deliberate.
    #[arg(long)]
    pub no_stream: bool,
    /// A JSON object merged last into every request body; null removes a field
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    pub extra_body: Option<Map<String, Value>>,
}
