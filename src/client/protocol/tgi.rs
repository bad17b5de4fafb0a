//! Text Generation Inference's own `/generate_stream` and `/generate`.

use serde_json::value::RawValue;

use super::error;
use super::finish::FinishSignal;
use super::object::{self, LenientCount, LenientFlag, object};
use super::text::Text;
use crate::client::protocol::output_deltas::OutputDeltas;
use crate::client::protocol::parsed_event::{OutputPart, ParsedEvent, TokenUsage};

/// Parses the data of one event, or a document.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    let TgiEvent { token, generated_text, details, error, .. } = object::read(data)?;
    // The last event of a stream repeats the text.
    let text = match token {
        Some(token) => token.text.filter(|_| !token.special.0),
        None => generated_text,
    };
    let mut pieces = OutputDeltas::default();
    pieces.add(text, OutputPart::Message);
    Ok(ParsedEvent {
        output: pieces.output(),
        usage: details
            .as_ref()
            .and_then(|told| TokenUsage::new(told.input_length.0, told.generated_tokens.0)),
        ending: details.as_ref().and_then(|told| FinishSignal::parse(told.finish_reason, None)),
        error: error::error_message(error),
        is_end: details.is_some(),
        ..ParsedEvent::default()
    })
}

object! {
    struct TgiEvent<'a> {
        token: Option<TgiToken<'a>> = "token",
        generated_text: Option<Text<'a>> = "generated_text",
        details: Option<TgiDetails<'a>> = "details",
        error: Option<&'a RawValue> = "error",
    }
}

object! {
    struct TgiToken<'a> {
        text: Option<Text<'a>> = "text",
        /// Whether this is an end-of-sequence token, which is not part of the text.
        special: LenientFlag = "special",
    }
}

object! {
    struct TgiDetails<'a> {
        finish_reason: Option<Text<'a>> = "finish_reason",
        generated_tokens: LenientCount = "generated_tokens",
        input_length: LenientCount = "input_length",
    }
}
