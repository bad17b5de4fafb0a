//! Parses the events of OpenAI's responses API. Each event has a type, and one of them states that the answer is
//! complete.

use serde_json::value::RawValue;

use super::error;
use super::finish::FinishSignal;
use super::object::{self, object};
use super::server_times::VllmMetrics;
use super::text::Text;
use super::usage::UsageObject;
use crate::client::protocol::output_deltas::OutputDeltas;
use crate::client::protocol::parsed_event::{EventOutput, OutputPart, ParsedEvent};
use crate::client::protocol::small_list::SmallList;

/// Parses the data of one event.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    let event: ResponsesEvent<'_> = object::read(data)?;
    let kind = event.kind.map(Text::decode).unwrap_or_default();
    if let Some(error) = error::error_message(event.error) {
        return Ok(ParsedEvent::from_error(error));
    }
    match &*kind {
        "error" => Ok(ParsedEvent::from_error(error::describe(&String::from_utf8_lossy(data)))),
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
            let response = event.response.unwrap_or_default();
            // Earlier events already carried the text.
            Ok(ParsedEvent { output: EventOutput::default(), ..response.into_parsed_event(&kind) })
        }
        kind if kind.ends_with(".delta") => {
            let mut pieces = OutputDeltas::default();
            pieces.add(event.delta, output_part(kind));
            Ok(ParsedEvent { output: pieces.output(), ..ParsedEvent::default() })
        }
        _ => Ok(ParsedEvent::default()),
    }
}

/// The part of the answer that an event's type stands for: text, reasoning or its summary, a refusal, sound, or the
/// arguments of a call.
fn output_part(kind: &str) -> OutputPart {
    match kind {
        "response.output_text.delta" | "response.refusal.delta" => OutputPart::Message,
        "response.audio.transcript.delta" | "response.output_audio_transcript.delta" => OutputPart::Message,
        "response.audio.delta" | "response.output_audio.delta" => OutputPart::Sound,
        _ if kind.starts_with("response.reasoning") => OutputPart::Reasoning,
        _ => OutputPart::ToolCall,
    }
}

/// Parses a non-streamed answer.
pub(crate) fn parse_document(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    let response: ResponseObject<'_> = object::read(data)?;
    let is_error = response.object.is_some_and(|object| object.is("error"));
    Ok(if is_error {
        ParsedEvent::from_error(error::describe(&String::from_utf8_lossy(data)))
    } else {
        response.into_parsed_event("")
    })
}

object! {
    struct ResponsesEvent<'a> {
        kind: Option<Text<'a>> = "type",
        delta: Option<Text<'a>> = "delta",
        response: Option<Box<ResponseObject<'a>>> = "response",
        error: Option<&'a RawValue> = "error",
    }
}

object! {
    struct ResponseObject<'a> {
        object: Option<Text<'a>> = "object",
        status: Option<Text<'a>> = "status",
        incomplete_details: IncompleteDetails<'a> = "incomplete_details",
        error: Option<&'a RawValue> = "error",
        usage: UsageObject<'a> = "usage",
        metrics: Option<Box<VllmMetrics<'a>>> = "metrics",
        output: SmallList<ResponseItem<'a>> = "output",
    }
}

object! {
    struct IncompleteDetails<'a> {
        reason: Option<Text<'a>> = "reason",
    }
}

object! {
    /// A message, a reasoning item or a tool call.
    struct ResponseItem<'a> {
        kind: Option<Text<'a>> = "type",
        content: Option<Text<'a>> = "content",
        summary: Option<Text<'a>> = "summary",
        arguments: Option<Text<'a>> = "arguments",
        /// The input of a custom tool.
        input: Option<Text<'a>> = "input",
    }
}

impl<'a> ResponseObject<'a> {
    /// Converts a response that ends an answer. `kind` is the type of the event that carried it.
    fn into_parsed_event(self, kind: &str) -> ParsedEvent<'a> {
        let status = self.status.map(Text::decode).unwrap_or_default();
        if let Some(error) = error::error_message(self.error) {
            return ParsedEvent::from_error(error);
        }
        let is = |word: &str| status == word || kind.strip_prefix("response.") == Some(word);
        if is("failed") {
            return ParsedEvent::from_error("the response is failed, without a reason".to_owned());
        }
        let ending = match () {
            () if is("cancelled") => Some(FinishSignal::from_word("cancelled")),
            () if is("incomplete") => Some(self.incomplete_signal()),
            () if is("completed") => Some(FinishSignal::from_word("completed")),
            // `queued` or `in_progress`: the answer is not complete. Without a status, there is no reason.
            () => FinishSignal::parse(self.status, None),
        };
        let mut pieces = OutputDeltas::default();
        self.output.iter().for_each(|item| item.add_to(&mut pieces));
        ParsedEvent {
            output: pieces.output(),
            usage: self.usage.usage(),
            server_times: self.metrics.map(|metrics| metrics.server_times()).unwrap_or_default(),
            ending,
            is_end: true,
            ..ParsedEvent::default()
        }
    }

    fn incomplete_signal(&self) -> FinishSignal<'a> {
        let reason = self.incomplete_details.reason;
        FinishSignal::parse(reason, None).unwrap_or(FinishSignal::from_word("incomplete"))
    }
}

impl<'a> ResponseItem<'a> {
    fn add_to(&self, pieces: &mut OutputDeltas<'a>) {
        let part = match self.kind {
            Some(kind) if kind.is("message") => OutputPart::Message,
            Some(kind) if kind.is("reasoning") => OutputPart::Reasoning,
            _ => OutputPart::ToolCall,
        };
        [self.summary, self.content].into_iter().for_each(|text| _ = pieces.add(text, part));
        [self.arguments, self.input]
            .into_iter()
            .for_each(|text| _ = pieces.add_raw(text, OutputPart::ToolCall));
    }
}
