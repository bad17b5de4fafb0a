//! The text report of a run, made to be pasted into tickets.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use crate::model::metrics::{FailureCount, Latency, Metrics, SCALARS, SloCounts, TokenTotal, ValueSummary};
use crate::model::plain_text::one_line;
use crate::model::record::{FailureClass, TokenSource};
use crate::model::run::{Run, StreamAnomalies};
use crate::model::run_spec::{Slo, SloFrom};
use crate::report::format::{
    NOT_AVAILABLE, milliseconds, percent, percentile_name, plain_number, requests_per_second, seconds,
    tokens_per_second,
};

mod color;
mod groups;
pub(super) mod header;
mod latencies;
pub(super) mod latency;
mod prediction;
mod profiler;
mod sampling;
mod server;
mod sessions;
mod steady;
mod throughput;
pub(super) mod validity;
mod waterfall;

pub(crate) use color::colored;
use latencies::Latencies;

/// Width of a section's title line, in characters.
const WIDTH: usize = 39;

/// Longest line of several parts, in characters.
const LINE: usize = 110;

/// A lag up to this needs no row in the table, unless it is a large part of the TTFT.
const NEGLIGIBLE_LAG: Duration = Duration::from_millis(10);

/// The latencies whose mean, median and requested percentiles have their own lines, which scripts read.
const CONTRACT: [Latency; 2] = [Latency::Ttft, Latency::Tpot];

/// Writes the whole report of a run.
pub(crate) fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    if let Some(prediction) = &run.prediction {
        return prediction::render(run, prediction, to);
    }
    let metrics = &run.metrics;
    header::render(run, to)?;
    validity::banner(&run.validity, to)?;
    totals(metrics, to)?;
    if run.spec.target.insecure {
        writeln!(to, "TLS certificates: not checked")?;
    }
    let contract: Vec<Latency> =
        CONTRACT.into_iter().filter(|latency| run.selection.latencies.contains(latency)).collect();
    for latency in &contract {
        section(latency.title(), to)?;
        latency::lines(run, *latency, to)?;
    }
    validity::warnings(&run.validity, to)?;
    failures(run, to)?;
    answers(run, to)?;
    goodput(run, to)?;
    sessions::render(run, to)?;
    groups::render(metrics, to)?;
    probes(run, to)?;
    dataset(run, to)?;
    latencies(run, &contract, to)?;
    if metrics.completed > 0 {
        throughput::beside_contract(metrics, to)?;
    }
    waterfall::render(metrics, to)?;
    arrivals(run, to)?;
    tokens(metrics, to)?;
    server::render(run, to)?;
    steady::render(run, to)?;
    profiler::render(run, to)?;
    if run.interrupted { interruption(metrics, to) } else { Ok(()) }
}

/// Writes the target and load, the verdict, and the table of latencies and throughputs.
pub(crate) fn short(run: &Run, to: &mut impl Write) -> io::Result<()> {
    if let Some(prediction) = &run.prediction {
        return prediction::render(run, prediction, to);
    }
    header::render(run, to)?;
    validity::banner(&run.validity, to)?;
    latencies(run, &[], to)?;
    if run.metrics.completed > 0 { throughput::main(&run.metrics, to) } else { Ok(()) }
}

/// Writes the table of latencies; writes nothing for a run without samples.
fn latencies(run: &Run, printed: &[Latency], to: &mut impl Write) -> io::Result<()> {
    let metrics = &run.metrics;
    if metrics.completed == 0 {
        return Ok(());
    }
    let is_late = lag_is_visible(metrics);
    let late: &[Latency] = match is_late {
        true => &[Latency::TtftFromDue, Latency::E2eFromDue, Latency::Lag],
        false => &[],
    };
    let is_shown = |latency: &Latency| run.selection.latencies.contains(latency) || late.contains(latency);
    let (absent, rows): (Vec<Latency>, Vec<Latency>) = Latency::ALL
        .into_iter()
        .filter(is_shown)
        .filter(|latency| !late.contains(latency) || metrics.latencies.contains_key(latency))
        .partition(|latency| run.spec.sampling.whole && latency.is_stream_only());
    Latencies { metrics, rows: &rows, asked: &run.selection.percents, printed }.render(to)?;
    sampling::render(run, to)?;
    let absent = absent.iter().filter(|latency| !printed.contains(latency));
    absent.into_iter().try_for_each(|latency| latency::does_not_apply(*latency, to))?;
    if is_late {
        writeln!(
            to,
            "From due: requests were sent late; these latencies count from the time when they were due"
        )?;
    }
    Ok(())
}

