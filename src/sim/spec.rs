//! The configuration of a simulated server.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::fault::FaultInjection;
use crate::sim::{
    fixed_timing::FixedTiming,
    named_enum::named,
    step_time::{Speed, StepTime},
};

/// Receives log lines: one call for each line, without the line end.
pub(super) type LogSink = Box<dyn FnMut(&str) + Send + Sync>;

/// The configuration of a simulated server. `Default` is the `fast` preset.
pub struct SimSpec {
    /// The model's name, also `root` in `/v1/models`.
    pub model: String,
    /// The model names that requests may use. Empty means only `model`, and `*` accepts any name.
    pub served_names: Vec<String>,
    /// Names of LoRA adapters, which requests may use as model names.
    pub lora_modules: Vec<String>,
    /// The maximum length of prompt plus output, in tokens.
    pub max_model_len: usize,
    /// The most sequences that run at once.
    pub max_num_seqs: usize,
    /// The most tokens (prompt and decode) computed in one step.
    pub max_num_batched_tokens: usize,
    /// Whether a prompt may be split over several steps. Without chunked prefill, a step takes only whole prompts,
    /// and its token budget is at least `max_model_len`, as vLLM requires.
    pub chunked_prefill: bool,
    /// Blocks of the KV pool. One of them is vLLM's null block and never used.
    pub num_gpu_blocks: usize,
    /// Tokens in a block.
    pub block_size: usize,
    /// Whether full blocks are reused by their content.
    pub prefix_caching: bool,
    /// The duration of a step.
    pub timing: StepTime,
    /// Fixed timing for all streams instead of the engine's: no queue, no batch, no cache, no faults, and no effect
    /// on the metrics.
    pub fixed_timing: Option<FixedTiming>,
    /// The format and length of answers.
    pub output: OutputSpec,
    /// The faults that requests get.
    pub faults: FaultInjection,
    /// Whether `/start_profile` and `/stop_profile` exist, as in a vLLM with a profiler.
    pub profiler: bool,
    /// Seed of all random decisions.
    pub seed: u64,
    /// The contents of a `tokenizer.json`. Without it, a token is four bytes of UTF-8.
    pub tokenizer_json: Option<Arc<[u8]>>,
    /// File that receives the true times and counts of each request, in the format that
    /// [`sim`](crate::sim#truth-log) describes. An existing file is overwritten. The file is complete when the
    /// server has ended.
    pub truth_log: Option<PathBuf>,
    /// The number of a prompt's first blocks whose chained hashes the truth log records; 0 for none.
    pub truth_prompts: usize,
    /// Receives the lines that a real server would log.
    pub log: Option<LogSink>,
    /// The time between two statistics lines, not zero. vLLM's is ten seconds.
    pub log_interval: Duration,
}

/// The format and length of answers.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputSpec {
    /// Mean length of an answer in tokens (geometric distribution, including the end-of-sequence token) for requests
    /// without `ignore_eos`. With `None`, answers always reach `max_tokens`.
    pub eos_mean: Option<f64>,
    /// The number of first tokens of a chat answer that go out as reasoning.
    pub reasoning: usize,
    /// The field of the delta that carries reasoning.
    pub reasoning_field: ReasoningField,
    /// The number of tokens merged into one event, as with speculative decoding; at least 1.
    pub tokens_per_event: usize,
    /// Whether usage is reported on request.
    pub usage: bool,
    /// Whether OpenAI's usage reports the prompt's cached tokens, as with vLLM's `--enable-prompt-tokens-details`.
    pub prompt_tokens_details: bool,
    /// Whether an answer of OpenAI's APIs reports the engine's times for its request, as with vLLM's
    /// `--enable-per-request-metrics`.
    pub per_request_metrics: bool,
    /// The number of dimensions of an embedding; at least 1.
    pub embedding_size: usize,
    /// The line end of the event stream.
    pub line_ending: LineEnding,
}

named! {
    /// The line end of an event stream.
    LineEnding {
        /// `\n`, as vLLM does.
        Lf = "lf",
        /// `\r\n`.
        Crlf = "crlf",
    }
}

