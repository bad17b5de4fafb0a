//! Transcripts: vLLM's chunks, OpenAI's own events, and the document that both send without a stream.

use serde_json::value::RawValue;

use super::chunk::ChunkChoice;
use super::error;
use super::finish::FinishSignal;
use super::object::{self, object};
use super::text::Text;
use super::usage::UsageObject;
use crate::client::protocol::output_deltas::OutputDeltas;
use crate::client::protocol::parsed_event::{OutputPart, ParsedEvent};
use crate::client::protocol::small_list::SmallList;

/// Parses the data of one event, or a document.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    let event: AudioEvent<'_> = object::read(data)?;
    let is_end = event.kind.is_some_and(|kind| kind.is("transcript.text.done"));
    let ending =
        event.choices.iter().filter_map(|choice| FinishSignal::parse(choice.finish_reason, None)).last();
    let mut pieces = OutputDeltas::default();
    event.choices.iter().for_each(|choice| _ = choice.add_to(&mut pieces));
    pieces.add(event.delta, OutputPart::Message);
    // The event that ends OpenAI's own stream repeats the text.
    pieces.add(event.text.filter(|_| !is_end), OutputPart::Message);
    Ok(ParsedEvent {
        output: pieces.output(),
        usage: event.usage.usage(),
        ending: ending.or_else(|| is_end.then(|| FinishSignal::from_word("stop"))),
        error: error::error_message(event.error),
        is_end,
        ..ParsedEvent::default()
    })
}

object! {
    struct AudioEvent<'a> {
        choices: SmallList<ChunkChoice<'a>> = "choices",
        /// A usage in seconds has no token counts.
        usage: UsageObject<'a> = "usage",
        error: Option<&'a RawValue> = "error",
        kind: Option<Text<'a>> = "type",
        delta: Option<Text<'a>> = "delta",
        text: Option<Text<'a>> = "text",
    }
}
