//! Where flags come from that are not on the command line.

use std::path::PathBuf;

use clap::Args;

/// The heading of these flags, which are about flags and no part of a run.
pub const HEADING: &str =
    "Configuration (every flag can also be given as an environment variable: SERVEBENCH_REQUEST_RATE=20)";

#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub struct ConfigurationArgs {
    /// Take flags from a TOML file: `request-rate = 20`, also in tables such as [load]; or from a .yaml file. The environment
    /// goes before the file, and the command line before both
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Do what a saved run did: its flags hold unless others are given, but for where its result went
    #[arg(long, value_name = "RESULT")]
    pub like: Option<PathBuf>,
    /// Report and save a run that was killed, from its record log, and send nothing
    #[arg(long, value_name = "RECORD_LOG")]
    pub recover: Option<PathBuf>,
    /// Print all flags that hold as TOML that --config takes, and do nothing
    #[arg(long)]
    pub dump_config: bool,
}
