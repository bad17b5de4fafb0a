//! A diagnosis as text.

use std::io::{self, Write};

use super::log::duration_text;
use crate::analysis::diagnose::{
    Availability, Diagnosis, DiagnosisFinding, EvidenceSource, FactBound, FactTime, LEVERS, LeverStatus,
    ObservedFact, SuggestedChange,
};
use crate::model::plain_text::one_line;
use crate::model::server::Severity;

/// The engine that the levers' flags belong to.
const VLLM: &str = "vLLM";

/// Writes a diagnosis; `looked_at` names the inputs that were checked.
pub(crate) fn render(diagnosis: &Diagnosis, looked_at: &[String], to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Looked at: {}", looked_at.join(", "))?;
    match (diagnosis.engine.as_deref(), diagnosis.version) {
        (Some(engine), _) if engine != VLLM => {
            writeln!(to, "Server: {} (settings are named as in vLLM)", one_line(engine))?
        }
        (_, Some(version)) => writeln!(to, "vLLM: {}", version)?,
        _ => {}
    }
    for unread in &diagnosis.unread_metrics {
        writeln!(to, "Metrics that could not be parsed: {unread}")?;
    }
    diagnosis.impossible_shares.iter().try_for_each(|share| writeln!(to, "Left out: {share}"))?;
    if diagnosis.findings.is_empty() {
        writeln!(to, "\nNothing found.")?;
    }
    for (at, found) in diagnosis.findings.iter().enumerate() {
        finding(at + 1, found, to)?;
    }
    if !diagnosis.fine.is_empty() {
        writeln!(to, "\nChecked, not found: {}", diagnosis.fine.join(", "))?;
    }
    if !diagnosis.not_judged.is_empty() {
        writeln!(to, "\nNot checked, the input is missing:")?;
    }
    diagnosis.not_judged.iter().try_for_each(|rule| writeln!(to, "  [{}] needs {}", rule.rule, rule.needs))
}

fn finding(number: usize, finding: &DiagnosisFinding, to: &mut impl Write) -> io::Result<()> {
    let level = match finding.level {
        Severity::Hint => "hint",
        Severity::Warn => "WARN",
        Severity::Alert => "ALERT",
    };
    writeln!(to, "\n{number}. {level}  {}  [{}]", finding.title, finding.rule)?;
    writeln!(to, "   Evidence:")?;
    finding.facts.iter().try_for_each(|found| writeln!(to, "     {}", fact_text(found)))?;
    writeln!(to, "   Cause: {}", finding.cause)?;
    writeln!(to, "   Change:")?;
    for (at, change) in finding.changes.iter().enumerate() {
        writeln!(to, "     {}. {}", at + 1, step_text(change))?;
    }
    writeln!(to, "   Source: {}", finding.source)
}

/// `peak requests waiting: 71, limit 10, from 06:02:20 for 4m 10s (log)`
fn fact_text(fact: &ObservedFact) -> String {
    let mut text = one_line(&fact.what);
    if let Some(figure) = fact.figure {
        text += &format!(": {figure}");
    }
    match fact.bound {
        Some(FactBound::Above(bound)) => text += &format!(", limit {bound}"),
        Some(FactBound::Below(bound)) => text += &format!(", minimum {bound}"),
        None => {}
    }
    if let Some(when) = fact.when {
        let preposition = if matches!(when.start, FactTime::Offset(_)) { "at" } else { "from" };
        text += &format!(", {preposition} {}", when.start);
        if when.lasted.as_secs() > 0 {
            text += &format!(" for {}", duration_text(when.lasted));
        }
    }
    let origin = match fact.origin {
        EvidenceSource::Result => "result",
        EvidenceSource::Log => "log",
        EvidenceSource::Live => "live",
    };
    format!("{text} ({origin})")
}

fn step_text(change: &SuggestedChange) -> String {
    match &change.lever {
        Some(lever) => format!(
            "{}{}: {}\n        {}",
            lever.name,
            lever_state(lever),
            change.what,
            lever_versions(lever)
        ),
        None => change.what.to_owned(),
    }
}

/// States how this server sets a lever.
fn lever_state(lever: &LeverStatus) -> String {
    let now = match (&lever.now, lever.done) {
        (Some(now), Some(_)) => Some(format!("already {now}")),
        (Some(now), None) => Some(format!("now {now}")),
        (None, Some(_)) => Some("on by default here".to_owned()),
        (None, None) => None,
    };
    let here = match lever.here {
        Some(Availability::Gone) => Some("not in this version any more".to_owned()),
        Some(Availability::NotYet) => Some("not in this version yet".to_owned()),
        Some(Availability::Here) | None => None,
    };
    let parts: Vec<_> = [now, here].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn lever_versions(lever: &LeverStatus) -> String {
    let note = if lever.note.is_empty() { String::new() } else { format!("; {}", lever.note) };
    format!("{}{note}", lever.versions)
}

/// Renders the table of levers.
pub(crate) fn lever_table() -> String {
    let row = |lever: &crate::analysis::diagnose::LeverInfo| {
        let note = if lever.note.is_empty() { String::new() } else { format!("      {}\n", lever.note) };
        format!("  {}: {}\n{note}      [{}]\n", lever.name, lever.range, lever.source)
    };
    format!(
        "Settings that can be changed, and the versions of vLLM that have them:\n{}",
        LEVERS.iter().map(row).collect::<String>()
    )
}
