//! The pairs of blocks of an A/B comparison, each metric pair by pair.

use super::axis::Axis;
use super::chart::{Chart, DotLabel, Layer, LegendKey};
use super::foreign_text::{MESSAGE, foreign_text};
use super::page::{NamedTable, Section};
use super::table::{Row, Table, short_number};
use crate::analysis::ab::AbComparison;
use crate::analysis::compare::MetricComparison;
use crate::model::metric_id::MetricUnit;
use crate::report::format::unit_symbol;

/// The most metrics that have a chart.
const MAX_CHARTS: usize = 12;

/// The most pairs of a chart and of the table.
const MAX_PAIRS: usize = 200;

/// The section of the pairs.
pub(super) fn section(ab: &AbComparison) -> Section {
    let mut section = Section::new("pairs", "Pairs of blocks");
    let mut table = Table::new(["Pair", "First", "Counts", "Why not"]);
    for (at, pair) in ab.pairs.iter().enumerate().take(MAX_PAIRS) {
        let why = pair.left_out.as_deref().unwrap_or_default();
        let counts = if pair.left_out.is_none() { "yes" } else { "no" };
        let cells = [(at + 1).to_string(), pair.first.to_string(), counts.into(), foreign_text(why, MESSAGE)];
        let class = if pair.left_out.is_none() { "" } else { "bad" };
        table.rows.push(Row { class, cells: cells.map(Into::into).to_vec(), ..Row::default() });
    }
    section.tables.push(NamedTable { title: String::new(), class: "plain", table });
    // The numbers of the pairs whose runs the samples have.
    let counted = ab.pairs.iter().enumerate().filter(|(_, pair)| pair.left_out.is_none());
    let numbers: Vec<usize> = counted.map(|(at, _)| at + 1).take(MAX_PAIRS).collect();
    section.charts.extend(ab.comparison.rows().filter_map(|row| chart(row, &numbers)).take(MAX_CHARTS));
    section
}

/// A metric of both servers, pair by pair; `None` if a pair lacks it.
fn chart(row: &MetricComparison, numbers: &[usize]) -> Option<Chart> {
    let is_share = row.figure.unit() == MetricUnit::Share;
    let scale = if is_share { 100.0 } else { 1.0 };
    let sides = [&row.base.runs, &row.candidate.runs];
    let (first, last) = (*numbers.first()?, *numbers.last()?);
    if sides.iter().any(|runs| runs.len() < numbers.len()) {
        return None;
    }
    let most = sides.iter().flat_map(|runs| runs.iter()).copied().fold(0.0, f64::max) * scale;
    let unit = unit_symbol(row.figure.unit());
    let x = Axis::whole("pair of blocks", first, last);
    let mut chart = Chart::new(format!("{} by pair", row.figure.label()), x, Axis::from_zero(unit, most));
    chart.table.head = ["pair".to_owned(), format!("A, {unit}"), format!("B, {unit}")].to_vec();
    for (color, (runs, name)) in sides.into_iter().zip(["A", "B"]).enumerate() {
        let points = || numbers.iter().zip(runs).map(|(number, value)| (*number as f64, value * scale));
        chart.layers.push(Layer::Line { color, points: points().map(Some).collect() });
        let dot = |(x, y)| Layer::Dot { color, x, y, radius: 3.0, label: DotLabel::None };
        chart.layers.extend(points().map(dot));
        chart.legend.push((LegendKey::Line(color), name.into()));
    }
    for (at, number) in numbers.iter().enumerate() {
        let values = sides.map(|runs| short_number(runs[at] * scale));
        let cells = std::iter::once(number.to_string()).chain(values).collect();
        chart.table.push_at(*number as f64, cells);
    }
    Some(chart)
}
