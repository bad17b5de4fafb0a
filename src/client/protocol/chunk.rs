//! Parses the events of completions and chat streams, and the documents that replace a whole stream.

use serde_json::value::RawValue;

use super::error::{self, BaseResponse};
use super::finish::FinishSignal;
use super::object::{self, ListLength, object};
use super::server_times::{DynamoExtension, VllmMetrics};
use super::text::Text;
use super::unread_text::is_unread_text;
use super::usage::{LlamaCppTimings, UsageObject};
use crate::client::protocol::output_deltas::OutputDeltas;
use crate::client::protocol::parsed_event::{OutputPart, ParsedEvent, TokenUsage};
use crate::client::protocol::small_list::SmallList;
use crate::model::record::ServerTimes;

/// Parses the data of one event or a document. `[DONE]` is not JSON and is handled elsewhere.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    let chunk: CompletionChunk<'_> = object::read(data)?;
    let choices = chunk.choices.as_ref();
    let mut pieces = OutputDeltas::default();
    let mut is_message = false;
    for choice in choices.into_iter().flat_map(SmallList::iter) {
        is_message |= choice.add_to(&mut pieces) == ChoiceOutput::Message;
    }
    Ok(ParsedEvent {
        output: pieces.output(),
        token_ids: choices.into_iter().flat_map(SmallList::iter).map(|choice| choice.token_ids.0).sum(),
        usage: chunk.usage(),
        server_times: chunk.server_times(),
        ending: choices.and_then(finish_signal),
        error: chunk.error(data),
        is_end: false,
        is_foreign: choices.is_none() && chunk.usage().is_none(),
        is_message,
        unread: choices.and_then(|choices| choices.iter().find_map(ChunkChoice::unread)),
    })
}

/// How the answer ended. Among several choices, the first that failed wins, else the last that ended.
fn finish_signal<'a>(choices: &SmallList<ChunkChoice<'a>>) -> Option<FinishSignal<'a>> {
    let read =
        |choice: &ChunkChoice<'a>| FinishSignal::parse(choice.finish_reason, choice.native_finish_reason);
    choices
        .iter()
        .filter_map(read)
        .reduce(|earlier, later| if earlier.is_failure() { earlier } else { later })
}

object! {
    struct CompletionChunk<'a> {
        choices: Option<SmallList<ChunkChoice<'a>>> = "choices",
        usage: UsageObject<'a> = "usage",
        groq: Option<Box<GroqExtension<'a>>> = "x_groq",
        timings: LlamaCppTimings<'a> = "timings",
        /// vLLM's and Dynamo's own times, on one event of an answer at most.
        metrics: Option<Box<VllmMetrics<'a>>> = "metrics",
        nvext: Option<Box<DynamoExtension<'a>>> = "nvext",
        error: Option<&'a RawValue> = "error",
        object: Option<Text<'a>> = "object",
        kind: Option<Text<'a>> = "type",
        base_resp: BaseResponse<'a> = "base_resp",
    }
}

object! {
    /// The fields that Groq adds to a chunk.
    struct GroqExtension<'a> {
        usage: UsageObject<'a> = "usage",
        error: Option<&'a RawValue> = "error",
    }
}

impl CompletionChunk<'_> {
    /// The count at the top level, else the first of those in the choices, else the one in a server's own fields.
    fn usage(&self) -> Option<TokenUsage> {
        let of_choices = self.choices.iter().flat_map(SmallList::iter).map(ChunkChoice::usage);
        let places = [self.usage.usage()].into_iter().chain(of_choices);
        let groq = self.groq.as_ref().and_then(|groq| groq.usage.usage());
        TokenUsage::merge_all(places.chain([groq, self.timings.usage()]))
    }

    fn server_times(&self) -> ServerTimes {
        let vllm = self.metrics.as_ref().map(|metrics| metrics.server_times());
        let dynamo = self.nvext.as_ref().map(|extension| extension.server_times());
        [vllm, dynamo].into_iter().flatten().fold(self.timings.server_times(), ServerTimes::merged_with)
    }

    fn error(&self, data: &[u8]) -> Option<String> {
        let whole = || error::describe(&String::from_utf8_lossy(data));
        let is_error = [self.object, self.kind].into_iter().flatten().any(|kind| kind.is("error"));
        error::error_message(self.error)
            .or_else(|| is_error.then(whole))
            .or_else(|| {
                self.choices
                    .iter()
                    .flat_map(SmallList::iter)
                    .find_map(|choice| error::error_message(choice.error))
            })
            .or_else(|| error::error_message(self.groq.as_ref()?.error))
            .or_else(|| self.base_resp.error())
    }
}

