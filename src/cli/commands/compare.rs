//! `servegauge compare`: better, worse, the same, or cannot tell.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::analysis::compare::{Comparison, ComparisonSide};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::saved_results::{self, LoadedSide};
use crate::cli::{html_page, load_runs, stdout};
use crate::model::run::Run;
use crate::report;

mod stated;
mod table;

pub(crate) use table::{TableArgs, TableFormat};

/// Compare saved runs.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Baseline: a result file or a folder of repeats
    ///
    /// Of several runs in one file, the last counts. Results of other tools are read too, as in `report`: they are tested
    /// where the file has the requests, and not judged where it states figures only.
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// Candidate: a result file or a folder of repeats
    #[arg(value_name = "CAND", required = true)]
    candidates: Vec<PathBuf>,
    #[command(flatten)]
    table: TableArgs,
    /// Also write the verdicts, with charts, as one HTML file that needs no network
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
    /// Compare despite different configurations or INVALID runs
    #[arg(long)]
    anyway: bool,
}

/// Runs the command.
pub(crate) fn execute(args: &CompareArgs) -> Result<ExitReason, CliError> {
    let mut sides = std::iter::once(&args.base)
        .chain(&args.candidates)
        .map(|path| saved_results::load_side(path))
        .collect::<Result<Vec<_>, _>>()?;
    let comparison = match sides.iter().any(|side| matches!(side, LoadedSide::Stated(_))) {
        true => stated::compare(args, &sides)?,
        false => compare_runs(args, &mut sides)?,
    };
    if let Some(path) = &args.html {
        html_page::write_comparison(path, &comparison, &sides)?;
        print_stderr(format_args!("saved {}", path.display()));
    }
    print(&comparison, args.table.format())?;
    Ok(ExitReason::Success)
}

/// Compares runs of this program. Metrics that are INVALID are removed from the sides.
fn compare_runs(args: &CompareArgs, sides: &mut [LoadedSide]) -> Result<Comparison, CliError> {
    let mut runs: Vec<ComparisonSide> = sides.iter().filter_map(LoadedSide::runs).cloned().collect();
    let [base, candidates @ ..] = &mut runs[..] else { return Err(CliError::usage("nothing to compare")) };
    let caveats = load_runs::check_comparable(base, candidates, args.anyway)?;
    let settings = args.table.compare_config();
    let mut comparison = match &args.table.figures[..] {
        [] => {
            let sides: Vec<&[Run]> =
                [&*base].into_iter().chain(&*candidates).map(|side| &side.runs[..]).collect();
            Comparison::from_known_metrics(base, candidates, &args.table.default_metrics(&sides), settings)
        }
        wanted => Comparison::from_metrics(base, candidates, wanted, settings),
    };
    check_rows(&comparison, &caveats)?;
    comparison.caveats = caveats;
    for (side, run) in sides.iter_mut().zip(runs) {
        *side = LoadedSide::Runs(run);
    }
    Ok(comparison)
}

/// Rejects sides that have no metric in common.
fn check_rows(comparison: &Comparison, caveats: &[String]) -> Result<(), CliError> {
    if comparison.rows().next().is_some() {
        return Ok(());
    }
    let why = caveats.iter().map(|caveat| format!("\n  {caveat}")).collect::<String>();
    Err(CliError::usage(format!("the runs have none of these metrics in common{why}")))
}

fn print(comparison: &Comparison, format: TableFormat) -> Result<(), CliError> {
    stdout::print(|out| match format {
        TableFormat::Text => report::compare::text(comparison, out),
        TableFormat::Markdown => report::compare::markdown(comparison, out),
        TableFormat::Csv => report::compare::csv(comparison, out),
        TableFormat::Json => {
            let text = serde_json::to_string_pretty(comparison).expect("a comparison has only string keys");
            writeln!(out, "{text}")
        }
    })
}
