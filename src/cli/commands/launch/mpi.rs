//! `servegauge launch mpi`: a script that calls `mpirun` or `mpiexec`.

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};

use super::shared_run::{SharedRun, passed_variables, shell_line};
use crate::cli::args::values;
use crate::cli::exit::CliError;
use crate::shards::variables::TOKEN;

/// Print a script that calls `mpirun`.
#[derive(Debug, Args)]
pub(super) struct MpiArgs {
    /// Processes that send the run together
    #[arg(long, value_name = "N", value_parser = values::threads)]
    shards: NonZeroUsize,
    /// Hosts of the processes, the one of shard 0 first [default: this one]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = host_name)]
    hosts: Vec<String>,
    /// Whose options are printed
    #[arg(long, value_enum, value_name = "NAME", default_value = "openmpi")]
    flavor: MpiFlavor,
    /// Environment variables to give to the processes; OPENAI_API_KEY and HF_TOKEN are given anyway
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    pass_env: Vec<String>,
    /// Path of the program on the hosts
    #[arg(long, value_name = "PATH", default_value = "servegauge")]
    program: String,
    /// After `--`: `run` with its flags
    #[arg(last = true, required = true, value_name = "run RUN'S FLAGS")]
    run: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MpiFlavor {
    /// `mpirun` of Open MPI
    Openmpi,
    /// `mpiexec` of MPICH
    Mpich,
}

/// Reads the name of a host.
fn host_name(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match text.chars().all(is_part) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        true => Ok(text.to_owned()),
        false => Err("a host is a name or an IPv4 address, such as node0".into()),
    }
}

/// The script.
pub(super) fn script(args: &MpiArgs) -> Result<String, CliError> {
    let run = SharedRun::parse(&args.run, args.shards)?;
    let variables = passed_variables(&run, &args.pass_env)?.into_iter().map(|(name, _)| name);
    let variables: Vec<String> = std::iter::once(TOKEN.to_owned()).chain(variables).collect();
    let (hosts, count) = (args.hosts.join(","), args.shards.to_string());
    let mut words: Vec<String> = match args.flavor {
        // Open MPI binds each process to one core, which is too little for the threads of a client.
        MpiFlavor::Openmpi => vec!["mpirun", "-n", &count, "--oversubscribe", "--bind-to", "none"],
        MpiFlavor::Mpich => vec!["mpiexec", "-n", &count],
    }
    .into_iter()
    .map(ToOwned::to_owned)
    .collect();
    let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
    match (args.flavor, hosts.is_empty()) {
        (_, true) => {}
        (MpiFlavor::Openmpi, false) => add(&["--host", &hosts, "--map-by", "node"]),
        (MpiFlavor::Mpich, false) => add(&["-hosts", &hosts]),
    }
    match args.flavor {
        MpiFlavor::Openmpi => variables.iter().for_each(|name| add(&["-x", name])),
        MpiFlavor::Mpich => add(&["-genvlist", &variables.join(",")]),
    }
    words.push(args.program.clone());
    words.extend(run.words_of_each(args.hosts.first().map(String::as_str)));
    let command = shell_line(&words)?;
    Ok(format!(
        "#!/bin/sh
set -eu
{TOKEN}=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \\n')
export {TOKEN}
exec {command}
"
    ))
}
