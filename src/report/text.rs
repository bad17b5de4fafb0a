//! The report that people paste into tickets.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use super::figures::{
    NOT_AVAILABLE, milliseconds, percent, percentile, plain, requests_per_second, seconds, tokens_per_second,
};
use crate::core::metrics::{FailureCount, Judged, Latency, Metrics, SCALARS, Spread, Tokens};
use crate::core::record::{FailureClass, TokenSource};
use crate::core::run::Run;
use crate::core::spec::{Slo, SloFrom};

mod facets;
mod intervals;
pub(super) mod latency;
mod profiler;
mod server;
mod sessions;
mod steady;
pub(super) mod verdict;

/// Width of a section's rule, in characters.
const WIDTH: usize = 39;

/// A lag up to this is not worth a section of its own, unless it is a large part of the TTFT.
const NEGLIGIBLE_LAG: Duration = Duration::from_millis(10);

/// Writes the report of a run.
pub fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let metrics = &run.metrics;
    verdict::headline(&run.validity, to)?;
    totals(metrics, to)?;
    for latency in &run.selection.latencies {
        section(latency.title(), to)?;
        latency::lines(run, *latency, to)?;
    }
    facets::render(metrics, to)?;
    sessions::render(run, to)?;
    failures(metrics, to)?;
    goodput(run, to)?;
    if lag_is_visible(metrics) {
        from_due(run, to)?;
    }
    arrivals(run, to)?;
    probes(run, to)?;
    tokens(metrics, to)?;
    intervals::render(run, to)?;
    steady::render(run, to)?;
    server::render(run, to)?;
    profiler::render(run, to)?;
    if run.interrupted {
        interruption(metrics, to)?;
    }
    verdict::render(&run.validity, to)
}

/// What makes the numbers those of a shorter run, and of its shorter requests.
pub(super) fn interruption(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    section("Interrupted", to)?;
    writeln!(to, "The run was cut short: the numbers are of what was measured until then.")?;
    let cancelled = metrics.failures.iter().find(|failure| failure.class == FailureClass::Cancelled);
    let Some(FailureCount { count, .. }) = cancelled else { return Ok(()) };
    writeln!(
        to,
        "{count} requests in flight were given up. No latency has them, and they are the longer ones: E2E is too low."
    )
}

fn totals(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Successful requests: {}", metrics.completed)?;
    sessions::abandoned(metrics, to)?;
    writeln!(to, "Benchmark duration: {}", seconds(metrics.duration))?;
    writeln!(to, "Total input tokens: {}", metrics.input_tokens.total)?;
    match metrics.input_sequences {
        Some(sequences) => writeln!(to, "Total input sequences: {sequences}")?,
        None => writeln!(to, "Total generated tokens: {}", metrics.output_tokens.total)?,
    }
    throughput(metrics, "request_throughput", to)?;
    throughput(metrics, "input_throughput", to)?;
    match metrics.is_of_pooling() {
        true => throughput(metrics, "input_sequence_throughput", to)?,
        false => throughput(metrics, "output_throughput", to)?,
    }
    if metrics.input_audio.is_some() {
        throughput(metrics, "rtfx", to)?;
    }
    Ok(())
}

fn throughput(metrics: &Metrics, key: &str, to: &mut impl Write) -> io::Result<()> {
    let Some(scalar) = SCALARS.iter().find(|scalar| scalar.key == key) else { return Ok(()) };
    let value = (scalar.value)(metrics);
    let figure = match scalar.unit {
        "req/s" => requests_per_second(value),
        "tok/s" => tokens_per_second(value),
        unit => plain(value, unit),
    };
    writeln!(to, "{}: {figure}", scalar.label)
}

/// `─── Title ───────`, filled to [`WIDTH`].
pub(super) fn section(title: &str, to: &mut impl Write) -> io::Result<()> {
    let head = format!("─── {title} ");
    let fill = WIDTH.saturating_sub(head.chars().count());
    writeln!(to, "{head}{}", "─".repeat(fill))
}

/// Columns as wide as they need, two blanks between.
pub(super) fn aligned(rows: &[Vec<String>], to: &mut impl Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    rows.iter().try_for_each(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(to, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())
    })
}

fn failures(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    if metrics.failed == 0 {
        return Ok(());
    }
    let all = metrics.completed + metrics.failed;
    section("Failures", to)?;
    writeln!(to, "Failed requests: {} of {all} ({})", metrics.failed, percent(metrics.failed, all))?;
    for failure in &metrics.failures {
        write!(to, "{}: {}", failure.class, failure.count)?;
        match one_line(&failure.example) {
            example if example.is_empty() => writeln!(to)?,
            example => writeln!(to, " (first: {example})")?,
        }
    }
    Ok(())
}

/// Line ends and control characters in a server's words must not break the report.
pub(super) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn goodput(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let Some(Judged { requests, good, unmeasured }) = run.metrics.judged() else { return Ok(()) };
    let slo = &run.spec.slo;
    section("Goodput", to)?;
    throughput(&run.metrics, "request_goodput", to)?;
    writeln!(to, "Good requests: {good} of {requests} ({}): {}", percent(good, requests), limits(slo))?;
    if unmeasured > 0 {
        writeln!(
            to,
            "Not measured: {unmeasured} of {requests} lack a latency that has a limit, and count as not good (an answer in one \
             event has no TPOT)"
        )?;
    }
    for (class, slo) in &slo.classes {
        writeln!(to, "Class {class}: {}", limits(slo))?;
    }
    if slo.from == SloFrom::Sent {
        writeln!(to, "Limits hold from sent: what requests waited for the client is left out")?;
    }
    Ok(())
}

