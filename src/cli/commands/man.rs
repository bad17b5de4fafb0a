//! `servegauge man`: manual pages.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man;

use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::stdout::print_streaming;
use crate::model::run::file;

/// Print a manual page.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command whose page is printed, such as `run` or `dataset stats` [default: the program]
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder instead
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Runs the command. `program` is the definition of the whole command line.
pub(crate) fn execute(args: &ManArgs, mut program: clap::Command) -> Result<ExitReason, CliError> {
    // Gives every command its full name, such as `servegauge-run`.
    program.build();
    match &args.dir {
        Some(folder) => write_all(&program, folder)?,
        None => {
            let page = page(find(&program, &args.command)?);
            print_streaming(|out| out.write_all(&page))?;
        }
    }
    Ok(ExitReason::Success)
}

fn find<'a>(program: &'a clap::Command, names: &[String]) -> Result<&'a clap::Command, CliError> {
    names.iter().try_fold(program, |command, name| {
        command.find_subcommand(name).ok_or_else(|| {
            let known: Vec<&str> = commands_of(command).map(clap::Command::get_name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            CliError::usage(format!(
                "`{}` has no command `{name}`; its commands: {known}",
                command.get_name()
            ))
        })
    })
}

/// The commands below a command. The generated `help` has no page.
fn commands_of(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set())
}

fn page(command: &clap::Command) -> Vec<u8> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .source(concat!("servegauge ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .expect("memory can be written");
    page
}

fn write_all(program: &clap::Command, folder: &Path) -> Result<(), CliError> {
    let unwritable = |error: io::Error| CliError::io(format_args!("{}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(unwritable)?;
    let mut open = vec![program];
    let mut count = 0;
    while let Some(command) = open.pop() {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        file::write(&folder.join(format!("{name}.1")), &page(command)).map_err(CliError::io)?;
        open.extend(commands_of(command));
        count += 1;
    }
    print_stderr(format_args!("{count} pages written to {}", folder.display()));
    Ok(())
}
