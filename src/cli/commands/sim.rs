//! `servegauge sim`: serves the simulated vLLM as a separate server.

use std::{io, path::PathBuf, time::Duration};

use super::run::seconds;
use crate::cli::args::values;
use crate::cli::exit::print_stderr;
use crate::cli::interrupt::InterruptSignal;
use crate::dataset::bundled;
use crate::model::bounded_file::{self, FileLimit};
use crate::sim::{
    self, FaultInjection, FaultKind, FixedTiming, LineEnding, OutputSpec, ReasoningField, SimSpec, Speed,
    StepTime,
};

/// The help text about endpoints, and about prompts that are not text.
const SPOKEN: &str = "\
Endpoints:
  Text:     /v1/completions, /v1/chat/completions, /v1/responses,
            /v1/audio/transcriptions, /v1/audio/translations,
            SGLang's /generate, TGI's /generate_stream, llama.cpp's /completion,
            Triton's /v2/models/MODEL/generate_stream, ollama's /api/generate and /api/chat
  Prompts:  /v1/embeddings, /embeddings (infinity), /pooling, /rerank and /v1/rerank
  Images:   a prompt token for each 28 x 28 pixels; 576 if the size is unknown
            (only data URLs are looked into)
  Sound:    100 prompt tokens a second of WAV, anything else counts as 30 s
  Videos:   4608 prompt tokens";

/// Serve a simulated vLLM: its endpoints, batching, KV cache and metrics, without a model.
#[derive(Debug, clap::Args)]
#[command(after_long_help = SPOKEN)]
pub(crate) struct SimArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,

    /// Port to listen on; 0 takes a free one, which is printed
    #[arg(long, default_value_t = 8000, value_parser = values::port)]
    pub port: u16,

    /// Name of the model
    #[arg(long, default_value = "servegauge-sim")]
    pub model: String,

    /// Name that replaces --model in requests; repeatable; `*` accepts any name
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Vec<String>,

    /// LoRA adapters, served as separate models
    ///
    /// NAME=PATH works as in vLLM; the path is ignored.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub lora_modules: Vec<String>,

    /// Path of a tokenizer.json [default: the bundled tokenizer]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Seed of responses, lengths, jitter and faults
    #[arg(long, default_value_t = 0, value_parser = values::number::<u64>)]
    pub seed: u64,

    /// File for the true events of each request, as JSON lines; overwritten
    #[arg(long, value_name = "FILE")]
    pub truth_log: Option<PathBuf>,

    /// Also log hashes of each prompt's first BLOCKS blocks [without BLOCKS: 64]
    ///
    /// The truth log contains them. They show which prompts share a prefix.
    #[arg(long, value_name = "BLOCKS", num_args = 0..=1, default_value_t = 0, default_missing_value = "64", requires = "truth_log", value_parser = values::number::<usize>)]
    pub truth_prompts: usize,

    /// Accept /start_profile and /stop_profile, and record them in the truth log
    ///
    /// vLLM accepts them with --profiler-config.
    #[arg(long)]
    pub profiler: bool,

    #[command(flatten)]
    engine: EngineArgs,

    #[command(flatten)]
    timing: TimingArgs,

    #[command(flatten)]
    fixed: FixedArgs,

    #[command(flatten)]
    output: SimOutputArgs,

    #[command(flatten)]
    faults: FaultArgs,
}

/// The limits of the engine, under vLLM's names.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Engine")]
struct EngineArgs {
    /// Maximum prompt plus output, in tokens
    #[arg(long, default_value_t = 8192, value_parser = values::number::<usize>)]
    max_model_len: usize,

    /// Maximum number of running sequences
    #[arg(long, default_value_t = 256, value_parser = values::number::<usize>)]
    max_num_seqs: usize,

    /// Maximum number of tokens computed in one step
    #[arg(long, default_value_t = 2048, value_parser = values::number::<usize>)]
    max_num_batched_tokens: usize,

    /// Compute every prompt in one step, without chunking
    #[arg(long)]
    no_chunked_prefill: bool,

