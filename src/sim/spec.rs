//! Everything that determines a simulated server.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    fault::Faults,
    named::named,
    rhythm::Rhythm,
    timing::{Speed, StepTime},
};

/// Where the log lines go, one call a line, without the line end.
pub type LogSink = Box<dyn FnMut(&str) + Send + Sync>;

/// Everything that determines a simulated server. `Default` is the `fast` preset.
pub struct Spec {
    /// The model's name, also `root` in `/v1/models`.
    pub model: String,
    /// The names requests may ask for; empty means only `model`, and `*` accepts any name.
    pub served_names: Vec<String>,
    /// Names of LoRA adapters, which requests may ask for as models of their own.
    pub lora_modules: Vec<String>,
    /// Longest prompt plus output, in tokens.
    pub max_model_len: usize,
    /// Most sequences that run at once.
    pub max_num_seqs: usize,
    /// Most tokens (prompt and decode) computed in one step.
    pub max_num_batched_tokens: usize,
    /// Whether a prompt may be cut over several steps. Without it a step takes whole prompts only, and
    /// its token budget is at least `max_model_len`, as vLLM demands.
    pub chunked_prefill: bool,
    /// Blocks of the KV pool; one of them is vLLM's null block and never used.
    pub num_gpu_blocks: usize,
    /// Tokens of a block.
    pub block_size: usize,
    /// Whether full blocks are found again by their content.
    pub prefix_caching: bool,
    /// How long a step takes.
    pub timing: StepTime,
    /// Fixed timing for all streams in place of the engine's: no queue, no batch, no cache, no faults, and no trace of
    /// them in the metrics.
    pub rhythm: Option<Rhythm>,
    /// What answers look like.
    pub output: Output,
    /// Which requests go wrong.
    pub faults: Faults,
    /// Whether `/start_profile` and `/stop_profile` are taken, as by a vLLM with a profiler; without it they are not there.
    pub profiler: bool,
    /// Seed of everything that is random.
    pub seed: u64,
    /// The contents of a `tokenizer.json`; without it a token is four bytes of UTF-8.
    pub tokenizer_json: Option<Arc<[u8]>>,
    /// File that receives what truly happened to each request, in the format that [`truth`](super::truth)
    /// describes. An existing file is overwritten; all of it is there when the server has ended.
    pub truth_log: Option<PathBuf>,
    /// How many of a prompt's first blocks the truth log tells by their chained hashes; 0: none.
    pub truth_prompts: usize,
    /// Receives the lines a real server would log.
    pub log: Option<LogSink>,
    /// Time between two statistics lines; vLLM's is ten seconds. Not zero.
    pub log_interval: Duration,
}

/// What answers look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Mean length of an answer in tokens (geometric law, the end-of-sequence token included) where the
    /// request does not say `ignore_eos`; `None`: answers always fill `max_tokens`.
    pub eos_mean: Option<f64>,
    /// The first tokens of a chat answer that go out as reasoning.
    pub reasoning: usize,
    /// The delta's field that carries reasoning.
    pub reasoning_field: ReasoningField,
    /// Tokens joined into one event, as a server with speculative decoding does; at least 1.
    pub tokens_per_event: usize,
    /// Whether usage is reported when it is asked for.
    pub usage: bool,
    /// Whether OpenAI's usage says what the prefix cache had of the prompt, as with vLLM's `--enable-prompt-tokens-details`.
    pub prompt_tokens_details: bool,
    /// Numbers in an embedding; at least 1.
    pub embedding_size: usize,
    /// How lines of the event stream end.
    pub line_ending: LineEnding,
}

named! {
    /// How lines of the event stream end.
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
    /// The delta's field that carries reasoning.
    ReasoningField {
        /// `reasoning`, current vLLM.
        Reasoning = "reasoning",
        /// `reasoning_content`, older vLLM and others.
        ReasoningContent = "reasoning_content",
    }
}

impl Default for Output {
    fn default() -> Self {
        Self {
            eos_mean: Some(512.0),
            reasoning: 0,
            reasoning_field: ReasoningField::Reasoning,
            tokens_per_event: 1,
            usage: true,
            prompt_tokens_details: false,
            embedding_size: 1024,
            line_ending: LineEnding::Lf,
        }
    }
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            model: "servebench-sim".to_owned(),
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
            rhythm: None,
            output: Output::default(),
            faults: Faults::default(),
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

/// A [`Spec`] that no server can be made of.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A count that has to be at least one is zero.
    #[error("{field} is 0; it must be at least 1")]
    Zero {
        /// The field of the spec.
        field: &'static str,
    },
    /// A number outside its range.
    #[error("{field} is {value}; it must be {range}")]
    Range {
        /// The field of the spec.
        field: &'static str,
        /// What it was.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// The KV pool cannot hold one sequence of the longest kind.
    #[error(
        "a sequence of max_model_len {max_model_len} tokens needs {needed} KV blocks of {block_size}, and {usable} can be used \
         (num_gpu_blocks less the null block); raise num_gpu_blocks or lower max_model_len"
    )]
    PoolTooSmall {
        /// Longest sequence, in tokens.
        max_model_len: usize,
        /// Blocks it takes.
        needed: usize,
        /// Blocks there are.
        usable: usize,
        /// Tokens of a block.
        block_size: usize,
    },
    /// The tokenizer's JSON cannot be read.
    #[error("the tokenizer.json given to the simulator cannot be read: {cause}")]
    Tokenizer {
        /// What the tokenizer library says.
        cause: String,
    },
    /// The tokenizer has no word from which output could be made.
    #[error(
        "the tokenizer has no token that is a plain English word after a space, so no output can be made from it; leave it out"
    )]
    NoWords,
}

