//! A server that is watched: a frame that is drawn over the last one, a line that follows the last one, or JSON.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use console::{StyledObject, style};
use serde_json::{Value, json};

use super::{advice, bound, family, figure, label, name, signal, span};
use crate::core::server::{Condition, Kind, Signal, State};
use crate::judge::vigil::{News, Row, Spell, Vigil};

/// Looks that a frame shows.
const SPARKS: usize = 24;

/// What a line without a terminal tells, if the server does, and what it calls it there.
const HEADLINES: [(Signal, &str); 9] = [
    (Signal::Running, "running"),
    (Signal::Waiting, "waiting"),
    (Signal::Swapped, "swapped"),
    (Signal::Preemptions, "preempted"),
    (Signal::KvUsage, "KV"),
    (Signal::PrefixHitRate, "hits"),
    (Signal::GenerationTokens, "generated"),
    (Signal::Ttft, "TTFT P95"),
    (Signal::Itl, "ITL"),
];

/// A line of a frame.
struct Line {
    text: String,
    /// Whether it may be left out where there is no room: it is about something that has no limit.
    spare: bool,
}

/// The server at a URL as it is now, at a time of day: at most so many lines, long ones not cut.
pub fn frame(url: &str, vigil: &Vigil, time: &str, rows: usize) -> Vec<String> {
    let mut lines = vec![Line { text: headline(url, vigil, time), spare: false }];
    let mut last_family = "";
    for (signal, row) in vigil.rows() {
        let here = family(signal);
        if here != last_family {
            lines.push(Line { text: style(here).bold().to_string(), spare: false });
            last_family = here;
        }
        lines.push(Line { text: drawn(signal, row), spare: signal.facts().limit.is_none() });
    }
    fit(lines, rows)
}

fn fit(mut lines: Vec<Line>, rows: usize) -> Vec<String> {
    while lines.len() > rows
        && let Some(at) = lines.iter().rposition(|line| line.spare)
    {
        lines.remove(at);
    }
    lines.into_iter().take(rows).map(|line| line.text).collect()
}

fn headline(url: &str, vigil: &Vigil, time: &str) -> String {
    let engine = vigil.engine().map(|engine| format!("  {engine}")).unwrap_or_default();
    let state = match vigil.silent() {
        Some(silent) => coloured(vigil.state(), format!("no answer for {}", span(silent))),
        None => coloured(vigil.state(), name(vigil.state()).to_owned()),
    };
    format!("{url}{engine}  {state}  {time}")
}

fn drawn(signal: Signal, row: &Row) -> String {
    let (shown, state) = match &row.condition {
        Some(condition) => (figure(condition), coloured(condition.state, advice(condition)).to_string()),
        None => ("-".to_owned(), String::new()),
    };
    let whole = (signal.facts().kind == Kind::Gauge && signal.facts().unit.is_empty()).then_some(1.0);
    let history = sparks(&row.history, whole);
    let line = format!("  {:<28}{shown:>16}  {history:>SPARKS$}  {state}", label(signal, row.aspect));
    line.trim_end().to_owned()
}

/// Green, blue, yellow, red; nothing of that with `NO_COLOR` or without a terminal.
fn coloured(state: State, text: String) -> StyledObject<String> {
    match state {
        State::Ok => style(text).green(),
        State::Hint => style(text).cyan(),
        State::Warn => style(text).yellow(),
        State::Alert => style(text).red().bold(),
    }
}

/// The last figures as bars of eight heights: of the whole, where there is one, else of the highest of them.
fn sparks(history: &VecDeque<Option<f64>>, whole: Option<f64>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = || history.iter().skip(history.len().saturating_sub(SPARKS));
    let highest = shown().flatten().copied().fold(whole.unwrap_or_default(), f64::max);
    let bar = |figure: &Option<f64>| match figure {
        None => ' ',
        Some(_) if highest <= 0.0 => BARS[0],
        // Of eight steps the nearest; what is far above the rest leaves the rest at the ground.
        Some(figure) => BARS[((figure / highest * 7.0).round().max(0.0) as usize).min(7)],
    };
    shown().map(bar).collect()
}

/// The server as it is now, in a line: `WARN  running 38 requests, waiting 0 requests, KV 93.4 %`.
pub fn line(vigil: &Vigil) -> String {
    if let Some(silent) = vigil.silent() {
        return format!("{:<5}  no answer for {}", name(vigil.state()), span(silent));
    }
    let told = HEADLINES.iter().filter_map(|(signal, called)| {
        let condition = vigil.conditions().find(|condition| condition.signal == *signal)?;
        let figure = figure(condition);
        Some(format!("{called} {}", figure.strip_suffix(" requests").unwrap_or(&figure)))
    });
    format!("{:<5}  {}", name(vigil.state()), told.collect::<Vec<_>>().join(", "))
}

/// What is new, in a line.
pub fn news(news: &News) -> String {
    match news {
        News::Silent => "the server does not answer".to_owned(),
        News::Answers(after) => format!("the server answers again, after {}", span(*after)),
        News::BeganAnew => {
            "the server began anew: another process answers, or its counts are lost".to_owned()
        }
        News::Turned { signal, aspect, now, before, lasted } => {
            let what = label(*signal, *aspect);
            match now {
                Some(now) if now.state > *before => {
                    format!("{:<5}  {what} {}  {}", name(now.state), figure(now), reason(now))
                }
                Some(now) => {
                    let figure = figure(now);
                    format!(
                        "{:<5}  {what} {figure}, after {} of {}",
                        name(now.state),
                        span(*lasted),
                        name(*before)
                    )
                }
                None => format!(
                    "{:<5}  {what}: nothing lately, after {} of {}",
                    "ok",
                    span(*lasted),
                    name(*before)
                ),
            }
        }
    }
}

fn reason(condition: &Condition) -> String {
    let remedy = condition.signal.facts().limit.map(|limit| limit.remedy).unwrap_or_default();
    format!("{}: {remedy}", bound(condition))
}

/// What was wrong all in all, after so long.
pub fn summary(url: &str, vigil: &Vigil, watched: Duration, to: &mut impl Write) -> io::Result<()> {
    let mut spells = vigil.spells().peekable();
    let verdict = match (vigil.answered(), spells.peek()) {
        (false, _) => "it never answered with metrics that we know",
        (true, None) => "nothing was wrong",
        (true, Some(_)) => "this was wrong:",
    };
    writeln!(to, "{url}: watched for {}, {verdict}", span(watched))?;
    spells.try_for_each(|(signal, spell)| {
        let Spell { times, time, worst, .. } = spell;
        let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        writeln!(
            to,
            "  {:<5}  {}: {times}, {} in all, at worst {}  {}",
            name(worst.state),
            label(signal, worst.aspect),
            span(*time),
            figure(worst),
            reason(worst)
        )
    })
}

/// The server as it is now, for scripts. The time is in RFC 3339.
pub fn look_json(url: &str, vigil: &Vigil, time: &str) -> Value {
    json!({
        "at": time,
        "url": url,
        "answers": vigil.silent().is_none(),
        "state": vigil.state(),
        "signals": vigil.conditions().map(signal).collect::<Vec<_>>(),
    })
}

/// What was wrong all in all, for scripts.
pub fn summary_json(url: &str, vigil: &Vigil, watched: Duration) -> Value {
    let spell = |(signal, spell): (Signal, &Spell)| {
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
        "alerted": vigil.alerted(),
        "troubles": vigil.spells().map(spell).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