    /// Blocks of the KV cache, one of which is never used
    #[arg(long, default_value_t = 16_384, value_parser = values::number::<usize>)]
    num_gpu_blocks: usize,

    /// Tokens in a block of the KV cache
    #[arg(long, default_value_t = 16, value_parser = values::number::<usize>)]
    block_size: usize,

    /// Disable prefix caching
    #[arg(long)]
    no_prefix_caching: bool,
}

/// How long a step takes: base + prefill * tokens + decode * sequences + KV * context tokens.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Step time")]
struct TimingArgs {
    /// Preset: fast (4 ms steps), l4-8b, a100-8b, h100-70b, instant
    ///
    /// Three presets are rough models of these cards and model sizes.
    #[arg(long, default_value_t = Speed::Fast)]
    speed: Speed,

    /// Base time of a step, such as 4ms
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    step_time: Option<Duration>,

    /// Time that each prompt token adds to a step, such as 5us
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    prefill_token_time: Option<Duration>,

    /// Time that each decoding sequence adds to a step, such as 4us
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    decode_seq_time: Option<Duration>,

    /// Time that each context token of a decoding sequence adds, such as 100ns
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    kv_token_time: Option<Duration>,

    /// Maximum relative deviation of a step's time, 0 to 1: 0.05 is ±5 %
    #[arg(long, value_name = "SHARE", value_parser = values::number::<f64>)]
    jitter: Option<f64>,
}

/// When tokens go out, decided by nothing but the request's own arrival.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fixed timing of all streams, to measure clients (no engine, no faults)")]
struct FixedArgs {
    /// Fixed time to first token, such as 100ms
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "gap", conflicts_with = "fault")]
    ttft: Option<Duration>,

    /// Time between two writes of a stream, such as 20ms; 0s is as fast as possible
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "ttft")]
    gap: Option<Duration>,

    /// Write to all streams at the same instants
    #[arg(long, requires = "gap")]
    lockstep: bool,

    /// One-token events per write, as behind a batching proxy
    #[arg(long, value_name = "EVENTS", default_value_t = 1, requires = "gap", value_parser = values::number::<usize>)]
    events_per_write: usize,
}

/// The form of responses.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Answers")]
struct SimOutputArgs {
    /// Mean length of responses that end by themselves; 0: fill max_tokens
    ///
    /// Responses with ignore_eos never end by themselves.
    #[arg(long, value_name = "TOKENS", default_value_t = 512.0, value_parser = values::number::<f64>)]
    eos_mean: f64,

    /// Reasoning tokens at the start of a chat response
    #[arg(long, value_name = "TOKENS", default_value_t = 0, value_parser = values::number::<usize>)]
    reasoning: usize,

    /// Field of a chat delta that has the reasoning: reasoning or reasoning_content
    #[arg(long, value_name = "FIELD", default_value_t = ReasoningField::Reasoning)]
    reasoning_field: ReasoningField,

    /// Tokens per event, as with speculative decoding
    #[arg(long, value_name = "TOKENS", default_value_t = 1, value_parser = values::number::<usize>)]
    tokens_per_event: usize,

    /// Never report token counts, even if requested
    #[arg(long)]
    no_usage: bool,

    /// Report the cached prompt tokens in the usage
    #[arg(long)]
    enable_prompt_tokens_details: bool,

    /// Report the engine's queue, prefill and decode time with each answer, as vLLM does
    #[arg(long, alias = "per-request-metrics")]
    enable_per_request_metrics: bool,

    /// Dimensions of an embedding
    #[arg(long, value_name = "NUMBERS", default_value_t = 1024, value_parser = values::number::<usize>)]
    embedding_size: usize,

    /// Line ends of event streams: lf or crlf
    #[arg(long, default_value_t = LineEnding::Lf)]
    line_ending: LineEnding,
}

