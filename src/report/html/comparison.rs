//! A comparison: its verdicts, row by row, and the differences that they rest on.

use super::chart::{Chart, LegendKey};
use super::foreign_text::{MESSAGE, NAME, foreign_text};
use super::interval_rows::{self, IntervalRow};
use super::page::{NamedTable, Section};
use super::table::{Cell, Row, Table};
use crate::analysis::ab::AbComparison;
use crate::analysis::compare::{CandidateComparison, Comparison, DifferenceVerdict, MetricComparison};
use crate::model::metric_id::MetricUnit;
use crate::report::ab;
use crate::report::compare::row_cells::{COLUMNS, difference_text, row_cells};
use crate::report::compare::{scope_text, summary, verdict_counts, verdict_meanings};

/// Ends of intervals beyond this difference, in percent, are outside of the chart unless a difference is larger.
const WIDEST: f64 = 100.0;

/// The section of the verdicts on runs.
pub(super) fn of_runs(comparison: &Comparison) -> Section {
    let baseline = format!("Baseline: {}", comparison.base.name);
    section(comparison, COLUMNS, &[baseline], &verdict_meanings(comparison))
}

/// The section of the verdicts on two servers.
pub(super) fn of_servers(comparison: &AbComparison) -> Section {
    section(&comparison.comparison, ab::COLUMNS, &ab::heading(comparison), &ab::notes(comparison))
}

/// A table and a chart for each candidate, between lines on who was compared and on what verdicts mean.
fn section(comparison: &Comparison, columns: [&str; 5], who: &[String], meanings: &[String]) -> Section {
    let mut section = Section::new("verdicts", "Verdicts");
    let caveats = comparison.caveats.iter().map(|caveat| format!("Caveat: {caveat}"));
    let mut notes: Vec<String> = caveats.chain(who.iter().cloned()).collect();
    for candidate in &comparison.candidates {
        notes.push(summary(candidate));
        notes.push(format!("{}. {}", verdict_counts(candidate), scope_text(comparison, candidate)));
        section.tables.push(table(candidate, columns));
        section.charts.extend(differences(candidate));
    }
    section.notes = notes.iter().map(|note| foreign_text(note, MESSAGE)).collect();
    section.remarks = meanings.iter().map(|line| foreign_text(line, MESSAGE)).collect();
    section
}

fn table(candidate: &CandidateComparison, columns: [&str; 5]) -> NamedTable {
    let mut table = Table::new(columns);
    table.head[0] = "metric".to_owned();
    for row in &candidate.rows {
        let class = match row.call {
            DifferenceVerdict::Worse => "bad",
            DifferenceVerdict::Better => "good",
            DifferenceVerdict::Same | DifferenceVerdict::CannotTell { .. } | DifferenceVerdict::NotJudged => {
                ""
            }
        };
        table.rows.push(Row { class, cells: cells(row), ..Row::default() });
    }
    NamedTable { title: foreign_text(&candidate.party.name, NAME), class: "numbers", table }
}

/// The cells of a row, with the exact values of both sides.
fn cells(row: &MetricComparison) -> Vec<Cell> {
    let mut cells = row_cells(row).map(Cell::from);
    for (cell, value) in [(1, row.base.value), (2, row.candidate.value)] {
        cells[cell].value = Some(value.to_string());
        cells[cell].metric = Some(row.figure.to_string());
    }
    cells[3].value = Some(row.difference.absolute.to_string());
    cells.to_vec()
}

/// The color and the word of a verdict.
fn verdict_color(verdict: DifferenceVerdict) -> (usize, &'static str) {
    match verdict {
        DifferenceVerdict::Better => (2, "better"),
        DifferenceVerdict::Worse => (6, "worse"),
        DifferenceVerdict::Same => (0, "the same"),
        DifferenceVerdict::CannotTell { .. } => (7, "cannot tell"),
        DifferenceVerdict::NotJudged => (7, "not judged"),
    }
}

/// The differences of a candidate with the intervals that the verdicts rest on; `None` without any.
fn differences(candidate: &CandidateComparison) -> Option<Chart> {
    let of_row = |row: &MetricComparison| {
        let (scale, unit) = match row.figure.unit() {
            MetricUnit::Share => (100.0, ", points"),
            _ if row.base.value != 0.0 => (100.0 / row.base.value.abs(), ""),
            _ => return None,
        };
        Some(IntervalRow {
            name: format!("{}{unit}", row.figure.label()),
            color: verdict_color(row.call).0,
            value: row.difference.absolute * scale,
            interval: row.verdict_interval.map(|interval| interval.scaled(scale)),
            margin: Some(row.tolerance * scale),
        })
    };
    let drawn = candidate.rows.iter().filter_map(|row| Some((row, of_row(row)?)));
    let (drawn, mut rows): (Vec<&MetricComparison>, Vec<IntervalRow>) = drawn.unzip();
    // An interval that says little would leave no space for the others.
    let most = rows.iter().map(|row| 1.2 * row.value.abs()).fold(WIDEST, f64::max);
    rows.iter_mut().for_each(|row| row.interval = row.interval.map(|interval| interval.open_beyond(most)));
    let name = foreign_text(&candidate.party.name, NAME);
    let mut chart = interval_rows::chart(
        format!("Differences of {name}"),
        "difference, % of the baseline (shares: percentage points)",
        &rows,
    );
    chart.table.head = ["metric", "difference", "verdict"].map(ToOwned::to_owned).to_vec();
    for row in &drawn {
        let (color, word) = verdict_color(row.call);
        let key = (LegendKey::Line(color), word.to_owned());
        if !chart.legend.iter().any(|(_, known)| *known == key.1) {
            chart.legend.push(key);
        }
        chart.table.push([row.figure.label(), difference_text(row), word.to_owned()]);
    }
    chart.legend.push((LegendKey::Class("few"), "margin: smaller differences do not matter".into()));
    chart.note = Some("Each interval is the one that the verdict of its row rests on. An end without a bar is outside of the chart.".into());
    (!rows.is_empty()).then_some(chart)
}