impl Spec {
    /// Checks that a server can be made of this.
    pub fn check(&self) -> Result<(), SpecError> {
        for (field, value) in [
            ("max_model_len", self.max_model_len),
            ("max_num_seqs", self.max_num_seqs),
            ("max_num_batched_tokens", self.max_num_batched_tokens),
            ("block_size", self.block_size),
            ("num_gpu_blocks", self.num_gpu_blocks),
            ("tokens_per_event", self.output.tokens_per_event),
            ("embedding_size", self.output.embedding_size),
            ("events_per_write", self.rhythm.map_or(1, |rhythm| rhythm.events_per_write)),
        ] {
            if value == 0 {
                return Err(SpecError::Zero { field });
            }
        }
        self.check_sizes()?;
        within("jitter", self.timing.jitter, 0.0..1.0, "at least 0 and below 1")?;
        within("fault rate", self.faults.rate, 0.0..1.0 + f64::EPSILON, "between 0 and 1")?;
        within("mean length", self.output.eos_mean.unwrap_or(2.0), 2.0..1e9, "at least 2")?;
        let (needed, usable) = (self.max_model_len.div_ceil(self.block_size), self.num_gpu_blocks - 1);
        if needed > usable {
            let (max_model_len, block_size) = (self.max_model_len, self.block_size);
            return Err(SpecError::PoolTooSmall { max_model_len, needed, usable, block_size });
        }
        Ok(())
    }

    /// Keeps sizes and times to where neither memory nor the clock's arithmetic gives out.
    fn check_sizes(&self) -> Result<(), SpecError> {
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
        for time in [timing.base, timing.per_prefill_token, timing.per_decode_seq] {
            within(
                "a time of the step",
                time.as_secs_f64(),
                0.0..3600.5,
                "at most an hour (seconds are shown)",
            )?;
        }
        Ok(())
    }

    /// Whether a request may ask for `name`.
    pub(super) fn serves(&self, name: &str) -> bool {
        self.names().iter().any(|served| *served == name || *served == "*")
    }

    /// Whether `name` is that of an adapter.
    pub(super) fn is_adapter(&self, name: &str) -> bool {
        self.lora_modules.iter().any(|adapter| adapter == name)
    }

    /// The names requests may ask for: the model's, then the adapters'.
    pub(super) fn names(&self) -> Vec<&str> {
        let model =
            if self.served_names.is_empty() { std::slice::from_ref(&self.model) } else { &self.served_names };
        model.iter().chain(&self.lora_modules).map(String::as_str).collect()
    }

    /// The first real name, which stands for the server in metrics and answers.
    pub(super) fn chief_name(&self) -> &str {
        self.served_names.iter().find(|name| *name != "*").unwrap_or(&self.model)
    }
}

fn within(
    field: &'static str,
    value: f64,
    allowed: std::ops::Range<f64>,
    range: &'static str,
) -> Result<(), SpecError> {
    if allowed.contains(&value) { Ok(()) } else { Err(SpecError::Range { field, value, range }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound() {
        assert!(Spec::default().check().is_ok());
    }

    #[test]
    fn a_pool_that_cannot_hold_the_longest_sequence_is_refused_with_both_numbers() {
        let spec = Spec { num_gpu_blocks: 80, block_size: 32, max_model_len: 2560, ..Spec::default() };
        let message = spec.check().unwrap_err().to_string();
        assert!(message.contains("needs 80 KV blocks") && message.contains("79 can be used"), "{message}");
        assert!(Spec { max_model_len: 2048, ..spec }.check().is_ok());
    }

    #[test]
    fn rates_outside_zero_to_one_and_zero_counts_are_refused() {
        let rate = Faults { rate: 1.5, kinds: vec![] };
        assert!(Spec { faults: rate, ..Spec::default() }.check().is_err());
        assert!(Spec { max_num_seqs: 0, ..Spec::default() }.check().is_err());
        let eternal = StepTime { base: Duration::MAX, ..Speed::Fast.step_time() };
        assert!(Spec { timing: eternal, ..Spec::default() }.check().is_err());
        assert!(Spec { log_interval: Duration::ZERO, ..Spec::default() }.check().is_err());
        let nan = StepTime { jitter: f64::NAN, ..Speed::Fast.step_time() };
        assert!(Spec { timing: nan, ..Spec::default() }.check().is_err());
    }

    #[test]
    fn a_star_serves_any_name() {
        let spec = Spec { served_names: vec!["*".to_owned()], ..Spec::default() };
        assert!(spec.serves("meta-llama/Llama-3-8B-Instruct"));
        assert_eq!(spec.chief_name(), "servebench-sim");
        assert!(!Spec::default().serves("nope"));
    }
}
