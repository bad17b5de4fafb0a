//! The summary of a server's log as text.

use std::io::{self, Write};
use std::time::Duration;

use super::text::section;
use crate::report::format::{NOT_AVAILABLE, share_text};
use crate::server::log_summary::{
    ALERT_RULES, EngineLevels, LogAlert, LogIssue, LogSummary, RangeSummary, SpecDecodeHistory, ValueRange,
};

/// Alerts of each rule that are printed in full.
const MAX_SHOWN_ALERTS: usize = 10;

/// Writes the summary of a log; `name` is the log's name.
pub(crate) fn render(summary: &LogSummary, name: &str, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Log: {name}")?;
    match (summary.start, summary.end) {
        (Some(start), Some(end)) => {
            writeln!(to, "Span: {start} to {end} ({})", duration_text(end.since(start)))?
        }
        _ => writeln!(to, "Span: {NOT_AVAILABLE} (no timestamps, so durations are unknown)")?,
    }
    let lines = summary.lines;
    write!(to, "Lines: {}, {} of statistics", lines.all, lines.statistics)?;
    for (count, what) in [(lines.requests, "of requests"), (lines.errors, "of errors")] {
        if count > 0 {
            write!(to, ", {count} {what}")?;
        }
    }
    writeln!(to, ", {} unknown", lines.unknown)?;
    if !summary.statuses.is_empty() {
        let statuses: Vec<_> =
            summary.statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        writeln!(to, "Answers: {}", statuses.join(", "))?;
    }
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
    if let Some(together) = &summary.together {
        section("All engines together", to)?;
        load(together, to)?;
    }
    if let Some(drafting) = &summary.drafting {
        section("Speculative decoding", to)?;
        speculation(drafting, to)?;
    }
    section("Alerts", to)?;
    alerts(summary, to)
}

