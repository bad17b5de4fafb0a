//! The metrics that the server reports, beside those measured from outside.

use std::io::{self, Write};

use super::section;
use crate::model::metrics::{Latency, Metrics};
use crate::model::run::Run;
use crate::model::server::{ServerMetrics, ServerSignal, SpecDecodeStats};
use crate::model::validity::CheckName;
use crate::report::format::{milliseconds, plain_number, seconds, share_text};

/// Writes the section; writes nothing for a server that reports no metrics.
pub(super) fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    if run.server.is_none() && run.unread_metrics.is_empty() {
        return Ok(());
    }
    section("Server", to)?;
    run.unread_metrics
        .iter()
        .try_for_each(|unread| writeln!(to, "Metrics that could not be parsed: {unread}"))?;
    let Some(server) = &run.server else { return Ok(()) };
    sampled(server, to)?;
    levels(server, to)?;
    cache(server, to)?;
    speculation(server, to)?;
    server.impossible_shares().iter().try_for_each(|share| writeln!(to, "Left out: {share}"))?;
    means_comparison(server, &run.metrics, to)?;
    unmeasured_requests(server, run, to)?;
    time_split(server, &run.metrics, to)?;
    restarts(server, to)
}

/// Writes how often each replica was sampled.
fn sampled(server: &ServerMetrics, to: &mut impl Write) -> io::Result<()> {
    let interval = humantime::format_duration(server.interval);
    let (taken, points) = (server.taken.max(server.point_count()), server.point_count());
    write!(to, "Sampled: {taken} times, every {interval}")?;
    if server.longest_gap > 2 * server.interval {
        write!(to, ", longest gap {}", seconds(server.longest_gap))?;
    }
    if taken > points {
        write!(to, ", saved as {points} points")?;
    }
    let mut engines: Vec<_> =
        server.replicas.iter().filter_map(|replica| replica.engine.as_deref()).collect();
    engines.dedup();
    if !engines.is_empty() {
        write!(to, ", {}", engines.join(" and "))?;
    }
    if server.replicas.len() > 1 {
        write!(to, ", {} replicas", server.replicas.len())?;
    }
    match server.missed_samples() {
        0 => writeln!(to),
        missed => writeln!(to, " (answers missing: {missed})"),
    }
}

fn levels(server: &ServerMetrics, to: &mut impl Write) -> io::Result<()> {
    for signal in [ServerSignal::Running, ServerSignal::Waiting, ServerSignal::Swapped] {
        let Some(level) = server.gauge_summary(signal) else { continue };
        // vLLM's V1 engine does not swap.
        if signal != ServerSignal::Swapped || level.peak > 0.0 {
            let label = signal.info().label;
            writeln!(to, "{label}: mean {}, peak {}", plain_number(Some(level.mean), ""), level.peak)?;
        }
    }
    Ok(())
}

fn cache(server: &ServerMetrics, to: &mut impl Write) -> io::Result<()> {
    if let Some(level) = server.gauge_summary(ServerSignal::KvUsage) {
        writeln!(to, "KV cache usage: mean {}, peak {}", share_text(level.mean), share_text(level.peak))?;
    }
    if let Some(level) = server.gauge_summary(ServerSignal::CpuKvUsage).filter(|level| level.peak > 0.0) {
        writeln!(to, "CPU KV cache usage: mean {}, peak {}", share_text(level.mean), share_text(level.peak))?;
    }
    if let Some(preemptions) = server.counter_total(ServerSignal::Preemptions) {
        writeln!(to, "Preemptions: {preemptions}")?;
    }
    match server.prefix_hit_rate() {
        Some(rate) => writeln!(to, "Prefix cache hit rate: {}", share_text(rate)),
        None => Ok(()),
    }
}

fn speculation(server: &ServerMetrics, to: &mut impl Write) -> io::Result<()> {
    let Some(speculation) = SpecDecodeStats::from_server(server) else {
        return match server.gauge_series(ServerSignal::SpecAcceptanceRate).into_iter().flatten().next_back() {
            Some(rate) => writeln!(to, "Draft tokens accepted: {}", share_text(rate)),
            None => Ok(()),
        };
    };
    let rate = share_text(speculation.acceptance_rate());
    write!(to, "Draft tokens accepted: {rate} of {}", speculation.draft_tokens)?;
    if let Some(length) = speculation.acceptance_length() {
        write!(to, ", {length:.2} tokens a step")?;
    }
    if !speculation.by_position.is_empty() {
        let positions: Vec<_> = speculation.by_position.iter().copied().map(share_text).collect();
        write!(to, " (by position: {})", positions.join(", "))?;
    }
    writeln!(to)
}

