//! ollama's own `/api/generate` and `/api/chat`: one line of JSON per token, and one line with `done` and the counts.

use serde_json::value::RawValue;

use super::error;
use super::finish::FinishSignal;
use super::object::{self, LenientCount, LenientFlag, LenientNumber, object};
use super::server_times::nanos;
use super::text::Text;
use crate::client::protocol::output_deltas::OutputDeltas;
use crate::client::protocol::parsed_event::{OutputPart, ParsedEvent, TokenUsage};
use crate::client::protocol::small_list::SmallList;
use crate::model::record::ServerTimes;

/// Parses one line, or a document.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    let line: OllamaChunk<'_> = object::read(data)?;
    let is_end = line.done.0;
    let mut pieces = OutputDeltas::default();
    pieces.add(line.thinking, OutputPart::Reasoning);
    pieces.add(line.response, OutputPart::Message);
    if let Some(message) = &line.message {
        message.add_to(&mut pieces);
    }
    Ok(ParsedEvent {
        output: pieces.output(),
        usage: TokenUsage::new(line.prompt_eval_count.0, line.eval_count.0),
        server_times: line.server_times(),
        ending: if is_end { FinishSignal::parse(line.done_reason, None) } else { None },
        error: error::error_message(line.error),
        is_end,
        ..ParsedEvent::default()
    })
}

object! {
    struct OllamaChunk<'a> {
        response: Option<Text<'a>> = "response",
        thinking: Option<Text<'a>> = "thinking",
        message: Option<OllamaMessage<'a>> = "message",
        done: LenientFlag = "done",
        /// The finish reason; absent before version 0.1.33.
        done_reason: Option<Text<'a>> = "done_reason",
        /// The prompt tokens; absent if the whole prompt was cached.
        prompt_eval_count: LenientCount = "prompt_eval_count",
        eval_count: LenientCount = "eval_count",
        /// The times of the two phases, in nanoseconds.
        prompt_eval_duration: LenientNumber = "prompt_eval_duration",
        eval_duration: LenientNumber = "eval_duration",
        error: Option<&'a RawValue> = "error",
    }
}

impl OllamaChunk<'_> {
    fn server_times(&self) -> ServerTimes {
        ServerTimes::new(None, nanos(self.prompt_eval_duration), nanos(self.eval_duration))
    }
}

object! {
    struct OllamaMessage<'a> {
        content: Option<Text<'a>> = "content",
        thinking: Option<Text<'a>> = "thinking",
        tool_calls: SmallList<Text<'a>> = "tool_calls",
    }
}

impl<'a> OllamaMessage<'a> {
    fn add_to(&self, pieces: &mut OutputDeltas<'a>) {
        pieces.add(self.thinking, OutputPart::Reasoning);
        pieces.add(self.content, OutputPart::Message);
        self.tool_calls.iter().for_each(|call| _ = pieces.add_raw(Some(*call), OutputPart::ToolCall));
    }
}
