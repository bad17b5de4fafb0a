//! `servegauge launch`: prints what starts one run on many hosts.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};

use crate::cli::exit::{CliError, ExitReason};
use crate::cli::stdout::print_streaming;

mod job_objects;
mod kubernetes;
mod mpi;
mod shared_run;
mod slurm;

/// Print what starts one run on many hosts.
#[derive(Debug, Args)]
pub(crate) struct LaunchArgs {
    #[command(subcommand)]
    launcher: LauncherArgs,
}

#[derive(Debug, Subcommand)]
enum LauncherArgs {
    /// Print an Indexed Job with its Service and its Secret, for `kubectl apply`
    ///
    /// Nothing is applied. The Secret has a new token, and the API keys of this environment.
    Kubernetes(kubernetes::KubernetesArgs),
    /// Print a batch script for `sbatch`
    Slurm(slurm::SlurmArgs),
    /// Print a script that calls `mpirun` of Open MPI, or `mpiexec` of MPICH
    Mpi(mpi::MpiArgs),
}

/// Runs the command.
pub(crate) fn execute(args: &LaunchArgs) -> Result<ExitReason, CliError> {
    let text = match &args.launcher {
        LauncherArgs::Kubernetes(args) => kubernetes::manifests(args),
        LauncherArgs::Slurm(args) => slurm::script(args),
        LauncherArgs::Mpi(args) => mpi::script(args),
    }?;
    print_streaming(|out| -> io::Result<()> { out.write_all(text.as_bytes()) })?;
    Ok(ExitReason::Success)
}
