//! `servebench sim`: the simulated vLLM as a server of its own.

use std::{fs, io, path::PathBuf, time::Duration};

use super::exit::say;
use super::interrupt::Interrupts;
use super::run::seconds;
use crate::drive::workload::bundled;
use crate::sim::{
    self, FaultKind, Faults, LineEnding, Output, ReasoningField, Rhythm, Spec, Speed, StepTime,
};

/// What the help says of endpoints and of prompts that are not text.
const SPOKEN: &str = "\
Endpoints:
  Text:     /v1/completions, /v1/chat/completions, /v1/responses,
            /v1/audio/transcriptions, /v1/audio/translations,
            SGLang's /generate, TGI's /generate_stream, llama.cpp's /completion,
            Triton's /v2/models/MODEL/generate_stream, ollama's /api/generate and /api/chat
  Prompts:  /v1/embeddings, /embeddings (infinity), /pooling, /rerank and /v1/rerank
  Images:   a prompt token for each 28 x 28 pixels; 576 if the size cannot be told
            (only data URLs are looked into)
  Sound:    100 prompt tokens a second of WAV, anything else counts as 30 s
  Videos:   4608 prompt tokens";

/// Serve a simulated vLLM: its endpoints, batching, KV cache and metrics, without a model.
#[derive(Debug, clap::Args)]
#[command(after_help = SPOKEN)]
pub struct SimArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,

    /// Port to listen on; 0 takes a free one, which is printed
    #[arg(long, default_value_t = 8000)]
    pub port: u16,

    /// Name of the model
    #[arg(long, default_value = "servebench-sim")]
    pub model: String,

    /// Name that requests may ask for instead of --model; repeatable; `*` accepts any name
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Vec<String>,

    /// LoRA adapters, served as models of their own; NAME=PATH is taken as vLLM writes it, and the path is not looked at
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub lora_modules: Vec<String>,

    /// File with a tokenizer.json [default: the bundled tokenizer]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Seed of answers, lengths, jitter and faults
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// File for what truly happened to each request, as JSON lines; overwritten
    #[arg(long, value_name = "FILE")]
    pub truth_log: Option<PathBuf>,

    /// Tell in the truth log a hash of each of a prompt's first BLOCKS blocks (64 if no number is given), so that shared beginnings can be seen
    #[arg(long, value_name = "BLOCKS", num_args = 0..=1, default_value_t = 0, default_missing_value = "64", requires = "truth_log")]
    pub truth_prompts: usize,

    /// Take the orders /start_profile and /stop_profile, as vLLM does with --profiler-config; the truth log has them
    #[arg(long)]
    pub profiler: bool,

    #[command(flatten)]
    engine: EngineArgs,

    #[command(flatten)]
    timing: TimingArgs,

    #[command(flatten)]
    fixed: FixedArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    faults: FaultArgs,
}

/// The limits of the engine, under vLLM's names.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Engine")]
struct EngineArgs {
    /// Longest prompt plus output, in tokens
    #[arg(long, default_value_t = 8192)]
    max_model_len: usize,

    /// Most sequences running at once
    #[arg(long, default_value_t = 256)]
    max_num_seqs: usize,

    /// Most tokens computed in one step
    #[arg(long, default_value_t = 2048)]
    max_num_batched_tokens: usize,

    /// Compute every prompt in one step instead of cutting long ones
    #[arg(long)]
    no_chunked_prefill: bool,

    /// Blocks of the KV cache, one of which is never used
    #[arg(long, default_value_t = 16_384)]
    num_gpu_blocks: usize,

    /// Tokens in a block of the KV cache
    #[arg(long, default_value_t = 16)]
    block_size: usize,

    /// Do not reuse the KV cache of equal prompt beginnings
    #[arg(long)]
    no_prefix_caching: bool,
}

/// How long a step takes: base + prefill * tokens + decode * sequences.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Step time")]
struct TimingArgs {
    /// Preset: fast (4 ms steps), l4-8b, a100-8b, h100-70b (roughly these cards and model sizes), instant
    #[arg(long, default_value_t = Speed::Fast)]
    speed: Speed,

