//! `servegauge merge`: the result of a run from the record logs of its clients.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::OutputArgs;
use crate::cli::commands::run;
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::model::secrets;
use crate::shards::{DownloadedLogs, download};
use crate::storage::PartStore;

/// Make one result of the record logs of a run's clients.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The record log of each client, in any order, or the URL that --records-to had
    #[arg(value_name = "FILE or URL", required = true)]
    files: Vec<String>,
    /// The run at the URL, if there are several
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Exit with 0 even if the run is INVALID
    #[arg(long)]
    allow_invalid: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(crate) fn execute(args: &MergeArgs) -> Result<ExitReason, CliError> {
    let (output, allow_invalid) = (&args.output, args.allow_invalid);
    match args.files.as_slice() {
        [url] if url.contains("://") => {
            let stored = stored_logs(url, args.run_id.as_deref())?;
            // The logs are removed, so that no result is saved beside them.
            run::deliver_logs(stored.logs(), output, allow_invalid, false)
        }
        files if files.iter().any(|file| file.contains("://")) => {
            Err(CliError::usage("merge takes files, or a single URL"))
        }
        _ if args.run_id.is_some() => {
            Err(CliError::usage("--run-id chooses a run at a URL, and these are files"))
        }
        files => {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            run::deliver_logs(&files, output, allow_invalid, true)
        }
    }
}

/// Copies the logs from a URL, and warns of what is missing.
fn stored_logs(url: &str, run_id: Option<&str>) -> Result<DownloadedLogs, CliError> {
    let stored = PartStore::open(url).and_then(|store| download(&store, run_id));
    let stored = stored.map_err(|error| CliError::usage(format!("{}: {error}", secrets::mask_url(url))))?;
    stored.missing.iter().for_each(|missing| print_stderr(format_args!("warning: {missing}")));
    Ok(stored)
}
