//! A sweep: the table for people, `sweep.json` and `sweep.csv` for scripts.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::compare::{bare, in_unit, needed};
use super::figures::{NOT_AVAILABLE, symbol};
use super::text::{aligned, section};
use crate::core::figure::Figure;
use crate::core::rule::Rule;
use crate::core::run::Run;
use crate::judge::compare::Scope;
use crate::judge::search::Answer;
use crate::judge::sweep::capacity::Capacities;
use crate::judge::sweep::{Best, Call, Efficiency, Kept, Known, Lead, Ranking, Standing};

mod capacities;

/// The version of `sweep.json`; it changes when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

/// A sweep and what became of it.
pub struct Sweep<'a> {
    /// What was asked for: sets, loads, order, seed.
    pub plan: Value,
    /// In the order in which they were to be measured.
    pub cells: Vec<Cell<'a>>,
    /// What follows from the cells that were.
    pub ranking: &'a Ranking,
    /// And from those that are searches, load by load.
    pub capacities: &'a [Capacities],
    /// Whether it was cut short.
    pub interrupted: bool,
}

/// One cell.
pub struct Cell<'a> {
    /// Its set.
    pub set: &'a str,
    /// Its load.
    pub load: &'a str,
    /// Which time, from 1.
    pub repeat: usize,
    /// The run's seed.
    pub seed: u64,
    /// The file of the Run or of the search in the sweep's folder.
    pub file: &'a str,
    /// What became of it.
    pub state: State<'a>,
}

/// What a cell yielded.
#[derive(Clone, Copy)]
pub enum Yield<'a> {
    /// One Run.
    Run(&'a Run),
    /// What one search found.
    Answer(&'a Answer),
}

impl<'a> Yield<'a> {
    /// Whether nothing speaks against it.
    pub fn is_valid(self) -> bool {
        match self {
            Self::Run(run) => run.validity.reason_for_all().is_none(),
            Self::Answer(answer) => answer.doubtful == 0,
        }
    }

    fn run(self) -> Option<&'a Run> {
        match self {
            Self::Run(run) => Some(run),
            Self::Answer(_) => None,
        }
    }

    fn answer(self) -> Option<&'a Answer> {
        match self {
            Self::Run(_) => None,
            Self::Answer(answer) => Some(answer),
        }
    }
}

/// What became of a cell.
#[derive(Clone, Copy)]
pub enum State<'a> {
    /// Measured, and to be believed.
    Measured(Yield<'a>),
    /// Measured, and left out of the table.
    Invalid(Yield<'a>),
    /// Not measured, because of this.
    Failed(&'a str),
    /// Not come to.
    Open,
}

impl<'a> State<'a> {
    fn name(self) -> &'static str {
        match self {
            Self::Measured(_) => "measured",
            Self::Invalid(_) => "invalid",
            Self::Failed(_) => "failed",
            Self::Open => "open",
        }
    }

    fn found(self) -> Option<Yield<'a>> {
        match self {
            Self::Measured(found) | Self::Invalid(found) => Some(found),
            Self::Failed(_) | Self::Open => None,
        }
    }
}

/// Writes the table, who is ahead, the front and the SLO.
pub fn render(sweep: &Sweep<'_>, to: &mut impl Write) -> io::Result<()> {
    let ranking = sweep.ranking;
    for standings in ranking.standings.chunk_by(|a, b| a.load == b.load) {
        let load = &standings[0].load;
        let leads: Vec<&Lead> = ranking.leads.iter().filter(|lead| lead.load == *load).collect();
        table(standings, &leads, to)?;
        leads.iter().try_for_each(|lead| ahead(lead, to))?;
        if leads.iter().any(|lead| lead.scope.is_some_and(|scope| scope != Scope::Servers)) {
            writeln!(to, "{OF_THESE_STARTS}")?;
        }
    }
    sweep.capacities.iter().try_for_each(|searched| capacities::render(searched, to))?;
    if !ranking.efficiencies.is_empty() {
        front(&ranking.efficiencies, to)?;
    }
    if !ranking.best.is_empty() {
        section("SLO", to)?;
        ranking.best.iter().try_for_each(|best| service(best, to))?;
    }
    cells(sweep, to)
}

/// Below the leads of sets whose servers were not started often enough.
const OF_THESE_STARTS: &str = "These leads are of the starts of the servers that were measured: the next start of each may differ from \
     these, by how much is in no interval. Sets with a command are started anew for each repeat, unless their order is grouped.";