fn start_up(summary: &LogSummary, to: &mut impl Write) -> io::Result<()> {
    let facts = &summary.start_up;
    if facts.is_empty() {
        return Ok(());
    }
    section("Start-up", to)?;
    if summary.starts > 1 {
        writeln!(to, "Engine starts: {} (the rest describes the last)", summary.starts)?;
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

fn load(levels: &EngineLevels, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Statistics lines: {}, {} with work", levels.lines, levels.busy_lines)?;
    let rates = [
        ("Prompt throughput", levels.prompt_throughput),
        ("Generation throughput", levels.generation_throughput),
    ];
    for (name, range) in rates {
        match range.summarize() {
            Some(RangeSummary { min, mean, max, .. }) => {
                writeln!(to, "{name}: min {min:.1} · mean {mean:.1} · max {max:.1} tok/s")?;
            }
            None => writeln!(to, "{name}: {NOT_AVAILABLE}")?,
        }
    }
    for (name, range) in
        [("Running", levels.running), ("Waiting", levels.waiting), ("Swapped", levels.swapped)]
    {
        range_line(name, range, |value| format!("{value:.0}"), |value| format!("{value:.1}"), to)?;
    }
    let shares =
        [("KV cache usage", levels.kv_cache_usage), ("CPU KV cache usage", levels.cpu_kv_cache_usage)];
    for (name, range) in shares {
        range_line(name, range, share_text, share_text, to)?;
    }
    let rates = [
        ("Prefix cache hit rate", levels.prefix_cache_hit_rate),
        ("CPU prefix cache hit rate", levels.cpu_prefix_cache_hit_rate),
        ("External prefix cache hit rate", levels.external_prefix_cache_hit_rate),
        ("Multimodal cache hit rate", levels.mm_cache_hit_rate),
    ];
    for (name, range) in rates {
        if let Some(RangeSummary { mean, last, .. }) = range.summarize() {
            writeln!(to, "{name}: last {} · mean {}", share_text(last), share_text(mean))?;
        }
    }
    if levels.preemptions > 0 {
        writeln!(to, "Preemptions: {}", levels.preemptions)?;
    }
    Ok(())
}

fn range_line(
    name: &str,
    range: ValueRange,
    whole: fn(f64) -> String,
    mean_of: fn(f64) -> String,
    to: &mut impl Write,
) -> io::Result<()> {
    let Some(RangeSummary { mean, max, at, .. }) = range.summarize() else { return Ok(()) };
    write!(to, "{name}: mean {} · peak {}", mean_of(mean), whole(max))?;
    match at {
        Some(at) if max > 0.0 => writeln!(to, " at {at}"),
        _ => writeln!(to),
    }
}

fn speculation(drafting: &SpecDecodeHistory, to: &mut impl Write) -> io::Result<()> {
    if let Some(rate) = drafting.acceptance_rate {
        writeln!(
            to,
            "Accepted drafts: {} ({} of {} tokens)",
            share_text(rate),
            drafting.accepted,
            drafting.drafted
        )?;
    }
    if let Some(RangeSummary { min, mean, max, .. }) = drafting.mean_length.summarize() {
        writeln!(to, "Mean acceptance length: min {min:.2} · mean {mean:.2} · max {max:.2} tokens")?;
    }
    if !drafting.per_position.is_empty() {
        let positions: Vec<_> = drafting.per_position.iter().map(|&value| share_text(value)).collect();
        writeln!(to, "Accepted by position, at last: {}", positions.join(", "))?;
    }
    Ok(())
}

fn alerts(summary: &LogSummary, to: &mut impl Write) -> io::Result<()> {
    if summary.preemptions > 0 {
        writeln!(to, "Preemptions in all: {}", summary.preemptions)?;
    }
    if summary.alerts.is_empty() {
        let readable =
            if summary.lines.are_mostly_damaged() { " in the readable lines; most are damaged" } else { "" };
        return writeln!(to, "none{readable}");
    }
    for rule in ALERT_RULES {
        let of_rule: Vec<_> = summary.alerts.iter().filter(|alert| alert.rule == rule.trouble).collect();
        of_rule.iter().take(MAX_SHOWN_ALERTS).try_for_each(|found| render_alert(found, to))?;
        let more = of_rule.get(MAX_SHOWN_ALERTS..).unwrap_or_default();
        if !more.is_empty() {
            let whole: Duration = more.iter().map(|alert| alert.duration).sum();
            writeln!(
                to,
                "[{}] and {} more, {} in all (`output.json` has them)",
                rule.name,
                more.len(),
                duration_text(whole)
            )?;
        }
    }
    if summary.alerts_left_out > 0 {
        writeln!(to, "and {} more alerts (not recorded)", summary.alerts_left_out)?;
    }
    Ok(())
}

/// Writes an alert: the rule, the engine, start, duration, worst value, and advice.
pub(crate) fn render_alert(alert: &LogAlert, to: &mut impl Write) -> io::Result<()> {
    let rule = alert.rule.default_rule();
    let start = alert.start.map_or("at an unknown time".to_owned(), |start| format!("from {start}"));
    write!(to, "[{}] {}, {}: {start}", rule.name, rule.title, alert.engine)?;
    if !alert.duration.is_zero() {
        write!(to, " for {}", duration_text(alert.duration))?;
    }
    if alert.ongoing {
        write!(to, ", to the last line")?;
    }
    let (worst, unit) = (number(alert.worst), rule.unit);
    match alert.rule {
        LogIssue::Throughput => writeln!(to, "; down to {worst} {unit} of the earlier best")?,
        trouble if trouble.is_event_count() => writeln!(to, "; {unit}: {worst}")?,
        LogIssue::Clock => writeln!(to, "; by {worst} {unit}")?,
        _ => writeln!(to, "; up to {worst} {unit}, limit {}", number(alert.bound))?,
    }
    writeln!(to, "  {}", alert.advice)
}

/// Formats a count, with one decimal if it is fractional.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Formats whole seconds as `1d 2h 3m 4s`, without parts that are zero.
pub(super) fn duration_text(duration: Duration) -> String {
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
