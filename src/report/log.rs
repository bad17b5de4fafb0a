//! What a server's log says, for people.

use std::io::{self, Write};
use std::time::Duration;

use super::figures::{NOT_AVAILABLE, share};
use super::text::section;
use crate::judge::log::{Alert, Drafting, Figures, Levels, RULES, Range, Summary, Trouble};

/// Alerts of each rule that are written in full.
const SHOWN: usize = 10;

/// Writes the summary of a log; `name` is what it is called.
pub fn render(summary: &Summary, name: &str, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Log: {name}")?;
    match (summary.start, summary.end) {
        (Some(start), Some(end)) => writeln!(to, "Span: {start} to {end} ({})", lasting(end.since(start)))?,
        _ => writeln!(to, "Span: {NOT_AVAILABLE} (no time stamps: nothing can be said to have lasted)")?,
    }
    let lines = summary.lines;
    writeln!(to, "Lines: {}, {} of statistics, {} not known", lines.all, lines.statistics, lines.unknown)?;
    if lines.damaged > 0 {
        writeln!(to, "Damaged lines: {} (cut or mixed with others; not counted in)", lines.damaged)?;
    }
    start_up(summary, to)?;
    for (engine, levels) in &summary.engines {
        let mut title = engine.to_string();
        title[..1].make_ascii_uppercase();
        section(&title, to)?;
        load(levels, to)?;
    }
    if let Some(drafting) = &summary.drafting {
        section("Speculative decoding", to)?;
        speculation(drafting, to)?;
    }
    section("Alerts", to)?;
    alerts(summary, to)
}

fn start_up(summary: &Summary, to: &mut impl Write) -> io::Result<()> {
    let facts = &summary.start_up;
    if facts.is_empty() {
        return Ok(());
    }
    section("Start-up", to)?;
    if summary.starts > 1 {
        writeln!(to, "Engine starts: {} (what follows is of the last)", summary.starts)?;
    }
    if let Some(version) = &facts.version {
        writeln!(to, "Version: {version}")?;
    }
    if let Some(tokens) = facts.kv_tokens {
        writeln!(to, "KV cache: {tokens} tokens")?;
    }
    if let Some(blocks) = facts.gpu_blocks {
        writeln!(to, "KV cache: {blocks} blocks")?;
    }
    if let Some(fit) = facts.concurrency {
        writeln!(
            to,
            "Maximum concurrency: {:.2} requests of {} tokens",
            fit.requests, fit.tokens_per_request
        )?;
    }
    for (title, map) in [("Arguments", &facts.arguments), ("Settings", &facts.settings)] {
        if !map.is_empty() {
            let pairs: Vec<_> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
            writeln!(to, "{title}: {}", pairs.join(" "))?;
        }
    }
    Ok(())
}

fn load(levels: &Levels, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Lines: {}, {} of them busy", levels.lines, levels.busy_lines)?;
    let rates = [
        ("Prompt throughput", levels.prompt_throughput),
        ("Generation throughput", levels.generation_throughput),
    ];
    for (name, range) in rates {
        match range.figures() {
            Some(Figures { min, mean, max, .. }) => {
                writeln!(to, "{name}: min {min:.1} · mean {mean:.1} · max {max:.1} tok/s")?;
            }
            None => writeln!(to, "{name}: {NOT_AVAILABLE}")?,
        }
    }
    for (name, range) in
        [("Running", levels.running), ("Waiting", levels.waiting), ("Swapped", levels.swapped)]
    {
        peak(name, range, |value| format!("{value:.0}"), |value| format!("{value:.1}"), to)?;
    }
    let shares =
        [("KV cache usage", levels.kv_cache_usage), ("CPU KV cache usage", levels.cpu_kv_cache_usage)];
    for (name, range) in shares {
        peak(name, range, share, share, to)?;
    }
    let rates = [
        ("Prefix cache hit rate", levels.prefix_cache_hit_rate),
        ("CPU prefix cache hit rate", levels.cpu_prefix_cache_hit_rate),
        ("External prefix cache hit rate", levels.external_prefix_cache_hit_rate),
        ("Multimodal cache hit rate", levels.mm_cache_hit_rate),
    ];
    for (name, range) in rates {
        if let Some(Figures { mean, last, .. }) = range.figures() {
            writeln!(to, "{name}: last {} · mean {}", share(last), share(mean))?;
        }
    }
    if levels.preemptions > 0 {
        writeln!(to, "Preemptions: {}", levels.preemptions)?;
    }
    Ok(())
}

