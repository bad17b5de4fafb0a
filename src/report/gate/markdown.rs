//! A gate's result as Markdown, for a job's summary or a pull request.

use std::io::{self, Write};
use std::iter;

use super::{
    answer_word, candidate_text, conclusion_line, limit_text, notes, severity_word, undecided_text, with_unit,
};
use crate::analysis::gate::{GateReport, GateVerdict, RuleAnswer, RuleFinding, RuleStatus};
use crate::model::plain_text::markdown;
use crate::report::format::NOT_AVAILABLE;
use crate::report::table::{self, Table};

/// Writes a heading, a table of the findings, and the notes.
pub(crate) fn render(ruling: &GateReport, to: &mut impl Write) -> io::Result<()> {
    let sign = match ruling.outcome {
        GateVerdict::Pass => "✅",
        GateVerdict::Warn => "⚠️",
        GateVerdict::Fail => "❌",
        GateVerdict::Invalid => "🚫",
    };
    writeln!(to, "### {sign} {}\n", markdown(&conclusion_line(ruling)))?;
    let head = table::row(["result", "rule", "candidate", "baseline", "limit", "why undecided"]);
    let rows = ruling.findings.iter().map(|finding| row(ruling, finding));
    Table::left(iter::once(head).chain(rows).collect()).write_markdown(to)?;
    writeln!(to)?;
    notes(ruling).iter().try_for_each(|note| writeln!(to, "- {}", markdown(note)))
}

/// Writes why a gate has no result.
pub(crate) fn render_error(why: &str, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "### 🚫 The gate has no result\n\n{}\n", markdown(why))
}

fn row(ruling: &GateReport, finding: &RuleFinding) -> Vec<String> {
    let figure = finding.rule.rule.figure;
    let sign = match ruling.rule_status(finding) {
        RuleStatus::Fine => "✅",
        RuleStatus::Warning => "⚠️",
        RuleStatus::Failure => "❌",
    };
    let baseline = match (&finding.baseline, finding.rule.rule.needs_baseline()) {
        (_, false) => String::new(),
        (None, true) => NOT_AVAILABLE.to_owned(),
        (Some(sample), true) => with_unit(figure, sample.value),
    };
    let why = match finding.answer {
        RuleAnswer::CannotTell { why } => undecided_text(why),
        RuleAnswer::Pass | RuleAnswer::Fail => String::new(),
    };
    vec![
        format!("{sign} {}", answer_word(finding.answer).to_lowercase()),
        format!("`{}` ({})", finding.rule.rule, severity_word(finding)),
        candidate_text(finding),
        baseline,
        limit_text(finding).unwrap_or_default().trim_start_matches("limit ").to_owned(),
        why,
    ]
}