    /// Time of a step however little it computes, such as 4ms
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    step_time: Option<Duration>,

    /// Time each prompt token adds to a step, such as 5us
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    prefill_token_time: Option<Duration>,

    /// Time each decoding sequence adds to a step, such as 4us
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    decode_seq_time: Option<Duration>,

    /// Largest relative deviation of a step's time, 0 to 1: 0.05 is 5 % either way
    #[arg(long, value_name = "SHARE")]
    jitter: Option<f64>,
}

/// When tokens go out, decided by nothing but the request's own arrival.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fixed timing of all streams, to measure clients (no engine, no faults)")]
struct FixedArgs {
    /// Time from a request to its first token, such as 100ms
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "gap", conflicts_with = "fault")]
    ttft: Option<Duration>,

    /// Time between two writes of a stream, such as 20ms; 0s: as fast as the client takes them
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "ttft")]
    gap: Option<Duration>,

    /// All streams write at the same instants
    #[arg(long, requires = "gap")]
    lockstep: bool,

    /// Events of one token each in one write, as behind a proxy that batches
    #[arg(long, value_name = "EVENTS", default_value_t = 1, requires = "gap")]
    events_per_write: usize,
}

/// What answers look like.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Answers")]
struct OutputArgs {
    /// Mean tokens of an answer that ends by itself (no ignore_eos); 0: answers always fill max_tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 512.0)]
    eos_mean: f64,

    /// First tokens of a chat answer that go out as reasoning
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    reasoning: usize,

    /// Field of a chat delta that carries reasoning: reasoning or reasoning_content
    #[arg(long, value_name = "FIELD", default_value_t = ReasoningField::Reasoning)]
    reasoning_field: ReasoningField,

    /// Tokens joined into one event, as with speculative decoding
    #[arg(long, value_name = "TOKENS", default_value_t = 1)]
    tokens_per_event: usize,

    /// Never report token counts, also when asked to
    #[arg(long)]
    no_usage: bool,

    /// Say in the usage how many of the prompt's tokens the prefix cache had
    #[arg(long)]
    enable_prompt_tokens_details: bool,

    /// Numbers in an embedding
    #[arg(long, value_name = "NUMBERS", default_value_t = 1024)]
    embedding_size: usize,

    /// Line ends of event streams: lf or crlf
    #[arg(long, default_value_t = LineEnding::Lf)]
    line_ending: LineEnding,
}

/// Requests that go wrong on purpose.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// Share of requests that go wrong, 0 to 1; 1 if --fault is given alone
    #[arg(long, value_name = "SHARE", requires = "fault")]
    fault_rate: Option<f64>,

    /// Ways to go wrong, joined by commas: error500, error429, stall-headers, disconnect, stall, error-event,
    /// malformed, no-terminal, empty
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    fault: Vec<FaultKind>,
}

impl SimArgs {
    /// The simulator that these arguments describe; it logs to stderr.
    ///
    /// # Errors
    ///
    /// If the tokenizer's file cannot be read.
    pub fn to_spec(&self) -> io::Result<Spec> {
        let tokenizer_json = match &self.tokenizer {
            Some(path) => fs::read(path).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot read --tokenizer {}: {error}", path.display()))
            })?,
            None => bundled::tokenizer_json(),
        };
        let engine = &self.engine;
        Ok(Spec {
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
            rhythm: self.fixed.rhythm(),
            output: self.output.output(),
            faults: self.faults.faults(),
            profiler: self.profiler,
            seed: self.seed,
            tokenizer_json: Some(tokenizer_json.into()),
            truth_log: self.truth_log.clone(),
            truth_prompts: self.truth_prompts,
            log: Some(Box::new(|line| say(line))),
            ..Spec::default()
        })
    }
}

/// The adapter's name out of `name` or `name=path`.
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
            jitter: self.jitter.unwrap_or(preset.jitter),
        }
    }
}

