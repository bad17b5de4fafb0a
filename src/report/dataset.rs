//! The contents of a dataset, and the requests that a run would send from it.

use std::io::{self, Write};
use std::time::Duration;

use crate::model::dataset::DatasetStats;
use crate::model::length_counts::{LengthCounts, LengthSummary};
use crate::model::run::RunInputs;
use crate::model::run_spec::{Dataset, RateSchedule, Spec};
use crate::report::format::{percent, requests_per_second, seconds};
use crate::report::log::duration_text;

/// Writes the statistics of `servegauge dataset stats`; `tokenizer` names the tokenizer that counted the tokens.
pub(crate) fn render_stats(stats: &DatasetStats, tokenizer: &str, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Dataset: {}", stats.path)?;
    writeln!(to, "SHA-256: {}", stats.sha256)?;
    let is_of_turns = !stats.turns.is_empty();
    let what = if is_of_turns { "Conversations" } else { "Entries" };
    writeln!(to, "{what}: {}", stats.conversations)?;
    for (turns, count) in &stats.turns {
        writeln!(to, "  with {turns} turns: {count} ({})", percent(*count, stats.conversations))?;
    }
    writeln!(to, "Tokens counted by: {tokenizer} ({})", stats.counted_by.label())?;
    let [prompt, answer] = match is_of_turns {
        true => ["prompt (first turn)", "answer (second turn)"],
        false => ["prompt", "requested output"],
    };
    lengths(&[(prompt, stats.prompt), (answer, stats.answer)], to)?;
    writeln!(to, "Usable: {} ({})", stats.usable, percent(stats.usable, stats.conversations))?;
    writeln!(to, "Dropped: {}", stats.dropped.total())?;
    for (reason, count) in stats.dropped.reasons().into_iter().filter(|(_, count)| *count > 0) {
        writeln!(to, "  {reason}: {count}")?;
    }
    stats
        .dropped
        .malformed
        .iter()
        .try_for_each(|(fault, rows)| writeln!(to, "  {fault}: {} (first: {})", rows.count, rows.first))
}

/// Writes what `--dry-run` prepared. `requests` has the tokens of each prompt and of its requested output;
/// `trace_span` is the time that a trace's arrivals take.
pub(crate) fn render_workload(
    spec: &Spec,
    inputs: &RunInputs,
    [prompt, output]: &[LengthCounts; 2],
    trace_span: Option<Duration>,
    to: &mut impl Write,
) -> io::Result<()> {
    let provenance = &inputs.dataset;
    let load = &spec.load;
    writeln!(to, "Dry run: nothing was sent.")?;
    writeln!(to, "Dataset: {}", provenance.path.as_deref().unwrap_or(&provenance.dataset))?;
    writeln!(to, "Requests: {}, warm-up included", prompt.len())?;
    if provenance.candidates > 0 {
        let what = match spec.workload.dataset {
            Dataset::Sharegpt { .. } => "Conversations",
            Dataset::Trace(_) => "Rows",
            _ => "Candidates",
        };
        writeln!(to, "{what}: {}, dropped: {}", provenance.candidates, provenance.dropped)?;
    }
    if provenance.candidates == 0 && provenance.dropped.total() > 0 {
        writeln!(to, "Generated but dropped: {}", provenance.dropped)?;
    }
    if provenance.repeated > 0 {
        writeln!(to, "Repeated prompts: {} (the dataset has too few)", provenance.repeated)?;
    }
    if provenance.inexact > 0 {
        let (count, by) = (provenance.inexact, provenance.inexact_by);
        writeln!(to, "Prompts longer or shorter than requested: {count} (by at most {by:+} tokens)")?;
    }
    if provenance.system_prompts > 0 {
        writeln!(to, "Conversations with a system turn as prompt: {}", provenance.system_prompts)?;
    }
    writeln!(to, "Tokens counted by: {}", inputs.tokenizer.origin)?;
    lengths(&[("prompt", prompt.summary()), ("requested output", output.summary())], to)?;
    if spec.workload.dataset.has_sessions() {
        sessions(spec, to)?;
    }
    match (&load.pace, load.request_rate.is_finite()) {
        (RateSchedule::Steady, true) => {
            writeln!(to, "Request rate: {}", requests_per_second(Some(load.request_rate.get())))?;
        }
        (RateSchedule::Steady, false) => writeln!(to, "Request rate: all at once")?,
        (pace, _) => writeln!(to, "Request rate: {pace}")?,
    }
    if let Some(span) = trace_span {
        writeln!(to, "Span of the arrivals: {}", span_text(span))?;
    }
    if let Some(cap) = load.max_concurrency {
        writeln!(to, "Max concurrency: {cap}")?;
    }
    if let Some(duration) = load.duration {
        writeln!(to, "Sending duration: {}", seconds(duration))?;
    }
    Ok(())
}

/// Formats the time that a trace takes.
pub(crate) fn span_text(span: Duration) -> String {
    if span < Duration::from_secs(60) { seconds(span) } else { duration_text(span) }
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
        Some(most) => writeln!(to, "Max active sessions: {most}"),
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
            None => writeln!(to, "{:>8}", crate::report::format::NOT_AVAILABLE)?,
        }
    }
    Ok(())
}
