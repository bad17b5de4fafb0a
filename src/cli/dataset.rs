//! `servebench dataset`: what is in a dataset.

use std::path::PathBuf;
use std::sync::Mutex;

use clap::{Args, Subcommand};

use super::exit::{Exit, Halt};
use super::run::Preparing;
use super::stdout::print;
use crate::drive::tokenizer::{Hub, Tokenizer};
use crate::drive::workload::{bundled, stats};
use crate::report;
use crate::report::progress::Medium;

/// Look at datasets.
#[derive(Debug, Args)]
pub struct DatasetArgs {
    #[command(subcommand)]
    command: DatasetCommand,
}

#[derive(Debug, Subcommand)]
enum DatasetCommand {
    /// Count a ShareGPT file: conversations, turns, token lengths, and what a run would drop and why.
    Stats(StatsArgs),
}

#[derive(Debug, Args)]
struct StatsArgs {
    /// The file [default: the bundled conversations]
    file: Option<PathBuf>,
    /// A tokenizer.json, a folder with one, or a hub id [default: the bundled tokenizer]
    #[arg(long, value_name = "PATH|ID")]
    tokenizer: Option<String>,
    /// Show no progress
    #[arg(long)]
    disable_tqdm: bool,
}

/// Runs the command.
pub fn execute(args: &DatasetArgs) -> Result<Exit, Halt> {
    let DatasetCommand::Stats(args) = &args.command;
    let tokenizer = match &args.tokenizer {
        Some(name) => resolve(name)?,
        None => bundled::tokenizer(),
    };
    let display = Mutex::new(Preparing::new(Medium::of_stderr(args.disable_tqdm)));
    let stats = stats::stats(args.file.as_deref(), &tokenizer, &|step| {
        display.lock().expect("a bar does not panic").show(step);
    });
    display.into_inner().expect("a bar does not panic").clear();
    let stats = stats.map_err(Halt::usage)?;
    print(|out| report::dataset::render_stats(&stats, &tokenizer.describe().origin, out))?;
    Ok(Exit::Fine)
}

fn resolve(name: &str) -> Result<Tokenizer, Halt> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Halt::failed)?;
    runtime.block_on(Tokenizer::resolve(name, &Hub::from_env())).map_err(Halt::usage)
}
