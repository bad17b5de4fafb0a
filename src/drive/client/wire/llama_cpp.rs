//! llama.cpp's own `/completion`: the event with `stop` has the counts, and nothing follows it.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::meaning::{Meaning, Output, Piece, Text, Usage, describe_error};
use crate::core::record::Finish;

/// Reads the data of one event, or a document.
pub fn read(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    let event: Event<'_> = serde_json::from_slice(data)?;
    let is_end = event.stop.unwrap_or(false);
    Ok(Meaning {
        output: Output::pieces(event.content.map(Piece::said)),
        usage: Usage::of(event.tokens_evaluated, event.tokens_predicted),
        finish: is_end.then(|| event.finish()),
        error: event.error.map(|error| describe_error(error.get())),
        is_end,
    })
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    stop: Option<bool>,
    #[serde(borrow)]
    stop_type: Option<Text<'a>>,
    /// Before there was `stop_type`.
    #[serde(default)]
    stopped_limit: bool,
    tokens_predicted: Option<u32>,
    tokens_evaluated: Option<u32>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Event<'_> {
    fn finish(&self) -> Finish {
        match self.stop_type.map(Text::decode).as_deref() {
            Some("limit") => Finish::Length,
            Some("eos" | "word") => Finish::Stop,
            Some(other) => Finish::Other(other.to_owned()),
            None if self.stopped_limit => Finish::Length,
            None => Finish::Stop,
        }
    }
}
