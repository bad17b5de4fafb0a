//! Flags that name other sources of flags than the command line.

use std::path::PathBuf;

use clap::Args;

use crate::cli::presets;

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
    /// Set flags that people set together: ladder, 1k1k, 1k8k, 8k1k
    ///
    /// `ladder` is 1024 random prompt tokens and 1024 output tokens at concurrency 1 to 64, three minutes a step; 1k8k is
    /// 1024 prompt tokens and 8192 output tokens, and so on. A preset sets only flags that are not given in another way;
    /// --dump-config prints them.
    #[arg(long, value_name = "NAME", value_parser = preset_name)]
    pub preset: Option<String>,
    /// Report and save a killed run from its record log; send nothing
    #[arg(long, value_name = "RECORD_LOG")]
    pub recover: Option<PathBuf>,
    /// Print all flags in effect as TOML for --config, and exit
    #[arg(long)]
    pub dump_config: bool,
}

fn preset_name(text: &str) -> Result<String, String> {
    presets::find(text).map(|preset| preset.name.to_owned())
}
