//! Texts of an answer, which stay raw JSON. The client can see whether a text is empty without decoding it, and most
//! runs need nothing else. Parsing an event therefore allocates nothing, even for texts with escapes.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A text as raw JSON.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> Text<'a> {
    /// Whether the text is empty.
    pub fn is_empty(self) -> bool {
        matches!(self.0.get(), "\"\"" | "[]" | "{}" | "null" | "false")
    }

    /// The text's JSON.
    pub fn json(self) -> &'a str {
        self.0.get()
    }

    /// The length of the text's JSON, in bytes, which grows with the text.
    pub fn length(self) -> usize {
        self.0.get().len()
    }

    /// The decoded text. A value that is not a string stays as it is written.
    pub fn decode(self) -> Cow<'a, str> {
        let json = self.0.get();
        match json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) if !text.contains('\\') => text.into(),
            _ => serde_json::from_str::<String>(json).map_or(json.into(), Cow::from),
        }
    }

    /// Whether the text equals this string, ignoring ASCII case. The string must not have escapes.
    pub fn is(self, text: &str) -> bool {
        let string = self.0.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        string.is_some_and(|string| string.eq_ignore_ascii_case(text))
    }
}
