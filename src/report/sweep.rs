//! A sweep's results: a table as text, `sweep.json` and `sweep.csv`.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::compare::{required_sample, with_unit, without_unit};
use super::table::Table;
use super::text::section;
use crate::analysis::compare::ClaimScope;
use crate::analysis::search::SearchAnswer;
use crate::analysis::sweep::capacity::LoadCapacities;
use crate::analysis::sweep::{
    Contender, DifferenceVerdict, LeaderComparison, MetricEstimate, PointEfficiency, PointMetrics,
    SloCompliance, SloWinner, SweepRanking,
};
use crate::model::metric_id::MetricId;
use crate::model::plain_text;
use crate::model::rule::MetricRule;
use crate::model::run::Run;
use crate::report::format::{NOT_AVAILABLE, bounds_text, unit_symbol};

pub(super) mod capacities;

/// Version of `sweep.json`. It changes when a field is removed or changes its meaning.
const SCHEMA: u32 = 1;

/// A sweep and its results.
pub(crate) struct SweepReport<'a> {
    /// The configuration: sets, loads, order, seed.
    pub plan: Value,
    /// The cells, in planned order.
    pub cells: Vec<SweepCell<'a>>,
    /// The ranking of the measured cells.
    pub ranking: &'a SweepRanking,
    /// The ranking of the cells that are searches, load by load.
    pub capacities: &'a [LoadCapacities],
    /// Whether the sweep was interrupted.
    pub interrupted: bool,
}

/// One cell: one set at one load, measured once.
pub(crate) struct SweepCell<'a> {
    /// The name of the set of flags.
    pub set: &'a str,
    /// The load.
    pub load: &'a str,
    /// The number of the repeat, from 1.
    pub repeat: usize,
    /// The run's seed.
    pub seed: u64,
    /// The file of the Run or of the search, in the sweep's folder.
    pub file: &'a str,
    /// The cell's state.
    pub state: CellState<'a>,
}

/// The result of a measured cell.
#[derive(Clone, Copy)]
pub(crate) enum CellOutput<'a> {
    /// The result is a Run.
    Run(&'a Run),
    /// The result is a search's answer.
    Answer(&'a SearchAnswer),
}

impl<'a> CellOutput<'a> {
    /// Whether the result is valid.
    pub(crate) fn is_valid(self) -> bool {
        match self {
            Self::Run(run) => run.validity.run_invalid_reason().is_none(),
            Self::Answer(answer) => answer.doubtful == 0,
        }
    }

    /// The Run; `None` for a search.
    pub(super) fn run(self) -> Option<&'a Run> {
        match self {
            Self::Run(run) => Some(run),
            Self::Answer(_) => None,
        }
    }

    fn answer(self) -> Option<&'a SearchAnswer> {
        match self {
            Self::Run(_) => None,
            Self::Answer(answer) => Some(answer),
        }
    }
}

/// The state of a cell.
#[derive(Clone, Copy)]
pub(crate) enum CellState<'a> {
    /// The cell was measured, and its result is valid.
    Measured(CellOutput<'a>),
    /// The cell was measured, and its result is INVALID. The table omits it.
    Invalid(CellOutput<'a>),
    /// The cell was not measured, for this reason.
    Failed(&'a str),
    /// The cell was not reached.
    Open,
}

impl<'a> CellState<'a> {
    /// The state's name in files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Measured(_) => "measured",
            Self::Invalid(_) => "invalid",
            Self::Failed(_) => "failed",
            Self::Open => "open",
        }
    }

    /// The result; `None` if the cell was not measured.
    pub(super) fn output(self) -> Option<CellOutput<'a>> {
        match self {
            Self::Measured(found) | Self::Invalid(found) => Some(found),
            Self::Failed(_) | Self::Open => None,
        }
    }
}

