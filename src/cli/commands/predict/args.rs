//! The flags of `servegauge predict`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::split::SplitArgs;
use super::values::{Autoscale, Factors, Routers};
use crate::cli::args::JsonArgs;
use crate::cli::args::values::{self, ValueList};
use crate::model::rule::MetricRule;
use crate::model::units::Rate;

/// Predict what a run would show.
#[derive(Debug, Clone, Args)]
pub(crate) struct PredictArgs {
    /// The model, which `servegauge calibrate` writes
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    #[command(flatten)]
    pub requests: RequestArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub fleet: FleetArgs,
    #[command(flatten)]
    pub split: SplitArgs,
    #[command(flatten)]
    pub output: PredictOutputArgs,
}

/// Where requests come from, and how many.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Requests and load")]
pub(crate) struct RequestArgs {
    /// Requests of a saved run, with their arrivals: its lengths, not its texts
    ///
    /// Results of this program need --save-detailed, and results of `vllm bench serve` too.
    #[arg(long, value_name = "RUN", conflicts_with = "run")]
    pub like: Option<PathBuf>,
    /// Load as a multiple of that, or a list: x2, or x0.5,x1,x2
    ///
    /// x2 is the superposition of two copies of the arrivals, one shifted in time at random, so that bursts stay. A
    /// part of a copy is a random part of its sessions. In a closed loop, x2 is twice the users.
    #[arg(long, value_name = "xF", value_parser = Factors::parse, conflicts_with_all = ["request_rate", "max_concurrency"])]
    pub load: Option<Factors>,
    /// Requests per second, or a list: arrivals are drawn anew, as `run` draws them
    #[arg(long, value_name = "RATE", value_parser = values::rates, conflicts_with = "max_concurrency")]
    pub request_rate: Option<ValueList<Rate>>,
    /// Requests in flight of a closed loop, or a list
    #[arg(long, value_name = "N", value_parser = values::counts)]
    pub max_concurrency: Option<ValueList<NonZeroUsize>>,
    /// Seed of arrivals, noise and routers
    #[arg(long, default_value_t = 0, value_parser = values::number::<u64>)]
    pub seed: u64,
    /// After `--`: flags of `run` for datasets, traces, sessions and load
    ///
    /// For example `-- --dataset-name azure --dataset-path trace.csv`. Nothing is sent, and no server is asked.
    #[arg(last = true, value_name = "RUN'S FLAGS")]
    pub run: Vec<String>,
}

/// What differs from the calibrated engine.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Engine (instead of the calibrated one's)")]
pub(crate) struct EngineArgs {
    /// The most sequences in a step
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub max_num_seqs: Option<NonZeroUsize>,
    /// The most tokens in a step
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub max_num_batched_tokens: Option<NonZeroUsize>,
    /// Blocks of the KV pool
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub num_gpu_blocks: Option<NonZeroUsize>,
    /// Tokens of a block
    #[arg(long, value_name = "TOKENS", value_parser = values::number::<NonZeroU32>)]
    pub block_size: Option<NonZeroU32>,
    /// Reuse the blocks of equal prompts
    #[arg(long, overrides_with = "no_enable_prefix_caching")]
    pub enable_prefix_caching: bool,
    /// Compute every prompt whole
    #[arg(long, overrides_with = "enable_prefix_caching")]
    pub no_enable_prefix_caching: bool,
}

/// The servers, and what is in front of them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Fleet")]
pub(crate) struct FleetArgs {
    /// Number of replicas
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub replicas: Option<NonZeroUsize>,
    /// Router, or a list to compare [default: round-robin]
    ///
    /// round-robin, random, least-requests, power-of-two, prefix-affinity, session, kv-load. Several are compared on the
    /// same arrivals and the same noise, each with the first.
    #[arg(long, value_name = "NAME", value_parser = Routers::parse)]
    pub router: Option<Routers>,
    /// Age of what replicas report to the router (kv-load)
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = values::seconds)]
    pub signal_delay: Duration,
    /// Replicas that follow the load: min:max,delay=180s
    ///
    /// Every 15 seconds, their number is set so that each has at most --max-num-seqs requests in flight. A new replica
    /// serves after the delay; one is removed when it was not needed for five minutes.
    #[arg(long, value_name = "MIN:MAX,delay=TIME", value_parser = Autoscale::parse, conflicts_with_all = ["replicas", "fleet"])]
    pub autoscale: Option<Autoscale>,
    /// Service levels, which must all be met: ttft.p95<500ms, tpot.mean<40ms
    ///
    /// They end the knee: it is then the highest load that meets them.
    #[arg(long, value_name = "RULE", num_args = 1..)]
    pub slo: Vec<MetricRule>,
    /// Find the least number of replicas that meets --slo
    #[arg(long, requires = "slo")]
    pub fleet: bool,
}

/// What becomes of the prediction.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct PredictOutputArgs {
    /// Compare the prediction with this saved run, metric by metric
    #[arg(long, value_name = "RUN")]
    pub check: Option<PathBuf>,
    /// Fail if anything extrapolates what was seen: the load, its knee or the fleet
    #[arg(long)]
    pub strict: bool,
    /// Simulations behind the intervals
    #[arg(long, value_name = "N", default_value = "40", value_parser = values::count)]
    pub members: NonZeroUsize,
    /// Save the predicted run in this file; of several loads, one a file in this folder
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub json: JsonArgs,
}
