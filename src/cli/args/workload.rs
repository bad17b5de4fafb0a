//! Flags that decide what is sent.

mod collections;
mod form;
mod generated;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::args::values::{self, Amount, RangeRatio};
use collections::CollectionArgs;
pub(crate) use form::FormArgs;
use generated::GeneratedArgs;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DatasetName {
    /// The first two turns of ShareGPT conversations
    Sharegpt,
    /// A prompt in each line of a JSONL file: {"prompt": "…", "output_tokens": 128}
    Custom,
    /// Random tokens of given lengths
    Random,
    /// Random tokens after a few prefixes that many prompts share
    #[value(name = "prefix_repetition", alias = "prefix-repetition")]
    PrefixRepetition,
    /// Random tokens with random images
    #[value(name = "random-mm", alias = "random_mm")]
    RandomMm,
    /// A random query, and random documents to rank
    #[value(name = "random-rerank", alias = "random_rerank")]
    RandomRerank,
    /// Lines of Shakespeare's sonnets, or of another text, after some that all prompts share
    Sonnet,
    /// The first turns of a JSONL file with turns and categories: Spec-Bench, MT-bench
    #[value(name = "spec_bench", alias = "spec-bench")]
    SpecBench,
    /// The first turns of a SPEED-Bench subset; without --dataset-path from the Hugging Face hub
    #[value(name = "speed_bench", alias = "speed-bench")]
    SpeedBench,
    /// Any dataset of the Hugging Face hub, or a Parquet, JSONL or JSON file, or a folder of them
    Hf,
    /// A prompt with images in each line of a JSONL file: {"prompt": "…", "image_files": ["a.png"]}
    #[value(name = "custom_image", alias = "custom-image")]
    CustomImage,
    /// A recording in each line of a JSONL file: {"prompt": "…", "audio": "a.wav"}
    #[value(name = "custom_audio", alias = "custom-audio")]
    CustomAudio,
    /// A trace in Mooncake's format: JSONL with time stamps, lengths and block hashes
    #[value(name = "timed_trace", alias = "timed-trace")]
    TimedTrace,
    /// The Azure LLM inference traces: CSV with TIMESTAMP, ContextTokens, GeneratedTokens
    Azure,
    /// BurstGPT's CSV, at its time stamps; with --request-rate only its lengths, as in vLLM
    Burstgpt,
    /// Any CSV or JSONL with time stamps and lengths: see --trace-columns
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RngName {
    /// vLLM's Python client: the same seed gives the same requests at the same times
    Python,
    /// Our own: a larger run keeps the first requests, and random prompts have exact lengths
    Native,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoraAssignmentName {
    /// Each adapter with the same probability
    Random,
    /// In rotation
    RoundRobin,
    /// With probability proportional to 1 / position in the list
    Zipf,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workload")]
pub(crate) struct WorkloadArgs {
    /// Source of prompts [default: random; sharegpt with a file or --sim]
    #[arg(long, value_enum, value_name = "NAME")]
    pub dataset_name: Option<DatasetName>,
    /// File of the dataset, also .gz
    ///
    /// Without a file, `sharegpt` is the bundled dataset.
    #[arg(long, visible_alias = "dataset", value_name = "FILE")]
    pub dataset_path: Option<PathBuf>,
    /// TOML file of several datasets to mix: weighted [[class]] tables
    ///
    /// Each class has a name, a weight, the flags of `run` for datasets and sampling as keys, `lora`, and `goodput`.
    /// A trace contributes only its lengths, and needs no-self-timed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dataset_name", "dataset_path"])]
    pub workload: Option<PathBuf>,
    /// tokenizer.json, a folder with one, or a hub id [default: the model's]
    #[arg(long, value_name = "PATH|ID")]
    pub tokenizer: Option<String>,
    /// Load no tokenizer: count tokens with the server's /tokenize, or estimate them
    #[arg(long)]
    pub skip_tokenizer_init: bool,
    /// Accepted for compatibility with vLLM; only `auto` works: read tokenizer.json
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub tokenizer_mode: String,
    /// Accepted for compatibility with vLLM; has no effect, since no model code runs
    #[arg(long)]
    pub trust_remote_code: bool,
    /// Number of requests; -1 is all [default: 1000, or what --duration takes]
    #[arg(long, value_name = "N", value_parser = values::amount)]
    pub num_prompts: Option<Amount>,
    /// Seed of prompts and arrivals
    #[arg(long, default_value_t = 0, value_parser = values::number::<u64>)]
    pub seed: u64,
    /// Random number generator
    #[arg(long, value_enum, value_name = "WHOSE", default_value = "python")]
    pub rng: RngName,
    /// Send fewer requests if the dataset is too small, instead of repeating some
    #[arg(long)]
    pub no_oversample: bool,
    /// Prepare the workload and describe it; send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Reject the dataset at its first malformed row, instead of skipping such rows
    ///
    /// Skipped rows are counted.
    #[arg(long)]
    pub strict: bool,
    /// Keep the dataset's order
    #[arg(long)]
    pub disable_shuffle: bool,
    /// Begin prompts with unique words, to miss the prefix cache
    ///
    /// The words differ in each run. All turns of a session have the same words, and so do all prompts of a run that
    /// are generated to share a prefix.
    #[arg(long)]
    pub unique_prompts: bool,
    /// Prompt length of generated requests; overrides --random-input-len
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub input_len: Option<u32>,
    /// Output length for any dataset
    ///
    /// It overrides --random-output-len, --sharegpt-output-len and similar flags.
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub output_len: Option<u32>,
    /// Output length of sharegpt requests, instead of the dataset's responses
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub sharegpt_output_len: Option<u32>,
    /// Output length of custom requests; -1 is the file's output_tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 256, allow_negative_numbers = true, value_parser = values::number::<i64>)]
    pub custom_output_len: i64,
    /// Prompt length of random requests, without the prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 1024, value_parser = values::tokens)]
    pub random_input_len: u32,
    /// Output length of random requests
    #[arg(long, value_name = "TOKENS", default_value_t = 128, value_parser = values::tokens)]
    pub random_output_len: u32,
    /// Relative range of random lengths: a number in [0, 1), or JSON
    ///
    /// Lengths vary uniformly within ±ratio. JSON sets each: {"input":0.2,"output":0.5}.
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = values::range_ratio)]
    pub random_range_ratio: RangeRatio,
    /// Length of the prefix that all random prompts share
    #[arg(long, value_name = "TOKENS", default_value_t = 0, value_parser = values::tokens)]
    pub random_prefix_len: u32,
    /// Send random prompts as token ids instead of text
    #[arg(long)]
    pub prompt_token_ids: bool,
    /// Length of each repeated prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = values::tokens)]
    pub prefix_repetition_prefix_len: u32,
    /// Length of the text after a repeated prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = values::tokens)]
    pub prefix_repetition_suffix_len: u32,
    /// Number of repeated prefixes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = values::count_or_zero)]
    pub prefix_repetition_num_prefixes: usize,
    /// Output length of requests with a repeated prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 128, value_parser = values::tokens)]
    pub prefix_repetition_output_len: u32,
    /// Send each request to one of these LoRA adapters
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub lora_modules: Vec<String>,
    /// How adapters are assigned to requests
    #[arg(long, value_enum, value_name = "HOW", default_value = "random")]
    pub lora_assignment: LoraAssignmentName,
    #[command(flatten)]
    pub form: FormArgs,
    #[command(flatten)]
    pub collections: CollectionArgs,
    #[command(flatten)]
    pub generated: GeneratedArgs,
}