/// A line for each set: the mean of its runs and its 95 % interval; a star where it wins.
fn table(standings: &[Standing], leads: &[&Lead], to: &mut impl Write) -> io::Result<()> {
    section(&format!("Load {}", standings[0].load), to)?;
    let columns: Vec<Figure> = leads.iter().map(|lead| lead.figure).collect();
    let head = columns.iter().map(|figure| format!("{} ({})", figure.label(), symbol(figure.unit())));
    let mut rows = vec![["Set".to_owned(), "Runs".to_owned()].into_iter().chain(head).collect::<Vec<_>>()];
    for standing in standings {
        let known = |figure: &Figure| standing.figures.iter().find(|known| known.figure == *figure);
        let cell = |lead: &&Lead| match known(&lead.figure) {
            Some(known) => format!(
                "{}{}",
                spread(known),
                if lead.is_won() && lead.set == standing.set { " *" } else { "" }
            ),
            None => NOT_AVAILABLE.to_owned(),
        };
        let figures = leads.iter().map(cell);
        rows.push([standing.set.clone(), standing.runs.to_string()].into_iter().chain(figures).collect());
    }
    aligned(&rows, to)
}

/// One cell in a line, while a sweep runs: throughput, TTFT, TPOT; or the boundary.
pub fn line(found: Yield<'_>) -> String {
    let run = match found {
        Yield::Run(run) => run,
        Yield::Answer(answer) => return capacities::line(answer),
    };
    let names = ["output_throughput", "request_throughput", "ttft.mean", "ttft.p95", "tpot.mean"];
    let figures = names.into_iter().filter_map(|name| name.parse::<Figure>().ok());
    let told = figures
        .filter_map(|figure| Some(format!("{} {}", figure.label(), in_unit(figure, figure.value(run)?))));
    let verdict = match (run.validity.valid, run.validity.invalid_metrics()) {
        (true, _) => String::new(),
        (false, None) => " (INVALID)".to_owned(),
        (false, Some(metrics)) => format!(" (INVALID {metrics})"),
    };
    told.collect::<Vec<_>>().join(", ") + &verdict
}

/// `1234 [1200, 1260]`, without the unit.
fn spread(Known { figure, sample }: &Known) -> String {
    let interval = sample.interval.map_or("[n/a]".to_owned(), |interval| {
        format!("[{}, {}]", bare(*figure, interval.low), bare(*figure, interval.high))
    });
    format!("{} {interval}", bare(*figure, sample.value))
}

fn ahead(lead: &Lead, to: &mut impl Write) -> io::Result<()> {
    let label = lead.figure.label();
    if lead.rivals.is_empty() {
        return Ok(());
    }
    if lead.is_won() {
        return writeln!(to, "{label}: {} wins", lead.set);
    }
    if lead.rivals.iter().all(|rival| rival.call == Call::Same) {
        return writeln!(to, "{label}: the same, within the margin");
    }
    let rivals: Vec<String> =
        lead.as_good().map(|rival| format!("{}{}", rival.set, doubt(rival.call))).collect();
    let doubt = match rivals.is_empty() {
        false => format!("may be no better than {}", rivals.join(", ")),
        // Each comparison by itself is settled; the worst of so many is not.
        true => {
            let p = lead.adjusted_p.map_or(NOT_AVAILABLE.to_owned(), |p| format!("{p:.2}"));
            format!("may be so by chance (p {p} with all figures looked at)")
        }
    };
    writeln!(to, "{label}: no winner; {} is ahead, and {doubt}", lead.set)
}

fn doubt(call: Call) -> String {
    match call {
        Call::Same => " (the same)".to_owned(),
        Call::CannotTell { needs: Some(needs) } => format!(" (cannot tell: {})", needed(needs)),
        Call::CannotTell { needs: None } => " (cannot tell)".to_owned(),
        Call::Better | Call::Worse => String::new(),
    }
}

fn front(points: &[Efficiency], to: &mut impl Write) -> io::Result<()> {
    section("Throughput and speed", to)?;
    let head =
        ["Set", "Load", "tok/s per GPU", "tok/s per user", "Pareto front"].map(ToOwned::to_owned).to_vec();
    let row = |point: &Efficiency| {
        let on = if point.on_front { "*" } else { "" };
        let [per_gpu, per_user] = [point.per_gpu, point.per_user].map(|rate| format!("{rate:.1}"));
        vec![point.set.clone(), point.load.clone(), per_gpu, per_user, on.to_owned()]
    };
    let rows: Vec<_> = std::iter::once(head).chain(points.iter().map(row)).collect();
    aligned(&rows, to)
}

