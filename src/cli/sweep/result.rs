//! From what was measured to the table and the files.

use serde_json::{Value, json};

use super::budget::shown;
use super::perform::Performance;
use super::plan::{Plan, Source};
use crate::cli::exit::{Exit, Halt, say};
use crate::cli::stdout::print;
use crate::core::run::Run;
use crate::judge::sweep::capacity::{Capacities, Capacity};
use crate::judge::sweep::{Point, Ranking};
use crate::report::sweep::{self, Cell, State, Sweep, Yield};

/// Writes `sweep.json` and `sweep.csv`, prints the table, and says how it ended.
pub fn deliver(plan: &Plan, performance: &Performance<'_>) -> Result<Exit, Halt> {
    let believed = believed(plan)?;
    let cells = plan.cells();
    let state = |cell: &super::plan::Cell| match (
        performance.folder.found(cell),
        performance.failures.get(&cell.file),
    ) {
        (Some(found), _) if found.is_valid() || believed[cell.load] => State::Measured(found),
        (Some(found), _) => State::Invalid(found),
        (None, Some(why)) => State::Failed(why),
        (None, None) => State::Open,
    };
    let states: Vec<State<'_>> = cells.iter().map(state).collect();
    let ranking = Ranking::of(&points(plan, &cells, &states, &believed), &plan.slo);
    let capacities = capacities(plan, &cells, &states);
    let row = |(cell, state)| cell_row(plan, cell, state);
    let sweep = Sweep {
        plan: described(plan),
        cells: cells.iter().zip(&states).map(row).collect(),
        ranking: &ranking,
        capacities: &capacities,
        interrupted: performance.interrupted,
    };
    let folder = &performance.folder;
    let json = folder.write("sweep.json", format!("{:#}\n", sweep::json(&sweep)).as_bytes());
    let csv = sweep::csv(&sweep).map_err(Halt::io).and_then(|csv| folder.write("sweep.csv", &csv));
    let printed = print(|out| sweep::render(&sweep, out));
    if json.is_ok() {
        say(format_args!("saved {}", folder.path().join("sweep.json").display()));
    }
    json.and(csv).and(printed)?;
    let complete = states.iter().all(|state| matches!(state, State::Measured(_)));
    Ok(match (performance.interrupted, complete) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Fine,
        (false, false) => Exit::Failed,
    })
}

/// Of which loads INVALID runs count all the same.
fn believed(plan: &Plan) -> Result<Vec<bool>, Halt> {
    let asked = |load: &super::plan::Load| {
        load.line("http://127.0.0.1:8000", 0).map(|line| line.args.measure.allow_invalid)
    };
    plan.loads.iter().map(|load| asked(load).map_err(Halt::usage)).collect()
}

fn cell_row<'a>(plan: &'a Plan, cell: &'a super::plan::Cell, state: &State<'a>) -> Cell<'a> {
    Cell {
        set: shown(&plan.sets[cell.set].name),
        load: shown(&plan.loads[cell.load].name),
        repeat: cell.repeat + 1,
        seed: cell.seed,
        file: &cell.file,
        state: *state,
    }
}

/// Load by load, of each the sets in their order. Metrics that are INVALID are left out where the load is not `believed`.
fn points(plan: &Plan, cells: &[super::plan::Cell], states: &[State<'_>], believed: &[bool]) -> Vec<Point> {
    let mut pairs = plan.pairs.clone();
    pairs.sort_unstable_by_key(|&(set, load)| (load, set));
    let point = |(set, load): (usize, usize)| {
        let of_point = cells.iter().zip(states).filter(|(cell, _)| (cell.set, cell.load) == (set, load));
        let mut runs: Vec<_> = of_point
            .filter_map(|(cell, state)| match state {
                State::Measured(Yield::Run(run)) => Some((cell.repeat, *run)),
                _ => None,
            })
            .collect();
        runs.sort_unstable_by_key(|(repeat, _)| *repeat);
        Point {
            set: shown(&plan.sets[set].name).to_owned(),
            load: shown(&plan.loads[load].name).to_owned(),
            gpus: plan.sets[set].gpus,
            runs: runs.into_iter().map(|(_, run)| judged(run, believed[load])).collect(),
        }
    };
    pairs.into_iter().map(point).collect()
}

/// A run as far as it is to be judged.
fn judged(run: &Run, believed: bool) -> Run {
    let mut run = run.clone();
    if !believed {
        // The table of cells says what is INVALID.
        run.leave_out_invalid_metrics();
    }
    run
}

/// Of each load that is a search.
fn capacities(plan: &Plan, cells: &[super::plan::Cell], states: &[State<'_>]) -> Vec<Capacities> {
    let of_set = |load: usize, set: usize| {
        let of_both = cells.iter().zip(states).filter(|(cell, _)| (cell.set, cell.load) == (set, load));
        let mut answers: Vec<_> = of_both
            .filter_map(|(cell, state)| match state {
                State::Measured(Yield::Answer(answer)) => Some((cell.repeat, *answer)),
                _ => None,
            })
            .collect();
        answers.sort_unstable_by_key(|(repeat, _)| *repeat);
        let answers = answers.into_iter().map(|(_, answer)| answer.clone()).collect();
        Capacity { set: shown(&plan.sets[set].name).to_owned(), answers }
    };
    let of_load = |(at, load): (usize, &super::plan::Load)| {
        let sets = (0..plan.sets.len()).map(|set| of_set(at, set)).collect();
        Capacities::of(shown(&load.name).to_owned(), sets)
    };
    plan.loads.iter().enumerate().filter_map(of_load).collect()
}

fn described(plan: &Plan) -> Value {
    let set = |set: &super::plan::Set| match &set.server {
        Source::Command(template, env) => {
            json!({ "name": set.name, "command": template.words(), "env": env.keys().collect::<Vec<_>>(), "gpus": set.gpus })
        }
        Source::Url(url) => json!({ "name": set.name, "url": url, "gpus": set.gpus }),
    };
    let load = |load: &super::plan::Load| match &load.search {
        None => json!({ "name": load.name, "flags": load.words }),
        Some(search) => json!({ "name": load.name, "search": search, "flags": load.words }),
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