/// Writes the table, the leaders, the Pareto front and the SLO.
pub(crate) fn render(sweep: &SweepReport<'_>, to: &mut impl Write) -> io::Result<()> {
    let ranking = sweep.ranking;
    let compares_sets = ranking.standings.windows(2).any(|pair| pair[0].set != pair[1].set);
    // Loads of one set are rows of one table: there is nothing to compare within a load.
    let of_one_table = |a: &PointMetrics, b: &PointMetrics| !compares_sets || a.load == b.load;
    for standings in ranking.standings.chunk_by(of_one_table) {
        let load = &standings[0].load;
        let leads: Vec<&LeaderComparison> = ranking.leads.iter().filter(|lead| lead.load == *load).collect();
        match compares_sets {
            true => table(&format!("Load {load}"), "Set", standings, &leads, to)?,
            false => table(&format!("Set {}", standings[0].set), "Load", standings, &leads, to)?,
        }
        conclusions(&leads, to)?;
    }
    sweep.capacities.iter().try_for_each(|searched| capacities::render(searched, to))?;
    if !ranking.efficiencies.is_empty() {
        front(&ranking.efficiencies, to)?;
    }
    if !ranking.best.is_empty() {
        section("SLO", to)?;
        ranking.best.iter().try_for_each(|best| service(best, to))?;
    }
    section("Cells", to)?;
    cells(sweep, to)
}

/// Writes which set leads in each metric, and what would decide the open ones.
fn conclusions(leads: &[&LeaderComparison], to: &mut impl Write) -> io::Result<()> {
    leads.iter().try_for_each(|lead| ahead(lead, to))?;
    advice(leads).try_for_each(|advice| writeln!(to, "{advice}"))
}

/// What would decide open leads, and what the leads apply to.
pub(super) fn advice(leads: &[&LeaderComparison]) -> impl Iterator<Item = &'static str> {
    let is_open = leads.iter().any(|lead| is_undecided(lead));
    let is_of_starts = leads.iter().any(|lead| lead.scope.is_some_and(|scope| scope != ClaimScope::Servers));
    let advice = [(is_open, MORE_REPEATS), (is_of_starts, OF_THESE_STARTS)];
    advice.into_iter().filter(|(applies, _)| *applies).map(|(_, advice)| advice)
}

/// The advice for leads that the repeats do not decide.
const MORE_REPEATS: &str = "Where the verdict is \"cannot tell\", measure more repeats: raise `sweep.repeats` and run the sweep again; \
     measured cells are kept.";

/// Whether more repeats may decide which set leads. Sets that are the same stay the same.
fn is_undecided(lead: &LeaderComparison) -> bool {
    let is_same = |rival: &Contender| rival.call == DifferenceVerdict::Same;
    let only_same = lead.tied_contenders().next().is_some() && lead.tied_contenders().all(is_same);
    !lead.rivals.is_empty() && !lead.is_clear_winner() && !only_same
}

/// A note for leads of sets whose servers were started too few times.
const OF_THESE_STARTS: &str = "These leads apply only to the measured server starts: the intervals do not include the variation between \
     starts. Sets with a command are restarted for each repeat, unless the order is grouped.";

/// Writes a line for each set, or each load: the mean of its runs and its 95 % interval. A star marks a winner.
fn table(
    title: &str,
    rows_are: &str,
    standings: &[PointMetrics],
    leads: &[&LeaderComparison],
    to: &mut impl Write,
) -> io::Result<()> {
    section(title, to)?;
    let columns: Vec<MetricId> = leads.iter().map(|lead| lead.figure).collect();
    let head = columns.iter().map(|figure| format!("{} ({})", figure.label(), unit_symbol(figure.unit())));
    let mut rows = vec![[rows_are.to_owned(), "Runs".to_owned()].into_iter().chain(head).collect::<Vec<_>>()];
    for standing in standings {
        let known = |figure: &MetricId| standing.figures.iter().find(|known| known.figure == *figure);
        let cell = |lead: &&LeaderComparison| match known(&lead.figure) {
            Some(known) => format!(
                "{}{}",
                spread_text(known),
                if lead.is_clear_winner() && lead.set == standing.set { " *" } else { "" }
            ),
            None => NOT_AVAILABLE.to_owned(),
        };
        let figures = leads.iter().map(cell);
        let name = if rows_are == "Set" { &standing.set } else { &standing.load };
        rows.push([name.clone(), standing.runs.to_string()].into_iter().chain(figures).collect());
    }
    Table::left(rows).write(to)
}

