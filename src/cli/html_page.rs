//! Writes the page of saved runs: `--html`.

use std::io;
use std::path::Path;

use crate::analysis::ab::AbComparison;
use crate::analysis::compare::Comparison;
use crate::analysis::gate::GateReport;
use crate::analysis::plan::CapacityPlan;
use crate::analysis::plan::check::PlanCheck;
use crate::cli::exit::CliError;
use crate::cli::saved_results::{LoadedSide, SavedResult};
use crate::cli::setting_flags::with_flags;
use crate::model::run::{Run, file};
use crate::report::html::{self, PageResult, SideLatencies};
use crate::report::search::SearchReport;
use crate::report::sweep::SweepReport;

/// The most runs of a page, which stays below a megabyte.
pub(super) const MAX_RUNS: usize = 100;

/// Writes the page of these runs, each with its name, completely or not at all.
pub(super) fn write(path: &Path, runs: &[(&str, &Run)]) -> Result<(), CliError> {
    save(path, |page| match runs {
        [(_, run)] => html::render(run, page),
        _ => html::render_several(&as_results(runs), page),
    })
}

/// Writes the page of results of any tool, each with its name.
pub(super) fn write_results(path: &Path, results: &[(String, SavedResult)]) -> Result<(), CliError> {
    if let [(_, SavedResult::Run(run))] = results {
        return write(path, &[("", run)]);
    }
    save(path, |page| {
        let results: Vec<(&str, PageResult<'_>)> =
            results.iter().map(|(name, result)| (name.as_str(), page_result(result))).collect();
        html::render_several(&results, page)
    })
}

/// Writes the page of a comparison of these sides.
pub(super) fn write_comparison(
    path: &Path,
    comparison: &Comparison,
    sides: &[LoadedSide],
) -> Result<(), CliError> {
    let names: Vec<String> = sides.iter().flat_map(run_names).collect();
    let results = sides.iter().flat_map(page_results);
    let results: Vec<_> = names.iter().map(String::as_str).zip(results).take(MAX_RUNS).collect();
    let runs = sides.iter().filter_map(LoadedSide::runs);
    let latencies: Vec<_> = runs.map(|side| SideLatencies::from_runs(&side.name, side.runs.iter())).collect();
    save(path, |page| html::render_comparison(comparison, &results, &latencies, page))
}

/// The names of a side's runs.
fn run_names(side: &LoadedSide) -> Vec<String> {
    match side {
        LoadedSide::Stated(side) => vec![side.name.clone()],
        LoadedSide::Runs(side) if side.runs.len() == 1 => vec![side.name.clone()],
        LoadedSide::Runs(side) => {
            (1..=side.runs.len()).map(|number| format!("{} ({number})", side.name)).collect()
        }
    }
}

fn page_results(side: &LoadedSide) -> Vec<PageResult<'_>> {
    match side {
        LoadedSide::Runs(side) => side.runs.iter().map(PageResult::Run).collect(),
        LoadedSide::Stated(side) => vec![PageResult::Stated(&side.result)],
    }
}

fn as_results<'a>(runs: &[(&'a str, &'a Run)]) -> Vec<(&'a str, PageResult<'a>)> {
    runs.iter().map(|(name, run)| (*name, PageResult::Run(run))).collect()
}

fn page_result(result: &SavedResult) -> PageResult<'_> {
    match result {
        SavedResult::Run(run) => PageResult::Run(run),
        SavedResult::Stated(result) => PageResult::Stated(result),
    }
}

/// Writes the page of a gate.
pub(super) fn write_gate(path: &Path, ruling: &GateReport) -> Result<(), CliError> {
    save(path, |page| html::render_gate(ruling, page))
}

/// Writes the page of a search.
pub(super) fn write_search(path: &Path, report: &SearchReport<'_>) -> Result<(), CliError> {
    save(path, |page| html::render_search(report, page))
}

/// Writes the page of an A/B comparison.
pub(super) fn write_ab(
    path: &Path,
    ab: &AbComparison,
    latencies: &[SideLatencies; 2],
) -> Result<(), CliError> {
    save(path, |page| html::render_ab(ab, latencies, page))
}

/// Writes the page of a sweep.
pub(super) fn write_sweep(path: &Path, report: &SweepReport<'_>) -> Result<(), CliError> {
    save(path, |page| html::render_sweep(report, page))
}

/// Writes the page of a plan that was checked against a run.
pub(super) fn write_plan(path: &Path, plan: &CapacityPlan, check: &PlanCheck) -> Result<(), CliError> {
    save(path, |page| html::render_plan(plan, check, page))
}

fn save(path: &Path, render: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<(), CliError> {
    let mut page = Vec::new();
    render(&mut page)
        .map_err(|error| CliError::io(format_args!("cannot write {}: {error}", path.display())))?;
    // The failures' texts come from the library.
    let page = with_flags(&String::from_utf8_lossy(&page));
    file::write(path, page.as_bytes()).map_err(CliError::io)
}
