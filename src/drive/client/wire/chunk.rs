//! The events of completions and chat streams, and the documents that stand for a whole stream.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::few::Few;
use super::meaning::{Meaning, Output, Piece, Text, Usage, describe_error};
use crate::core::record::Finish;

/// Reads the data of one event (`[DONE]` aside, which is no JSON), or a document.
pub fn read(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    let Chunk { choices, usage, error } = serde_json::from_slice(data)?;
    let finish = choices.iter().filter_map(|choice| choice.finish_reason).last();
    Ok(Meaning {
        output: Output::pieces(choices.iter().flat_map(Choice::pieces)),
        usage: usage.and_then(RawUsage::counted),
        finish: finish.map(|reason| Finish::from_reason(&reason.decode())),
        error: error.map(|error| describe_error(error.get())),
        is_end: false,
    })
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Few<Choice<'a>>,
    usage: Option<RawUsage>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Deserialize)]
struct RawUsage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    prompt_tokens_details: Option<Details>,
    completion_tokens_details: Option<OutputDetails>,
}

/// More about the tokens of a prompt.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Details {
    pub(super) cached_tokens: Option<u32>,
}

/// More about the tokens of an answer.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct OutputDetails {
    pub(super) reasoning_tokens: Option<u32>,
}

impl RawUsage {
    fn counted(self) -> Option<Usage> {
        let cached = self.prompt_tokens_details.and_then(|details| details.cached_tokens);
        let reasoning = self.completion_tokens_details.and_then(|details| details.reasoning_tokens);
        Usage::of(self.prompt_tokens, self.completion_tokens)
            .map(|usage| usage.with_cached(cached).with_reasoning(reasoning))
    }
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    /// In a document, what a stream's deltas add up to.
    #[serde(borrow)]
    message: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Text<'a>>,
}

impl<'a> Choice<'a> {
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'a>> {
        let deltas = self.delta.iter().chain(&self.message);
        self.text.map(Piece::said).into_iter().chain(deltas.flat_map(Delta::pieces))
    }
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    /// The older name of `reasoning`, which other servers still use.
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Few<ToolCall<'a>>,
    /// The older form of `tool_calls`.
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

impl<'a> Delta<'a> {
    fn pieces(&self) -> impl Iterator<Item = Piece<'a>> {
        // A server that goes over to the new name sends the same text under both.
        let names = [self.reasoning, self.reasoning_content];
        let reasoning = names.into_iter().flatten().find(|text| !text.is_empty());
        let calls = self.tool_calls.iter().filter_map(|call| call.function).chain(self.function_call);
        let calls = calls.flat_map(Function::texts).map(Piece::tool_call);
        [reasoning.map(Piece::reasoning), self.content.map(Piece::said)].into_iter().flatten().chain(calls)
    }
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Clone, Copy, Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

impl<'a> Function<'a> {
    fn texts(self) -> impl Iterator<Item = Text<'a>> {
        [self.name, self.arguments].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output, finish and usage of a chunk.
    fn told(json: &str) -> (String, Option<Finish>, Option<Usage>) {
        let chunk = read(json.as_bytes()).unwrap();
        let Output::New(pieces) = chunk.output else { panic!("{json}") };
        (pieces.iter().map(|piece| piece.text.decode()).collect(), chunk.finish, chunk.usage)
    }

    #[test]
    fn output_is_text_reasoning_or_a_tool_call_of_any_choice() {
        let cases = [
            (r#"{"choices":[{"index":0,"text":" a\n\"b\" 🦀"}]}"#, " a\n\"b\" 🦀"),
            (r#"{"choices":[{"delta":{"content":"\ud83e\udd80x"}}]}"#, "🦀x"),
            (r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#, "hm"),
            (r#"{"choices":[{"delta":{"reasoning_content":"hm","content":null}}]}"#, "hm"),
            (r#"{"choices":[{"delta":{"reasoning_content":"hm","reasoning":"hm"}}]}"#, "hm"),
            (r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":""}}]}}]}"#, "f"),
            (r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{\"a\""}}]}}]}"#, "{\"a\""),
            (r#"{"choices":[{"delta":{"function_call":{"arguments":":1}"}}}]}"#, ":1}"),
            (r#"{"choices":[{"index":0,"text":""},{"index":1,"text":"b"},{"index":2,"text":"c"}]}"#, "bc"),
        ];
        for (json, text) in cases {
            assert_eq!(told(json).0, text, "{json}");
        }
    }

    #[test]
    fn role_only_empty_finish_and_usage_chunks_are_no_output() {
        let cases = [
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"delta":{"content":null,"reasoning":null,"tool_calls":[],"function_call":null}}]}"#,
            r#"{"choices":[{"delta":null,"text":null}]}"#,
            r#"{"choices":[{"text":"","finish_reason":null}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            r#"{"choices":null}"#,
            r#"{}"#,
        ];
        for json in cases {
            assert_eq!(told(json).0, "", "{json}");
        }
    }

