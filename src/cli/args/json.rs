//! The flags that ask for JSON, the same in every command that prints it.

use clap::{Args, ValueEnum};

/// Whether a command prints JSON: `--json`, or `--format json`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON; `--format json` is the same
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// `--format` of the commands that print text or JSON.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct FormatArgs {
    /// Format of the output
    #[arg(long, value_enum, value_name = "FORMAT", hide = true, conflicts_with = "json")]
    format: Option<OutputFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Text,
    Json,
}

impl JsonArgs {
    /// Whether to print JSON.
    pub(crate) fn is_wanted(self) -> bool {
        self.json || self.format.is_json()
    }
}

impl FormatArgs {
    /// Whether `--format json` was given.
    pub(crate) fn is_json(self) -> bool {
        self.format == Some(OutputFormat::Json)
    }
}