impl FixedArgs {
    fn rhythm(&self) -> Option<Rhythm> {
        let (ttft, gap) = self.ttft.zip(self.gap)?;
        Some(Rhythm { ttft, gap, lockstep: self.lockstep, events_per_write: self.events_per_write })
    }
}

impl OutputArgs {
    fn output(&self) -> Output {
        Output {
            eos_mean: (self.eos_mean != 0.0).then_some(self.eos_mean),
            reasoning: self.reasoning,
            reasoning_field: self.reasoning_field,
            tokens_per_event: self.tokens_per_event,
            usage: !self.no_usage,
            prompt_tokens_details: self.enable_prompt_tokens_details,
            embedding_size: self.embedding_size,
            line_ending: self.line_ending,
        }
    }
}

impl FaultArgs {
    fn faults(&self) -> Faults {
        Faults { rate: self.fault_rate.unwrap_or(1.0), kinds: self.fault.clone() }
    }
}

/// Serves until a signal; a second one is not needed: ending takes a second at most.
///
/// # Errors
///
/// If the address cannot be listened on, or for the reasons of [`SimArgs::to_spec`] and [`sim::serve`].
pub fn run(args: &SimArgs, interrupts: &Interrupts) -> io::Result<()> {
    let spec = args.to_spec()?;
    // Before the address is taken and announced.
    spec.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = (args.host.as_str(), args.port);
        let listener = sim::listen(address).await.map_err(|error| {
            let message =
                format!("cannot listen on {}:{}: {error}; choose another --port", args.host, args.port);
            io::Error::new(error.kind(), message)
        })?;
        interrupts.hold();
        let interrupted = interrupts.clone();
        say(format_args!("simulated vLLM `{}` listening on http://{}", args.model, listener.local_addr()?));
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

    fn spec(line: &str) -> Spec {
        let words = std::iter::once("sim").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().sim.to_spec().unwrap()
    }

    #[test]
    fn no_flags_mean_the_default_spec() {
        let (spec, default) = (spec(""), Spec::default());
        assert_eq!((spec.model, spec.served_names), (default.model, default.served_names));
        assert_eq!((spec.max_model_len, spec.max_num_seqs), (default.max_model_len, default.max_num_seqs));
        assert_eq!(spec.max_num_batched_tokens, default.max_num_batched_tokens);
        assert_eq!((spec.num_gpu_blocks, spec.block_size), (default.num_gpu_blocks, default.block_size));
        assert!(spec.chunked_prefill && spec.prefix_caching);
        assert_eq!((spec.timing, spec.output), (default.timing, default.output));
        assert!(spec.faults.fate(0, 0).is_none());
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
        let timing = spec("--speed l4-8b --step-time 2ms --jitter 0").timing;
        let preset = Speed::L4Llama8b.step_time();
        assert_eq!((timing.base, timing.jitter), (Duration::from_millis(2), 0.0));
        assert_eq!(timing.per_prefill_token, preset.per_prefill_token);
    }

    #[test]
    fn a_fixed_timing_is_whole_or_not_there() {
        let ms = Duration::from_millis;
        let rhythm = spec("--ttft 100ms --gap 20ms --events-per-write 64").rhythm;
        let expected = Rhythm { ttft: ms(100), gap: ms(20), lockstep: false, events_per_write: 64 };
        assert_eq!((rhythm, spec("").rhythm), (Some(expected), None));
        assert!(Line::try_parse_from(["sim", "--ttft", "1s"]).is_err(), "no gap");
        assert!(Line::try_parse_from(["sim", "--lockstep"]).is_err(), "nothing to step");
    }

    #[test]
    fn fault_kinds_are_joined_by_commas_and_checked() {
        let faults = spec("--fault-rate 0.25 --fault stall,error500").faults;
        assert_eq!(faults, Faults { rate: 0.25, kinds: vec![FaultKind::Stall, FaultKind::Error500] });
        let error = Line::try_parse_from(["sim", "--fault", "fire"]).err().unwrap().to_string();
        assert!(error.contains("error-event"), "{error}");
        assert!(Line::try_parse_from(["sim", "--fault-rate", "0.5"]).is_err(), "a rate of nothing");
    }
}
