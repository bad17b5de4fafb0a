//! A gate: its outcome and each rule with its margin.

use super::chart::Chart;
use super::foreign_text::{MESSAGE, NAME, foreign_text};
use super::interval_rows::{self, IntervalRow};
use super::page::{NamedTable, Section};
use super::table::{Cell, Row, Table};
use crate::analysis::gate::{GateReport, RuleAnswer, RuleFinding, RuleStatus};
use crate::report::format::{NOT_AVAILABLE, bounds_text};
use crate::report::gate::{
    answer_word, candidate_text, conclusion_line, limit_text, notes, severity_word, undecided_text, with_unit,
};

/// The most rules of the chart.
const MAX_ROWS: usize = 40;

/// The section of the rules.
pub(super) fn section(ruling: &GateReport) -> Section {
    let mut section = Section::new("rules", "Rules");
    section.notes.push(foreign_text(&conclusion_line(ruling), MESSAGE));
    let baseline =
        ruling.baseline.as_ref().map(|side| format!("Baseline: {}", foreign_text(&side.name, NAME)));
    section.notes.extend(baseline);
    section.notes.push(format!("Candidate: {}", foreign_text(&ruling.candidate.name, NAME)));
    let mut table = Table::new(["Answer", "Rule", "Severity", "Candidate", "Baseline", "Limit", "Why not"]);
    table.rows.extend(ruling.findings.iter().map(|finding| row(ruling, finding)));
    section.tables.push(NamedTable { title: String::new(), class: "plain", table });
    section.charts.extend(margins(ruling));
    section.notes.extend(notes(ruling).iter().map(|note| foreign_text(note, MESSAGE)));
    section
}

fn row(ruling: &GateReport, finding: &RuleFinding) -> Row {
    let rule = &finding.rule.rule;
    let class = match ruling.rule_status(finding) {
        RuleStatus::Fine => "good",
        RuleStatus::Warning => "warn",
        RuleStatus::Failure => "bad",
    };
    let baseline = match (&finding.baseline, rule.needs_baseline()) {
        (_, false) => String::new(),
        (None, true) => NOT_AVAILABLE.to_owned(),
        (Some(sample), true) => with_unit(rule.figure, sample.value),
    };
    let why = match finding.answer {
        RuleAnswer::CannotTell { why } => undecided_text(why),
        RuleAnswer::Pass | RuleAnswer::Fail => String::new(),
    };
    let texts = [
        answer_word(finding.answer).to_owned(),
        rule.to_string(),
        severity_word(finding).to_owned(),
        candidate_text(finding),
        baseline,
        limit_text(finding).unwrap_or_default().trim_start_matches("limit ").to_owned(),
        why,
    ];
    let mut cells = texts.map(Cell::from).to_vec();
    cells[3].value = finding.candidate.as_ref().map(|sample| sample.value.to_string());
    Row { class, cells, ..Row::default() }
}

/// The differences from the limits with the intervals that the answers rest on; `None` where no rule has one.
fn margins(ruling: &GateReport) -> Option<Chart> {
    let margin = |finding: &RuleFinding| {
        let (limit, margin) = (finding.limit.filter(|limit| *limit != 0.0)?, finding.margin?);
        let scale = 100.0 / limit.abs();
        let color = match ruling.rule_status(finding) {
            RuleStatus::Fine => 2,
            RuleStatus::Warning => 4,
            RuleStatus::Failure => 6,
        };
        Some(IntervalRow {
            name: finding.rule.rule.to_string(),
            color,
            value: margin.value * scale,
            interval: Some(margin.interval.scaled(scale)),
            margin: None,
        })
    };
    let drawn = ruling.findings.iter().filter_map(|finding| Some((finding, margin(finding)?)));
    let (findings, rows): (Vec<&RuleFinding>, Vec<IntervalRow>) = drawn.take(MAX_ROWS).unzip();
    let mut chart =
        interval_rows::chart("Differences from the limits", "candidate minus limit, % of the limit", &rows);
    chart.table.head = ["rule", "difference, % of the limit", "answer"].map(ToOwned::to_owned).to_vec();
    for (finding, row) in findings.iter().zip(&rows) {
        let interval = row.interval.map(|interval| bounds_text(interval, |end| format!("{end:.1}")));
        chart.table.push([
            foreign_text(&row.name, NAME),
            format!("{:.1} {}", row.value, interval.unwrap_or_default()),
            answer_word(finding.answer).to_owned(),
        ]);
    }
    chart.note = Some("Each interval is the one that the answer of its rule rests on.".into());
    (!rows.is_empty()).then_some(chart)
}