/// Formats one cell in a line while a sweep runs: throughput, TTFT and TPOT, or the boundary of a search.
pub(crate) fn cell_line(found: CellOutput<'_>) -> String {
    let run = match found {
        CellOutput::Run(run) => run,
        CellOutput::Answer(answer) => return capacities::search_line(answer),
    };
    let names = ["output_throughput", "request_throughput", "ttft.mean", "ttft.p95", "tpot.mean"];
    let figures = names.into_iter().filter_map(|name| name.parse::<MetricId>().ok());
    let shown = figures
        .filter_map(|figure| Some(format!("{} {}", figure.label(), with_unit(figure, figure.value(run)?))));
    let verdict = match (run.validity.valid, run.validity.invalid_metrics()) {
        (true, _) => String::new(),
        (false, None) => " (INVALID)".to_owned(),
        (false, Some(metrics)) => format!(" (INVALID {metrics})"),
    };
    shown.collect::<Vec<_>>().join(", ") + &verdict
}

fn spread_text(MetricEstimate { figure, sample }: &MetricEstimate) -> String {
    let interval = sample
        .interval
        .map_or("[n/a]".to_owned(), |interval| bounds_text(interval, |end| without_unit(*figure, end)));
    format!("{} {interval}", without_unit(*figure, sample.value))
}

fn ahead(lead: &LeaderComparison, to: &mut impl Write) -> io::Result<()> {
    let label = lead.figure.label();
    if lead.rivals.is_empty() {
        return Ok(());
    }
    if lead.is_clear_winner() {
        return writeln!(to, "{label}: {} wins", lead.set);
    }
    if lead.rivals.iter().all(|rival| rival.call == DifferenceVerdict::Same) {
        return writeln!(to, "{label}: the same, within the margin");
    }
    let rivals: Vec<String> =
        lead.tied_contenders().map(|rival| format!("{}{}", rival.set, undecided_text(rival.call))).collect();
    let doubt = match rivals.is_empty() {
        false => format!("may be no better than {}", rivals.join(", ")),
        // Each comparison alone is decided; the worst after correction for multiple comparisons is not.
        true => {
            let p = lead.adjusted_p.map_or(NOT_AVAILABLE.to_owned(), |p| format!("{p:.2}"));
            format!("may be a chance finding (p = {p}, adjusted for all metrics)")
        }
    };
    writeln!(to, "{label}: no winner; {} is ahead, and {doubt}", lead.set)
}

fn undecided_text(call: DifferenceVerdict) -> String {
    match call {
        DifferenceVerdict::Same => " (the same)".to_owned(),
        DifferenceVerdict::CannotTell { needs: Some(needs) } => {
            format!(" (cannot tell: {})", required_sample(needs))
        }
        DifferenceVerdict::CannotTell { needs: None } | DifferenceVerdict::NotJudged => {
            " (cannot tell)".to_owned()
        }
        DifferenceVerdict::Better | DifferenceVerdict::Worse => String::new(),
    }
}

fn front(points: &[PointEfficiency], to: &mut impl Write) -> io::Result<()> {
    section("Throughput and speed", to)?;
    let head =
        ["Set", "Load", "tok/s per GPU", "tok/s per user", "Pareto front"].map(ToOwned::to_owned).to_vec();
    let row = |point: &PointEfficiency| {
        let on = if point.on_front { "*" } else { "" };
        let [per_gpu, per_user] = [point.per_gpu, point.per_user].map(|rate| format!("{rate:.1}"));
        vec![point.set.clone(), point.load.clone(), per_gpu, per_user, on.to_owned()]
    };
    let rows: Vec<_> = std::iter::once(head).chain(points.iter().map(row)).collect();
    Table::left(rows).write(to)
}

/// Writes which set serves most within rules.
pub(super) fn service(best: &SloWinner, to: &mut impl Write) -> io::Result<()> {
    let rules = best.rules.iter().map(MetricRule::to_string).collect::<Vec<_>>().join(", ");
    let place = |kept: &SloCompliance| format!("{} under {}", kept.set, kept.load);
    let almost = || {
        let some = best.kept.iter().filter(|kept| kept.runs > 0 && !kept.is_always_met());
        let listed: Vec<_> =
            some.map(|kept| format!("{} in {} of {} runs", place(kept), kept.runs, kept.of)).collect();
        if listed.is_empty() { String::new() } else { format!(" (not in every run: {})", listed.join(", ")) }
    };
    let Some(kept) = best.best.and_then(|at| best.kept.get(at)) else {
        return writeln!(to, "{rules}: met by no set{}", almost());
    };
    let throughput = kept.per_gpu.map_or(NOT_AVAILABLE.to_owned(), |rate| with_unit(best.throughput, rate));
    let rivals = match best.as_good.as_slice() {
        [] => String::new(),
        sets => format!("; {} may serve as much", sets.join(", ")),
    };
    writeln!(to, "{rules}: {} serves most, {throughput} per GPU{rivals}{}", place(kept), almost())
}