object! {
    pub(super) struct ChunkChoice<'a> {
        text: Option<Text<'a>> = "text",
        delta: Option<ChoiceDelta<'a>> = "delta",
        /// In a document, the sum of a stream's deltas. Some streams end with it too (hermes-browser-extension #11).
        message: Option<ChoiceDelta<'a>> = "message",
        pub(super) finish_reason: Option<Text<'a>> = "finish_reason",
        /// OpenRouter: the finish reason of the server behind it.
        native_finish_reason: Option<Text<'a>> = "native_finish_reason",
        /// OpenRouter, if the server behind it fails in the middle of a stream.
        error: Option<&'a RawValue> = "error",
        /// Moonshot's field. Rare fields are boxed, because an inline value would make every event larger.
        usage: Option<Box<UsageObject<'a>>> = "usage",
        /// The token ids of vLLM's `return_token_ids`.
        token_ids: ListLength = "token_ids",
    }
}

/// What the output of a choice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChoiceOutput {
    /// There is none.
    Nothing,
    /// New text.
    Delta,
    /// A whole message, which repeats the deltas before it if there were any.
    Message,
}

impl<'a> ChunkChoice<'a> {
    /// Adds the output under the first name that has any: under a later one it would be the same again.
    pub(super) fn add_to(&self, pieces: &mut OutputDeltas<'a>) -> ChoiceOutput {
        let has_text = pieces.add(self.text, OutputPart::Message);
        if has_text || self.delta.as_ref().is_some_and(|delta| delta.add_to(pieces)) {
            return ChoiceOutput::Delta;
        }
        match self.message.as_ref().is_some_and(|message| message.add_to(pieces)) {
            true => ChoiceOutput::Message,
            false => ChoiceOutput::Nothing,
        }
    }

    /// The name of the first field of the delta that has text and is not read.
    fn unread(&self) -> Option<&'a str> {
        self.delta.iter().chain(&self.message).find_map(|delta| delta.unread)
    }

    fn usage(&self) -> Option<TokenUsage> {
        let deltas = self.message.iter().chain(&self.delta).map(|delta| &delta.usage);
        let counts = [&self.usage].into_iter().chain(deltas).flatten();
        TokenUsage::merge_all(counts.map(|counts| counts.usage()))
    }
}

object! {
    struct ChoiceDelta<'a> {
        content: Option<Text<'a>> = "content",
        reasoning: Option<Text<'a>> = "reasoning",
        /// The older name of `reasoning`, which other servers still use.
        reasoning_content: Option<Text<'a>> = "reasoning_content",
        thinking: Option<Text<'a>> = "thinking",
        reasoning_text: Option<Text<'a>> = "reasoning_text",
        /// The field of OpenRouter and MiniMax.
        reasoning_details: Option<Text<'a>> = "reasoning_details",
        /// LiteLLM's field, next to `reasoning_content`.
        thinking_blocks: Option<Text<'a>> = "thinking_blocks",
        refusal: Option<Text<'a>> = "refusal",
        audio: Option<Box<DeltaAudio<'a>>> = "audio",
        tool_calls: SmallList<ToolCall<'a>> = "tool_calls",
        /// The older form of `tool_calls`.
        function_call: Option<ToolFunction<'a>> = "function_call",
        usage: Option<Box<UsageObject<'a>>> = "usage",
        => unread if is_unread_text
    }
}

impl<'a> ChoiceDelta<'a> {
    /// Adds the output. Returns whether there is any.
    fn add_to(&self, pieces: &mut OutputDeltas<'a>) -> bool {
        // A server that migrates to another name sends the same text under both names.
        let names = [
            self.reasoning,
            self.reasoning_content,
            self.thinking,
            self.reasoning_text,
            self.reasoning_details,
            self.thinking_blocks,
        ];
        let before = pieces.len();
        pieces.add_first(names, OutputPart::Reasoning);
        pieces.add(self.content, OutputPart::Message);
        pieces.add(self.refusal, OutputPart::Message);
        if let Some(audio) = &self.audio {
            let _ = pieces.add(audio.transcript, OutputPart::Message)
                || pieces.add(audio.data, OutputPart::Sound);
        }
        let calls = self.tool_calls.iter().flat_map(|call| [&call.function, &call.custom]);
        calls.chain([&self.function_call]).flatten().for_each(|function| function.add_to(pieces));
        pieces.len() > before
    }
}

