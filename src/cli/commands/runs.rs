//! `servegauge runs`: lists the kept runs.

use std::io::Write as _;
use std::path::Path;

use clap::Args;

use crate::cli::args::JsonArgs;
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::kept_runs::{self, KeptRuns};
use crate::cli::stdout::print;
use crate::model::run::Run;
use crate::report::run_list::{self, ListedRun, RunSummary};

/// List kept runs.
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(flatten)]
    json: JsonArgs,
}

/// Runs the command.
pub(crate) fn execute(args: &RunsArgs) -> Result<ExitReason, CliError> {
    let kept = KeptRuns::of_user().ok_or_else(|| CliError::usage(kept_runs::NO_HOME))?;
    let folder = kept.folder().display();
    let files = kept.files().map_err(|error| CliError::usage(format!("cannot read {folder}: {error}")))?;
    let runs: Vec<ListedRun> = files.iter().enumerate().map(|(back, path)| list(back, path)).collect();
    match args.json.is_wanted() {
        true => {
            print(|out| writeln!(out, "{}", serde_json::to_string(&runs).expect("a list of plain values")))?
        }
        false if runs.is_empty() => print_stderr(format_args!("no run is kept in {folder}")),
        false => {
            print(|out| run_list::render(&runs, out))?;
            print_stderr(format_args!("the files are in {folder}"));
        }
    }
    Ok(ExitReason::Success)
}

fn list(back: usize, path: &Path) -> ListedRun {
    let (summary, error) = match Run::load(path) {
        Ok(run) => (Some(RunSummary::from_run(&run)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    ListedRun { name: kept_runs::name(back), path: path.to_owned(), summary, error }
}
