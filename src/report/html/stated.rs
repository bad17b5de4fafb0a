//! All that results of other tools state: their latencies and totals, a table each.

use super::foreign_text::{NAME, foreign_text};
use super::page::{NamedTable, Section};
use super::side_by_side::PageResult;
use super::table::{Cell, Row, Table};
use crate::report::stated;

/// The section of stated figures; `None` without results of other tools.
pub(super) fn section(results: &[(&str, PageResult<'_>)]) -> Option<Section> {
    let mut section = Section::new("stated", "As stated by other tools");
    for (name, result) in results {
        let PageResult::Stated(result) = result else { continue };
        let title = format!("{}, {}", foreign_text(name, NAME), foreign_text(&result.origin(), NAME));
        let mut rows = stated::stated_rows(result);
        let mut head = rows.remove(0);
        "Latency, ms".clone_into(&mut head[0]);
        if !rows.is_empty() {
            section.tables.push(NamedTable {
                title: title.clone(),
                class: "numbers",
                table: table(head, rows),
            });
        }
        let totals =
            stated::totals(result).into_iter().map(|(name, value)| vec![name, foreign_text(&value, NAME)]);
        let head = vec!["Rate or total".to_owned(), "Value".to_owned()];
        section.tables.push(NamedTable { title, class: "numbers", table: table(head, totals.collect()) });
    }
    (!section.tables.is_empty()).then_some(section)
}

fn table(head: Vec<String>, rows: Vec<Vec<String>>) -> Table {
    let row =
        |cells: Vec<String>| Row { cells: cells.into_iter().map(Cell::from).collect(), ..Row::default() };
    Table { head, rows: rows.into_iter().map(row).collect() }
}