/// Compares the server's means with the client's, which are in the table. The server's time per token is its ITL,
/// unless it reports a TPOT.
fn means_comparison(server: &ServerMetrics, metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let tpot = match server.histogram_total(ServerSignal::Tpot) {
        Some(_) => (ServerSignal::Tpot, Latency::Tpot),
        None => (ServerSignal::Itl, Latency::Itl),
    };
    for (signal, latency) in [(ServerSignal::Ttft, Latency::Ttft), tpot, (ServerSignal::E2e, Latency::E2e)] {
        if metrics.is_pooling() && latency.is_stream_only() {
            // Without a generated token, the server's count there is no time per token.
            continue;
        }
        let Some(times) = server.histogram_total(signal) else { continue };
        let (theirs, ours) = (times.mean_time(), metrics.latencies.get(&latency));
        write!(to, "Mean {} by the server: {}", signal.info().label, milliseconds(theirs))?;
        let between = theirs.zip(ours).and_then(|(theirs, ours)| ours.mean.checked_sub(theirs));
        if signal == ServerSignal::Ttft && between.is_some() {
            write!(to, ", {} less than at the client (network, gateway, client)", milliseconds(between))?;
        }
        writeln!(to)?;
    }
    Ok(())
}

/// Whether the run may lack requests of its own: a client failed, or was lost.
fn lost_requests(run: &Run) -> bool {
    run.validity.checks.iter().any(|check| check.name == CheckName::ClientErrors)
}

/// Notes requests besides the measured ones in the server's metrics: warm-up, probes, abandoned requests, or other
/// clients' requests.
fn unmeasured_requests(server: &ServerMetrics, run: &Run, to: &mut impl Write) -> io::Result<()> {
    let measured = measured_at_server(&run.metrics);
    // The end of the run may cut off one probe.
    let probes = run.probes.as_ref().map_or(0, |probes| probes.completed + probes.failed + 1);
    let beside = run.metrics.abandoned + server.warmup + probes;
    match server.counter_total(ServerSignal::Finished) {
        Some(finished) if finished > measured as f64 && lost_requests(run) => {
            writeln!(to, "The server finished {finished} requests, {measured} of them in this result")
        }
        Some(finished) if finished > 1.01 * (measured + beside) as f64 => {
            writeln!(
                to,
                "Other clients were active: the server finished {finished} requests, {measured} of them from this run"
            )
        }
        Some(finished) if finished > measured as f64 => {
            let more = finished - measured as f64;
            writeln!(
                to,
                "These means include our warm-up, probes and abandoned requests: {more} of the {finished} requests that ended there"
            )
        }
        _ => Ok(()),
    }
}

/// Counts the measured requests as the server does: each text of a batch to embed or rank is one request there.
fn measured_at_server(metrics: &Metrics) -> usize {
    let answered = metrics.completed as u64;
    let sequences = metrics.input_sequences.map_or(answered, |sequences| sequences.max(answered));
    let failed = metrics.failed as u64 * sequences.div_ceil(answered.max(1)).max(1);
    (sequences + failed) as usize
}

fn time_split(server: &ServerMetrics, metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let mut parts = vec![ServerSignal::QueueTime, ServerSignal::PrefillTime];
    if !metrics.is_pooling() {
        parts.push(ServerSignal::DecodeTime);
    }
    let parts = parts.into_iter().filter_map(|signal| {
        let mean = server.histogram_total(signal)?.mean_time();
        Some(format!("{} {}", signal.info().label.to_lowercase(), milliseconds(mean)))
    });
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { Ok(()) } else { writeln!(to, "Mean time at the server: {}", parts.join(", ")) }
}

fn restarts(server: &ServerMetrics, to: &mut impl Write) -> io::Result<()> {
    let at = server.restarts().filter_map(|at| std::time::Duration::try_from_secs_f64(at).ok());
    let at: Vec<_> = at.map(seconds).collect();
    if at.is_empty() {
        return Ok(());
    }
    writeln!(to, "RESTARTED: the server's counters were reset, noticed at {}", at.join(", "))
}

#[cfg(test)]
mod tests;
