//! `servebench sweep`: sets of server flags under several loads, several times each, in one folder.

use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

use super::exit::{Exit, Halt};
use super::interrupt::Interrupts;
use super::run::{seconds, values};
use super::stdout::print;
use order::Order;
use perform::Performance;
use plan::Plan;

mod budget;
mod file;
mod folder;
mod fresh;
mod host;
mod order;
mod params;
mod perform;
mod plan;
mod result;
mod searching;

/// Sweep over server flags and loads.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct SweepArgs {
    /// The sweep in TOML: [[set]] with name and command or url, [[load]] with name and flags or a search, repeats, order, slo,
    /// [base] with flags
    #[arg(value_name = "FILE", required_unless_present = "serve_cmd", conflicts_with = "serve_cmd")]
    file: Option<PathBuf>,
    /// Folder of the results; cells that are finished there are kept [default: the file's name without .toml]
    #[arg(long, value_name = "DIR", conflicts_with = "output_dir")]
    out: Option<PathBuf>,
    /// Print the plan and start nothing
    #[arg(long)]
    dry_run: bool,
    /// How often each set is measured under each load, with another seed each time [default: the file's, else 3]
    #[arg(long, visible_alias = "num-runs", value_name = "N", value_parser = values::count_or_zero)]
    repeats: Option<usize>,
    /// In which order [default: the file's, else random]
    #[arg(long, value_enum, value_name = "ORDER")]
    order: Option<Order>,
    /// How long a server may take until it is healthy (a bare number is seconds) [default: the file's, else 10m]
    #[arg(long, visible_alias = "server-ready-timeout", value_name = "TIME", value_parser = seconds)]
    health_timeout: Option<Duration>,
    #[command(flatten)]
    vllm: VllmArgs,
}

const EXIT_CODES: &str = "Exit codes: 0 every cell was measured, 1 one was not, 2 usage, 130 interrupted (the same command goes on).";

/// The flags of `vllm bench sweep serve`.
#[derive(Debug, Args)]
#[command(next_help_heading = "In place of FILE, as in `vllm bench sweep serve`")]
pub struct VllmArgs {
    /// The server's command
    #[arg(long, value_name = "COMMAND", requires = "bench_cmd")]
    serve_cmd: Option<String>,
    /// The client's command: `vllm bench serve ...` or `servebench run ...`
    #[arg(long, value_name = "COMMAND", requires = "serve_cmd")]
    bench_cmd: Option<String>,
    /// Sets of server flags: a JSON list of objects, or an object of them by name
    #[arg(long, value_name = "FILE", requires = "serve_cmd")]
    serve_params: Option<PathBuf>,
    /// The same for the client
    #[arg(long, value_name = "FILE", requires = "serve_cmd")]
    bench_params: Option<PathBuf>,
    /// Which of the server's flags must equal which of the client's: max_num_seqs=max_concurrency,...
    #[arg(long, value_name = "LIST", requires = "serve_cmd")]
    link_vars: Option<String>,
    /// Folder of the experiments
    #[arg(short, long, value_name = "DIR", default_value = "results", requires = "serve_cmd")]
    output_dir: PathBuf,
    /// Folder of the results in that [default: the date and time]
    #[arg(short, long, value_name = "NAME", requires = "serve_cmd")]
    experiment_name: Option<String>,
    /// Go on with an experiment that is there
    #[arg(long, requires_all = ["serve_cmd", "experiment_name"])]
    resume: bool,
}

/// Runs the command.
pub fn execute(args: &SweepArgs, interrupts: &Interrupts) -> Result<Exit, Halt> {
    let mut plan = match &args.file {
        Some(file) => file::read(file).map_err(Halt::usage)?,
        None => params::read(&args.vllm).map_err(Halt::usage)?,
    };
    override_with(args, &mut plan);
    plan.check().map_err(Halt::usage)?;
    let folder = folder::Folder::open(out(args)?, &plan)?;
    if args.dry_run {
        return print(|to| budget::dry_run(&plan, &folder, to)).map(|()| Exit::Fine);
    }
    interrupts.hold();
    let performance = Performance::new(&plan, folder, interrupts)?.perform()?;
    result::deliver(&plan, &performance)
}

fn override_with(args: &SweepArgs, plan: &mut Plan) {
    plan.repeats = args.repeats.unwrap_or(plan.repeats);
    plan.order = args.order.unwrap_or(plan.order);
    plan.health_timeout = args.health_timeout.unwrap_or(plan.health_timeout);
}

fn out(args: &SweepArgs) -> Result<PathBuf, Halt> {
    let Some(file) = &args.file else { return params::folder(&args.vllm, args.dry_run).map_err(Halt::usage) };
    Ok(args.out.clone().unwrap_or_else(|| file.with_extension("")))
}
