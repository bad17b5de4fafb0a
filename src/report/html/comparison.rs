//! A comparison: its verdicts, row by row.

use super::foreign_text::{MESSAGE, NAME, foreign_text};
use super::page::{NamedTable, Section};
use super::table::{Cell, Row, Table};
use crate::analysis::compare::{CandidateComparison, Comparison, DifferenceVerdict, MetricComparison};
use crate::report::compare::row_cells::{COLUMNS, row_cells};
use crate::report::compare::{scope_text, summary, verdict_counts, verdict_meanings};

/// The section of the verdicts: a table for each candidate.
pub(super) fn section(comparison: &Comparison) -> Section {
    let mut section = Section::new("verdicts", "Verdicts");
    section.notes.push(format!("Baseline: {}", foreign_text(&comparison.base.name, NAME)));
    for candidate in &comparison.candidates {
        section.notes.push(foreign_text(&summary(candidate), MESSAGE));
        section.notes.push(format!("{}. {}", verdict_counts(candidate), scope_text(comparison, candidate)));
        section.tables.push(table(candidate));
    }
    let caveats =
        comparison.caveats.iter().map(|caveat| format!("Caveat: {}", foreign_text(caveat, MESSAGE)));
    section.notes.splice(0..0, caveats);
    section.notes.extend(verdict_meanings(comparison));
    section
}

fn table(candidate: &CandidateComparison) -> NamedTable {
    let mut table = Table::new(COLUMNS);
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
