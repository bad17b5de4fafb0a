//! What the events of a stream have in common.
//!
//! A server sends the same JSON with every token but for the token's text. So an event need not be parsed that is,
//! byte by byte, one that was parsed before with another text in the same place. That is no guess: as long as the new text
//! has nothing in it that ends or escapes a JSON string, a parser would go through both in the same way.

use std::ops::Range;

/// The event that later ones are held against.
#[derive(Debug, Default)]
pub struct Refrain {
    event: Vec<u8>,
    /// Its text, between the quotes.
    text: Range<usize>,
}

impl Refrain {
    /// Keeps an event in which nothing but `text` (the characters between two quotes, borrowed from it) meant anything.
    pub fn learn(&mut self, event: &[u8], text: &str) {
        let start = text.as_ptr().addr() - event.as_ptr().addr();
        self.event.clear();
        self.event.extend_from_slice(event);
        self.text = start..start + text.len();
    }

    /// The text of an event that is otherwise the one that was learned; never empty.
    pub fn text_of<'a>(&self, event: &'a [u8]) -> Option<&'a str> {
        let (before, after) = (self.event.get(..self.text.start)?, self.event.get(self.text.end..)?);
        let text = event.strip_prefix(before)?.strip_suffix(after)?;
        let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
        if before.is_empty() || text.is_empty() || !text.iter().all(is_plain) {
            return None;
        }
        str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drive::client::wire::chunk;

    const EVENT: &str = r#"{"id":"a","choices":[{"text":" one","finish_reason":null}],"usage":null}"#;

    fn refrain() -> Refrain {
        let mut refrain = Refrain::default();
        let start = EVENT.find(" one").unwrap();
        refrain.learn(EVENT.as_bytes(), &EVENT[start..start + 4]);
        refrain
    }

    fn of(text: &str) -> Option<String> {
        refrain().text_of(EVENT.replace(" one", text).as_bytes()).map(ToOwned::to_owned)
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
            assert_eq!(refrain().text_of(other.as_bytes()), None, "{other}");
        }
        assert_eq!(refrain().text_of(&[EVENT.as_bytes(), b"\xff"].concat()), None);
        let broken = EVENT.as_bytes().iter().map(|&byte| if byte == b'o' { 0xff } else { byte });
        assert_eq!(refrain().text_of(&broken.collect::<Vec<_>>()), None);
    }

    #[test]
    fn before_anything_is_learned_nothing_is_known() {
        assert_eq!(Refrain::default().text_of(EVENT.as_bytes()), None);
        assert_eq!(Refrain::default().text_of(b"x"), None);
    }

    proptest! {
        /// Whatever is put into an event instead of whatever was there.
        #[test]
        fn what_is_said_of_an_event_is_what_a_parser_says(
            at in 0..EVENT.len(), length in 0..8_usize, put in prop_oneof!["[ -~]{0,6}", "\\PC{0,3}", "[\"\\\\]{1,2}"],
        ) {
            let end = (at + length).min(EVENT.len());
            let event = [&EVENT[..at], &put, &EVENT[end..]].concat();
            if let Some(text) = refrain().text_of(event.as_bytes()) {
                let meaning = chunk::read(event.as_bytes()).unwrap();
                prop_assert_eq!(meaning.only_text(), Some(text));
            }
        }
    }
}