/// Requests that go wrong on purpose.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// Share of requests that fail, 0 to 1; 1 if only --fault is given
    #[arg(long, value_name = "SHARE", requires = "fault", value_parser = values::number::<f64>)]
    fault_rate: Option<f64>,

    /// Kinds of faults, joined by commas
    ///
    /// They are error500, error429, stall-headers, disconnect, stall, error-event, malformed, no-terminal, empty.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    fault: Vec<FaultKind>,
}

impl SimArgs {
    /// Builds the simulator's specification; its log goes to stderr.
    ///
    /// # Errors
    ///
    /// The tokenizer's file cannot be read.
    pub(crate) fn to_spec(&self) -> io::Result<SimSpec> {
        let tokenizer_json = match &self.tokenizer {
            Some(path) => bounded_file::read(path, FileLimit::TOKENIZER).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot read --tokenizer {}: {error}", path.display()))
            })?,
            None => bundled::tokenizer_json(),
        };
        let engine = &self.engine;
        Ok(SimSpec {
            model: self.model.clone(),
            served_names: self.served_model_name.clone(),
            lora_modules: self.lora_modules.iter().map(|module| adapter_name(module).to_owned()).collect(),
            max_model_len: engine.max_model_len,
            max_num_seqs: engine.max_num_seqs,
            max_num_batched_tokens: engine.max_num_batched_tokens,
            chunked_prefill: !engine.no_chunked_prefill,
            num_gpu_blocks: engine.num_gpu_blocks,
            block_size: engine.block_size,
            prefix_caching: !engine.no_prefix_caching,
            timing: self.timing.step_time(),
            fixed_timing: self.fixed.fixed_timing(),
            output: self.output.output(),
            faults: self.faults.faults(),
            profiler: self.profiler,
            seed: self.seed,
            tokenizer_json: Some(tokenizer_json.into()),
            truth_log: self.truth_log.clone(),
            truth_prompts: self.truth_prompts,
            log: Some(Box::new(|line| print_stderr(line))),
            ..SimSpec::default()
        })
    }
}

/// Returns the adapter's name from `name` or `name=path`.
fn adapter_name(module: &str) -> &str {
    module.split_once('=').map_or(module, |(name, _)| name)
}

impl TimingArgs {
    fn step_time(&self) -> StepTime {
        let preset = self.speed.step_time();
        StepTime {
            base: self.step_time.unwrap_or(preset.base),
            per_prefill_token: self.prefill_token_time.unwrap_or(preset.per_prefill_token),
            per_decode_seq: self.decode_seq_time.unwrap_or(preset.per_decode_seq),
            per_kv_token: self.kv_token_time.unwrap_or(preset.per_kv_token),
            jitter: self.jitter.unwrap_or(preset.jitter),
        }
    }
}

impl FixedArgs {
    fn fixed_timing(&self) -> Option<FixedTiming> {
        let (ttft, gap) = self.ttft.zip(self.gap)?;
        Some(FixedTiming { ttft, gap, lockstep: self.lockstep, events_per_write: self.events_per_write })
    }
}

impl SimOutputArgs {
    fn output(&self) -> OutputSpec {
        OutputSpec {
            eos_mean: (self.eos_mean != 0.0).then_some(self.eos_mean),
            reasoning: self.reasoning,
            reasoning_field: self.reasoning_field,
            tokens_per_event: self.tokens_per_event,
            usage: !self.no_usage,
            prompt_tokens_details: self.enable_prompt_tokens_details,
            per_request_metrics: self.enable_per_request_metrics,
            embedding_size: self.embedding_size,
            line_ending: self.line_ending,
        }
    }
}

impl FaultArgs {
    fn faults(&self) -> FaultInjection {
        FaultInjection { rate: self.fault_rate.unwrap_or(1.0), kinds: self.fault.clone() }
    }
}

