//! Flags that name other sources of flags than the command line.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct ConfigurationArgs {
    /// Read flags from a TOML file, or from a .yaml file
    ///
    /// A key is a flag's name: `request-rate = 20`, also within a table such as [load]. Every flag can also be given as
    /// an environment variable: SERVEGAUGE_REQUEST_RATE=20. The environment takes precedence over the file, and the
    /// command line over both.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Repeat a saved run with its flags; flags given here replace them
    ///
    /// Flags that say where the result goes are not repeated.
    #[arg(long, value_name = "RESULT")]
    pub like: Option<PathBuf>,
    /// Report and save a killed run from its record log; send nothing
    #[arg(long, value_name = "RECORD_LOG")]
    pub recover: Option<PathBuf>,
    /// Print all flags in effect as TOML for --config, and exit
    #[arg(long)]
    pub dump_config: bool,
}
