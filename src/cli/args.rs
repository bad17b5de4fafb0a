//! The flags of `servegauge run`, under vLLM's names and with vLLM's defaults.

mod configuration;
mod json;
mod ladder;
mod load;
mod measure;
mod output;
mod pace;
mod publish;
mod sampling;
mod server;
mod sessions;
mod shards;
mod target;
mod trace;
pub(super) mod values;
mod workload;

use clap::Args;

pub(super) use configuration::ConfigurationArgs;
pub(super) use json::{FormatArgs, JsonArgs};
pub(crate) use ladder::LadderArgs;
pub(crate) use load::LoadArgs;
pub(crate) use measure::{GoodputFrom, MeasureArgs};
pub(crate) use output::{OutputArgs, RecordsPlace, ReportStyle, parquet_path};
pub(crate) use pace::{PaceArgs, RampByName, RampStrategyName};
pub(crate) use publish::PublishArgs;
pub(crate) use sampling::SamplingArgs;
pub(crate) use server::ServerArgs;
pub(crate) use sessions::{HistoryName, SessionArgs};
pub(crate) use shards::{ShardArgs, ShardChoice};
pub(crate) use target::TargetArgs;
pub(crate) use trace::{TraceArgs, TraceLengthsName};
pub(crate) use workload::{DatasetName, FormArgs, LoraAssignmentName, RngName, WorkloadArgs};

/// Measure a server.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub workload: WorkloadArgs,
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub ladder: LadderArgs,
    #[command(flatten)]
    pub pace: PaceArgs,
    #[command(flatten)]
    pub sessions: SessionArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub measure: MeasureArgs,
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub publish: PublishArgs,
    #[command(flatten)]
    pub shards: ShardArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
}
