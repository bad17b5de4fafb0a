//! Text in fields of a delta that the client does not know, so that a run can say what it did not read.

use super::text::Text;
use crate::client::protocol::output_deltas::OutputDeltas;
use crate::client::protocol::parsed_event::OutputPart;

/// Fields of a delta that hold no output. `docs/answers.md` lists them.
pub(crate) const FIELDS_WITHOUT_OUTPUT: [&str; 28] = [
    "role",
    "id",
    "name",
    "index",
    "type",
    "object",
    "created",
    "model",
    "status",
    "provider",
    "finish_reason",
    "stop_reason",
    "token_ids",
    "logprobs",
    "tool_call_id",
    "annotations",
    "citations",
    "images",
    "metadata",
    "timestamp",
    "service_tier",
    "system_fingerprint",
    "signature",
    "thinking_signature",
    "thought_signature",
    "reasoning_signature",
    "encrypted_content",
    "provider_specific_fields",
];

/// Whether the value of an unknown field of a delta is text, or has text in it.
pub(crate) fn is_unread_text(name: &str, value: Text<'_>) -> bool {
    let is_text = || match value.json().as_bytes().first() {
        Some(b'"' | b'[' | b'{') => OutputDeltas::default().add(Some(value), OutputPart::Message),
        _ => false,
    };
    !FIELDS_WITHOUT_OUTPUT.contains(&name) && is_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_any_shape_is_found_and_other_values_are_not() {
        for (json, expected) in [
            (r#""hm""#, true),
            (r#"[{"type":"text","text":"hm"}]"#, true),
            (r#"{"text":"hm"}"#, true),
            (r#"{"content":{"parts":[{"text":"hm"}]}}"#, true),
            (r#""""#, false),
            ("null", false),
            ("12", false),
            ("true", false),
            ("[1,2]", false),
            (r#"{"count":3}"#, false),
            (r#"[{"url":"http://x"}]"#, false),
        ] {
            let value: Text<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(is_unread_text("thought", value), expected, "{json}");
            assert!(!is_unread_text("role", value), "{json}");
        }
    }

    #[test]
    fn the_fields_are_those_of_the_documentation() {
        let docs = include_str!("../../../docs/answers.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let names = FIELDS_WITHOUT_OUTPUT.map(|name| format!("`{name}`")).join(", ");
        assert!(docs.contains(&names), "docs/answers.md lacks: {names}");
    }
}