/// Notes that the metrics cover a shorter run, and so favor its shorter requests.
pub(super) fn interruption(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    section("Interrupted", to)?;
    writeln!(to, "The run was interrupted; the numbers cover what was measured until then.")?;
    let cancelled = metrics.failures.iter().find(|failure| failure.class == FailureClass::Cancelled);
    let Some(FailureCount { count, .. }) = cancelled else { return Ok(()) };
    writeln!(
        to,
        "Requests in flight that were cancelled: {count}. They are missing from all latencies and tend to be the longest, so E2E \
         is biased low."
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
    match metrics.is_pooling() {
        true => throughput(metrics, "input_sequence_throughput", to)?,
        false => throughput(metrics, "output_throughput", to)?,
    }
    if metrics.input_audio.is_some() {
        throughput(metrics, "rtfx", to)?;
    }
    Ok(())
}

/// Writes the problems of the dataset, if any.
fn dataset(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let remarks = run.inputs.dataset.notes();
    if !remarks.is_empty() {
        section("Dataset", to)?;
    }
    remarks.iter().try_for_each(|remark| writeln!(to, "{remark}"))
}

fn throughput(metrics: &Metrics, key: &str, to: &mut impl Write) -> io::Result<()> {
    let Some(scalar) = SCALARS.iter().find(|scalar| scalar.key == key) else { return Ok(()) };
    let value = (scalar.value)(metrics);
    let value = match scalar.unit {
        "req/s" => requests_per_second(value),
        "tok/s" => tokens_per_second(value),
        unit => plain_number(value, unit),
    };
    writeln!(to, "{}: {value}", scalar.label)
}

/// Writes `─── Title ───────`, filled to [`WIDTH`].
pub(super) fn section(title: &str, to: &mut impl Write) -> io::Result<()> {
    let head = format!("─── {} ", one_line(title));
    let fill = WIDTH.saturating_sub(head.chars().count());
    writeln!(to, "{head}{}", "─".repeat(fill))
}

/// Writes the parts with ` · ` between them, in lines of at most [`LINE`] characters where the parts fit.
pub(super) fn wrapped(parts: &[String], to: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    for part in parts {
        if !line.is_empty() && line.chars().count() + part.chars().count() + 3 > LINE {
            writeln!(to, "{line} ·")?;
            line = "  ".to_owned();
        } else if !line.is_empty() {
            line += " · ";
        }
        line += part;
    }
    if line.is_empty() { Ok(()) } else { writeln!(to, "{line}") }
}

fn failures(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let metrics = &run.metrics;
    if metrics.failed == 0 {
        return Ok(());
    }
    let all = metrics.completed + metrics.failed;
    section("Failures", to)?;
    writeln!(to, "Failed requests: {} of {all} ({})", metrics.failed, percent(metrics.failed, all))?;
    writeln!(to, "Asked: POST {}", one_line(&run.spec.target.display_url()))?;
    for failure in &metrics.failures {
        write!(to, "{}: {}", failure.class, failure.count)?;
        match one_line(&failure.example) {
            example if example.is_empty() => writeln!(to)?,
            example => writeln!(to, " (first: {example})")?,
        }
        failure.advice.iter().try_for_each(|advice| writeln!(to, "  {}", one_line(advice)))?;
    }
    Ok(())
}

/// Writes how the answers ended, and what was unusual about their streams.
fn answers(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let reasons = &run.metrics.finish_reasons;
    let StreamAnomalies { ignored_events, unknown_events, repeating_streams, .. } = run.streams;
    let pings = ignored_events - unknown_events.min(ignored_events);
    if reasons.is_empty() && run.streams.is_empty() {
        return Ok(());
    }
    section("Answers", to)?;
    let mut reasons: Vec<_> = reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let reasons: Vec<_> =
        reasons.iter().map(|(reason, count)| format!("{} {count}", one_line(reason))).collect();
    if !reasons.is_empty() {
        writeln!(to, "Finish reasons: {}", reasons.join(", "))?;
    }
    if pings > 0 {
        writeln!(
            to,
            "Ignored events: {pings} (pings or comments sent as data; they are not part of an answer)"
        )?;
    }
    if unknown_events > 0 {
        let first = one_line(run.streams.first_unknown_event.as_deref().unwrap_or_default());
        writeln!(to, "Unknown events: {unknown_events} (not read as part of an answer; first: {first})")?;
    }
    if repeating_streams > 0 {
        writeln!(
            to,
            "Repeating streams: {repeating_streams} (every event has all of the text so far; it was counted once)"
        )?;
    }
    if let Some(unread) = run.streams.unread_fields() {
        writeln!(to, "Unread fields: {}", one_line(&unread))?;
    }
    Ok(())
}

fn goodput(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let Some(SloCounts { requests, good, unmeasured }) = run.metrics.slo_counts() else { return Ok(()) };
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
        writeln!(to, "Goodput limits count from when a request was sent; waiting in the client is excluded")?;
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

/// Whether the lag changes what a user who arrived on schedule experienced.
fn lag_is_visible(metrics: &Metrics) -> bool {
    let Some(lag) = metrics.latencies.get(&Latency::Lag) else { return false };
    let ttft = metrics.latencies.get(&Latency::Ttft).map_or(Duration::MAX, |ttft| ttft.mean);
    lag.mean > NEGLIGIBLE_LAG || lag.mean > ttft / 20
}

fn arrivals(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let metrics = &run.metrics;
    section("Arrivals", to)?;
    if run.spec.load.is_paced() {
        writeln!(to, "Offered rate: {}", requests_per_second(metrics.offered_rate))?;
        writeln!(to, "Achieved rate: {}", requests_per_second(metrics.achieved_rate))?;
    }
    // The table has a row for a visible lag.
    let lag = metrics.latencies.get(&Latency::Lag);
    if let Some(lag) = lag.filter(|_| metrics.completed == 0 || !lag_is_visible(metrics)) {
        let worst = lag.percentiles.iter().max_by(|a, b| a.p.total_cmp(&b.p));
        let (name, value) = worst.map_or(("Median".into(), lag.median), |p| (percentile_name(p.p), p.value));
        writeln!(to, "{name} lag (sent − due): {}", milliseconds(Some(value)))?;
    }
    let least = if metrics.peak_is_lower_bound { "at least " } else { "" };
    writeln!(to, "Peak requests in flight: {least}{}", metrics.peak_in_flight)?;
    if metrics.is_pooling() {
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
    writeln!(to, "Input tokens counted by: {}", sources(&metrics.input_tokens))?;
    if metrics.is_pooling() {
        return Ok(());
    }
    writeln!(to, "Output tokens counted by: {}", sources(&metrics.output_tokens))?;
    match metrics.tokens_per_event {
        // About one token per event is normal.
        Some(spread) if spread.mean >= 1.05 => {
            let ValueSummary { mean, p50, p99, max, .. } = spread;
            writeln!(to, "Tokens per event: mean {mean:.2}, median {p50:.2}, P99 {p99:.2}, max {max:.2}")?;
            first_events(metrics, to)
        }
        _ => Ok(()),
    }
}

/// States which source counted the tokens of the first event, on which the TPOTs rest.
fn first_events(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let describe = |source: TokenSource| match source {
        TokenSource::Estimate => "estimate (as many as in the others)".to_owned(),
        source => source.label().to_owned(),
    };
    match metrics.first_event_by_source.is_empty() {
        true => Ok(()),
        false => {
            writeln!(
                to,
                "First-event tokens counted by: {}",
                by_source(&metrics.first_event_by_source, describe)
            )
        }
    }
}

fn sources(tokens: &TokenTotal) -> String {
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
