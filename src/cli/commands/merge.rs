//! `servegauge merge`: the result of a run from the record logs of its clients.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::OutputArgs;
use crate::cli::commands::run;
use crate::cli::exit::{CliError, ExitReason};

/// Make one result of the record logs of a run's clients.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The record log of each client, in any order
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Exit with 0 even if the run is INVALID
    #[arg(long)]
    allow_invalid: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn execute(args: &MergeArgs) -> Result<ExitReason, CliError> {
    run::deliver_logs(&args.files, &args.output, args.allow_invalid, true)
}
