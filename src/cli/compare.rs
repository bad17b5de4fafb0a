//! `servebench compare`: better, worse, the same, or cannot tell.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Halt};
use super::{sides, stdout};
use crate::core::run::Run;
use crate::judge::compare::Comparison;
use crate::report;

mod table;

pub use table::{Format, TableArgs};

/// Compare saved runs.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// What is compared with: a result file (of several runs in it the last), or a folder of repeats
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// What is compared: the same
    #[arg(value_name = "CAND", required = true)]
    candidates: Vec<PathBuf>,
    #[command(flatten)]
    table: TableArgs,
    /// Compare runs that asked different things, or are INVALID
    #[arg(long)]
    anyway: bool,
}

/// Runs the command.
pub fn execute(args: &CompareArgs) -> Result<Exit, Halt> {
    let mut base = sides::read(&args.base)?;
    let mut candidates =
        args.candidates.iter().map(|path| sides::read(path)).collect::<Result<Vec<_>, _>>()?;
    let caveats = sides::caveats(&mut base, &mut candidates, args.anyway)?;
    let settings = args.table.settings();
    let mut comparison = match &args.table.figures[..] {
        [] => {
            let sides: Vec<&[Run]> =
                [&base].into_iter().chain(&candidates).map(|side| &side.runs[..]).collect();
            Comparison::of_known(&base, &candidates, &args.table.default_figures(&sides), settings)
        }
        wanted => Comparison::of_figures(&base, &candidates, wanted, settings),
    };
    if comparison.rows().next().is_none() {
        let why = caveats.iter().map(|caveat| format!("\n  {caveat}")).collect::<String>();
        return Err(Halt::usage(format!("the runs have none of these figures in common{why}")));
    }
    comparison.caveats = caveats;
    print(&comparison, args.table.format)?;
    Ok(Exit::Fine)
}

fn print(comparison: &Comparison, format: Format) -> Result<(), Halt> {
    stdout::print(|out| match format {
        Format::Text => report::compare::text(comparison, out),
        Format::Markdown => report::compare::markdown(comparison, out),
        Format::Csv => report::compare::csv(comparison, out),
        Format::Json => {
            let text = serde_json::to_string_pretty(comparison).expect("a comparison has only string keys");
            writeln!(out, "{text}")
        }
    })
}
