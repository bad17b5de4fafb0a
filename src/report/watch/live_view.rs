//! The live view of a monitored server: a frame that replaces the last one, a line appended to the last one, or JSON.

use std::io::{self, Write};
use std::time::Duration;

use console::{StyledObject, style};
use serde_json::{Value, json};

use super::{advice, duration_text, family, label, limit_text, signal, status_name, value_text};
use crate::model::server::{ServerSignal, SignalCondition, SignalKind, SignalStatus};
use crate::report::sparkline::sparkline;
use crate::server::monitor::{Incident, ServerMonitor, SignalTrack, StatusChange};

/// Samples that a sparkline shows.
const SPARKLINE_LEN: usize = 24;

/// The signals of a plain line, with their labels there. A signal that the server does not report is left out.
const HEADLINE_SIGNALS: [(ServerSignal, &str); 9] = [
    (ServerSignal::Running, "running"),
    (ServerSignal::Waiting, "waiting"),
    (ServerSignal::Swapped, "swapped"),
    (ServerSignal::Preemptions, "preempted"),
    (ServerSignal::KvUsage, "KV"),
    (ServerSignal::PrefixHitRate, "hits"),
    (ServerSignal::GenerationTokens, "generated"),
    (ServerSignal::Ttft, "TTFT P95"),
    (ServerSignal::Itl, "ITL"),
];

struct FrameLine {
    text: String,
    /// Whether the frame may omit the line for lack of space, since its signal has no limit.
    spare: bool,
}

/// A server to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'s> {
    /// The URL of the server's metrics.
    pub url: &'s str,
    /// The server's monitor.
    pub monitor: &'s ServerMonitor,
    /// What is missing while the server is unreachable: an answer, or the metrics in it.
    pub missing: &'s str,
}

/// Renders the server's current state at a time of day, in at most `rows` lines. Long lines are not cut.
pub(crate) fn frame(server: Shown<'_>, time: &str, rows: usize) -> Vec<String> {
    let monitor = server.monitor;
    let mut lines = vec![FrameLine { text: headline(server, time), spare: false }];
    let mut last_family = "";
    for (signal, row) in monitor.tracks() {
        let here = family(signal);
        if here != last_family {
            lines.push(FrameLine { text: style(here).bold().to_string(), spare: false });
            last_family = here;
        }
        lines.push(FrameLine { text: track_line(signal, row), spare: signal.info().limit.is_none() });
    }
    fit(lines, rows)
}

fn fit(mut lines: Vec<FrameLine>, rows: usize) -> Vec<String> {
    let count = lines.len();
    // The last line tells how many are left out.
    let tells = count > rows && rows > 2;
    let room = rows - usize::from(tells);
    while lines.len() > room
        && let Some(at) = lines.iter().rposition(|line| line.spare)
    {
        lines.remove(at);
    }
    let mut shown: Vec<String> = lines.into_iter().take(room).map(|line| line.text).collect();
    if tells {
        shown.push(format!("  … {} more lines need a larger terminal", count - shown.len()));
    }
    shown
}

fn headline(Shown { url, monitor, missing }: Shown<'_>, time: &str) -> String {
    let engine = monitor.engine().map(|engine| format!("  {engine}")).unwrap_or_default();
    let state = match monitor.unreachable_for() {
        Some(silent) => colored(monitor.status(), format!("{missing} for {}", duration_text(silent))),
        None => colored(monitor.status(), status_name(monitor.status()).to_owned()),
    };
    format!("{url}{engine}  {state}  {time}")
}

fn track_line(signal: ServerSignal, row: &SignalTrack) -> String {
    let (shown, state) = match &row.condition {
        Some(condition) => (value_text(condition), colored(condition.state, advice(condition)).to_string()),
        None => ("-".to_owned(), String::new()),
    };
    let whole = (signal.info().kind == SignalKind::Gauge && signal.info().unit.is_empty()).then_some(1.0);
    let history = sparkline(row.history.iter().copied(), SPARKLINE_LEN, whole);
    let line = format!("  {:<28}{shown:>16}  {history:>SPARKLINE_LEN$}  {state}", label(signal, row.aspect));
    line.trim_end().to_owned()
}

