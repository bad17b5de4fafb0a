//! An audit as text and JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::format::plain_number;
use super::text::{section, wrapped};
use crate::analysis::audit::{Audit, AuditFinding, AuditMeasure, Relation};
use crate::model::plain_text::one_line;

/// An audited result.
#[derive(Serialize)]
pub(crate) struct AuditedResult {
    /// The file, with the part of it that the result is.
    pub file: String,
    /// The tool and its version.
    pub tool: String,
    /// Whether no figure is impossible or unbelievable.
    pub believable: bool,
    /// The findings.
    #[serde(flatten)]
    pub audit: Audit,
}

/// Writes the audit of a result as text.
pub(crate) fn text(audited: &AuditedResult, to: &mut impl Write) -> io::Result<()> {
    let Audit { findings, passed, not_checked } = &audited.audit;
    section(&format!("{} ({})", one_line(&audited.file), one_line(&audited.tool)), to)?;
    writeln!(to, "{}", verdict(audited))?;
    findings.iter().try_for_each(|finding| writeln!(to, "{}", finding_text(finding)))?;
    if !passed.is_empty() {
        let labels: Vec<String> = passed.iter().map(|check| check.label().to_owned()).collect();
        writeln!(to, "Nothing found by {}:", checks(passed.len()))?;
        wrapped(&labels, to)?;
    }
    if !not_checked.is_empty() {
        writeln!(to, "Not checked, and what the file lacks for it:")?;
    }
    not_checked.iter().try_for_each(|item| writeln!(to, "  {}: {}", item.check.label(), item.missing))
}

/// Writes the audit of a result as one line of JSON.
pub(crate) fn json(audited: &AuditedResult, to: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *to, audited)?;
    writeln!(to)
}

fn verdict(audited: &AuditedResult) -> String {
    let count = audited.audit.findings.len();
    match (audited.believable, count) {
        (true, 0) => "BELIEVABLE: no figure contradicts another".to_owned(),
        (true, _) => format!("BELIEVABLE: no figure contradicts another, {} doubtful", figures(count)),
        (false, _) => format!("NOT BELIEVABLE: {} objectionable", figures(count)),
    }
}

fn figures(count: usize) -> String {
    if count == 1 { "1 figure is".to_owned() } else { format!("{count} figures are") }
}

fn checks(count: usize) -> String {
    if count == 1 { "1 check".to_owned() } else { format!("{count} checks") }
}

/// `IMPOSSIBLE  TTFT P50: 120 ms, at most 100 ms (statistics of a latency): a lower percentile …`
fn finding_text(finding: &AuditFinding) -> String {
    let measure = finding.measure.map(measure_text).unwrap_or_default();
    format!(
        "{}  {}{measure} ({}): {}",
        finding.level.label(),
        one_line(&finding.figure),
        finding.check.label(),
        one_line(&finding.reason)
    )
}

fn measure_text(measure: AuditMeasure) -> String {
    let AuditMeasure { value, relation, bound, unit } = measure;
    let relation = match relation {
        Relation::AtMost => "at most",
        Relation::AtLeast => "at least",
        Relation::About => "expected",
    };
    format!(": {}, {relation} {}", number(value, unit), number(bound, unit))
}

/// Counts are whole; other numbers have the digits of reports.
fn number(value: f64, unit: &str) -> String {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => format!("{value:.0} {unit}"),
        false if value.abs() >= 10.0 => format!("{value:.1} {unit}"),
        false => plain_number(Some(value), unit),
    }
}