impl LineEnding {
    pub(super) const fn line_end(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::Crlf => "\r\n",
        }
    }

    pub(super) const fn blank_line(self) -> &'static str {
        match self {
            Self::Lf => "\n\n",
            Self::Crlf => "\r\n\r\n",
        }
    }
}

named! {
    /// The field of the delta that carries reasoning.
    ReasoningField {
        /// `reasoning`, as in current vLLM.
        Reasoning = "reasoning",
        /// `reasoning_content`, as in older vLLM and other servers.
        ReasoningContent = "reasoning_content",
    }
}

impl Default for OutputSpec {
    fn default() -> Self {
        Self {
            eos_mean: Some(512.0),
            reasoning: 0,
            reasoning_field: ReasoningField::Reasoning,
            tokens_per_event: 1,
            usage: true,
            prompt_tokens_details: false,
            per_request_metrics: false,
            embedding_size: 1024,
            line_ending: LineEnding::Lf,
        }
    }
}

impl Default for SimSpec {
    fn default() -> Self {
        Self {
            model: "servegauge-sim".to_owned(),
            served_names: Vec::new(),
            lora_modules: Vec::new(),
            max_model_len: 8192,
            max_num_seqs: 256,
            max_num_batched_tokens: 2048,
            chunked_prefill: true,
            num_gpu_blocks: 16_384,
            block_size: 16,
            prefix_caching: true,
            timing: Speed::Fast.step_time(),
            fixed_timing: None,
            output: OutputSpec::default(),
            faults: FaultInjection::default(),
            profiler: false,
            seed: 0,
            tokenizer_json: None,
            truth_log: None,
            truth_prompts: 0,
            log: None,
            log_interval: Duration::from_secs(10),
        }
    }
}

/// Why a [`SimSpec`] is invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimSpecError {
    /// A count that must be at least one is zero.
    #[error("{field} is 0; it must be at least 1")]
    Zero {
        /// The field of the spec.
        field: &'static str,
    },
    /// A number is out of range.
    #[error("{field} is {value}; it must be {range}")]
    Range {
        /// The field of the spec.
        field: &'static str,
        /// The invalid value.
        value: f64,
        /// The valid range.
        range: &'static str,
    },
    /// The KV pool cannot hold one sequence of the maximum length.
    #[error(
        "a sequence of max_model_len {max_model_len} tokens needs {needed} KV blocks of {block_size}, and {usable} can be used \
         (num_gpu_blocks less the null block); raise num_gpu_blocks or lower max_model_len"
    )]
    PoolTooSmall {
        /// The maximum sequence length, in tokens.
        max_model_len: usize,
        /// The number of blocks that the sequence needs.
        needed: usize,
        /// The number of usable blocks.
        usable: usize,
        /// Tokens in a block.
        block_size: usize,
    },
    /// The tokenizer's JSON cannot be parsed.
    #[error("the tokenizer.json given to the simulator cannot be read: {cause}")]
    Tokenizer {
        /// The tokenizer library's error.
        cause: String,
    },
    /// The tokenizer has no word for output.
    #[error(
        "the tokenizer has no token that is a plain English word after a space, so no output can be made from it; leave it out"
    )]
    NoWords,
}

impl SimSpec {
    /// Checks that the configuration is valid.
    pub fn check(&self) -> Result<(), SimSpecError> {
        for (field, value) in [
            ("max_model_len", self.max_model_len),
            ("max_num_seqs", self.max_num_seqs),
            ("max_num_batched_tokens", self.max_num_batched_tokens),
            ("block_size", self.block_size),
            ("num_gpu_blocks", self.num_gpu_blocks),
            ("tokens_per_event", self.output.tokens_per_event),
            ("embedding_size", self.output.embedding_size),
            ("events_per_write", self.fixed_timing.map_or(1, |timing| timing.events_per_write)),
        ] {
            if value == 0 {
                return Err(SimSpecError::Zero { field });
            }
        }
        self.check_sizes()?;
        within("jitter", self.timing.jitter, 0.0..1.0, "at least 0 and below 1")?;
        within("fault rate", self.faults.rate, 0.0..1.0 + f64::EPSILON, "between 0 and 1")?;
        within("mean length", self.output.eos_mean.unwrap_or(2.0), 2.0..1e9, "at least 2")?;
        let (needed, usable) = (self.max_model_len.div_ceil(self.block_size), self.num_gpu_blocks - 1);
        if needed > usable {
            let (max_model_len, block_size) = (self.max_model_len, self.block_size);
            return Err(SimSpecError::PoolTooSmall { max_model_len, needed, usable, block_size });
        }
        Ok(())
    }

