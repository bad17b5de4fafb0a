//! Where the result goes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::run::values::{self, Pair, Thresholds};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportStyle {
    /// Ours, with intervals and the verdict
    Servebench,
    /// The console block of `vllm bench serve`; objections to the run go to stderr
    Vllm,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// The report on stdout
    #[arg(long, value_enum, value_name = "STYLE", default_value = "servebench")]
    pub report: ReportStyle,
    /// Save the result as JSON
    #[arg(long)]
    pub save_result: bool,
    /// Save every request too; implies --save-result
    #[arg(long)]
    pub save_detailed: bool,
    /// Add the result to the file as a line, instead of writing over it; implies --save-result
    #[arg(long)]
    pub append_result: bool,
    /// Folder of the result [default: here]
    #[arg(long, value_name = "DIR")]
    pub result_dir: Option<PathBuf>,
    /// Name of the result, `-` for stdout (the report then goes to stderr); implies --save-result
    #[arg(long, value_name = "FILE")]
    pub result_filename: Option<PathBuf>,
    /// Keep the record log in this file [default: beside a result that is to be saved, and removed once it is]
    #[arg(long, value_name = "FILE")]
    pub record_log: Option<PathBuf>,
    /// Stands in for the backend in the result's file name
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
    /// Put into the result as it is
    #[arg(long, value_name = "K=V", num_args = 0.., value_parser = values::pair)]
    pub metadata: Vec<Pair>,
    /// Draw every request into an HTML file beside the result: <result>.timeline.html. Until then every gap between
    /// tokens is kept in memory
    #[arg(long)]
    pub plot_timeline: bool,
    /// Where the colours of the timeline's inter-token latencies change, in milliseconds (or with a unit)
    #[arg(long, value_name = "LIST", default_value = "25,50", value_parser = values::thresholds)]
    pub timeline_itl_thresholds: Thresholds,
    /// Draw histograms of prompt and output lengths into a file beside the result: <result>.dataset_stats.svg
    #[arg(long)]
    pub plot_dataset_stats: bool,
    /// Show no progress
    #[arg(long)]
    pub disable_tqdm: bool,
}
