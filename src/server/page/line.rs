//! One line of a page.

use std::borrow::Cow;

use super::{Kind, Sample};

/// What a line is.
pub(super) enum Line<'a> {
    /// Blank, or a comment for people.
    Nothing,
    /// `# HELP name text`.
    Help(&'a str, Cow<'a, str>),
    /// `# TYPE name kind`.
    Type(&'a str, Kind),
    /// `name{label="value"} 1`.
    Sample(Sample<'a>),
    /// None of these.
    Broken,
}

/// Reads a line without its end.
pub(super) fn read(line: &str) -> Line<'_> {
    let line = line.trim_start_matches(BLANKS);
    if line.trim_end_matches(BLANKS).is_empty() {
        return Line::Nothing;
    }
    match line.strip_prefix('#') {
        Some(comment) => announcement(comment),
        None => sample(line).map_or(Line::Broken, Line::Sample),
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The first word and what follows the blanks after it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(BLANKS);
    let end = text.find(BLANKS).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start_matches(BLANKS))
}

fn announcement(comment: &str) -> Line<'_> {
    let (what, rest) = word(comment);
    let (name, rest) = word(rest);
    match what {
        "HELP" | "TYPE" if name.is_empty() => Line::Broken,
        "HELP" => Line::Help(name, unescaped(rest)),
        "TYPE" => Line::Type(name, kind(rest.trim_end_matches(BLANKS))),
        _ => Line::Nothing,
    }
}

fn kind(word: &str) -> Kind {
    match word {
        "counter" => Kind::Counter,
        // OpenMetrics has types for gauges that tell facts and states.
        "gauge" | "info" | "stateset" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        _ => Kind::Untyped,
    }
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(|c| c == '{' || BLANKS.contains(&c))?;
    let (name, rest) = line.split_at(end);
    if !is_name(name) {
        return None;
    }
    let rest = rest.trim_start_matches(BLANKS);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let (value, rest) = word(rest);
    // OpenMetrics may add an example after a `#`.
    let rest = rest.split('#').next().unwrap_or_default();
    let (timestamp, rest) = word(rest);
    let timestamp = if timestamp.is_empty() { None } else { Some(milliseconds(timestamp)?) };
    rest.trim_end_matches(BLANKS).is_empty().then_some(())?;
    Some(Sample { name, labels, value: number(value)?, timestamp })
}

/// A number as Go and Python write it, `+Inf` and `NaN` included.
pub(super) fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

fn milliseconds(word: &str) -> Option<i64> {
    let whole = word.parse().ok();
    // OpenMetrics has seconds with a fraction.
    whole.or_else(|| word.parse::<f64>().ok().map(|seconds| (seconds * 1e3) as i64))
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    name.chars().all(letter) && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

/// The labels up to the closing brace, and what follows it.
#[expect(clippy::type_complexity, reason = "the labels of a sample, and the rest of the line")]
fn labels(mut text: &str) -> Option<(Vec<(&str, Cow<'_, str>)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once('=')?;
        let rest = rest.trim_start_matches(BLANKS).strip_prefix('"')?;
        let end = closing_quote(rest)?;
        labels.push((name.trim_end_matches(BLANKS), unescaped(&rest[..end])));
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

/// `\\`, `\"` and `\n` resolved; any other backslash stands for itself.
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
