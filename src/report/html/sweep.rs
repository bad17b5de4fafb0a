//! A sweep: the sets of server flags against each other, under each load.

use std::collections::BTreeSet;

use super::axis::Axis;
use super::chart::{COLORS, Chart, DotLabel, Layer, LegendKey};
use super::foreign_text::{MESSAGE, NAME, foreign_text, label, report_lines};
use super::interval_rows::{self, IntervalRow};
use super::load_curve;
use super::page::{NamedTable, Section};
use super::table::{Cell, Row, Table, short_number};
use crate::analysis::sweep::capacity::LoadCapacities;
use crate::analysis::sweep::{
    DifferenceVerdict, LeaderComparison, MetricEstimate, PointEfficiency, PointMetrics, SweepRanking,
};
use crate::model::metric_id::MetricUnit;
use crate::report::compare::without_unit;
use crate::report::format::{bounds_text, unit_symbol};
use crate::report::sweep::capacities::{ahead, boundary_text, missed_first};
use crate::report::sweep::{CellState, SweepReport, advice, cells, service};
use crate::stats::RateInterval;

/// The most loads, the most rows of a chart, and the most cells of a page.
const MAX_LOADS: usize = 8;
const MAX_ROWS: usize = 40;
const MAX_CELLS: usize = 500;

/// The most sets that are named in a cell.
const MAX_NAMED: usize = 3;

/// The most loads whose metrics have charts.
const MAX_DRAWN_LOADS: usize = 4;

/// The colors of a set that wins, of one that may be as good as the leader, and of one that is behind.
const WINS: usize = 2;
const MAY_LEAD: usize = 0;
const BEHIND: usize = 7;

/// The section of the metrics of each set under each load.
pub(super) fn sets(ranking: &SweepRanking) -> Section {
    let mut section = Section::new("sets", "Sets under each load");
    if ranking.standings.is_empty() {
        section.notes.push("No cell was measured with a run.".into());
        return section;
    }
    section.notes.push("Means of the runs with their 95 % intervals.".into());
    let loads = ranking.standings.chunk_by(|a, b| a.load == b.load);
    if loads.clone().count() > MAX_LOADS {
        section.notes.push(format!(
            "The first {MAX_LOADS} loads are shown; the CSV file in the folder of the sweep has all of them."
        ));
    }
    for (at, standings) in loads.take(MAX_LOADS).enumerate() {
        let load = &standings[0].load;
        let leads: Vec<&LeaderComparison> = ranking.leads.iter().filter(|lead| lead.load == *load).collect();
        let name = foreign_text(load, NAME);
        let (title, table) = (format!("Load {name}"), standings_table(standings, &leads));
        section.tables.push(NamedTable { title, class: "numbers full", table });
        if standings.len() > 1 {
            let (title, table) = (format!("Who leads under {name}"), leads_table(&leads));
            section.tables.push(NamedTable { title, class: "plain full", table });
        }
        if at < MAX_DRAWN_LOADS && standings.len() > 1 {
            section.charts.extend(leads.iter().filter_map(|lead| standings_chart(standings, lead)));
        }
    }
    let leads: Vec<&LeaderComparison> = ranking.leads.iter().collect();
    section.remarks.extend(advice(&leads).map(ToOwned::to_owned));
    section
}

/// The set that leads in each metric, and the sets that may be as good.
fn leads_table(leads: &[&LeaderComparison]) -> Table {
    let mut table = Table::new(["Metric", "Ahead", "Verdict", "May be as good"]);
    for lead in leads {
        let tied: Vec<&str> = lead.tied_contenders().map(|rival| rival.set.as_str()).collect();
        let all_same = lead.rivals.iter().all(|rival| rival.call == DifferenceVerdict::Same);
        let (class, verdict) = match (lead.is_clear_winner(), all_same) {
            (true, _) => ("good", "wins"),
            (false, true) => ("", "the same, within the margin"),
            (false, false) => ("", "no winner"),
        };
        let others = match tied.len() {
            0 if lead.is_clear_winner() => String::new(),
            0 => "it may be a chance finding".to_owned(),
            1..=MAX_NAMED => tied.join(", "),
            count => format!("{count} of the {} others", lead.rivals.len()),
        };
        let texts = [&lead.figure.label(), &lead.set, verdict, &others];
        let cells = texts.map(|text| Cell::from(foreign_text(text, MESSAGE))).to_vec();
        table.rows.push(Row { class, cells, ..Row::default() });
    }
    table
}