/// Colors a text by status: green, blue, yellow or red; none with `NO_COLOR` or without a terminal.
fn colored(state: SignalStatus, text: String) -> StyledObject<String> {
    match state {
        SignalStatus::Ok => style(text).green(),
        SignalStatus::Hint => style(text).cyan(),
        SignalStatus::Warn => style(text).yellow(),
        SignalStatus::Alert => style(text).red().bold(),
    }
}

/// Renders the current state in a line: `WARN  running 38 requests, waiting 0 requests, KV 93.4 %`, or what is
/// missing.
pub(crate) fn summary_line(monitor: &ServerMonitor, missing: &str) -> String {
    if let Some(silent) = monitor.unreachable_for() {
        return format!("{:<5}  {missing} for {}", status_name(monitor.status()), duration_text(silent));
    }
    let levels = HEADLINE_SIGNALS.iter().filter_map(|(signal, called)| {
        let condition = monitor.conditions().find(|condition| condition.signal == *signal)?;
        let figure = value_text(condition);
        Some(format!("{called} {}", figure.strip_suffix(" requests").unwrap_or(&figure)))
    });
    format!("{:<5}  {}", status_name(monitor.status()), levels.collect::<Vec<_>>().join(", "))
}

/// Renders a status change in a line.
pub(crate) fn status_change_text(changes: &StatusChange) -> String {
    match changes {
        StatusChange::Unreachable => "the server does not answer".to_owned(),
        StatusChange::Reachable(after) => {
            format!("the server answers again, after {}", duration_text(*after))
        }
        StatusChange::Restarted => {
            "the server restarted: another process answers, or its counters were reset".to_owned()
        }
        StatusChange::SignalChanged { signal, aspect, now, before, lasted } => {
            let what = label(*signal, *aspect);
            match now {
                Some(now) if now.state > *before => {
                    format!("{:<5}  {what} {}  {}", status_name(now.state), value_text(now), reason(now))
                }
                Some(now) => {
                    let figure = value_text(now);
                    format!(
                        "{:<5}  {what} {figure}, after {} of {}",
                        status_name(now.state),
                        duration_text(*lasted),
                        status_name(*before)
                    )
                }
                None => format!(
                    "{:<5}  {what}: nothing lately, after {} of {}",
                    "ok",
                    duration_text(*lasted),
                    status_name(*before)
                ),
            }
        }
    }
}

fn reason(condition: &SignalCondition) -> String {
    let remedy = condition.signal.info().limit.map(|limit| limit.remedy).unwrap_or_default();
    format!("{}: {remedy}", limit_text(condition))
}

/// Writes a summary of all incidents after the server was monitored for `watched`.
pub(crate) fn summary(
    url: &str,
    monitor: &ServerMonitor,
    watched: Duration,
    to: &mut impl Write,
) -> io::Result<()> {
    let mut spells = monitor.incidents().peekable();
    let verdict = match (monitor.has_answered(), spells.peek()) {
        (false, _) => "it never answered with known metrics",
        (true, None) => "nothing was wrong",
        (true, Some(_)) => "this was wrong:",
    };
    writeln!(to, "{url}: watched for {}, {verdict}", duration_text(watched))?;
    spells.try_for_each(|(signal, spell)| {
        let Incident { times, time, worst, .. } = spell;
        let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        writeln!(
            to,
            "  {:<5}  {}: {times}, {} in total, peak {}  {}",
            status_name(worst.state),
            label(signal, worst.aspect),
            duration_text(*time),
            value_text(worst),
            reason(worst)
        )
    })
}

/// Renders the current state as JSON; `time` is in RFC 3339.
pub(crate) fn status_json(url: &str, monitor: &ServerMonitor, time: &str) -> Value {
    json!({
        "at": time,
        "url": url,
        "answers": monitor.unreachable_for().is_none(),
        "state": monitor.status(),
        "signals": monitor.conditions().map(signal).collect::<Vec<_>>(),
    })
}

/// Renders the summary of all incidents as JSON.
pub(crate) fn summary_json(url: &str, monitor: &ServerMonitor, watched: Duration) -> Value {
    let spell = |(signal, spell): (ServerSignal, &Incident)| {
        json!({
            "signal": signal,
            "times": spell.times,
            "seconds": spell.time.as_secs_f64(),
            "worst": super::signal(&spell.worst),
        })
    };
    json!({
        "url": url,
        "watched_s": watched.as_secs_f64(),
        "alerted": monitor.has_alerted(),
        "troubles": monitor.incidents().map(spell).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