    #[test]
    fn finish_and_usage_may_share_a_chunk() {
        let json = r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"length"}],
            "usage":{"prompt_tokens":18,"total_tokens":24,"completion_tokens":6}}"#;
        let usage = Usage { prompt_tokens: Some(18), completion_tokens: Some(6), ..Usage::default() };
        assert_eq!(told(json), ("x".into(), Some(Finish::Length), Some(usage)));
    }

    #[test]
    fn a_usage_without_a_number_above_zero_is_none() {
        for usage in ["null", "{}", r#"{"prompt_tokens":0,"completion_tokens":null}"#] {
            assert_eq!(told(&format!(r#"{{"choices":[],"usage":{usage}}}"#)).2, None, "{usage}");
        }
        let only = Usage { prompt_tokens: Some(3), ..Usage::default() };
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":0}}"#;
        assert_eq!(told(usage).2, Some(only));
    }

    #[test]
    fn cached_tokens_are_told_though_they_are_none() {
        let usage = |details: &str| {
            let usage =
                format!(r#"{{"prompt_tokens":8,"completion_tokens":1,"prompt_tokens_details":{details}}}"#);
            told(&format!(r#"{{"choices":[],"usage":{usage}}}"#)).2.unwrap().cached_tokens
        };
        let details =
            [r#"{"cached_tokens":6}"#, r#"{"cached_tokens":0}"#, r#"{"cached_tokens":null}"#, "{}", "null"];
        assert_eq!(details.map(usage), [Some(6), Some(0), None, None, None]);
    }

    #[test]
    fn reasoning_tokens_are_read_from_the_details() {
        let of = |details: &str| {
            let usage = format!(r#"{{"completion_tokens":9,"completion_tokens_details":{details}}}"#);
            told(&format!(r#"{{"choices":[],"usage":{usage}}}"#)).2.unwrap().reasoning_tokens
        };
        let details = [r#"{"reasoning_tokens":6}"#, r#"{"reasoning_tokens":null}"#, "{}", "null"];
        assert_eq!(details.map(of), [Some(6), None, None, None]);
    }

    #[test]
    fn reasoning_and_tool_calls_are_not_said_to_the_user() {
        let said = |json: &str| -> Vec<bool> {
            let Output::New(pieces) = read(json.as_bytes()).unwrap().output else { panic!("{json}") };
            pieces.iter().map(|piece| piece.is_said()).collect()
        };
        assert_eq!(said(r#"{"choices":[{"text":"yes"}]}"#), [true]);
        assert_eq!(said(r#"{"choices":[{"delta":{"reasoning":"hm","content":"yes"}}]}"#), [false, true]);
        assert_eq!(said(r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}"#), [false]);
    }

    #[test]
    fn a_document_is_read_as_one_event_that_says_it_all() {
        let usage = Some(Usage { prompt_tokens: Some(4), completion_tokens: Some(2), ..Usage::default() });
        let counts = r#""usage":{"prompt_tokens":4,"completion_tokens":2}"#;
        let text = format!(r#"{{"choices":[{{"text":"Hi you","finish_reason":"stop"}}],{counts}}}"#);
        assert_eq!(told(&text), ("Hi you".into(), Some(Finish::Stop), usage));
        let message = r#"{"message":{"role":"assistant","content":"Hi you"},"finish_reason":"stop"}"#;
        assert_eq!(told(&format!(r#"{{"choices":[{message}],{counts}}}"#)), told(&text));
    }

    #[test]
    fn errors_are_told_in_words_whatever_their_shape() {
        let cases = [
            (
                r#"{"error":{"message":"busy","type":"Service Unavailable","param":null,"code":503}}"#,
                "busy (code 503)",
            ),
            (r#"{"error":{"message":"no","code":"model_not_found"}}"#, "no (code model_not_found)"),
            (r#"{"error":{"message":"no","code":null}}"#, "no"),
            (r#"{"error":"a string"}"#, "a string"),
            (r#"{"error":{"detail":[1]}}"#, r#"{"detail":[1]}"#),
        ];
        for (json, words) in cases {
            assert_eq!(read(json.as_bytes()).unwrap().error.as_deref(), Some(words));
        }
        assert_eq!(read(br#"{"error":null}"#).unwrap().error, None);
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for data in ["", "5", "\"x\"", "{\"choices\":5}", "{\"choices\":[{]}", "[DONE]", "{} {}"] {
            assert!(read(data.as_bytes()).is_err(), "{data}");
        }
        assert!(read(b"{\"choices\":[{\"text\":\"\xFF\"}]}").is_err());
    }

    #[test]
    fn a_lone_surrogate_is_output_like_any_other() {
        assert_eq!(told(r#"{"choices":[{"text":"\ud83e"}]}"#).0, r#""\ud83e""#);
    }
}
