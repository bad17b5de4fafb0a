//! A capacity plan, and how it compares with a run.

use super::chart::{Chart, Layer};
use super::foreign_text::{MESSAGE, foreign_text, report_lines};
use super::interval_rows::{self, IntervalRow};
use super::page::{NamedTable, Section};
use super::table::{Cell, Row, Table};
use crate::analysis::plan::CapacityPlan;
use crate::analysis::plan::check::{PlanCheck, PlanComparison};
use crate::report::plan::{check_cells, sections};

/// The section of the plan.
pub(super) fn planned(plan: &CapacityPlan) -> Section {
    let mut section = Section::new("plan", "Plan");
    for (title, text) in sections(plan).into_iter().flatten() {
        let mut table = Table::new(["", ""]);
        for line in report_lines(|to| std::io::Write::write_all(to, &text)) {
            let (name, value) = line.split_once(": ").unwrap_or(("", &line));
            table.push([name.to_owned(), value.to_owned()]);
        }
        section.tables.push(NamedTable { title: title.to_owned(), class: "facts", table });
    }
    section
}

/// The section of the plan beside the run.
pub(super) fn check(check: &PlanCheck) -> Section {
    let mut section = Section::new("check", "Plan and run");
    section.notes = check.findings.iter().map(|finding| foreign_text(finding, MESSAGE)).collect();
    let mut table = Table::new(["", "plan", "run", "run/plan"]);
    for row in &check.rows {
        let mut cells = check_cells(row).map(Cell::from).to_vec();
        cells[1].value = row.planned.map(|value| value.to_string());
        cells[2].value = row.shown.map(|value| value.to_string());
        table.rows.push(Row { cells, ..Row::default() });
    }
    section.tables.push(NamedTable { title: String::new(), class: "numbers", table });
    section.charts.extend(ratios(&check.rows));
    section
}

/// The measured values as shares of the planned ones; `None` where no quantity has both.
fn ratios(rows: &[PlanComparison]) -> Option<Chart> {
    let row = |row: &PlanComparison| {
        let value = 100.0 * row.ratio()?;
        Some(IntervalRow { name: row.what.to_owned(), color: 0, value, interval: None, margin: None })
    };
    let drawn: Vec<IntervalRow> = rows.iter().filter_map(row).collect();
    let mut chart = interval_rows::chart("The run against the plan", "run, % of the plan", &drawn);
    chart.layers.insert(0, Layer::Rule { class: "marker", x: 100.0, label: "plan".into() });
    chart.table.head = ["quantity", "run, % of the plan"].map(ToOwned::to_owned).to_vec();
    for IntervalRow { name, value, .. } in &drawn {
        chart.table.push([name.clone(), format!("{value:.1}")]);
    }
    (!drawn.is_empty()).then_some(chart)
}
