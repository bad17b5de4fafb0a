//! A diagnosis, for people.

use std::io::{self, Write};

use super::log::lasting;
use crate::core::server::Level;
use crate::judge::diagnose::{
    Availability, Bound, Change, Diagnosis, Fact, Finding, Handle, LEVERS, Origin, Start,
};

/// The engine whose flags the levers are.
const VLLM: &str = "vLLM";

/// Writes it; `looked_at` are the names of what was looked at.
pub fn render(diagnosis: &Diagnosis, looked_at: &[String], to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Looked at: {}", looked_at.join(", "))?;
    match (diagnosis.engine.as_deref(), diagnosis.version) {
        (Some(engine), _) if engine != VLLM => {
            writeln!(to, "Server: {engine} (what to change is in vLLM's words)")?
        }
        (_, Some(version)) => writeln!(to, "vLLM: {version}")?,
        _ => {}
    }
    if diagnosis.findings.is_empty() {
        writeln!(to, "\nNothing found.")?;
    }
    for (at, found) in diagnosis.findings.iter().enumerate() {
        finding(at + 1, found, to)?;
    }
    if !diagnosis.fine.is_empty() {
        writeln!(to, "\nLooked for in vain: {}", diagnosis.fine.join(", "))?;
    }
    if !diagnosis.not_judged.is_empty() {
        writeln!(to, "\nNot judged, for want of evidence:")?;
    }
    diagnosis.not_judged.iter().try_for_each(|rule| writeln!(to, "  [{}] needs {}", rule.rule, rule.needs))
}

fn finding(number: usize, finding: &Finding, to: &mut impl Write) -> io::Result<()> {
    let level = match finding.level {
        Level::Hint => "hint",
        Level::Warn => "WARN",
        Level::Alert => "ALERT",
    };
    writeln!(to, "\n{number}. {level}  {}  [{}]", finding.title, finding.rule)?;
    writeln!(to, "   Evidence:")?;
    finding.facts.iter().try_for_each(|found| writeln!(to, "     {}", fact(found)))?;
    writeln!(to, "   Cause: {}", finding.cause)?;
    writeln!(to, "   Change:")?;
    for (at, change) in finding.changes.iter().enumerate() {
        writeln!(to, "     {}. {}", at + 1, step(change))?;
    }
    writeln!(to, "   Source: {}", finding.source)
}

/// `requests waiting, at most: 71, above 10, from 06:02:20 for 4m 10s (log)`
fn fact(fact: &Fact) -> String {
    let mut text = fact.what.clone();
    if let Some(figure) = fact.figure {
        text += &format!(": {figure}");
    }
    match fact.bound {
        Some(Bound::Above(bound)) => text += &format!(", above {bound}"),
        Some(Bound::Below(bound)) => text += &format!(", below {bound}"),
        None => {}
    }
    if let Some(when) = fact.when {
        let preposition = if matches!(when.start, Start::Offset(_)) { "at" } else { "from" };
        text += &format!(", {preposition} {}", when.start);
        if when.lasted.as_secs() > 0 {
            text += &format!(" for {}", lasting(when.lasted));
        }
    }
    let origin = match fact.origin {
        Origin::Result => "result",
        Origin::Log => "log",
        Origin::Live => "live",
    };
    format!("{text} ({origin})")
}

fn step(change: &Change) -> String {
    match &change.lever {
        Some(lever) => format!("{}{}: {}\n        {}", lever.name, state(lever), change.what, exists(lever)),
        None => change.what.to_owned(),
    }
}

/// What is so on this server.
fn state(lever: &Handle) -> String {
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

fn exists(lever: &Handle) -> String {
    let note = if lever.note.is_empty() { String::new() } else { format!("; {}", lever.note) };
    format!("{}{note}", lever.versions)
}

/// The table of levers.
pub fn levers() -> String {
    let row = |lever: &crate::judge::diagnose::LeverFacts| {
        let note = if lever.note.is_empty() { String::new() } else { format!("      {}\n", lever.note) };
        format!("  {}: {}\n{note}      [{}]\n", lever.name, lever.range, lever.source)
    };
    format!(
        "What may be changed, and in which versions of vLLM it exists:\n{}",
        LEVERS.iter().map(row).collect::<String>()
    )
}
