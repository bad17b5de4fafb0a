//! Where the result goes.

use std::path::PathBuf;

use clap::Args;

use crate::cli::run::values::{self, Pair};

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
    #[arg(long, value_name = "K=V", num_args = 0.., value_parser = values::pair)]
    pub metadata: Vec<Pair>,
    /// Show no progress
    #[arg(long)]
    pub disable_tqdm: bool,
}
