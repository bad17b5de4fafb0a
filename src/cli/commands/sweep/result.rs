//! Turns the results into the table and the files.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::budget::shown;
use super::perform::Performance;
use super::plan::{Plan, Source};
use crate::analysis::sweep::capacity::{LoadCapacities, SetCapacity};
use crate::analysis::sweep::{SweepPoint, SweepRanking};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::html_page;
use crate::cli::setting_flags::with_flags;
use crate::cli::stdout::print;
use crate::model::run::Run;
use crate::model::secrets;
use crate::report::sweep::{self, CellOutput, CellState, SweepCell, SweepReport};

/// Writes `sweep.json`, `sweep.csv` and the page, prints the table or the JSON, and returns the exit code.
pub(super) fn deliver(
    plan: &Plan,
    performance: &Performance<'_>,
    prints_json: bool,
    page: Option<&Path>,
) -> Result<ExitReason, CliError> {
    // Loads whose INVALID runs are counted (`--allow-invalid`).
    let believed: Vec<bool> = plan.loads.iter().map(|load| load.run.args.measure.allow_invalid).collect();
    let cells = plan.cells();
    let state = |cell: &super::plan::Cell| match (
        performance.folder.found(cell),
        performance.failures.get(&cell.file),
    ) {
        (Some(found), _) if found.is_valid() || believed[cell.load] => CellState::Measured(found),
        (Some(found), _) => CellState::Invalid(found),
        (None, Some(why)) => CellState::Failed(why),
        (None, None) => CellState::Open,
    };
    let states: Vec<CellState<'_>> = cells.iter().map(state).collect();
    let ranking = SweepRanking::rank(&points(plan, &cells, &states, &believed), &plan.slo);
    let capacities = capacities(plan, &cells, &states);
    let row = |(cell, state)| cell_row(plan, cell, state);
    let sweep = SweepReport {
        plan: described(plan),
        cells: cells.iter().zip(&states).map(row).collect(),
        ranking: &ranking,
        capacities: &capacities,
        interrupted: performance.interrupted,
    };
    let folder = &performance.folder;
    let text = with_flags(&format!("{:#}\n", sweep::json(&sweep)));
    let json = folder.write("sweep.json", text.as_bytes());
    let csv = sweep::csv(&sweep).map_err(CliError::io).and_then(|csv| folder.write("sweep.csv", &csv));
    let printed = print(|out| match prints_json {
        true => write!(out, "{text}"),
        false => sweep::render(&sweep, out),
    });
    if json.is_ok() {
        print_stderr(format_args!("saved {}", folder.path().join("sweep.json").display()));
    }
    let paged = page.map_or(Ok(()), |page| html_page::write_sweep(page, &sweep));
    if let Some(page) = page.filter(|_| paged.is_ok()) {
        print_stderr(format_args!("saved {}", page.display()));
    }
    json.and(csv).and(paged).and(printed)?;
    let complete = states.iter().all(|state| matches!(state, CellState::Measured(_)));
    Ok(match (performance.interrupted, complete) {
        (true, _) => ExitReason::Interrupted,
        (false, true) => ExitReason::Success,
        (false, false) => ExitReason::Failed,
    })
}

fn cell_row<'a>(plan: &'a Plan, cell: &'a super::plan::Cell, state: &CellState<'a>) -> SweepCell<'a> {
    SweepCell {
        set: shown(&plan.sets[cell.set].name),
        load: shown(&plan.loads[cell.load].name),
        repeat: cell.repeat + 1,
        seed: cell.seed,
        file: &cell.file,
        state: *state,
    }
}

/// Lists the points by load, and within a load by set. INVALID metrics are left out unless the load is in `believed`.
fn points(
    plan: &Plan,
    cells: &[super::plan::Cell],
    states: &[CellState<'_>],
    believed: &[bool],
) -> Vec<SweepPoint> {
    let mut pairs = plan.pairs.clone();
    pairs.sort_unstable_by_key(|&(set, load)| (load, set));
    let point = |(set, load): (usize, usize)| {
        let of_point = cells.iter().zip(states).filter(|(cell, _)| (cell.set, cell.load) == (set, load));
        let mut runs: Vec<_> = of_point
            .filter_map(|(cell, state)| match state {
                CellState::Measured(CellOutput::Run(run)) => Some((cell.repeat, *run)),
                _ => None,
            })
            .collect();
        runs.sort_unstable_by_key(|(repeat, _)| *repeat);
        SweepPoint {
            set: shown(&plan.sets[set].name).to_owned(),
            load: shown(&plan.loads[load].name).to_owned(),
            gpus: plan.sets[set].gpus,
            runs: runs.into_iter().map(|(_, run)| judged(run, believed[load])).collect(),
        }
    };
    pairs.into_iter().map(point).collect()
}

/// Returns a run with the metrics that may be judged.
fn judged(run: &Run, believed: bool) -> Run {
    let mut run = run.clone();
    if !believed {
        // The table of cells reports what is INVALID.
        run.remove_invalid_metrics();
    }
    run
}

/// Returns the capacities of every load that is a search.
fn capacities(plan: &Plan, cells: &[super::plan::Cell], states: &[CellState<'_>]) -> Vec<LoadCapacities> {
    let of_set = |load: usize, set: usize| {
        let of_both = cells.iter().zip(states).filter(|(cell, _)| (cell.set, cell.load) == (set, load));
        let mut answers: Vec<_> = of_both
            .filter_map(|(cell, state)| match state {
                CellState::Measured(CellOutput::Answer(answer)) => Some((cell.repeat, *answer)),
                _ => None,
            })
            .collect();
        answers.sort_unstable_by_key(|(repeat, _)| *repeat);
        let answers = answers.into_iter().map(|(_, answer)| answer.clone()).collect();
        SetCapacity { set: shown(&plan.sets[set].name).to_owned(), answers }
    };
    let of_load = |(at, load): (usize, &super::load::Load)| {
        let sets = (0..plan.sets.len()).map(|set| of_set(at, set)).collect();
        LoadCapacities::rank(shown(&load.name).to_owned(), sets)
    };
    plan.loads.iter().enumerate().filter_map(of_load).collect()
}

fn described(plan: &Plan) -> Value {
    let set = |set: &super::plan::Set| match &set.server {
        Source::Command(template, env) => {
            json!({ "name": set.name, "command": secrets::mask_args(template.words()), "env": env.keys().collect::<Vec<_>>(), "gpus": set.gpus })
        }
        Source::Url(url) => json!({ "name": set.name, "url": secrets::mask_url(url), "gpus": set.gpus }),
    };
    let load = |load: &super::load::Load| match &load.search {
        None => json!({ "name": load.name, "flags": secrets::mask_args(&load.words) }),
        Some(search) => {
            json!({ "name": load.name, "search": secrets::mask_args(&search.words), "flags": secrets::mask_args(&load.words) })
        }
    };
    json!({
        "sets": plan.sets.iter().map(set).collect::<Vec<_>>(),
        "loads": plan.loads.iter().map(load).collect::<Vec<_>>(),
        "repeats": plan.repeats,
        "order": plan.order,
        "seed": plan.seed,
        "caches": plan.caches,
        "slo": plan.slo,
    })
}
