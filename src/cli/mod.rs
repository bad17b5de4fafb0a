//! The roof: the only room that knows flags, prints, and ends the process.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

mod ab;
mod advice;
mod compare;
mod dashboard;
mod dataset;
mod diagnose;
pub mod differences;
mod embedded;
mod exit;
mod gate;
mod interrupt;
mod logs;
mod pages;
mod plan;
mod run;
mod search;
mod settings;
mod sides;
mod sim;
mod spelling;
mod start;
mod stdout;
mod sweep;
mod target;
mod watch;

use crate::drive::engine;
use crate::report::definitions;
use exit::{Exit, Halt};
use interrupt::Interrupts;

/// Load generator and judge for LLM inference servers that speak the OpenAI API.
#[derive(Debug, Parser)]
#[command(name = "servebench", version, about, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 the run or the gate failed, 2 usage, or input or output trouble, 3 the run is INVALID, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure a server: send requests when they are due, report TTFT, TPOT, ITL, E2E and throughput.
    #[command(after_long_help = definitions::text())]
    Run(Box<run::RunArgs>),
    /// Compare saved runs: better, worse, the same, or cannot tell.
    Compare(compare::CompareArgs),
    /// Measure two servers by turns: is one better?
    Ab(Box<ab::AbArgs>),
    /// Hold a candidate against a baseline or fixed limits: rules, an exit code, JUnit.
    Gate(Box<gate::GateArgs>),
    /// Search for the highest load at which service levels hold.
    Search(Box<search::SearchArgs>),
    /// Measure sets of server flags under several loads, several times, and say which set is best where.
    Sweep(Box<sweep::SweepArgs>),
    /// Plan capacity: how many requests fit into the KV pool, what that serves, how many servers a load needs.
    Plan(Box<plan::PlanArgs>),
    /// Watch a server without load: its metrics against their limits, and for how long they have been beyond them.
    Watch(watch::WatchArgs),
    /// Sum up a vLLM server's log, and say what was wrong and since when.
    Logs(logs::LogsArgs),
    /// Say why a server is slow, and what to change: from a result, a log, a live server, or several of them.
    Diagnose(diagnose::DiagnoseArgs),
    /// Write a dashboard: a Prometheus configuration, alert rules and a Grafana board.
    Dashboard(dashboard::DashboardArgs),
    /// Look at datasets.
    Dataset(dataset::DatasetArgs),
    /// Run a simulated vLLM server.
    Sim(Box<sim::SimArgs>),
}

/// The command line as clap knows it.
///
/// As in vLLM's Python client, the last of two values of a flag holds, so that a script can add to its own flags what it
/// was called with; and a number may be negative wherever a value is expected.
pub fn command() -> clap::Command {
    let lenient = |arg: clap::Arg| {
        let takes_values = arg.get_action().takes_values();
        if takes_values { arg.allow_negative_numbers(true) } else { arg }
    };
    Cli::command()
        .mut_subcommand("run", |run| differences::told(run.args_override_self(true).mut_args(lenient)))
}

/// The flags of `run` in the words of another command.
fn run_args(words: &[String]) -> Result<Box<run::RunArgs>, Halt> {
    let line = run_line(words);
    let args = line.map(|line| line.args);
    args.map_err(|why| Halt::usage(format!("after `--`: {why}; see `servebench run --help`")))
}

/// The same with all flags that hold, as they are stored with a Run. The error is half a sentence.
fn run_line(words: &[String]) -> Result<run::Line, String> {
    let words = spelling::with_dashes(words.iter().map(OsString::from));
    let line = ["servebench", "run"].into_iter().map(OsString::from).chain(words);
    let command = command();
    let matches = command.clone().try_get_matches_from(line).map_err(first_line)?;
    let run = matches.subcommand_matches("run").expect("the command is `run`");
    if let Some(reason) = differences::refused(run) {
        return Err(reason);
    }
    let settings = settings::effective(&settings::Flags::new(command), run);
    match Cli::from_arg_matches(&matches).map(|cli| cli.command) {
        Ok(Command::Run(args)) => Ok(run::Line { args, settings }),
        Ok(_) => unreachable!("the command is `run`"),
        Err(error) => Err(first_line(error)),
    }
}

/// The flags of `search` in the words of another command. The error is half a sentence.
fn search_args(words: &[String]) -> Result<Box<search::SearchArgs>, String> {
    let words = spelling::with_dashes(words.iter().map(OsString::from));
    let line = ["servebench", "search"].into_iter().map(OsString::from).chain(words);
    let matches = command().try_get_matches_from(line).map_err(first_line)?;
    match Cli::from_arg_matches(&matches).map(|cli| cli.command) {
        Ok(Command::Search(args)) => Ok(args),
        Ok(_) => unreachable!("the command is `search`"),
        Err(error) => Err(first_line(error)),
    }
}

fn first_line(error: clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    // Before there is a second thread.
    engine::prepare_descriptors();
    let words: Vec<OsString> = spelling::with_dashes(std::env::args_os()).collect();
    perform(words).unwrap_or_else(Halt::tell).into()
}

fn perform(words: Vec<OsString>) -> Result<Exit, Halt> {
    let typed = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let command = command();
    let gathered = settings::gather(&command, words).map_err(Halt::usage)?;
    let matches = command.clone().get_matches_from(gathered.words);
    let command_line = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let interrupts = &Interrupts::listen()?;
    match command_line.command {
        Command::Run(args) => {
            let matches = matches.subcommand_matches("run").expect("the command is `run`");
            if let Some(reason) = differences::refused(matches) {
                return Err(Halt::usage(reason));
            }
            let flags = settings::Flags::new(command);
            let settings = settings::effective(&flags, matches);
            if args.configuration.dump_config {
                return settings::print(&settings, &flags);
            }
            let invocation =
                run::Invocation { command: typed, settings, like: gathered.like, record_log: None };
            run::execute(&args, invocation, interrupts)
        }
        Command::Compare(args) => compare::execute(&args),
        Command::Ab(args) => ab::execute(&args, interrupts),
        Command::Gate(args) => gate::execute(&args, typed, interrupts),
        Command::Search(args) => search::execute(&args, typed, interrupts),
        Command::Sweep(args) => sweep::execute(&args, interrupts),
        Command::Plan(args) => plan::execute(&args),
        Command::Watch(args) => watch::execute(&args, interrupts),
        Command::Logs(args) => logs::execute(&args, interrupts),
        Command::Diagnose(args) => diagnose::execute(&args),
        Command::Dashboard(args) => dashboard::execute(&args),
        Command::Dataset(args) => dataset::execute(&args),
        Command::Sim(args) => sim::run(&args, interrupts).map(|()| Exit::Fine).map_err(Halt::usage),
    }
}
