//! What failed, by class, and how answers ended.

use super::foreign_text::{MESSAGE, NAME, foreign_text};
use super::page::{NamedTable, Section};
use super::table::{Cell, Row, Table};
use crate::model::run::Run;
use crate::report::format::percent;

/// The most finish reasons that are shown: a server may invent them.
const MAX_REASONS: usize = 20;

/// The section of failures and finish reasons.
pub(super) fn section(run: &Run) -> Section {
    let metrics = &run.metrics;
    let mut section = Section::new("failures", "Failures and answers");
    if metrics.failed == 0 {
        section.notes.push("No request failed.".into());
    } else {
        let all = metrics.completed + metrics.failed;
        let mut table = Table::new(["Class", "Requests", "Share", "First message"]);
        for failure in metrics.failures.iter().take(MAX_REASONS) {
            let cells = [
                failure.class.to_string(),
                failure.count.to_string(),
                percent(failure.count, all),
                foreign_text(&failure.example, MESSAGE),
            ];
            table.rows.push(Row { class: "bad", cells: cells.map(Cell::from).to_vec(), ..Row::default() });
        }
        let title = format!("{} of {all} requests failed", metrics.failed);
        section.tables.push(NamedTable { title, class: "plain", table });
    }
    let mut table = Table::new(["Finish reason", "Answers"]);
    let mut reasons: Vec<_> = metrics.finish_reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (reason, count) in reasons.into_iter().take(MAX_REASONS) {
        table.push([foreign_text(reason, NAME), count.to_string()]);
    }
    if !table.rows.is_empty() {
        section.tables.push(NamedTable { title: "How answers ended".into(), class: "numbers", table });
    }
    section
}
