//! `servegauge dataset`: counts what is in a dataset.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

use clap::{Args, Subcommand, ValueEnum as _};
use serde_json::json;

use super::run::{DatasetName, dataset_of};
use crate::cli::args::JsonArgs;
use crate::cli::exit::{CliError, ExitReason};
use crate::cli::observer::Preparing;
use crate::cli::stdout::print;
use crate::dataset::{bundled, dataset_stats, detect};
use crate::model::run_spec::Dataset;
use crate::report;
use crate::report::progress::ProgressMode;
use crate::tokenizer::{HfHub, Tokenizer};

/// Look at datasets.
#[derive(Debug, Args)]
pub(crate) struct DatasetArgs {
    #[command(subcommand)]
    command: DatasetCommand,
}

#[derive(Debug, Subcommand)]
enum DatasetCommand {
    /// Count a dataset's entries, token lengths, and what a run would drop
    Stats(StatsArgs),
}

#[derive(Debug, Args)]
struct StatsArgs {
    /// The file [default: the bundled conversations]
    file: Option<PathBuf>,
    /// Kind of dataset, named as in `run` [default: detected]
    #[arg(long, value_enum, value_name = "NAME", requires = "file")]
    dataset_name: Option<DatasetName>,
    /// Reject the file at its first malformed row
    #[arg(long)]
    strict: bool,
    /// tokenizer.json, a folder with one, or a hub id [default: the bundled tokenizer]
    #[arg(long, value_name = "PATH|ID")]
    tokenizer: Option<String>,
    #[command(flatten)]
    json: JsonArgs,
    /// Show no progress
    #[arg(long)]
    disable_tqdm: bool,
    /// After `--`: more flags of `run` for the dataset, such as --trace-columns
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// Runs the command.
pub(crate) fn execute(args: &DatasetArgs) -> Result<ExitReason, CliError> {
    let DatasetCommand::Stats(args) = &args.command;
    let tokenizer = match &args.tokenizer {
        Some(name) => resolve_tokenizer(name)?,
        None => bundled::tokenizer(),
    };
    let dataset = dataset(args).map_err(CliError::usage)?;
    let display = Mutex::new(Preparing::new(ProgressMode::from_stderr(args.disable_tqdm, false)));
    let stats = dataset_stats::stats(&dataset, args.strict, &tokenizer, &|step| {
        display.lock().expect("a bar does not panic").show(step);
    });
    display.into_inner().expect("a bar does not panic").clear();
    let stats = stats.map_err(CliError::usage)?;
    let tokenizer = &tokenizer.describe().origin;
    print(|out| match args.json.is_wanted() {
        true => writeln!(out, "{}", json!({ "tokenizer": tokenizer, "stats": stats })),
        false => report::dataset::render_stats(&stats, tokenizer, out),
    })?;
    Ok(ExitReason::Success)
}

/// Returns the dataset that the flags name, or that the file's content suggests.
fn dataset(args: &StatsArgs) -> Result<Dataset, String> {
    let Some(file) = &args.file else { return Ok(Dataset::Sharegpt { path: None, output_len: None }) };
    let guessed = || DatasetName::from_str(detect::detect_dataset(file).unwrap_or("sharegpt"), false);
    let name = args.dataset_name.map_or_else(guessed, Ok)?;
    dataset_of(name, file, &args.flags)
}

fn resolve_tokenizer(name: &str) -> Result<Tokenizer, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::io)?;
    runtime.block_on(Tokenizer::resolve(name, &HfHub::from_env())).map_err(CliError::usage)
}
