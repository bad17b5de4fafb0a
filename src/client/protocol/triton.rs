//! Triton's generate extension, which serves TensorRT-LLM. Its events hold only text: they have no counts and no end
//! marker.

use serde_json::value::RawValue;

use super::error;
use super::object::{self, object};
use super::text::Text;
use crate::client::protocol::output_deltas::OutputDeltas;
use crate::client::protocol::parsed_event::{OutputPart, ParsedEvent};

/// Parses the data of one event, or a document.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    let TritonEvent { text_output, error, .. } = object::read(data)?;
    let mut pieces = OutputDeltas::default();
    pieces.add(text_output, OutputPart::Message);
    Ok(ParsedEvent { output: pieces.output(), error: error::error_message(error), ..ParsedEvent::default() })
}

object! {
    struct TritonEvent<'a> {
        text_output: Option<Text<'a>> = "text_output",
        error: Option<&'a RawValue> = "error",
    }
}
