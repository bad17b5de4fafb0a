//! The command line: the only module that defines flags, prints, and ends the process.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

mod advice;
mod args;
mod commands;
mod config;
mod defaults;
mod embedded_sim;
mod exit;
mod flag_spelling;
mod habits;
mod help;
mod html_page;
mod interrupt;
mod kept_runs;
mod live_screen;
mod load_display;
mod load_ladder;
mod load_runs;
mod logging;
mod observer;
mod presets;
mod records_file;
mod saved_results;
pub(crate) mod setting_flags;
mod stdout;
mod target;
mod to_spec;
mod user_text;
pub(crate) mod vllm_compat;
mod withheld;

use crate::client;
use crate::loadgen;
use crate::model::run::file;
use crate::model::secrets;
use crate::report::glossary;
use crate::runner::Invocation;
use crate::server::launch::watchdog;
use commands::run::RunCommandLine;
use commands::{
    ab, audit, calibrate, compare, completions, dashboard, dataset, diagnose, gate, launch, logs, man, merge,
    plan, predict, quick, report, run, runs, search, sim, sweep, watch,
};
use exit::{CliError, ExitReason};
use interrupt::InterruptSignal;

/// Load testing and analysis for LLM inference servers that speak the OpenAI API.
#[derive(Debug, Parser)]
#[command(name = "servegauge", version = env!("SERVEGAUGE_VERSION"), about, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    /// Log the program's actions to stderr; -vv logs more (RUST_LOG takes a filter)
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Configuration")]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 success, 1 the run or the gate failed, 2 usage or I/O error, 3 INVALID, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure a server: send requests on schedule, report latency and throughput
    ///
    /// The report has TTFT, TPOT, ITL, E2E and throughput.
    #[command(after_long_help = glossary::definitions_text())]
    Run(Box<args::RunArgs>),
    /// Look for a server, measure it for a minute, and say how many users it serves
    ///
    /// Without a URL it asks the usual ports of this machine. `--sim` tries it without a server.
    Quick(Box<quick::QuickArgs>),
    /// List the kept runs: `last`, `last-1` and so on
    ///
    /// Every `servegauge run` is kept in the cache folder. Commands that read a result take these names.
    Runs(runs::RunsArgs),
    /// Report saved runs again: text, CSV, Markdown, or a page with charts
    ///
    /// The page is one HTML file that needs no network. Several runs are laid side by side.
    Report(report::ReportArgs),
    /// Make one result of the record logs of a run's clients
    ///
    /// `servegauge run --shard` does this by itself; the command is for logs that shard 0 did not receive.
    Merge(merge::MergeArgs),
    /// Print what starts one run on many hosts: Kubernetes, Slurm, MPI
    ///
    /// The run's flags are checked here, and nothing is started.
    Launch(launch::LaunchArgs),
    /// Check whether a result is believable, of this program or of another tool
    ///
    /// Results of vllm bench serve, aiperf, guidellm, SGLang bench_serving, inference-perf and servegauge are read. The
    /// exit code is 1 if figures exclude each other (impossible) or do not describe what they claim (unbelievable);
    /// doubtful ones do not count.
    Audit(audit::AuditArgs),
    /// Compare saved runs: better, worse, the same, or cannot tell.
    Compare(compare::CompareArgs),
    /// Measure two servers in alternating blocks: is one better?
    Ab(Box<ab::AbArgs>),
    /// Test a candidate against a baseline or fixed limits (exit code, JUnit)
    Gate(Box<gate::GateArgs>),
    /// Search for the highest load that meets the service levels.
    Search(Box<search::SearchArgs>),
    /// Measure sets of server flags under several loads, and find the best set
    ///
    /// Each set is measured several times under each load, and the report names the best set for each load.
    Sweep(Box<sweep::SweepArgs>),
    /// Plan capacity: what fits into the KV pool, and how many servers a load needs
    ///
    /// The plan says how many requests fit, which rate that serves, and how many servers the load needs.
    Plan(Box<plan::PlanArgs>),
    /// Calibrate a model of a server from its results, for `predict`
    Calibrate(Box<calibrate::CalibrateArgs>),
    /// Predict what a run would show, from a calibrated model and without a server
    ///
    /// The answer is in virtual time, with a 90 % interval for each metric, the knee, and what it extrapolates.
    Predict(Box<predict::PredictArgs>),
    /// Monitor servers without load: compare their metrics with limits
    ///
    /// The output says for how long each limit has been exceeded.
    Watch(watch::WatchArgs),
    /// Summarize a vLLM server's log: what was wrong, and since when.
    Logs(logs::LogsArgs),
    /// Diagnose why a server is slow, and what to change
    ///
    /// The evidence is a result, a log, a live server, or several of them.
    Diagnose(diagnose::DiagnoseArgs),
    /// Write a dashboard: Prometheus configuration, alert rules, Grafana dashboard
    Dashboard(dashboard::DashboardArgs),
    /// Inspect datasets.
    Dataset(dataset::DatasetArgs),
    /// Run a simulated vLLM server.
    Sim(Box<sim::SimArgs>),
    /// Print a shell's completion script: bash, elvish, fish, powershell, zsh.
    Completions(completions::CompletionsArgs),
    /// Print a manual page, or write all pages into a folder.
    Man(man::ManArgs),
}

