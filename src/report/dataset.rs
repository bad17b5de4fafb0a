//! What is in a dataset, and what a run would send of it.

use std::io::{self, Write};

use super::figures::{percent, requests_per_second, seconds};
use crate::core::dataset::{DatasetStats, LengthSummary};
use crate::core::run::Inputs;
use crate::core::spec::{Dataset, Pace, Spec};

/// Writes what `servebench dataset stats` found; `tokenizer` says who counted.
pub fn render_stats(stats: &DatasetStats, tokenizer: &str, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Dataset: {}", stats.path)?;
    writeln!(to, "SHA-256: {}", stats.sha256)?;
    writeln!(to, "Conversations: {}", stats.conversations)?;
    for (turns, count) in &stats.turns {
        writeln!(to, "  with {turns} turns: {count} ({})", percent(*count, stats.conversations))?;
    }
    writeln!(to, "Tokens by: {tokenizer} ({})", stats.counted_by.label())?;
    lengths(&[("prompt (first turn)", stats.prompt), ("answer (second turn)", stats.answer)], to)?;
    writeln!(to, "Usable: {} ({})", stats.usable, percent(stats.usable, stats.conversations))?;
    writeln!(to, "Dropped: {}", stats.dropped.total())?;
    for (reason, count) in stats.dropped.reasons().into_iter().filter(|(_, count)| *count > 0) {
        writeln!(to, "  {reason}: {count}")?;
    }
    Ok(())
}

/// Writes what `--dry-run` prepared; `requests` are lengths of prompt and asked output in tokens.
pub fn render_workload(
    spec: &Spec,
    inputs: &Inputs,
    requests: impl Iterator<Item = (u32, u32)> + Clone,
    to: &mut impl Write,
) -> io::Result<()> {
    let provenance = &inputs.dataset;
    let count = requests.clone().count();
    let load = &spec.load;
    writeln!(to, "Dry run: nothing was sent.")?;
    writeln!(to, "Dataset: {}", provenance.path.as_deref().unwrap_or(&provenance.dataset))?;
    writeln!(to, "Requests: {count}, warm-up included")?;
    if provenance.candidates > 0 {
        let what = match spec.workload.dataset {
            Dataset::Sharegpt { .. } => "Conversations",
            Dataset::Trace(_) => "Rows",
            _ => "Candidates",
        };
        writeln!(to, "{what}: {}, dropped: {}", provenance.candidates, provenance.dropped)?;
    }
    if provenance.repeated > 0 {
        writeln!(to, "Repeated prompts: {} (the dataset has too few)", provenance.repeated)?;
    }
    if provenance.inexact > 0 {
        writeln!(to, "Prompts of another length than asked: {}", provenance.inexact)?;
    }
    writeln!(to, "Tokens by: {}", inputs.tokenizer.origin)?;
    let prompts = LengthSummary::of(requests.clone().map(|(prompt, _)| prompt));
    lengths(
        &[("prompt", prompts), ("asked output", LengthSummary::of(requests.map(|(_, output)| output)))],
        to,
    )?;
    if spec.workload.dataset.has_sessions() {
        sessions(spec, to)?;
    }
    match (&load.pace, load.request_rate.is_finite()) {
        (Pace::Steady, true) => {
            writeln!(to, "Request rate: {}", requests_per_second(Some(load.request_rate.get())))?;
        }
        (Pace::Steady, false) => writeln!(to, "Request rate: all at once")?,
        (pace, _) => writeln!(to, "Request rate: {pace}")?,
    }
    if let Some(cap) = load.max_concurrency {
        writeln!(to, "Most in flight: {cap}")?;
    }
    if let Some(duration) = load.duration {
        writeln!(to, "Sending ends after: {}", seconds(duration))?;
    }
    Ok(())
}

fn sessions(spec: &Spec, to: &mut impl Write) -> io::Result<()> {
    let count = spec.workload.num_prompts;
    writeln!(to, "Sessions: {count}, warm-up not included; lengths are what each turn adds")?;
    match (spec.sessions.think, &spec.workload.dataset) {
        (Some(think), _) => writeln!(to, "Think time: {think}")?,
        (None, Dataset::Trace(_)) => writeln!(to, "Think time: as in the trace")?,
        (None, _) => {}
    }
    match spec.load.max_active_sessions {
        Some(most) => writeln!(to, "Most sessions active: {most}"),
        None => Ok(()),
    }
}

fn lengths(rows: &[(&str, Option<LengthSummary>)], to: &mut impl Write) -> io::Result<()> {
    let heads = ["min", "p10", "p50", "mean", "p90", "p99", "max"];
    write!(to, "{:<22}", "Length in tokens")?;
    heads.iter().try_for_each(|head| write!(to, "{head:>8}"))?;
    writeln!(to, "{:>12}", "total")?;
    for (name, row) in rows {
        write!(to, "  {name:<20}")?;
        match row {
            Some(row) => {
                let inner = [row.p10, row.p50, row.mean, row.p90, row.p99];
                write!(to, "{:>8}", row.min)?;
                inner.iter().try_for_each(|value| write!(to, "{value:>8.0}"))?;
                writeln!(to, "{:>8}{:>12}", row.max, row.total)?;
            }
            None => writeln!(to, "{:>8}", super::figures::NOT_AVAILABLE)?,
        }
    }
    Ok(())
}