    /// Limits sizes and times so that neither memory nor clock arithmetic overflows.
    fn check_sizes(&self) -> Result<(), SimSpecError> {
        within("num_gpu_blocks", self.num_gpu_blocks as f64, 1.0..1e8, "below 100 million")?;
        within("max_model_len", self.max_model_len as f64, 1.0..1e8, "below 100 million")?;
        within("embedding_size", self.output.embedding_size as f64, 1.0..1e6, "below a million")?;
        within(
            "log_interval",
            self.log_interval.as_secs_f64(),
            1e-3..1e6,
            "a millisecond to a million seconds",
        )?;
        let timing = &self.timing;
        for time in [timing.base, timing.per_prefill_token, timing.per_decode_seq, timing.per_kv_token] {
            within(
                "a time of the step",
                time.as_secs_f64(),
                0.0..3600.5,
                "at most an hour (seconds are shown)",
            )?;
        }
        Ok(())
    }

    /// Whether a request may use the model name `name`.
    pub(super) fn serves(&self, name: &str) -> bool {
        self.names().iter().any(|served| *served == name || *served == "*")
    }

    /// Whether `name` is an adapter's name.
    pub(super) fn is_adapter(&self, name: &str) -> bool {
        self.lora_modules.iter().any(|adapter| adapter == name)
    }

    /// The model names that requests may use: the model's, then the adapters'.
    pub(super) fn names(&self) -> Vec<&str> {
        let model =
            if self.served_names.is_empty() { std::slice::from_ref(&self.model) } else { &self.served_names };
        model.iter().chain(&self.lora_modules).map(String::as_str).collect()
    }

    /// The first name other than `*`, which identifies the server in metrics and answers.
    pub(super) fn primary_name(&self) -> &str {
        self.served_names.iter().find(|name| *name != "*").unwrap_or(&self.model)
    }
}

fn within(
    field: &'static str,
    value: f64,
    allowed: std::ops::Range<f64>,
    range: &'static str,
) -> Result<(), SimSpecError> {
    if allowed.contains(&value) { Ok(()) } else { Err(SimSpecError::Range { field, value, range }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound() {
        assert!(SimSpec::default().check().is_ok());
    }

    #[test]
    fn a_pool_that_cannot_hold_the_longest_sequence_is_refused_with_both_numbers() {
        let spec = SimSpec { num_gpu_blocks: 80, block_size: 32, max_model_len: 2560, ..SimSpec::default() };
        let message = spec.check().unwrap_err().to_string();
        assert!(message.contains("needs 80 KV blocks") && message.contains("79 can be used"), "{message}");
        assert!(SimSpec { max_model_len: 2048, ..spec }.check().is_ok());
    }

    #[test]
    fn rates_outside_zero_to_one_and_zero_counts_are_refused() {
        let rate = FaultInjection { rate: 1.5, kinds: vec![] };
        assert!(SimSpec { faults: rate, ..SimSpec::default() }.check().is_err());
        assert!(SimSpec { max_num_seqs: 0, ..SimSpec::default() }.check().is_err());
        let eternal = StepTime { base: Duration::MAX, ..Speed::Fast.step_time() };
        assert!(SimSpec { timing: eternal, ..SimSpec::default() }.check().is_err());
        assert!(SimSpec { log_interval: Duration::ZERO, ..SimSpec::default() }.check().is_err());
        let nan = StepTime { jitter: f64::NAN, ..Speed::Fast.step_time() };
        assert!(SimSpec { timing: nan, ..SimSpec::default() }.check().is_err());
    }

    #[test]
    fn a_star_serves_any_name() {
        let spec = SimSpec { served_names: vec!["*".to_owned()], ..SimSpec::default() };
        assert!(spec.serves("meta-llama/Llama-3-8B-Instruct"));
        assert_eq!(spec.primary_name(), "servegauge-sim");
        assert!(!SimSpec::default().serves("nope"));
    }
}