fn peak(
    name: &str,
    range: Range,
    whole: fn(f64) -> String,
    mean_of: fn(f64) -> String,
    to: &mut impl Write,
) -> io::Result<()> {
    let Some(Figures { mean, max, at, .. }) = range.figures() else { return Ok(()) };
    write!(to, "{name}: mean {} · peak {}", mean_of(mean), whole(max))?;
    match at {
        Some(at) if max > 0.0 => writeln!(to, " at {at}"),
        _ => writeln!(to),
    }
}

fn speculation(drafting: &Drafting, to: &mut impl Write) -> io::Result<()> {
    let rate = drafting.acceptance_rate.map_or(NOT_AVAILABLE.to_owned(), share);
    writeln!(to, "Accepted drafts: {rate} ({} of {} tokens)", drafting.accepted, drafting.drafted)?;
    if let Some(Figures { min, mean, max, .. }) = drafting.mean_length.figures() {
        writeln!(to, "Mean acceptance length: min {min:.2} · mean {mean:.2} · max {max:.2} tokens")?;
    }
    if !drafting.per_position.is_empty() {
        let positions: Vec<_> = drafting.per_position.iter().map(|&value| share(value)).collect();
        writeln!(to, "Accepted by position, at last: {}", positions.join(", "))?;
    }
    Ok(())
}

fn alerts(summary: &Summary, to: &mut impl Write) -> io::Result<()> {
    if summary.preemptions > 0 {
        writeln!(to, "Preemptions in all: {}", summary.preemptions)?;
    }
    if summary.alerts.is_empty() {
        return writeln!(to, "none");
    }
    for rule in RULES {
        let of_rule: Vec<_> = summary.alerts.iter().filter(|alert| alert.rule == rule.trouble).collect();
        of_rule.iter().take(SHOWN).try_for_each(|found| alert(found, to))?;
        let more = of_rule.get(SHOWN..).unwrap_or_default();
        if !more.is_empty() {
            let whole: Duration = more.iter().map(|alert| alert.duration).sum();
            writeln!(
                to,
                "[{}] and {} more, {} in all (--json has them)",
                rule.name,
                more.len(),
                lasting(whole)
            )?;
        }
    }
    if summary.alerts_left_out > 0 {
        writeln!(to, "and {} more alerts, for which there was no room", summary.alerts_left_out)?;
    }
    Ok(())
}

/// Writes an alert: what, where, since when, for how long, how bad, and what to do.
pub fn alert(alert: &Alert, to: &mut impl Write) -> io::Result<()> {
    let rule = alert.rule.rule();
    let start = alert.start.map_or("at an unknown time".to_owned(), |start| format!("from {start}"));
    write!(to, "[{}] {}, {}: {start}", rule.name, rule.title, alert.engine)?;
    if !alert.duration.is_zero() {
        write!(to, " for {}", lasting(alert.duration))?;
    }
    if alert.ongoing {
        write!(to, ", to the last line")?;
    }
    let (worst, unit) = (number(alert.worst), rule.unit);
    match alert.rule {
        Trouble::Throughput => writeln!(to, "; down to {worst} {unit} of the best pace before")?,
        Trouble::Preemptions | Trouble::OutOfMemory => writeln!(to, "; {unit}: {worst}")?,
        Trouble::Swapped | Trouble::KvCache | Trouble::Waiting => {
            writeln!(to, "; up to {worst} {unit}, bound {}", number(alert.bound))?;
        }
    }
    writeln!(to, "  {}", alert.advice)
}

/// A count, or one decimal where there is one.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Whole seconds as `1d 2h 3m 4s`, without what is zero.
pub(super) fn lasting(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut parts = Vec::new();
    for (length, unit) in [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
        if seconds >= length {
            parts.push(format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}
