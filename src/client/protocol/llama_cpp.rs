//! llama.cpp's own `/completion`: the event with `stop` holds the counts and is the last.

use serde_json::value::RawValue;

use super::error;
use super::finish::FinishSignal;
use super::object::{self, LenientCount, LenientFlag, ListLength, object};
use super::text::Text;
use super::usage::LlamaCppTimings;
use crate::client::protocol::output_deltas::OutputDeltas;
use crate::client::protocol::parsed_event::{OutputPart, ParsedEvent, TokenUsage};

/// Parses the data of one event, or a document.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    let event: LlamaCppEvent<'_> = object::read(data)?;
    let is_end = event.stop.0;
    let mut pieces = OutputDeltas::default();
    pieces.add(event.content, OutputPart::Message);
    let counts = TokenUsage::new(event.tokens_evaluated.0, event.tokens_predicted.0);
    Ok(ParsedEvent {
        output: pieces.output(),
        token_ids: event.tokens.0,
        usage: TokenUsage::merge_all([counts, event.timings.usage()]),
        server_times: event.timings.server_times(),
        ending: if is_end { event.finish_signal() } else { None },
        error: error::error_message(event.error),
        is_end,
        ..ParsedEvent::default()
    })
}

object! {
    struct LlamaCppEvent<'a> {
        content: Option<Text<'a>> = "content",
        /// The token ids, sent with `return_tokens`.
        tokens: ListLength = "tokens",
        stop: LenientFlag = "stop",
        stop_type: Option<Text<'a>> = "stop_type",
        /// The flag of versions before `stop_type` existed.
        stopped_limit: LenientFlag = "stopped_limit",
        tokens_predicted: LenientCount = "tokens_predicted",
        tokens_evaluated: LenientCount = "tokens_evaluated",
        timings: LlamaCppTimings<'a> = "timings",
        error: Option<&'a RawValue> = "error",
    }
}

impl<'a> LlamaCppEvent<'a> {
    fn finish_signal(&self) -> Option<FinishSignal<'a>> {
        match self.stop_type {
            Some(reason) => FinishSignal::parse(Some(reason), None),
            None => Some(FinishSignal::from_word(if self.stopped_limit.0 { "limit" } else { "stop" })),
        }
    }
}
