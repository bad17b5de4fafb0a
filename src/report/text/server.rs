//! What the server said of itself, beside what was measured from outside.

use std::io::{self, Write};

use super::section;
use crate::core::metrics::{Latency, Metrics};
use crate::core::run::Run;
use crate::core::server::{ServerSide, Signal, Speculation};
use crate::report::figures::{milliseconds, plain, seconds, share};

/// The section; nothing for a run of a server that says nothing.
pub fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let Some(server) = &run.server else { return Ok(()) };
    section("Server", to)?;
    sampled(server, to)?;
    levels(server, to)?;
    cache(server, to)?;
    speculation(server, to)?;
    compared(server, &run.metrics, to)?;
    strangers(server, run, to)?;
    split(server, &run.metrics, to)?;
    restarts(server, to)
}

/// Who was asked how often.
fn sampled(server: &ServerSide, to: &mut impl Write) -> io::Result<()> {
    let interval = humantime::format_duration(server.interval);
    let (taken, points) = (server.taken.max(server.points()), server.points());
    write!(to, "Sampled: {taken} times, every {interval}")?;
    if server.longest_gap > 2 * server.interval {
        write!(to, " but once not for {}", seconds(server.longest_gap))?;
    }
    if taken > points {
        write!(to, ", kept as {points} points")?;
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
    match server.missed() {
        0 => writeln!(to),
        missed => writeln!(to, " (answers missing: {missed})"),
    }
}

fn levels(server: &ServerSide, to: &mut impl Write) -> io::Result<()> {
    for signal in [Signal::Running, Signal::Waiting, Signal::Swapped] {
        let Some(level) = server.gauged(signal) else { continue };
        // Version 1 of vLLM does not swap.
        if signal != Signal::Swapped || level.peak > 0.0 {
            let label = signal.facts().label;
            writeln!(to, "{label}: mean {}, peak {}", plain(Some(level.mean), ""), level.peak)?;
        }
    }
    Ok(())
}

fn cache(server: &ServerSide, to: &mut impl Write) -> io::Result<()> {
    if let Some(level) = server.gauged(Signal::KvUsage) {
        writeln!(to, "KV cache usage: mean {}, peak {}", share(level.mean), share(level.peak))?;
    }
    if let Some(level) = server.gauged(Signal::CpuKvUsage).filter(|level| level.peak > 0.0) {
        writeln!(to, "CPU KV cache usage: mean {}, peak {}", share(level.mean), share(level.peak))?;
    }
    if let Some(preemptions) = server.counted(Signal::Preemptions) {
        writeln!(to, "Preemptions: {preemptions}")?;
    }
    match server.prefix_hit_rate() {
        Some(rate) => writeln!(to, "Prefix cache hit rate: {}", share(rate)),
        None => Ok(()),
    }
}

fn speculation(server: &ServerSide, to: &mut impl Write) -> io::Result<()> {
    let Some(speculation) = Speculation::of(server) else {
        return match server.levels(Signal::SpecAcceptanceRate).into_iter().flatten().next_back() {
            Some(rate) => writeln!(to, "Draft tokens accepted: {}", share(rate)),
            None => Ok(()),
        };
    };
    let rate = share(speculation.acceptance_rate());
    write!(to, "Draft tokens accepted: {rate} of {}", speculation.draft_tokens)?;
    if let Some(length) = speculation.acceptance_length() {
        write!(to, ", {length:.2} tokens a step")?;
    }
    if !speculation.by_position.is_empty() {
        let positions: Vec<_> = speculation.by_position.iter().copied().map(share).collect();
        write!(to, " (by position: {})", positions.join(", "))?;
    }
    writeln!(to)
}

/// The server's means beside ours. What it counts per token stands beside our ITL only if it has no TPOT.
fn compared(server: &ServerSide, metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let tpot = match server.times(Signal::Tpot) {
        Some(_) => (Signal::Tpot, Latency::Tpot),
        None => (Signal::Itl, Latency::Itl),
    };
    for (signal, latency) in [(Signal::Ttft, Latency::Ttft), tpot, (Signal::E2e, Latency::E2e)] {
        if metrics.is_of_pooling() && latency.needs_stream() {
            // No token was generated: what the server counts there is no time of a token.
            continue;
        }
        let Some(times) = server.times(signal) else { continue };
        let (theirs, ours) = (times.mean_time(), metrics.latencies.get(&latency));
        write!(to, "Mean {} by the server: {}", signal.facts().label, milliseconds(theirs))?;
        if let Some(ours) = ours {
            write!(to, ", by the client: {}", milliseconds(Some(ours.mean)))?;
            let between = theirs.and_then(|theirs| ours.mean.checked_sub(theirs));
            if signal == Signal::Ttft && between.is_some() {
                write!(to, ", between them (network, gateway, client): {}", milliseconds(between))?;
            }
        }
        writeln!(to)?;
    }
    Ok(())
}

/// Requests beside the measured ones are in the server's figures too: our own warm-up, probes and abandoned requests, or
/// others'.
fn strangers(server: &ServerSide, run: &Run, to: &mut impl Write) -> io::Result<()> {
    let measured = measured_at_server(&run.metrics);
    // One probe may be cut off with the run.
    let probes = run.probes.as_ref().map_or(0, |probes| probes.completed + probes.failed + 1);
    let beside = run.metrics.abandoned + server.warmup + probes;
    match server.counted(Signal::Finished) {
        Some(finished) if finished > 1.01 * (measured + beside) as f64 => {
            writeln!(to, "Requests of others, too: {finished} ended at the server, {measured} of them ours")
        }
        Some(finished) if finished > measured as f64 => {
            let more = finished - measured as f64;
            writeln!(
                to,
                "Our warm-up, probes and abandoned requests are in these means, too: {more} of {finished} that ended there"
            )
        }
        _ => Ok(()),
    }
}

/// How many requests the measured ones are for the server: each text of a batch that it embeds or ranks is one.
fn measured_at_server(metrics: &Metrics) -> usize {
    let answered = metrics.completed as u64;
    let sequences = metrics.input_sequences.map_or(answered, |sequences| sequences.max(answered));
    let failed = metrics.failed as u64 * sequences.div_ceil(answered.max(1)).max(1);
    (sequences + failed) as usize
}

fn split(server: &ServerSide, metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let mut parts = vec![Signal::QueueTime, Signal::PrefillTime];
    if !metrics.is_of_pooling() {
        parts.push(Signal::DecodeTime);
    }
    let parts = parts.into_iter().filter_map(|signal| {
        let mean = server.times(signal)?.mean_time();
        Some(format!("{} {}", signal.facts().label.to_lowercase(), milliseconds(mean)))
    });
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { Ok(()) } else { writeln!(to, "Mean time at the server: {}", parts.join(", ")) }
}

fn restarts(server: &ServerSide, to: &mut impl Write) -> io::Result<()> {
    let at = server.restarts().filter_map(|at| std::time::Duration::try_from_secs_f64(at).ok());
    let at: Vec<_> = at.map(seconds).collect();
    if at.is_empty() {
        return Ok(());
    }
    writeln!(to, "RESTARTED: the server began to count anew, noticed at {}", at.join(", "))
}

#[cfg(test)]
mod tests;
