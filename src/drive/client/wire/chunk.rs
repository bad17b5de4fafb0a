//! One event of an answer's stream, borrowed from the bytes it came in.
//!
//! Texts stay raw JSON: whether one is empty can be seen without decoding it, and most runs need no more than that. So
//! reading an event allocates nothing, escapes included.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Reads the data of one event (`[DONE]` aside, which is no JSON).
pub fn parse(data: &[u8]) -> serde_json::Result<Chunk<'_>> {
    serde_json::from_slice(data)
}

/// The parts of an event that matter here, from the completions and the chat endpoint alike.
#[derive(Debug, Deserialize)]
pub struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Few<Choice<'a>>,
    usage: Option<RawUsage>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The server's count of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, the chat template's included.
    pub prompt_tokens: u32,
    /// Tokens generated so far.
    pub completion_tokens: u32,
    /// Of the prompt's tokens, how many came from the prefix cache; `None` from a server that does not tell.
    pub cached_tokens: Option<u32>,
}

impl<'a> Chunk<'a> {
    /// Whether it carries output: text, reasoning or a part of a tool call, of any choice.
    pub fn has_output(&self) -> bool {
        self.texts().next().is_some()
    }

    /// The pieces of output, none of them empty.
    pub fn texts(&self) -> impl Iterator<Item = Text<'a>> {
        self.choices.iter().flat_map(Choice::texts).filter(|text| !text.is_empty())
    }

    /// The pieces of what is said to the user: no reasoning, no tool calls.
    pub fn said(&self) -> impl Iterator<Item = Text<'a>> {
        let contents = self.choices.iter().flat_map(|choice| {
            let content = choice.delta.as_ref().and_then(|delta| delta.content);
            choice.text.into_iter().chain(content)
        });
        contents.filter(|text| !text.is_empty())
    }

    /// The characters between the quotes of the only thing that it says, if that is one piece of text.
    pub fn only_text(&self) -> Option<&'a str> {
        let mut texts = self.texts();
        let (text, None) = (texts.next()?, texts.next()) else { return None };
        let silent = self.usage.is_none() && self.error.is_none();
        let silent = silent && self.choices.iter().all(|choice| choice.finish_reason.is_none());
        text.0.get().strip_prefix('"')?.strip_suffix('"').filter(|_| silent)
    }

    /// Why a choice ended, in the server's words.
    pub fn finish_reason(&self) -> Option<Cow<'a, str>> {
        self.choices.iter().filter_map(|choice| choice.finish_reason).last().map(Text::decode)
    }

    /// The server's count, if both of its numbers are there: on the last event, on the one that finishes, or on all.
    pub fn usage(&self) -> Option<Usage> {
        let RawUsage { prompt_tokens, completion_tokens, prompt_tokens_details } = self.usage?;
        let cached_tokens = prompt_tokens_details.and_then(|details| details.cached_tokens);
        Some(Usage { prompt_tokens: prompt_tokens?, completion_tokens: completion_tokens?, cached_tokens })
    }

    /// The error it reports, in words.
    pub fn error(&self) -> Option<String> {
        self.error.map(|error| describe_error(error.get()))
    }
}

/// An API error in words: its message and code where it has the usual shape, else as it is.
fn describe_error(json: &str) -> String {
    let error: Value = serde_json::from_str(json).unwrap_or_default();
    let message = error.as_str().or_else(|| error["message"].as_str()).unwrap_or(json);
    match &error["code"] {
        Value::Null => message.to_owned(),
        Value::String(code) => format!("{message} (code {code})"),
        code => format!("{message} (code {code})"),
    }
}

/// A piece of text, still JSON.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> Text<'a> {
    fn is_empty(self) -> bool {
        matches!(self.0.get(), "\"\"" | "[]" | "{}")
    }

    /// The text. What is no string (some servers send parts or objects) stays as it is written.
    pub fn decode(self) -> Cow<'a, str> {
        let json = self.0.get();
        match json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) if !text.contains('\\') => text.into(),
            _ => serde_json::from_str::<String>(json).map_or(json.into(), Cow::from),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct RawUsage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

impl<'a> Choice<'a> {
    fn texts(&self) -> impl Iterator<Item = Text<'a>> {
        self.text.into_iter().chain(self.delta.iter().flat_map(Delta::texts))
    }
}

