//! Text Generation Inference's own `/generate_stream` and `/generate`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::meaning::{Meaning, Output, Piece, Text, Usage, describe_error};
use crate::core::record::Finish;

/// Reads the data of one event, or a document.
pub fn read(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    let Event { token, generated_text, details, error } = serde_json::from_slice(data)?;
    // The last event of a stream repeats the text.
    let text = match token {
        Some(token) => token.text.filter(|_| !token.special),
        None => generated_text,
    };
    Ok(Meaning {
        output: Output::pieces(text.map(Piece::said)),
        usage: details.as_ref().and_then(|told| Usage::of(told.input_length, told.generated_tokens)),
        finish: details.as_ref().and_then(|told| told.finish_reason).map(|reason| finish(&reason.decode())),
        error: error.map(|error| describe_error(error.get())),
        is_end: details.is_some(),
    })
}

fn finish(reason: &str) -> Finish {
    match reason {
        "eos_token" | "stop_sequence" => Finish::Stop,
        other => Finish::from_reason(other),
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    token: Option<Token<'a>>,
    #[serde(borrow)]
    generated_text: Option<Text<'a>>,
    #[serde(borrow)]
    details: Option<Details<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Token<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    /// An end-of-text token, which is no part of the text.
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    generated_tokens: Option<u32>,
    input_length: Option<u32>,
}
