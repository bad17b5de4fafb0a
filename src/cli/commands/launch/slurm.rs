//! `servegauge launch slurm`: a batch script.

use std::num::NonZeroUsize;

use clap::Args;

use super::shared_run::{SharedRun, job_name, shell_line};
use crate::cli::args::values;
use crate::cli::exit::CliError;
use crate::shards::variables::TOKEN;

/// Print a batch script.
#[derive(Debug, Args)]
pub(super) struct SlurmArgs {
    /// Processes that send the run together
    #[arg(long, value_name = "N", value_parser = values::threads)]
    shards: NonZeroUsize,
    /// Nodes of the job [default: as Slurm chooses]
    ///
    /// Other options go to `sbatch`, which prefers them to those of the script.
    #[arg(long, value_name = "N", value_parser = values::threads)]
    nodes: Option<NonZeroUsize>,
    /// Name of the job
    #[arg(long, default_value = "servegauge", value_parser = job_name)]
    name: String,
    /// CPUs of each process [default: Slurm's]
    #[arg(long, value_name = "N", value_parser = values::threads)]
    cpus: Option<NonZeroUsize>,
    /// Path of the program on the nodes
    #[arg(long, value_name = "PATH", default_value = "servegauge")]
    program: String,
    /// After `--`: `run` with its flags
    #[arg(last = true, required = true, value_name = "run RUN'S FLAGS")]
    run: Vec<String>,
}

/// The batch script.
pub(super) fn script(args: &SlurmArgs) -> Result<String, CliError> {
    let run = SharedRun::parse(&args.run, args.shards)?;
    let words: Vec<String> = std::iter::once(args.program.clone()).chain(run.words_of_each(None)).collect();
    let (name, shards, command) = (&args.name, args.shards, shell_line(&words)?);
    let option = |name, count: Option<NonZeroUsize>| {
        count.map(|count| format!("#SBATCH --{name}={count}\n")).unwrap_or_default()
    };
    let (nodes, cpus) = (option("nodes", args.nodes), option("cpus-per-task", args.cpus));
    Ok(format!(
        "#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --output={name}-%j.log
{nodes}#SBATCH --ntasks={shards}
{cpus}#SBATCH --signal=INT@60
# A minute before the time limit, and at `scancel`, the processes end the load, and shard 0 reports what was measured.
set -euo pipefail
{TOKEN}=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n')
export {TOKEN}
# The run goes on without a process that is lost.
exec srun --kill-on-bad-exit=0 --wait=0 {command}
"
    ))
}
