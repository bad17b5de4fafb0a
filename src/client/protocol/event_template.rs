//! Recognizes events that differ from an earlier one only in their text.
//!
//! A server sends the same JSON with every token, except for the token's text. An event therefore needs no parsing if
//! an event with another text in the same place was already parsed. If the new text holds nothing that ends or escapes
//! a JSON string, a parser would treat both events in the same way.
//!
//! A template keeps only the lengths and a hash of the bytes around the text. If it kept the bytes, thousands of
//! streams would load them into the processor's cache with every event, only to find them equal. The hash has 64 bits
//! and a key per process. The probability that another event has the same hash is 1 in 10^19.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::quality::RandomState;

static HASH_KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The event that later events are compared with.
#[derive(Debug, Default)]
pub(crate) struct EventTemplate {
    /// The number of bytes before the text; zero before an event was learned.
    before: usize,
    /// The number of bytes after the text.
    after: usize,
    /// The hash of the bytes before and after the text.
    hash: u64,
}

impl EventTemplate {
    /// Learns an event in which only `text` carries information. `text` is the characters between two quotes, borrowed
    /// from `event`.
    pub(crate) fn learn(&mut self, event: &[u8], text: &str) {
        let before = text.as_ptr().addr() - event.as_ptr().addr();
        let after = event.len() - before - text.len();
        *self = Self { before, after, hash: hash(&event[..before], &event[before + text.len()..]) };
    }

    /// The text of an event that otherwise equals the learned one; never empty.
    pub(crate) fn match_text<'a>(&self, event: &'a [u8]) -> Option<&'a str> {
        let end = event.len().checked_sub(self.after)?;
        let text = event.get(self.before..end)?;
        let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
        let is_known = self.before > 0 && !text.is_empty() && text.iter().all(is_plain);
        if !is_known || hash(&event[..self.before], &event[end..]) != self.hash {
            return None;
        }
        str::from_utf8(text).ok()
    }
}

fn hash(before: &[u8], after: &[u8]) -> u64 {
    HASH_KEY.hash_one((before, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::protocol::chunk;

    const EVENT: &str = r#"{"id":"a","choices":[{"text":" one","finish_reason":null}],"usage":null}"#;

    fn refrain() -> EventTemplate {
        let mut refrain = EventTemplate::default();
        let start = EVENT.find(" one").unwrap();
        refrain.learn(EVENT.as_bytes(), &EVENT[start..start + 4]);
        refrain
    }

    fn of(text: &str) -> Option<String> {
        refrain().match_text(EVENT.replace(" one", text).as_bytes()).map(ToOwned::to_owned)
    }

    #[test]
    fn another_text_in_the_same_place_is_found() {
        for text in ["x", " two", "🦀 é", "{}[],:", "a long text that goes on and on"] {
            assert_eq!(of(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_text_that_ends_or_escapes_the_string_is_left_to_the_parser() {
        for text in ["", "\"", r#"a","b":"c"#, "\\n", "\\", "a\nb", "\u{0}", "tab\t"] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }

    #[test]
    fn any_other_difference_is_left_to_the_parser() {
        let others = [
            EVENT.replace("\"a\"", "\"b\""),
            EVENT.replace("null}]", "\"stop\"}]"),
            EVENT.replace("\"usage\":null", "\"usage\":{}"),
            EVENT.replace("{\"id\"", " {\"id\""),
            EVENT[..EVENT.len() - 1].to_owned(),
            r#"{"id":"a","choices":[{"text":""#.to_owned(),
            String::new(),
        ];
        for other in others {
            assert_eq!(refrain().match_text(other.as_bytes()), None, "{other}");
        }
        assert_eq!(refrain().match_text(&[EVENT.as_bytes(), b"\xff"].concat()), None);
        let broken = EVENT.as_bytes().iter().map(|&byte| if byte == b'o' { 0xff } else { byte });
        assert_eq!(refrain().match_text(&broken.collect::<Vec<_>>()), None);
    }

    #[test]
    fn before_anything_is_learned_nothing_is_known() {
        assert_eq!(EventTemplate::default().match_text(EVENT.as_bytes()), None);
        assert_eq!(EventTemplate::default().match_text(b"x"), None);
    }

    proptest! {
        /// Replaces any part of an event with any bytes.
        #[test]
        fn what_is_said_of_an_event_is_what_a_parser_says(
            at in 0..EVENT.len(), length in 0..8_usize, put in prop_oneof!["[ -~]{0,6}", "\\PC{0,3}", "[\"\\\\]{1,2}"],
        ) {
            let end = (at + length).min(EVENT.len());
            let event = [&EVENT[..at], &put, &EVENT[end..]].concat();
            if let Some(text) = refrain().match_text(event.as_bytes()) {
                let meaning = chunk::parse(event.as_bytes()).unwrap();
                prop_assert_eq!(meaning.sole_text().map(|(text, _)| text), Some(text));
            }
        }
    }
}
