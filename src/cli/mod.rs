//! The roof: the only room that knows flags, prints, and ends the process.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod dataset;
mod embedded;
mod exit;
mod run;
mod sim;
mod spelling;

use crate::report::definitions;
use exit::{Exit, Halt};

/// Load generator and judge for LLM inference servers that speak the OpenAI API.
#[derive(Debug, Parser)]
#[command(name = "servebench", version, about, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 the run failed, 2 usage or unreadable input, 3 the run is INVALID, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure a server: send requests when they are due, report TTFT, TPOT, ITL, E2E and throughput.
    #[command(after_long_help = definitions::text())]
    Run(Box<run::RunArgs>),
    /// Run a simulated vLLM server.
    Sim(Box<sim::SimArgs>),
    /// Look at datasets.
    Dataset(dataset::DatasetArgs),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = spelling::with_dashes(std::env::args_os()).collect();
    let command_line = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let ended = match Cli::parse_from(words).command {
        Command::Run(args) => run::execute(&args, command_line),
        Command::Sim(args) => sim::run(&args).map(|()| Exit::Fine).map_err(Halt::usage),
        Command::Dataset(args) => dataset::execute(&args),
    };
    ended.unwrap_or_else(Halt::tell).into()
}