/// Writes how many cells were measured, and which were not or are INVALID, and why.
pub(super) fn cells(sweep: &SweepReport<'_>, to: &mut impl Write) -> io::Result<()> {
    let measured = sweep.cells.iter().filter(|cell| matches!(cell.state, CellState::Measured(_))).count();
    writeln!(to, "Measured: {measured} of {}", sweep.cells.len())?;
    let mut troubles: Vec<(&str, &str, Vec<&SweepCell<'_>>)> = Vec::new();
    for cell in &sweep.cells {
        let why = match cell.state {
            CellState::Measured(_) | CellState::Open => continue,
            CellState::Invalid(_) => {
                "INVALID: measured, and left out of the table (`sweep.allow_invalid` includes it)"
            }
            CellState::Failed(why) => why,
        };
        match troubles.iter_mut().find(|(set, of, _)| (*set, *of) == (cell.set, why)) {
            Some((_, _, cells)) => cells.push(cell),
            None => troubles.push((cell.set, why, vec![cell])),
        }
    }
    for (set, why, cells) in troubles {
        match cells[..] {
            [cell] => writeln!(to, "{set} under {}, repeat {}: {why}", cell.load, cell.repeat)?,
            _ => writeln!(to, "{set}, {} cells: {why}", cells.len())?,
        }
    }
    if sweep.interrupted {
        writeln!(to, "Interrupted: the same command continues with the remaining cells")?;
    }
    Ok(())
}

/// Renders `sweep.json`.
pub(crate) fn json(sweep: &SweepReport<'_>) -> Value {
    let cell = |cell: &SweepCell<'_>| {
        let why = match cell.state {
            CellState::Failed(why) => Some(why),
            _ => None,
        };
        let found = cell.state.output();
        json!({
            "set": cell.set, "load": cell.load, "repeat": cell.repeat, "seed": cell.seed,
            "file": found.map(|_| cell.file), "state": cell.state.name(), "why": why,
        })
    };
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "interrupted": sweep.interrupted,
        "plan": sweep.plan,
        "cells": sweep.cells.iter().map(cell).collect::<Vec<_>>(),
        "ranking": sweep.ranking,
        "capacities": sweep.capacities,
    })
}

/// Renders `sweep.csv`: a line for each measured cell, with a column for each metric that a comparison uses, and the
/// boundary of a search.
pub(crate) fn csv(sweep: &SweepReport<'_>) -> Result<Vec<u8>, csv::Error> {
    let figures = crate::analysis::compare::all_metrics();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head =
        ["set", "load", "repeat", "seed", "state", "file", "started", "duration_s", "completed", "failed"];
    let names = figures.iter().map(MetricId::to_string);
    let searched = capacities::COLUMNS.map(ToOwned::to_owned);
    writer.write_record(head.into_iter().map(ToOwned::to_owned).chain(names).chain(searched))?;
    for cell in &sweep.cells {
        let Some(found) = cell.state.output() else { continue };
        let run = found.run();
        // Values that were not measured are empty, never zero.
        let of_run = |value: fn(&Run) -> String| run.map_or(String::new(), value);
        let spent = found.answer().map_or(String::new(), |answer| answer.spent.as_secs_f64().to_string());
        let about = [
            plain_text::spreadsheet_cell(cell.set),
            plain_text::spreadsheet_cell(cell.load),
            cell.repeat.to_string(),
            cell.seed.to_string(),
            cell.state.name().to_owned(),
            plain_text::spreadsheet_cell(cell.file),
            of_run(|run| run.started.timestamp().to_string()),
            of_run(|run| run.metrics.duration.as_secs_f64().to_string()) + &spent,
            of_run(|run| run.metrics.completed.to_string()),
            of_run(|run| run.metrics.failed.to_string()),
        ];
        let value = |figure: &MetricId| run.and_then(|run| figure.value(run));
        let values =
            figures.iter().map(|figure| value(figure).map_or(String::new(), |value| value.to_string()));
        writer.write_record(
            about.into_iter().chain(values).chain(capacities::search_columns(found.answer())),
        )?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

#[cfg(test)]
mod tests;