#[derive(Debug, Deserialize)]
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
    fn texts(&self) -> impl Iterator<Item = Text<'a>> {
        // A server that goes over to the new name sends the same text under both.
        let names = [self.reasoning, self.reasoning_content];
        let reasoning = names.into_iter().flatten().find(|text| !text.is_empty());
        let calls = self.tool_calls.iter().filter_map(|call| call.function).chain(self.function_call);
        [reasoning, self.content].into_iter().flatten().chain(calls.flat_map(Function::texts))
    }
}

#[derive(Debug, Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
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

/// A list that nearly always has at most one entry: only more than one need memory of their own.
#[derive(Debug)]
struct Few<T> {
    first: Option<T>,
    others: Vec<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { first: None, others: Vec::new() }
    }
}

impl<T> Few<T> {
    fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.others)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FewVisitor<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or null")
    }

    fn visit_unit<E>(self) -> Result<Few<T>, E> {
        Ok(Few::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few<T>, A::Error> {
        let mut few = Few { first: list.next_element()?, others: Vec::new() };
        while let Some(other) = list.next_element()? {
            few.others.push(other);
        }
        Ok(few)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output, finish reason and usage of a chunk.
    fn read(json: &str) -> (String, Option<String>, Option<Usage>) {
        let chunk = parse(json.as_bytes()).unwrap();
        let text: String = chunk.texts().map(Text::decode).collect();
        assert_eq!(chunk.has_output(), !text.is_empty(), "{json}");
        (text, chunk.finish_reason().map(Cow::into_owned), chunk.usage())
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
            assert_eq!(read(json).0, text, "{json}");
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
            assert_eq!(read(json).0, "", "{json}");
        }
    }

    #[test]
    fn finish_and_usage_may_share_a_chunk() {
        let json = r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"length"}],
            "usage":{"prompt_tokens":18,"total_tokens":24,"completion_tokens":6}}"#;
        let usage = Usage { prompt_tokens: 18, completion_tokens: 6, cached_tokens: None };
        assert_eq!(read(json), ("x".into(), Some("length".into()), Some(usage)));
    }

    #[test]
    fn the_share_of_the_prompt_that_was_cached_is_read_where_it_is_told() {
        let usage = |details: &str| {
            let json =
                format!(r#"{{"choices":[],"usage":{{"prompt_tokens":9,"completion_tokens":1{details}}}}}"#);
            read(&json).2.unwrap().cached_tokens
        };
        assert_eq!(usage(r#","prompt_tokens_details":{"cached_tokens":8}"#), Some(8));
        for none in ["", r#","prompt_tokens_details":null"#, r#","prompt_tokens_details":{}"#] {
            assert_eq!(usage(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_said_is_neither_reasoning_nor_a_tool_call() {
        let said = |json: &str| {
            parse(json.as_bytes()).unwrap().said().map(|text| text.decode().into_owned()).collect::<String>()
        };
        assert_eq!(said(r#"{"choices":[{"delta":{"reasoning":"hm","content":"yes"}}]}"#), "yes");
        assert_eq!(said(r#"{"choices":[{"text":"yes"}]}"#), "yes");
        assert_eq!(said(r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}"#), "");
        assert_eq!(said(r#"{"choices":[{"delta":{"reasoning":"hm","content":null}}]}"#), "");
    }

    #[test]
    fn a_usage_without_its_numbers_is_none() {
        for usage in ["null", "{}", r#"{"prompt_tokens":3,"completion_tokens":null}"#] {
            assert_eq!(read(&format!(r#"{{"choices":[],"usage":{usage}}}"#)).2, None, "{usage}");
        }
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
            assert_eq!(parse(json.as_bytes()).unwrap().error().as_deref(), Some(words));
        }
        assert_eq!(parse(br#"{"error":null}"#).unwrap().error(), None);
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for data in ["", "5", "\"x\"", "{\"choices\":5}", "{\"choices\":[{]}", "[DONE]", "{} {}"] {
            assert!(parse(data.as_bytes()).is_err(), "{data}");
        }
        assert!(parse(b"{\"choices\":[{\"text\":\"\xFF\"}]}").is_err());
    }

    #[test]
    fn a_lone_surrogate_is_output_like_any_other() {
        assert_eq!(read(r#"{"choices":[{"text":"\ud83e"}]}"#).0, r#""\ud83e""#);
    }
}
