//! Comparisons with results of other tools.

use super::{CompareArgs, check_rows};
use crate::analysis::compare::{Comparison, MetricSource, stated_differences};
use crate::cli::exit::CliError;
use crate::cli::saved_results::LoadedSide;

/// Compares sides, where at least one is a result of another tool.
pub(super) fn compare(args: &CompareArgs, sides: &[LoadedSide]) -> Result<Comparison, CliError> {
    let [base, candidates @ ..] = sides else { return Err(CliError::usage("nothing to compare")) };
    let differences = differences(base.source(), candidates);
    if !differences.is_empty() && !args.anyway {
        let list = differences.iter().map(|difference| format!("\n  {difference}")).collect::<String>();
        return Err(CliError::usage(format!(
            "these results had different settings (--anyway compares them regardless):{list}"
        )));
    }
    let mut caveats = differences;
    for side in sides {
        caveats.extend(caveat(side, args.anyway)?);
    }
    let figures = match &args.table.figures[..] {
        [] => args.table.stated_metrics(),
        wanted => wanted.to_vec(),
    };
    let candidates: Vec<&dyn MetricSource> = candidates.iter().map(LoadedSide::source).collect();
    let mut comparison =
        Comparison::from_sources(base.source(), &candidates, &figures, args.table.compare_config());
    check_rows(&comparison, &caveats)?;
    comparison.caveats = caveats;
    Ok(comparison)
}

fn differences(base: &dyn MetricSource, candidates: &[LoadedSide]) -> Vec<String> {
    let Some(base) = base.stated() else { return Vec::new() };
    let stated = candidates.iter().filter_map(|side| side.source().stated());
    let mut found: Vec<String> = stated.flat_map(|candidate| stated_differences(&base, &candidate)).collect();
    found.dedup();
    found
}

/// What a reader must know about a side.
fn caveat(side: &LoadedSide, anyway: bool) -> Result<Option<String>, CliError> {
    match side {
        LoadedSide::Stated(side) => Ok(Some(format!(
            "{} is not judged by servegauge; its latencies are by the definitions of {}",
            side.name, side.result.tool
        ))),
        LoadedSide::Runs(side) => {
            let reason = side.runs.iter().find_map(|run| run.validity.reason());
            match reason.map(|reason| format!("{} is INVALID: {reason}", side.name)) {
                Some(reason) if !anyway => {
                    Err(CliError::invalid(format!("{reason}; --anyway compares it regardless")))
                }
                reason => Ok(reason),
            }
        }
    }
}
