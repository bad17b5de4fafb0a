//! A gate: its outcome and each rule with its margin.

use super::foreign_text::{MESSAGE, NAME, foreign_text};
use super::page::{NamedTable, Section};
use super::table::{Cell, Row, Table};
use crate::analysis::gate::{GateReport, RuleAnswer, RuleFinding, RuleStatus};
use crate::report::format::NOT_AVAILABLE;
use crate::report::gate::{
    answer_word, candidate_text, conclusion_line, limit_text, notes, severity_word, undecided_text, with_unit,
};

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
