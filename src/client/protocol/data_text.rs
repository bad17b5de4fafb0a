//! The meaning of stream data that is not a protocol event: a ping, or an error in plain text.
//!
//! Proxies and gateways may write anything into a stream. The rule, which `docs/answers.md` states too: a ping is left
//! out, a text that reports an error (see [`super::error_text`]) fails the request, and any other text is left out like
//! a ping. Whether the answer is whole is decided by its finish reason. Text that looks like JSON but is invalid is a
//! chunk that was cut.

use serde_json::Value;

use super::error_text::is_error_text;

/// The meaning of data that is not an event of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataText {
    /// It is not part of the answer, and says nothing.
    Ping,
    /// It is a text that is not part of the answer.
    Notice,
    /// It reports an error.
    Error,
    /// It is a damaged event, or a value that may be output.
    Damaged,
}

/// Words that are a ping, also in brackets or quotes, with a comment's colon, or with a time after them.
pub(crate) const PING_WORDS: [&str; 7] =
    ["ping", "pong", "heartbeat", "keepalive", "keep-alive", "keep_alive", "keep alive"];

impl DataText {
    /// Classifies data that the protocol's parser did not accept.
    pub(crate) fn classify(data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data);
        let text = text.trim();
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Null | Value::Bool(_) | Value::Number(_)) => Self::Ping,
            Ok(Value::String(inner)) => Self::from_words(&inner),
            Ok(Value::Array(list)) if list.is_empty() => Self::Ping,
            Ok(Value::Object(fields)) if fields.is_empty() => Self::Ping,
            Ok(Value::Array(_) | Value::Object(_)) => Self::Damaged,
            Err(_) if is_cut_json(text) => Self::Damaged,
            Err(_) => Self::from_words(text),
        }
    }

    /// Whether an event is a ping of a server or a proxy by its name or its data.
    pub(crate) fn is_ping_event(name: &[u8], data: &[u8]) -> bool {
        Self::is_ping_name(name) || Self::is_certain_ping(data)
    }

    /// Whether an event's name says that it is a ping.
    pub(crate) fn is_ping_name(name: &[u8]) -> bool {
        PING_WORDS.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Whether data is a ping for certain, before it is parsed: a comment that a gateway has wrapped as data
    /// (`: OPENROUTER PROCESSING`), a ping's word, or an empty value.
    pub(crate) fn is_certain_ping(data: &[u8]) -> bool {
        const BLANK: [&[u8]; 4] = [b"{}", b"[]", b"\"\"", b"null"];
        match data.first() {
            Some(b':') => true,
            Some(b'{') => data == b"{}",
            _ => BLANK.contains(&data) || is_ping(&String::from_utf8_lossy(data)),
        }
    }

    fn from_words(text: &str) -> Self {
        match () {
            () if text.trim().is_empty() || is_ping(text) => Self::Ping,
            () if is_error_text(text) => Self::Error,
            () => Self::Notice,
        }
    }
}

/// Whether a text is a ping's word, apart from brackets, quotes and a colon around it, and from a time after it
/// (`ping - 2026-11-30T17:00:00Z`).
fn is_ping(text: &str) -> bool {
    let text = text.trim_start_matches(|char: char| !char.is_ascii_alphanumeric());
    let is_time = |rest: &str| rest.chars().all(|char| !char.is_alphabetic() || matches!(char, 'T' | 'Z'));
    PING_WORDS.iter().any(|word| {
        let head = text.get(..word.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(word) && is_time(&text[word.len()..]))
    })
}

/// Whether a text begins like JSON with something in it: an object, or a list of objects, lists or texts.
fn is_cut_json(text: &str) -> bool {
    let inner = text.strip_prefix('[').map(str::trim_start);
    text.starts_with('{') || inner.is_some_and(|inner| inner.starts_with(['{', '[', '"']))
}

#[cfg(test)]
mod tests {
    use super::DataText::{Damaged, Error, Notice, Ping};
    use super::*;

    /// Where the texts are from: sse-starlette's `ping - TIME`; comments of OpenRouter as data (mnfst/llm-gateway
    /// #2053); `data: [HEARTBEAT]`, `data: ping` and `data: keep-alive` of gateways; nginx's and Envoy's error pages
    /// (`upstream connect error or disconnect/reset before headers`, envoyproxy/envoy `source/common/http/utility.cc`);
    /// Starlette's `Internal Server Error`; Python's tracebacks; codex2api #696 (chunks that a heartbeat cut).
    #[test]
    fn data_that_is_no_event_is_a_ping_an_error_or_damaged() {
        let cases: [(DataText, &[&str]); 4] = [
            (
                Ping,
                &[
                    "[HEARTBEAT]",
                    "ping",
                    "PING",
                    "keep-alive",
                    "[keep-alive]",
                    ": keep-alive",
                    "\"heartbeat\"",
                    "ping - 2026-11-30 17:00:00.123456",
                    "ping - 2026-11-30T17:00:00Z",
                    "1764441234",
                    "true",
                ],
            ),
            (
                Notice,
                &[
                    "OPENROUTER PROCESSING",
                    "[START]",
                    "\"still here\"",
                    "waiting for a slot",
                    "-",
                    "4000 tokens so far",
                    "switching to failover provider",
                    "not found in cache, forwarding",
                    "no errors yet",
                ],
            ),
            (
                Error,
                &[
                    "Internal Server Error",
                    "error: out of memory",
                    "[ERROR] CUDA error: device-side assert",
                    "\"Internal Server Error\"",
                    "upstream connect error or disconnect/reset before headers",
                    "502 Bad Gateway",
                    "429 slow down",
                    "Too Many Requests",
                    "RuntimeError('x')",
                    "Traceback (most recent call last):",
                    "no healthy upstream",
                    "request cancelled",
                    "<html><head><title>504 Gateway Time-out</title></head></html>",
                    "ping failed",
                ],
            ),
            (
                Damaged,
                &[
                    "{\"choices\":[{\"delta\":",
                    "{\"choices\":[{]}",
                    "{'choices': []}",
                    "[{\"choices\":[",
                    "[\"a\"]",
                    "[[",
                    "{} {}",
                ],
            ),
        ];
        for (expected, texts) in cases {
            for text in texts {
                assert_eq!(DataText::classify(text.as_bytes()), expected, "{text}");
            }
        }
    }

    #[test]
    fn the_words_are_those_of_the_documentation() {
        let docs = include_str!("../../../docs/answers.md");
        let quoted =
            |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let docs = docs.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = quoted(&PING_WORDS);
        assert!(docs.contains(&words), "docs/answers.md lacks: {words}");
    }
}