/// Returns the definition of the command line for clap.
pub fn command() -> clap::Command {
    let command = Cli::command().mut_subcommand("run", run::with_conventions);
    help::with_examples(help::with_short_helps(command))
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == watchdog::ARGUMENT) {
        watchdog::run_watchdog(std::io::stdin());
        return ExitCode::SUCCESS;
    }
    watchdog::enable_watchdogs();
    file::set_wait_hook(|folder| {
        exit::print_stderr(format_args!("waiting for another program that has locked {}", folder.display()));
    });
    // This call must come before a second thread starts.
    loadgen::prepare_descriptors();
    let words: Vec<OsString> = flag_spelling::normalize_flags(std::env::args_os()).collect();
    perform(habits::name_bare_address(words)).unwrap_or_else(CliError::report).into()
}

fn perform(words: Vec<OsString>) -> Result<ExitReason, CliError> {
    let typed: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    // From here on, output masks the secrets on the command line.
    secrets::mask_args(&typed);
    client::proxy::remember_credentials();
    let command = command();
    let flags = run::run_flags();
    let gathered = config::resolve(&command, &flags, words).map_err(CliError::usage)?;
    secrets::mask_args(
        &gathered.words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>(),
    );
    let matches = command.clone().try_get_matches_from(&gathered.words);
    let matches = match matches {
        Ok(matches) => matches,
        Err(error) => match habits::right_words(&error, &typed, &command) {
            Some(words) => return Err(CliError::usage(words)),
            None => config::without_secrets(error).exit(),
        },
    };
    let command_line =
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| config::without_secrets(error).exit());
    logging::install(command_line.verbose);
    let interrupts = &InterruptSignal::listen()?;
    match command_line.command {
        Command::Run(args) => {
            let matches = matches.subcommand_matches("run").expect("the command is `run`");
            let line = RunCommandLine::new(args, matches).map_err(CliError::usage)?;
            if line.args.configuration.dump_config {
                return config::print(&line.settings, &flags);
            }
            let invocation = Invocation { command: typed, settings: line.settings, record_log: None };
            run::execute(&line.args, invocation, gathered.like.as_ref(), interrupts)
        }
        Command::Quick(args) => quick::execute(&args, interrupts),
        Command::Runs(args) => runs::execute(&args),
        Command::Report(args) => report::execute(&args),
        Command::Merge(args) => merge::execute(&args),
        Command::Launch(args) => launch::execute(&args),
        Command::Audit(args) => audit::execute(&args),
        Command::Compare(args) => compare::execute(&args),
        Command::Ab(args) => ab::execute(&args, interrupts),
        Command::Gate(args) => gate::execute(&args, typed, interrupts),
        Command::Search(args) => search::execute(&args, typed, interrupts),
        Command::Sweep(args) => sweep::execute(&args, interrupts),
        Command::Plan(args) => plan::execute(&args),
        Command::Calibrate(args) => calibrate::execute(&args, interrupts),
        Command::Predict(args) => predict::execute(&args, &typed),
        Command::Watch(args) => watch::execute(&args, interrupts),
        Command::Logs(args) => logs::execute(&args, interrupts),
        Command::Diagnose(args) => diagnose::execute(&args),
        Command::Dashboard(args) => dashboard::execute(&args),
        Command::Dataset(args) => dataset::execute(&args),
        Command::Completions(args) => completions::execute(&args, command),
        Command::Man(args) => man::execute(&args, command),
        Command::Sim(args) => {
            sim::run(&args, interrupts).map(|()| ExitReason::Success).map_err(CliError::usage)
        }
    }
}
