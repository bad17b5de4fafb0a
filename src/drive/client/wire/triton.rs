//! Triton's generate extension, which serves TensorRT-LLM: texts and nothing about them, not even that they end.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::meaning::{Meaning, Output, Piece, Text, describe_error};

/// Reads the data of one event, or a document.
pub fn read(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    let Event { text_output, error } = serde_json::from_slice(data)?;
    Ok(Meaning {
        output: Output::pieces(text_output.map(Piece::said)),
        error: error.map(|error| describe_error(error.get())),
        ..Meaning::default()
    })
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    text_output: Option<Text<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}