fn standings_table(standings: &[PointMetrics], leads: &[&LeaderComparison]) -> Table {
    let mut table = Table::new(["Set", "Runs"]);
    let heads =
        leads.iter().map(|lead| format!("{}, {}", lead.figure.label(), unit_symbol(lead.figure.unit())));
    table.head.extend(heads);
    for standing in standings.iter().take(MAX_ROWS) {
        let mut cells = vec![foreign_text(&standing.set, NAME).into(), standing.runs.to_string().into()];
        cells.extend(leads.iter().map(|lead| {
            let Some(known) = estimate(standing, lead) else { return Cell::default() };
            let wins = if lead.is_clear_winner() && lead.set == standing.set { " *" } else { "" };
            let interval = known
                .sample
                .interval
                .map(|interval| bounds_text(interval, |end| without_unit(known.figure, end)));
            Cell {
                text: format!("{}{wins}", without_unit(known.figure, known.sample.value)),
                value: Some(known.sample.value.to_string()),
                metric: Some(known.figure.to_string()),
                detail: Some(interval.unwrap_or_else(|| "no interval".into())),
            }
        }));
        table.rows.push(Row { cells, ..Row::default() });
    }
    table
}

fn estimate<'a>(standing: &'a PointMetrics, lead: &LeaderComparison) -> Option<&'a MetricEstimate> {
    standing.figures.iter().find(|known| known.figure == lead.figure)
}

/// A metric of every set under a load; `None` where no set has it.
fn standings_chart(standings: &[PointMetrics], lead: &LeaderComparison) -> Option<Chart> {
    let scale = if lead.figure.unit() == MetricUnit::Share { 100.0 } else { 1.0 };
    let tied: BTreeSet<&str> = lead.tied_contenders().map(|rival| rival.set.as_str()).collect();
    let color = |set: &str| match set == lead.set {
        true if lead.is_clear_winner() => WINS,
        true => MAY_LEAD,
        false if tied.contains(set) => MAY_LEAD,
        false => BEHIND,
    };
    let row = |standing: &PointMetrics| {
        let sample = &estimate(standing, lead)?.sample;
        Some(IntervalRow {
            name: standing.set.clone(),
            color: color(&standing.set),
            value: sample.value * scale,
            interval: sample.interval.map(|interval| interval.scaled(scale)),
            margin: None,
        })
    };
    let rows: Vec<IntervalRow> = standings.iter().filter_map(row).take(MAX_ROWS).collect();
    let unit = unit_symbol(lead.figure.unit());
    let title = format!("{}, load {}", lead.figure.label(), foreign_text(&lead.load, NAME));
    let mut chart = interval_rows::chart(title, unit, &rows);
    for (color, words) in [(WINS, "wins"), (MAY_LEAD, "leads, or may be as good"), (BEHIND, "behind")] {
        if rows.iter().any(|row| row.color == color) {
            chart.legend.push((LegendKey::Line(color), words.into()));
        }
    }
    fill_table(&mut chart, "set", unit, &rows);
    (!rows.is_empty()).then_some(chart)
}

/// Writes rows into the table of their chart.
fn fill_table(chart: &mut Chart, what: &str, unit: &str, rows: &[IntervalRow]) {
    chart.table.head = [what.to_owned(), format!("value, {unit}"), "low".into(), "high".into()].to_vec();
    for row in rows {
        let end = |of: fn(RateInterval) -> f64| {
            row.interval.map(of).filter(|end| end.is_finite()).map(short_number).unwrap_or_default()
        };
        let name = foreign_text(&row.name, NAME);
        let ends = [end(|interval| interval.low), end(|interval| interval.high)];
        let [low, high] = ends;
        chart.table.push([name, short_number(row.value), low, high]);
    }
}

/// The section of the loads that are searches; `None` without any.
pub(super) fn searches(capacities: &[LoadCapacities]) -> Option<Section> {
    let mut section = Section::new("searches", "Highest load of each set");
    for searched in capacities.iter().take(MAX_LOADS) {
        let unit = searched.over.unit();
        let name = foreign_text(&searched.load, NAME);
        section
            .notes
            .extend(report_lines(|to| ahead(searched, to)).iter().map(|line| format!("{name}: {line}")));
        let mut table = Table::new(["Set", "Searches", "Boundary", "First violated"]);
        table.head[2] = format!("Boundary, {unit}");
        let mut rows = Vec::new();
        for set in searched.sets.iter().take(MAX_ROWS) {
            let found: Vec<String> = set.answers.iter().map(boundary_text).collect();
            let cells = [set.set.clone(), set.answers.len().to_string(), found.join(", "), missed_first(set)];
            table.push(cells.map(|cell| foreign_text(&cell, MESSAGE)));
            let wins = searched.is_clear_winner() && set.set == searched.ahead;
            let leads = set.set == searched.ahead || searched.as_good.contains(&set.set);
            let color = if wins {
                WINS
            } else if leads {
                MAY_LEAD
            } else {
                BEHIND
            };
            rows.extend(set.answers.iter().filter_map(|answer| {
                let boundary = answer.boundary()?;
                let (low, high) = (boundary.low.unwrap_or(0.0), boundary.high.unwrap_or(f64::INFINITY));
                let interval = Some(RateInterval { low, high });
                Some(IntervalRow {
                    name: set.set.clone(),
                    color,
                    value: boundary.estimate,
                    interval,
                    margin: None,
                })
            }));
        }
        section.tables.push(NamedTable { title: format!("Load {name}"), class: "plain", table });
        if !rows.is_empty() {
            let mut chart = interval_rows::chart(format!("Boundary, load {name}"), unit, &rows);
            fill_table(&mut chart, "set", unit, &rows);
            section.charts.push(chart);
        }
    }
    (!capacities.is_empty()).then_some(section)
}

