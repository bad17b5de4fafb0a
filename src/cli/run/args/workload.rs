//! What is sent.

mod collections;
mod form;
mod generated;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::run::values::{self, Amount, RangeRatio};
use collections::CollectionArgs;
pub use form::FormArgs;
use generated::GeneratedArgs;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DatasetName {
    /// The first two turns of ShareGPT conversations
    Sharegpt,
    /// A prompt in each line of a JSONL file: {"prompt": "…", "output_tokens": 128}
    Custom,
    /// Random tokens of given lengths
    Random,
    /// Random tokens behind a few prefixes that many prompts share
    #[value(name = "prefix_repetition", alias = "prefix-repetition")]
    PrefixRepetition,
    /// Random tokens with random images
    #[value(name = "random-mm", alias = "random_mm")]
    RandomMm,
    /// A random query and random documents to rank by it
    #[value(name = "random-rerank", alias = "random_rerank")]
    RandomRerank,
    /// Lines of Shakespeare's sonnets, or of another text, behind some that all prompts share
    Sonnet,
    /// The first turns of a JSONL file with turns and categories: Spec-Bench, MT-bench
    #[value(name = "spec_bench", alias = "spec-bench")]
    SpecBench,
    /// The first turns of a subset of SPEED-Bench; without --dataset-path from the Hugging Face hub
    #[value(name = "speed_bench", alias = "speed-bench")]
    SpeedBench,
    /// Any dataset of the Hugging Face hub, or a Parquet, JSONL or JSON file or a folder of them
    Hf,
    /// Prompts with images in each line of a JSONL file: {"prompt": "…", "image_files": ["a.png"]}
    #[value(name = "custom_image", alias = "custom-image")]
    CustomImage,
    /// Recordings in each line of a JSONL file: {"prompt": "…", "audio": "a.wav"}
    #[value(name = "custom_audio", alias = "custom-audio")]
    CustomAudio,
    /// A trace as of Mooncake: JSONL with time stamps, lengths and block hashes
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
pub enum RngName {
    /// Those of vLLM's Python client: the same seed gives the same requests at the same times
    Python,
    /// Our own: asking for more requests keeps the first ones, and random prompts have exact lengths
    Native,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LoraAssignmentName {
    /// Each adapter with the same probability
    Random,
    /// One after the other
    RoundRobin,
    /// With a probability in proportion to 1 / place in the list
    Zipf,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Workload")]
pub struct WorkloadArgs {
    /// Where prompts come from [default: random; sharegpt with --dataset-path or --sim]
    #[arg(long, value_enum, value_name = "NAME")]
    pub dataset_name: Option<DatasetName>,
    /// The dataset's file, .gz too; without one, `sharegpt` is the bundled dataset
    #[arg(long, visible_alias = "dataset", value_name = "FILE")]
    pub dataset_path: Option<PathBuf>,
    /// Several datasets at once: a TOML file of weighted [[class]] tables, each with a name, a weight, and `run`'s flags of
    /// dataset and sampling as keys, `lora`, and `goodput`; of a trace only the lengths, said with no-self-timed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dataset_name", "dataset_path"])]
    pub workload: Option<PathBuf>,
    /// A tokenizer.json, a folder with one, or a hub id [default: the model's]
    #[arg(long, value_name = "PATH|ID")]
    pub tokenizer: Option<String>,
    /// Read no tokenizer: the server's /tokenize counts tokens, or they are estimated
    #[arg(long)]
    pub skip_tokenizer_init: bool,
    /// vLLM's way to load a tokenizer; only `auto` means anything here: the tokenizer.json is read
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub tokenizer_mode: String,
    /// Means nothing here, where no code of a model is run; known for vLLM's sake
    #[arg(long)]
    pub trust_remote_code: bool,
    /// How many requests to send; -1 sends all that the dataset's file has [default: 1000, or what --duration takes]
    #[arg(long, value_name = "N", value_parser = values::amount)]
    pub num_prompts: Option<Amount>,
    /// Seeds prompts and arrivals
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Whose random numbers the seed gives
    #[arg(long, value_enum, value_name = "WHOSE", default_value = "python")]
    pub rng: RngName,
    /// Send fewer requests where the dataset has too few, instead of some of them again
    #[arg(long)]
    pub no_oversample: bool,
    /// Take the dataset in its own order
    #[arg(long)]
    pub disable_shuffle: bool,
    /// Begin every prompt with a few words of its own, other ones in each run, so that the server's prefix cache knows it
    /// from no earlier run; later turns share their session's, and prompts that are made to share a prefix have one for the run
    #[arg(long)]
    pub unique_prompts: bool,
    /// Prompt length of generated requests; overrides --random-input-len
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub input_len: Option<u32>,
    /// Output length, whatever the dataset; overrides --random-output-len, --sharegpt-output-len and their like
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub output_len: Option<u32>,
    /// Ask for this many output tokens instead of the length of the dataset's answer
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub sharegpt_output_len: Option<u32>,
    /// Output length of custom requests; -1 asks for the file's output_tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 256, allow_negative_numbers = true)]
    pub custom_output_len: i64,
    /// Prompt length of random requests, without the prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 1024, value_parser = values::tokens)]
    pub random_input_len: u32,
    /// Output length of random requests
    #[arg(long, value_name = "TOKENS", default_value_t = 128, value_parser = values::tokens)]
    pub random_output_len: u32,
    /// Vary random lengths uniformly within ±ratio: a number in [0, 1) or {"input":0.2,"output":0.5}
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = values::range_ratio)]
    pub random_range_ratio: RangeRatio,
    /// Length of the prefix that all random prompts share
    #[arg(long, value_name = "TOKENS", default_value_t = 0, value_parser = values::tokens)]
    pub random_prefix_len: u32,
    /// Send random prompts as the ids of their tokens instead of as text
    #[arg(long)]
    pub prompt_token_ids: bool,
    /// Length of each prefix that is repeated
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = values::tokens)]
    pub prefix_repetition_prefix_len: u32,
    /// Length of what follows a repeated prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = values::tokens)]
    pub prefix_repetition_suffix_len: u32,
    /// How many prefixes are repeated
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = values::count_or_zero)]
    pub prefix_repetition_num_prefixes: usize,
    /// Output length of requests with a repeated prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 128, value_parser = values::tokens)]
    pub prefix_repetition_output_len: u32,
    /// Send each request to one of these LoRA adapters instead of the model
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub lora_modules: Vec<String>,
    /// How requests choose among the adapters
    #[arg(long, value_enum, value_name = "HOW", default_value = "random")]
    pub lora_assignment: LoraAssignmentName,
    #[command(flatten)]
    pub form: FormArgs,
    #[command(flatten)]
    pub collections: CollectionArgs,
    #[command(flatten)]
    pub generated: GeneratedArgs,
    /// Prepare the workload, print what it is, send nothing
    #[arg(long)]
    pub dry_run: bool,
}
