//! The flags of `servebench run`, under vLLM's names and with vLLM's defaults.

mod configuration;
mod load;
mod measure;
mod output;
mod pace;
mod publish;
mod sampling;
mod server;
mod sessions;
mod target;
mod trace;
mod workload;

use clap::Args;

pub use configuration::ConfigurationArgs;
pub use load::LoadArgs;
pub use measure::{GoodputFrom, MeasureArgs};
pub use output::{OutputArgs, ReportStyle};
pub use pace::{PaceArgs, RampByName, RampStrategyName};
pub use publish::PublishArgs;
pub use sampling::SamplingArgs;
pub use server::ServerArgs;
pub use sessions::{HistoryName, SessionArgs};
pub use target::TargetArgs;
pub use trace::TraceArgs;
pub use workload::{DatasetName, FormArgs, LoraAssignmentName, RngName, WorkloadArgs};

/// Measure a server.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub workload: WorkloadArgs,
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub load: LoadArgs,
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
    pub output: OutputArgs,
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
}
