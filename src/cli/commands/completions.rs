//! `servegauge completions`: completion of commands and flags in a shell.

use std::io::Write as _;

use clap::Args;
use clap_complete::{Shell, generate};

use crate::cli::exit::{CliError, ExitReason};
use crate::cli::stdout::print_streaming;

/// Print a shell's completion script.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command. `program` is the definition of the whole command line.
pub(crate) fn execute(args: &CompletionsArgs, mut program: clap::Command) -> Result<ExitReason, CliError> {
    let mut script = Vec::new();
    let name = program.get_name().to_owned();
    generate(args.shell, &mut program, name, &mut script);
    print_streaming(|out| out.write_all(&script))?;
    Ok(ExitReason::Success)
}