object! {
    struct DeltaAudio<'a> {
        transcript: Option<Text<'a>> = "transcript",
        data: Option<Text<'a>> = "data",
    }
}

object! {
    struct ToolCall<'a> {
        function: Option<ToolFunction<'a>> = "function",
        custom: Option<ToolFunction<'a>> = "custom",
    }
}

object! {
    struct ToolFunction<'a> {
        name: Option<Text<'a>> = "name",
        arguments: Option<Text<'a>> = "arguments",
        /// The input of a custom tool.
        input: Option<Text<'a>> = "input",
    }
}

impl<'a> ToolFunction<'a> {
    fn add_to(&self, pieces: &mut OutputDeltas<'a>) {
        [self.name, self.arguments, self.input]
            .into_iter()
            .for_each(|text| _ = pieces.add_raw(text, OutputPart::ToolCall));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::protocol::parsed_event::EventOutput;
    use crate::model::record::FinishReason;

    /// The output, finish reason and usage of a chunk.
    fn told(json: &str) -> (String, Option<FinishReason>, Option<TokenUsage>) {
        let chunk = parse(json.as_bytes()).unwrap();
        let EventOutput::New(pieces) = chunk.output else { panic!("{json}") };
        let finish = chunk.ending.map(|ending| ending.to_outcome(&[]).unwrap());
        (pieces.iter().map(|piece| piece.text.decode()).collect(), finish, chunk.usage)
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
        let usage =
            TokenUsage { prompt_tokens: Some(18), completion_tokens: Some(6), ..TokenUsage::default() };
        assert_eq!(told(json), ("x".into(), Some(FinishReason::Length), Some(usage)));
    }

    #[test]
    fn a_usage_without_a_number_above_zero_is_none() {
        for usage in ["null", "{}", r#"{"prompt_tokens":0,"completion_tokens":null}"#] {
            assert_eq!(told(&format!(r#"{{"choices":[],"usage":{usage}}}"#)).2, None, "{usage}");
        }
        let only = TokenUsage { prompt_tokens: Some(3), ..TokenUsage::default() };
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
            let EventOutput::New(pieces) = parse(json.as_bytes()).unwrap().output else { panic!("{json}") };
            pieces.iter().map(|piece| piece.is_visible()).collect()
        };
        assert_eq!(said(r#"{"choices":[{"text":"yes"}]}"#), [true]);
        assert_eq!(said(r#"{"choices":[{"delta":{"reasoning":"hm","content":"yes"}}]}"#), [false, true]);
        assert_eq!(said(r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}"#), [false]);
    }

    #[test]
    fn a_document_is_read_as_one_event_that_says_it_all() {
        let usage =
            Some(TokenUsage { prompt_tokens: Some(4), completion_tokens: Some(2), ..TokenUsage::default() });
        let counts = r#""usage":{"prompt_tokens":4,"completion_tokens":2}"#;
        let text = format!(r#"{{"choices":[{{"text":"Hi you","finish_reason":"stop"}}],{counts}}}"#);
        assert_eq!(told(&text), ("Hi you".into(), Some(FinishReason::Stop), usage));
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
            assert_eq!(parse(json.as_bytes()).unwrap().error.as_deref(), Some(words));
        }
        assert_eq!(parse(br#"{"error":null}"#).unwrap().error, None);
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for data in ["", "5", "\"x\"", "{\"choices\":[{]}", "[DONE]", "{} {}"] {
            assert!(parse(data.as_bytes()).is_err(), "{data}");
        }
        assert!(parse(b"{\"choices\":[{\"text\":\"\xFF\"}]}").is_err());
    }

    #[test]
    fn a_lone_surrogate_is_output_like_any_other() {
        assert_eq!(told(r#"{"choices":[{"text":"\ud83e"}]}"#).0, r#""\ud83e""#);
    }
}