/// The section of throughput against speed, and of latency against load.
pub(super) fn curves(sweep: &SweepReport<'_>) -> Section {
    let mut section = Section::new("curve", "Throughput and speed");
    let efficiencies = &sweep.ranking.efficiencies;
    section.charts.extend(pareto(efficiencies));
    let front: Vec<&str> =
        efficiencies.iter().filter(|point| point.on_front).map(|point| point.set.as_str()).collect();
    let sets: BTreeSet<&str> = sweep.cells.iter().map(|cell| cell.set).collect();
    let is_drawn = |set: &str| sets.len() <= COLORS || front.iter().take(COLORS).any(|of| *of == set);
    let runs = sweep.cells.iter().filter(|cell| is_drawn(cell.set)).filter_map(|cell| match cell.state {
        CellState::Measured(output) => Some((foreign_text(cell.set, NAME), cell.file, output.run()?)),
        _ => None,
    });
    let runs: Vec<_> = runs.take(MAX_CELLS).collect();
    match load_curve::of_named_curves(&runs) {
        Ok(charts) => section.charts.extend(charts),
        Err(why) => section.notes.push(format!("Latency against load: {why}")),
    }
    if sets.len() > COLORS {
        section.notes.push("Curves against load are those of the sets on the Pareto front.".into());
    }
    section
}

/// Throughput per GPU against the speed that one user sees; `None` without such points.
fn pareto(points: &[PointEfficiency]) -> Option<Chart> {
    let most = |of: fn(&PointEfficiency) -> f64| points.iter().map(of).fold(0.0, f64::max);
    let x = Axis::from_zero("tokens per second of one user (1 / mean TPOT)", most(|point| point.per_user));
    let y = Axis::from_zero("output tokens per second and GPU", most(|point| point.per_gpu));
    let mut chart = Chart::new("Throughput per GPU against speed per user", x, y);
    let front = points.iter().filter(|point| point.on_front);
    let front = front.map(|point| Some((point.per_user, point.per_gpu)));
    chart.layers.push(Layer::Line { color: WINS, points: front.collect() });
    chart.legend.push((LegendKey::Line(WINS), "Pareto front".into()));
    chart.legend.push((LegendKey::Line(BEHIND), "another point has more of both".into()));
    chart.table.head =
        ["tok/s per user", "set", "load", "tok/s per GPU", "Pareto front"].map(ToOwned::to_owned).to_vec();
    for point in points.iter().take(MAX_CELLS) {
        let (color, text) = match point.on_front {
            true => (WINS, DotLabel::Above(label(&format!("{} {}", point.load, point.set), 30))),
            false => (BEHIND, DotLabel::None),
        };
        let (x, y) = (point.per_user, point.per_gpu);
        chart.layers.push(Layer::Dot { color, x, y, radius: 3.5, label: text });
        let [set, load] = [&point.set, &point.load].map(|name| foreign_text(name, NAME));
        let front = if point.on_front { "yes" } else { "" };
        chart.table.push_at(x, vec![short_number(x), set, load, short_number(y), front.into()]);
    }
    (!points.is_empty()).then_some(chart)
}

/// The section of the service levels; `None` without any.
pub(super) fn levels(ranking: &SweepRanking) -> Option<Section> {
    let mut section = Section::new("slo", "SLO");
    for best in &ranking.best {
        section.notes.extend(report_lines(|to| service(best, to)));
    }
    (!ranking.best.is_empty()).then_some(section)
}

/// The section of the cells.
pub(super) fn measured(sweep: &SweepReport<'_>) -> Section {
    let mut section = Section::new("cells", "Cells");
    section.notes = report_lines(|to| cells(sweep, to));
    let mut table = Table::new(["Set", "Load", "Repeat", "Seed", "State", "File", "Why not"]);
    for cell in sweep.cells.iter().take(MAX_CELLS) {
        let (class, why) = match cell.state {
            CellState::Measured(_) => ("", ""),
            CellState::Invalid(_) => ("bad", "its checks failed"),
            CellState::Failed(why) => ("bad", why),
            CellState::Open => ("warn", "not reached"),
        };
        let file = cell.state.output().map_or("", |_| cell.file);
        let (repeat, seed) = (cell.repeat.to_string(), cell.seed.to_string());
        let texts = [cell.set, cell.load, &repeat, &seed, cell.state.name(), file, why];
        let cells = texts.map(|text| Cell::from(foreign_text(text, NAME))).to_vec();
        table.rows.push(Row { class, cells, ..Row::default() });
    }
    section.tables.push(NamedTable { title: String::new(), class: "plain", table });
    section
}