fn service(best: &Best, to: &mut impl Write) -> io::Result<()> {
    let rules = best.rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ");
    let place = |kept: &Kept| format!("{} under {}", kept.set, kept.load);
    let almost = || {
        let some = best.kept.iter().filter(|kept| kept.runs > 0 && !kept.always());
        let told: Vec<_> =
            some.map(|kept| format!("{} in {} of {} runs", place(kept), kept.runs, kept.of)).collect();
        if told.is_empty() { String::new() } else { format!(" (not always: {})", told.join(", ")) }
    };
    let Some(kept) = best.best.and_then(|at| best.kept.get(at)) else {
        return writeln!(to, "{rules}: kept by none{}", almost());
    };
    let throughput = kept.per_gpu.map_or(NOT_AVAILABLE.to_owned(), |rate| in_unit(best.throughput, rate));
    let rivals = match best.as_good.as_slice() {
        [] => String::new(),
        sets => format!("; {} may serve as much", sets.join(", ")),
    };
    writeln!(to, "{rules}: {} serves most, {throughput} per GPU{rivals}{}", place(kept), almost())
}

/// What was not measured, or is not to be believed, and why.
fn cells(sweep: &Sweep<'_>, to: &mut impl Write) -> io::Result<()> {
    section("Cells", to)?;
    let measured = sweep.cells.iter().filter(|cell| matches!(cell.state, State::Measured(_))).count();
    writeln!(to, "Measured: {measured} of {}", sweep.cells.len())?;
    let mut troubles: Vec<(&str, &str, Vec<&Cell<'_>>)> = Vec::new();
    for cell in &sweep.cells {
        let why = match cell.state {
            State::Measured(_) | State::Open => continue,
            State::Invalid(_) => "INVALID: measured, and left out of the table (--allow-invalid takes it in)",
            State::Failed(why) => why,
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
        writeln!(to, "Interrupted: the same command goes on with what is open")?;
    }
    Ok(())
}

/// `sweep.json`.
pub fn json(sweep: &Sweep<'_>) -> Value {
    let cell = |cell: &Cell<'_>| {
        let why = match cell.state {
            State::Failed(why) => Some(why),
            _ => None,
        };
        let found = cell.state.found();
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

/// `sweep.csv`: a line for each cell that was measured, with every figure that a comparison looks at, by its name, and the
/// boundary of a search.
pub fn csv(sweep: &Sweep<'_>) -> Result<Vec<u8>, csv::Error> {
    let figures = crate::judge::compare::figures();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head =
        ["set", "load", "repeat", "seed", "state", "file", "started", "duration_s", "completed", "failed"];
    let names = figures.iter().map(Figure::to_string);
    let searched = capacities::COLUMNS.map(ToOwned::to_owned);
    writer.write_record(head.into_iter().map(ToOwned::to_owned).chain(names).chain(searched))?;
    for cell in &sweep.cells {
        let Some(found) = cell.state.found() else { continue };
        let run = found.run();
        // What was not measured is empty, never a zero.
        let of_run = |value: fn(&Run) -> String| run.map_or(String::new(), value);
        let spent = found.answer().map_or(String::new(), |answer| answer.spent.as_secs_f64().to_string());
        let about = [
            cell.set.to_owned(),
            cell.load.to_owned(),
            cell.repeat.to_string(),
            cell.seed.to_string(),
            cell.state.name().to_owned(),
            cell.file.to_owned(),
            of_run(|run| run.started.timestamp().to_string()),
            of_run(|run| run.metrics.duration.as_secs_f64().to_string()) + &spent,
            of_run(|run| run.metrics.completed.to_string()),
            of_run(|run| run.metrics.failed.to_string()),
        ];
        let value = |figure: &Figure| run.and_then(|run| figure.value(run));
        let values =
            figures.iter().map(|figure| value(figure).map_or(String::new(), |value| value.to_string()));
        writer.write_record(about.into_iter().chain(values).chain(capacities::columns(found.answer())))?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

#[cfg(test)]
mod tests;
