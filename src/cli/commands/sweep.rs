//! `servegauge sweep`: measures sets of server flags under several loads, several times each, into one folder.

use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

use super::run::seconds;
use crate::cli::args::{JsonArgs, values};
use crate::cli::exit::{CliError, ExitReason};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::stdout::print;
use crate::cli::withheld::tell_withheld;
use crate::model::run::file::check_writable;
use perform::Performance;
use plan::Order;
use plan::Plan;

mod budget;
mod file;
mod folder;
mod fresh;
mod host;
mod load;
mod order;
mod params;
mod perform;
mod plan;
mod result;

/// Sweep over server flags and loads.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct SweepArgs {
    /// TOML file of the sweep: [[set]], [[load]], [base], repeats, order, slo
    ///
    /// A [[set]] has a name and a command or url, a [[load]] has a name and flags or a search, and [base] has flags.
    #[arg(value_name = "FILE", required_unless_present = "serve_cmd", conflicts_with = "serve_cmd")]
    file: Option<PathBuf>,
    /// Folder of the results [default: the file's name without .toml]
    ///
    /// Finished cells in it are kept.
    #[arg(long, alias = "output", value_name = "DIR", conflicts_with = "output_dir")]
    out: Option<PathBuf>,
    /// Print the plan without starting anything
    #[arg(long)]
    dry_run: bool,
    /// Repeats of each set under each load [default: the file's, else 3]
    ///
    /// Each repeat has a different seed.
    #[arg(long, visible_alias = "num-runs", value_name = "N", value_parser = values::count_or_zero)]
    repeats: Option<usize>,
    /// Order of measurement [default: the file's, else random]
    #[arg(long, value_enum, value_name = "ORDER")]
    order: Option<Order>,
    /// Time limit until a server is healthy [default: the file's, else 20m]
    ///
    /// A bare number is seconds.
    #[arg(long, visible_alias = "server-ready-timeout", value_name = "TIME", value_parser = seconds)]
    health_timeout: Option<Duration>,
    /// Pass this secret environment variable to the servers
    ///
    /// Keys and tokens are withheld by default.
    #[arg(long, value_name = "NAME")]
    pass_env: Vec<String>,
    /// Write the results, with charts, as one HTML file that needs no network
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    vllm: VllmArgs,
}

const EXIT_CODES: &str = "Exit codes: 0 every cell was measured, 1 a cell was not, 2 usage or I/O error, 130 interrupted (the same command continues).";

/// The flags of `vllm bench sweep serve`.
#[derive(Debug, Args)]
#[command(next_help_heading = "In place of FILE, as in `vllm bench sweep serve`")]
pub(crate) struct VllmArgs {
    /// Command of the server
    #[arg(long, value_name = "COMMAND", requires = "bench_cmd")]
    serve_cmd: Option<String>,
    /// Command of the client: `vllm bench serve ...` or `servegauge run ...`
    #[arg(long, value_name = "COMMAND", requires = "serve_cmd")]
    bench_cmd: Option<String>,
    /// Sets of server flags: a JSON list of objects, or an object of named ones
    #[arg(long, value_name = "FILE", requires = "serve_cmd")]
    serve_params: Option<PathBuf>,
    /// Sets of client flags: a JSON list of objects, or an object of named ones
    #[arg(long, value_name = "FILE", requires = "serve_cmd")]
    bench_params: Option<PathBuf>,
    /// Server flags that must equal client flags: max_num_seqs=max_concurrency,...
    #[arg(long, value_name = "LIST", requires = "serve_cmd")]
    link_vars: Option<String>,
    /// Folder of the experiments
    #[arg(short, long, value_name = "DIR", default_value = "results", requires = "serve_cmd")]
    output_dir: PathBuf,
    /// Name of the experiment's folder [default: the date and time]
    #[arg(short, long, value_name = "NAME", requires = "serve_cmd")]
    experiment_name: Option<String>,
    /// Resume an existing experiment
    #[arg(long, requires_all = ["serve_cmd", "experiment_name"])]
    resume: bool,
}

/// Runs the command.
pub(crate) fn execute(args: &SweepArgs, interrupts: &InterruptSignal) -> Result<ExitReason, CliError> {
    let mut plan = match &args.file {
        Some(file) => file::read(file).map_err(CliError::usage)?,
        None => params::read(&args.vllm).map_err(CliError::usage)?,
    };
    override_with(args, &mut plan);
    plan.check().map_err(CliError::usage)?;
    let folder = folder::Folder::open(out(args)?, &plan)?;
    if args.dry_run {
        return print(|to| budget::dry_run(&plan, &folder, to)).map(|()| ExitReason::Success);
    }
    if plan.sets.iter().any(|set| matches!(set.server, plan::Source::Command(..))) {
        tell_withheld(&plan.pass_env);
    }
    let page = args.html.as_deref();
    page.map_or(Ok(()), |page| check_writable(page).map_err(CliError::usage))?;
    interrupts.allow_report();
    let performance = Performance::new(&plan, folder, interrupts)?.perform()?;
    result::deliver(&plan, &performance, args.json.is_wanted(), page)
}

fn override_with(args: &SweepArgs, plan: &mut Plan) {
    plan.repeats = args.repeats.unwrap_or(plan.repeats);
    plan.order = args.order.unwrap_or(plan.order);
    plan.pass_env.clone_from(&args.pass_env);
    plan.health_timeout = args.health_timeout.unwrap_or(plan.health_timeout);
}

fn out(args: &SweepArgs) -> Result<PathBuf, CliError> {
    let Some(file) = &args.file else {
        return params::folder(&args.vllm, args.dry_run).map_err(CliError::usage);
    };
    Ok(args.out.clone().unwrap_or_else(|| file.with_extension("")))
}