/// Serves until a signal. A second signal is not needed: ending takes a second at most.
///
/// # Errors
///
/// The address cannot be listened on, or [`SimArgs::to_spec`] or [`sim::serve`] fails.
pub(crate) fn run(args: &SimArgs, interrupts: &InterruptSignal) -> io::Result<()> {
    let spec = args.to_spec()?;
    // Check before the address is bound and announced.
    spec.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = (args.host.as_str(), args.port);
        let listener = sim::listen(address).await.map_err(|error| {
            let message =
                format!("cannot listen on {}:{}: {error}; choose another --port", args.host, args.port);
            io::Error::new(error.kind(), message)
        })?;
        interrupts.allow_report();
        let interrupted = interrupts.clone();
        print_stderr(format_args!(
            "simulated vLLM `{}` listening on http://{}",
            args.model,
            listener.local_addr()?
        ));
        sim::serve(listener, spec, async move { interrupted.wait().await }).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sim: SimArgs,
    }

    fn spec(line: &str) -> SimSpec {
        let words = std::iter::once("sim").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().sim.to_spec().unwrap()
    }

    #[test]
    fn no_flags_mean_the_default_spec() {
        let (spec, default) = (spec(""), SimSpec::default());
        assert_eq!((spec.model, spec.served_names), (default.model, default.served_names));
        assert_eq!((spec.max_model_len, spec.max_num_seqs), (default.max_model_len, default.max_num_seqs));
        assert_eq!(spec.max_num_batched_tokens, default.max_num_batched_tokens);
        assert_eq!((spec.num_gpu_blocks, spec.block_size), (default.num_gpu_blocks, default.block_size));
        assert!(spec.chunked_prefill && spec.prefix_caching);
        assert_eq!((spec.timing, spec.output), (default.timing, default.output));
        assert!(spec.faults.fault_for(0, 0).is_none());
    }

    #[test]
    fn adapters_are_named_with_or_without_a_path() {
        let spec = spec("--lora-modules one two=/somewhere/two --max-num-seqs 4");
        assert_eq!(spec.lora_modules, ["one", "two"]);
    }

    #[test]
    fn prompts_are_told_in_the_truth_log_only_if_asked_for() {
        assert_eq!(spec("").truth_prompts, 0);
        assert_eq!(spec("--truth-log t.jsonl --truth-prompts").truth_prompts, 64);
        assert_eq!(spec("--truth-log t.jsonl --truth-prompts 3").truth_prompts, 3);
        assert!(Line::try_parse_from(["sim", "--truth-prompts"]).is_err(), "no log to tell it in");
    }

    #[test]
    fn times_override_the_preset_one_by_one() {
        let timing = spec("--speed l4-8b --step-time 2ms --kv-token-time 100ns --jitter 0").timing;
        let preset = Speed::L4Llama8b.step_time();
        assert_eq!((timing.base, timing.jitter), (Duration::from_millis(2), 0.0));
        assert_eq!(timing.per_kv_token, Duration::from_nanos(100));
        assert_eq!(timing.per_prefill_token, preset.per_prefill_token);
    }

    #[test]
    fn a_fixed_timing_is_whole_or_not_there() {
        let ms = Duration::from_millis;
        let timing = spec("--ttft 100ms --gap 20ms --events-per-write 64").fixed_timing;
        let expected = FixedTiming { ttft: ms(100), gap: ms(20), lockstep: false, events_per_write: 64 };
        assert_eq!((timing, spec("").fixed_timing), (Some(expected), None));
        assert!(Line::try_parse_from(["sim", "--ttft", "1s"]).is_err(), "no gap");
        assert!(Line::try_parse_from(["sim", "--lockstep"]).is_err(), "nothing to step");
    }

    #[test]
    fn fault_kinds_are_joined_by_commas_and_checked() {
        let faults = spec("--fault-rate 0.25 --fault stall,error500").faults;
        assert_eq!(faults, FaultInjection { rate: 0.25, kinds: vec![FaultKind::Stall, FaultKind::Error500] });
        let error = Line::try_parse_from(["sim", "--fault", "fire"]).err().unwrap().to_string();
        assert!(error.contains("error-event"), "{error}");
        assert!(Line::try_parse_from(["sim", "--fault-rate", "0.5"]).is_err(), "a rate of nothing");
    }
}
