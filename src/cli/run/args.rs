//! The flags of `servebench run`, under vLLM's names and with vLLM's defaults.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::values::{self, Objective, Pair, RangeRatio};
use crate::core::units::Rate;

/// Measure a server.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub workload: WorkloadArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub measure: MeasureArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// /v1/completions
    Openai,
    /// /v1/completions, under vLLM's older name
    Vllm,
    /// /v1/chat/completions
    OpenaiChat,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Start the embedded simulator on a free port and measure that; then the defaults are the bundled dataset and
    /// tokenizer, and 20 requests per second
    #[arg(long, conflicts_with_all = ["base_url", "host", "port"])]
    pub sim: bool,
    /// The protocol to speak
    #[arg(long, value_enum, default_value = "openai")]
    pub backend: BackendName,
    /// Scheme, host and port of the server, e.g. http://localhost:8000; overrides --host and --port
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Host of the server
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port of the server
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// Path of the measured endpoint [default: the backend's]
    #[arg(long, value_name = "PATH")]
    pub endpoint: Option<String>,
    /// Name of the model [default: the first that /v1/models lists]
    #[arg(long)]
    pub model: Option<String>,
    /// Name of the model in requests, where it differs from --model
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Extra request headers; never stored. OPENAI_API_KEY is sent as bearer
    #[arg(long, value_name = "K=V", num_args = 1.., value_parser = values::pair)]
    pub header: Vec<Pair>,
    /// Accept any TLS certificate
    #[arg(long)]
    pub insecure: bool,
    /// Trust the authorities in this PEM file too, beside the system's
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// Show the certificate in this PEM file to the server
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// The private key of --client-cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// Open a connection for each request
    #[arg(long)]
    pub no_keepalive: bool,
    /// Take the time of a token when it is read, instead of the kernel's time of its arrival: less true, for comparison
    #[arg(long)]
    pub no_kernel_stamps: bool,
    /// The time one request may take from sent to its end (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = values::seconds)]
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DatasetName {
    /// The first two turns of ShareGPT conversations
    Sharegpt,
    /// Random tokens of given lengths
    Random,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Workload")]
pub struct WorkloadArgs {
    /// Where prompts come from [default: random; sharegpt with --dataset-path or --sim]
    #[arg(long, value_enum, value_name = "NAME")]
    pub dataset_name: Option<DatasetName>,
    /// The dataset's file; without one, `sharegpt` is the bundled dataset
    #[arg(long, visible_alias = "dataset", value_name = "FILE")]
    pub dataset_path: Option<PathBuf>,
    /// A tokenizer.json, a folder with one, or a hub id [default: the model's]
    #[arg(long, value_name = "PATH|ID")]
    pub tokenizer: Option<String>,
    /// How many requests to send [default: 1000, or what --duration takes]
    #[arg(long, value_name = "N")]
    pub num_prompts: Option<NonZeroUsize>,
    /// Seeds prompts and arrivals
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Ask for this many output tokens instead of the length of the dataset's answer
    #[arg(long, value_name = "TOKENS")]
    pub sharegpt_output_len: Option<u32>,
    /// Prompt length of random requests, without the prefix
    #[arg(long, value_name = "TOKENS", default_value_t = 1024)]
    pub random_input_len: u32,
    /// Output length of random requests
    #[arg(long, value_name = "TOKENS", default_value_t = 128)]
    pub random_output_len: u32,
    /// Vary random lengths uniformly within ±ratio: a number in [0, 1) or {"input":0.2,"output":0.5}
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = values::range_ratio)]
    pub random_range_ratio: RangeRatio,
    /// Length of the prefix that all random prompts share
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    pub random_prefix_len: u32,
    /// Prepare the workload, print what it is, send nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Requests per second; `inf` sends all at once, or as fast as --max-concurrency lets them [default: inf]
    #[arg(long, value_name = "RATE")]
    pub request_rate: Option<Rate>,
    /// Gamma shape of the gaps: 1 is Poisson, below is burstier, above more even, `inf` a metronome
    #[arg(long, value_name = "SHAPE", default_value = "1", value_parser = values::burstiness)]
    pub burstiness: f64,
    /// Leave the arrivals as drawn, instead of scaling them to end at exactly num-prompts / request-rate as vLLM does
    #[arg(long)]
    pub no_normalize_arrivals: bool,
    /// At most this many requests in flight
    #[arg(long, value_name = "N")]
    pub max_concurrency: Option<NonZeroUsize>,
    /// Send for this long at most; what is in flight then may finish (a bare number is seconds)
    #[arg(long, value_name = "TIME", value_parser = values::seconds)]
    pub duration: Option<Duration>,
    /// Requests sent before the run and not measured, with prompts of their own; the run takes over without a pause
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub num_warmups: usize,
    /// The same for a time: the load of the run, not measured (a bare number is seconds)
    #[arg(long, value_name = "TIME", value_parser = values::seconds, conflicts_with = "num_warmups")]
    pub warmup: Option<Duration>,
    /// Open so many connections before the run, so that no request waits for one [without N: --max-concurrency, or 64]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "0")]
    pub preconnect: Option<usize>,
    /// How many threads send; one core can take about 100,000 events a second
    #[arg(long, value_name = "N", default_value = "1")]
    pub workers: NonZeroUsize,
    /// Wait up to this many seconds for the server to answer a first request; 0 does not ask
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = values::seconds)]
    pub ready_check_timeout_sec: Duration,
}

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
    /// A JSON object merged last into every request body
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    pub extra_body: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GoodputFrom {
    /// When the request was due: what a user felt
    Due,
    /// When it was sent: vLLM's way
    Sent,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Measuring")]
pub struct MeasureArgs {
    /// Latencies with a section in the report and keys in the JSON: ttft, tpot, e2el, itl
    #[arg(long, value_name = "LIST", default_value = "ttft,tpot,e2el,itl")]
    pub percentile_metrics: String,
    /// Percentiles to report
    #[arg(long, value_name = "LIST", default_value = "99")]
    pub metric_percentiles: String,
    /// Service levels that a good request meets, in milliseconds (or with a unit): ttft:500 tpot:50 e2el:5s
    #[arg(long, value_name = "KEY:LIMIT", num_args = 1.., value_parser = values::objective)]
    pub goodput: Vec<Objective>,
    /// Where goodput's TTFT and E2E begin
    #[arg(long, value_enum, default_value = "due")]
    pub goodput_from: GoodputFrom,
    /// The share of failed requests above which the run is INVALID: 1% or 0.01
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = values::share)]
    pub max_failure_rate: f64,
    /// End with exit code 0 instead of 3 when the run is INVALID
    #[arg(long)]
    pub allow_invalid: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Save the result as JSON
    #[arg(long)]
    pub save_result: bool,
    /// Save every request too; implies --save-result
    #[arg(long)]
    pub save_detailed: bool,
    /// Folder of the result [default: here]
    #[arg(long, value_name = "DIR")]
    pub result_dir: Option<PathBuf>,
    /// Name of the result, `-` for stdout (the report then goes to stderr); implies --save-result
    #[arg(long, value_name = "FILE")]
    pub result_filename: Option<PathBuf>,
    /// Stands in for the backend in the result's file name
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
    /// Put into the result as it is
    #[arg(long, value_name = "K=V", num_args = 1.., value_parser = values::pair)]
    pub metadata: Vec<Pair>,
    /// Show no progress
    #[arg(long)]
    pub disable_tqdm: bool,
}
