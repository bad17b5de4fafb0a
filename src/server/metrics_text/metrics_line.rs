//! Parses one line of a `/metrics` page.

use std::borrow::Cow;

use super::{MetricType, ScrapedSample};

/// The content of a line.
pub(super) enum MetricsLine<'a> {
    /// A blank line or a comment.
    Nothing,
    /// `# HELP name text`.
    Help(&'a str, Cow<'a, str>),
    /// `# TYPE name kind`.
    Type(&'a str, MetricType),
    /// `name{label="value"} 1`.
    Sample(ScrapedSample<'a>),
    /// A line that violates the format.
    Broken,
}

/// Parses a line without its line end.
pub(super) fn parse_line(line: &str) -> MetricsLine<'_> {
    let line = line.trim_start_matches(BLANK_CHARS);
    if line.trim_end_matches(BLANK_CHARS).is_empty() {
        return MetricsLine::Nothing;
    }
    match line.strip_prefix('#') {
        Some(comment) => announcement(comment),
        None => sample(line).map_or(MetricsLine::Broken, MetricsLine::Sample),
    }
}

const BLANK_CHARS: [char; 2] = [' ', '\t'];

/// Splits off the first word and the blanks after it.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(BLANK_CHARS);
    let end = text.find(BLANK_CHARS).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start_matches(BLANK_CHARS))
}

fn announcement(comment: &str) -> MetricsLine<'_> {
    let (what, rest) = first_word(comment);
    let (name, rest) = first_word(rest);
    match what {
        "HELP" | "TYPE" if name.is_empty() => MetricsLine::Broken,
        "HELP" => MetricsLine::Help(name, unescaped(rest)),
        "TYPE" => MetricsLine::Type(name, kind(rest.trim_end_matches(BLANK_CHARS))),
        _ => MetricsLine::Nothing,
    }
}

fn kind(word: &str) -> MetricType {
    match word {
        "counter" => MetricType::Counter,
        // OpenMetrics has types for gauges that hold facts and states.
        "gauge" | "info" | "stateset" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "summary" => MetricType::Summary,
        _ => MetricType::Untyped,
    }
}

fn sample(line: &str) -> Option<ScrapedSample<'_>> {
    if let Some(rest) = line.strip_prefix('{') {
        return quoted(rest);
    }
    let end = line.find(|c| c == '{' || BLANK_CHARS.contains(&c))?;
    let (name, rest) = line.split_at(end);
    if !is_name(name) {
        return None;
    }
    let rest = rest.trim_start_matches(BLANK_CHARS);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    valued(name, labels, rest)
}

/// Parses a quoted name, which may contain characters that plain names must not:
/// `{"vllm.num_requests_running",engine="0"} 3`.
fn quoted(inside: &str) -> Option<ScrapedSample<'_>> {
    let rest = inside.trim_start_matches(BLANK_CHARS).strip_prefix('"')?;
    let (name, rest) = rest.split_at(closing_quote(rest)?);
    let (labels, rest) = labels(&rest[1..])?;
    (!name.is_empty()).then_some(())?;
    valued(name, labels, rest)
}

fn valued<'a>(name: &'a str, labels: SampleLabels<'a>, rest: &'a str) -> Option<ScrapedSample<'a>> {
    let (value, rest) = first_word(rest);
    // OpenMetrics may add an exemplar after a `#`.
    let rest = rest.split('#').next().unwrap_or_default();
    let (timestamp, rest) = first_word(rest);
    let timestamp = if timestamp.is_empty() { None } else { Some(milliseconds(timestamp)?) };
    rest.trim_end_matches(BLANK_CHARS).is_empty().then_some(())?;
    Some(ScrapedSample { name, labels, value: number(value)?, timestamp })
}

/// Parses a number as Go and Python write it, including `+Inf` and `NaN`.
pub(super) fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

fn milliseconds(word: &str) -> Option<i64> {
    let whole = word.parse().ok();
    // OpenMetrics timestamps are seconds with a fraction.
    whole.or_else(|| word.parse::<f64>().ok().map(|seconds| (seconds * 1e3) as i64))
}

fn is_name(name: &str) -> bool {
    // Prometheus allows no dots in plain names, but exporters that keep an application's names write them.
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
    name.chars().all(letter) && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

/// The labels of a sample, with their values.
type SampleLabels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Parses the labels up to the closing brace, and returns them with the text after it.
fn labels(mut text: &str) -> Option<(SampleLabels<'_>, &str)> {
    // Most samples have one label; a vector that grows begins with four.
    let mut labels = Vec::with_capacity(1);
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once('=')?;
        let rest = rest.trim_start_matches(BLANK_CHARS).strip_prefix('"')?;
        let end = closing_quote(rest)?;
        labels.push((name.trim_end_matches(BLANK_CHARS), unescaped(&rest[..end])));
        text = &rest[end + 1..];
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// Resolves `\\`, `\"` and `\n`. Any other backslash stands for itself.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let (letter, length) = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => ('\\', 2),
            Some(b'"') => ('"', 2),
            Some(b'n') => ('\n', 2),
            _ => ('\\', 1),
        };
        plain.push(letter);
        rest = &rest[at + length..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}
