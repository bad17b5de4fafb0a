//! Filters most numbers out of a JSON document while it arrives.
//!
//! Embeddings are megabytes of numbers that the client does not use, and their token count follows them. The filter
//! therefore keeps only the first number of a list that begins with a number. The result is small JSON of the same
//! shape.

/// Takes a document in pieces and keeps the parts that may matter.
#[derive(Debug, Default)]
pub(crate) struct NumberArrayFilter {
    kept: Vec<u8>,
    place: LexState,
}

/// The position of the next byte in the document.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LexState {
    /// Outside strings and lists of numbers.
    #[default]
    Open,
    /// At the beginning of a list.
    List,
    /// In the first number of a list.
    First,
    /// After the first number of a list.
    Rest,
    /// In a string.
    Text,
    /// In a string, after a backslash.
    Escape,
}

impl NumberArrayFilter {
    /// The filtered document so far.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Takes the next piece of the document.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let run = self.run_length(rest);
            if run > 0 {
                if self.place != LexState::Rest {
                    self.kept.extend_from_slice(&rest[..run]);
                }
                rest = &rest[run..];
            } else {
                self.advance(byte);
                rest = &rest[1..];
            }
        }
    }

    /// The number of leading bytes that do not change the position.
    fn run_length(&self, bytes: &[u8]) -> usize {
        let turns = |byte: &u8| match self.place {
            LexState::Open => matches!(byte, b'"' | b'['),
            LexState::List => !byte.is_ascii_whitespace(),
            LexState::First | LexState::Rest => {
                !is_number_byte(*byte) && (self.place == LexState::First || *byte != b',')
            }
            LexState::Text => matches!(byte, b'"' | b'\\'),
            LexState::Escape => true,
        };
        bytes.iter().position(turns).unwrap_or(bytes.len())
    }

    /// Moves to the position after a byte.
    fn advance(&mut self, byte: u8) {
        if self.place == LexState::Rest && byte != b']' {
            // A value of another type follows the numbers.
            self.kept.push(b',');
        }
        self.place = match (self.place, byte) {
            (LexState::First, b',') => {
                self.place = LexState::Rest;
                return;
            }
            (LexState::List, b'-' | b'0'..=b'9') => LexState::First,
            (LexState::Text, b'\\') => LexState::Escape,
            (LexState::Text, _) => LexState::Open,
            (LexState::Escape, _) => LexState::Text,
            (_, b'"') => LexState::Text,
            (_, b'[') => LexState::List,
            _ => LexState::Open,
        };
        self.kept.push(byte);
    }
}

fn is_number_byte(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E') || byte.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The filtered form of a text that arrives in pieces of this size.
    fn sieved(text: &str, piece: usize) -> String {
        let mut filter = NumberArrayFilter::default();
        text.as_bytes().chunks(piece).for_each(|bytes| filter.push(bytes));
        String::from_utf8(filter.kept().to_vec()).unwrap()
    }

    /// The filtered form, computed from the parsed document.
    fn pruned(value: &Value) -> Value {
        match value {
            Value::Array(list) if list.first().is_some_and(Value::is_number) => {
                let others = list[1..].iter().skip_while(|entry| entry.is_number()).map(pruned);
                std::iter::once(list[0].clone()).chain(others).collect()
            }
            Value::Array(list) => list.iter().map(pruned).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), pruned(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    #[test]
    fn of_a_list_of_numbers_the_first_is_kept() {
        let vectors = r#"{"data":[{"embedding":[0.1, -2e-3,3 ]},{"embedding":[ 4]}],"n":[[1,2],[3]],"usage":{"prompt_tokens":5}}"#;
        let left =
            r#"{"data":[{"embedding":[0.1]},{"embedding":[ 4]}],"n":[[1],[3]],"usage":{"prompt_tokens":5}}"#;
        assert_eq!(sieved(vectors, 1000), left);
        assert_eq!(sieved(vectors, 1), left);
    }

    #[test]
    fn what_is_kept_does_not_follow_the_numbers() {
        let mut filter = NumberArrayFilter::default();
        filter.push(b"{\"data\":[{\"embedding\":[0.5");
        (0..1000).for_each(|_| filter.push(b",-0.001234567,1.5e-8".repeat(50).as_slice()));
        filter.push(b"]}],\"usage\":{\"prompt_tokens\":7}}");
        assert_eq!(filter.kept(), br#"{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":7}}"#);
    }

    #[test]
    fn texts_are_left_alone_whatever_is_in_them() {
        for text in [r#"{"a":"[1,2,3]"}"#, r#"{"a":"\"[1,2]\\"}"#, r#"["[1,2",null,true,[]]"#, "", "5"] {
            assert_eq!(sieved(text, 1000), text);
        }
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in ["[1,2", "[1,2}", "{\"a\":[1,2]", "[1,2]]"] {
            let left = sieved(text, 1000);
            assert!(serde_json::from_str::<Value>(&left).is_err(), "{text}: {left}");
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            (-1e3..1e3_f64).prop_map(Value::from),
            "[\\[\\]\"\\\\,0-9é]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(-9.0..9.0_f64, 0..6).prop_map(|numbers| json!(numbers)),
                prop::collection::btree_map("[a-c\\[]{1,2}", inner, 0..3).prop_map(|fields| json!(fields)),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_document_is_sieved_as_its_values_are(value in document(), piece in 1..9_usize, pretty: bool) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let left: Value = serde_json::from_str(&sieved(&text, piece)).unwrap();
            prop_assert_eq!(left, pruned(&value));
        }
    }
}
