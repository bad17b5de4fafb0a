//! A gate that was held, as Markdown: for a job's summary or a pull request.

use std::io::{self, Write};

use super::{amount, candidate, conclusion, doubt, limit, notes, severity, word};
use crate::judge::gate::{Answer, Finding, Outcome, Ruling, Standing};
use crate::report::figures::NOT_AVAILABLE;

/// Writes a heading, a table of the findings, and the notes.
pub fn render(ruling: &Ruling, to: &mut impl Write) -> io::Result<()> {
    let sign = match ruling.outcome {
        Outcome::Pass => "✅",
        Outcome::Warn => "⚠️",
        Outcome::Fail => "❌",
        Outcome::Invalid => "🚫",
    };
    writeln!(to, "### {sign} {}\n", cell(&conclusion(ruling)))?;
    writeln!(to, "| finding | rule | candidate | baseline | limit | why not |")?;
    writeln!(to, "|---|---|---|---|---|---|")?;
    ruling.findings.iter().try_for_each(|finding| row(ruling, finding, to))?;
    writeln!(to)?;
    notes(ruling).iter().try_for_each(|note| writeln!(to, "- {note}"))
}

fn row(ruling: &Ruling, finding: &Finding, to: &mut impl Write) -> io::Result<()> {
    let figure = finding.rule.rule.figure;
    let sign = match ruling.standing(finding) {
        Standing::Fine => "✅",
        Standing::Warning => "⚠️",
        Standing::Failure => "❌",
    };
    let baseline = match (&finding.baseline, finding.rule.rule.needs_baseline()) {
        (_, false) => String::new(),
        (None, true) => NOT_AVAILABLE.to_owned(),
        (Some(sample), true) => amount(figure, sample.value),
    };
    let why = match finding.answer {
        Answer::CannotTell { why } => doubt(why),
        Answer::Pass | Answer::Fail => String::new(),
    };
    writeln!(
        to,
        "| {sign} {} | `{}` ({}) | {} | {baseline} | {} | {why} |",
        word(finding.answer).to_lowercase(),
        finding.rule.rule,
        severity(finding),
        candidate(finding),
        limit(finding).unwrap_or_default().trim_start_matches("limit "),
    )
}

/// Text that stays in its line.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}