fn limits(slo: &Slo) -> String {
    let limits = [("TTFT", slo.ttft), ("TPOT", slo.tpot), ("E2E", slo.e2e)];
    let limits = limits
        .into_iter()
        .filter_map(|(name, limit)| Some(format!("{name} ≤ {}", milliseconds(Some(limit?)))));
    let limits: Vec<_> = limits.collect();
    if limits.is_empty() { "limits of its class".to_owned() } else { limits.join(", ") }
}

/// Whether the lag changes what a user who arrived on schedule felt.
fn lag_is_visible(metrics: &Metrics) -> bool {
    let Some(lag) = metrics.latencies.get(&Latency::Lag) else { return false };
    let ttft = metrics.latencies.get(&Latency::Ttft).map_or(Duration::MAX, |ttft| ttft.mean);
    lag.mean > NEGLIGIBLE_LAG || lag.mean > ttft / 20
}

fn from_due(run: &Run, to: &mut impl Write) -> io::Result<()> {
    section("From due", to)?;
    writeln!(to, "Requests left later than the schedule said; measured from when they were due:")?;
    for latency in [Latency::TtftFromDue, Latency::E2eFromDue, Latency::Lag] {
        latency::lines(run, latency, to)?;
    }
    Ok(())
}

fn arrivals(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let metrics = &run.metrics;
    section("Arrivals", to)?;
    if run.spec.load.is_paced() {
        writeln!(to, "Offered rate: {}", requests_per_second(metrics.offered_rate))?;
        writeln!(to, "Achieved rate: {}", requests_per_second(metrics.achieved_rate))?;
    }
    if let Some(lag) = metrics.latencies.get(&Latency::Lag) {
        let worst = lag.percentiles.iter().max_by(|a, b| a.p.total_cmp(&b.p));
        let (name, value) = worst.map_or(("Median".into(), lag.median), |p| (percentile(p.p), p.value));
        writeln!(to, "{name} lag (sent − due): {}", milliseconds(Some(value)))?;
    }
    writeln!(to, "Peak requests in flight: {}", metrics.peak_in_flight)?;
    if metrics.is_of_pooling() {
        return Ok(());
    }
    writeln!(to, "Peak output token throughput: {}", tokens_per_second(metrics.peak_output_tokens_per_s))
}

fn probes(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let Some(probes) = &run.probes else { return Ok(()) };
    section("Probe requests", to)?;
    writeln!(to, "Probe requests completed: {}", probes.completed)?;
    writeln!(to, "Probe requests failed: {}", probes.failed)?;
    writeln!(to, "Median probe E2E: {}", milliseconds(probes.median))?;
    writeln!(to, "P99 probe E2E: {}", milliseconds(probes.p99))?;
    writeln!(to, "Max probe E2E: {}", milliseconds(probes.max))
}

fn tokens(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    section("Token counts", to)?;
    writeln!(to, "Input tokens by: {}", sources(&metrics.input_tokens))?;
    if metrics.is_of_pooling() {
        return Ok(());
    }
    writeln!(to, "Output tokens by: {}", sources(&metrics.output_tokens))?;
    match metrics.tokens_per_event {
        // About one token an event is what everyone expects.
        Some(spread) if spread.mean >= 1.05 => {
            let Spread { mean, p50, p99, max, .. } = spread;
            writeln!(to, "Tokens per event: mean {mean:.2}, median {p50:.2}, P99 {p99:.2}, max {max:.2}")?;
            first_events(metrics, to)
        }
        _ => Ok(()),
    }
}

/// Whose count of the tokens in the first event the TPOTs rest on.
fn first_events(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let describe = |source: TokenSource| match source {
        TokenSource::Estimate => "estimate (as many as in the others)".to_owned(),
        source => source.label().to_owned(),
    };
    match metrics.first_event_by_source.is_empty() {
        true => Ok(()),
        false => {
            writeln!(to, "Tokens of first events by: {}", by_source(&metrics.first_event_by_source, describe))
        }
    }
}

fn sources(tokens: &Tokens) -> String {
    let describe = |source: TokenSource| match source {
        TokenSource::Usage | TokenSource::Tokenizer => source.label().to_owned(),
        TokenSource::Events => "events (WRONG wherever an event carries several tokens)".to_owned(),
        TokenSource::Estimate => "estimate (no tokenizer was found: do not compare)".to_owned(),
    };
    by_source(&tokens.requests_by_source, describe)
}

fn by_source(by: &BTreeMap<TokenSource, usize>, describe: impl Fn(TokenSource) -> String) -> String {
    match by.len() {
        0 => NOT_AVAILABLE.to_owned(),
        1 => by.keys().copied().map(describe).collect(),
        _ => {
            let parts = by.iter().map(|(source, n)| format!("{} for {n} requests", describe(*source)));
            parts.collect::<Vec<_>>().join(", ")
        }
    }
}
