//! The events of OpenAI's responses: each has a type, and an answer is whole when an event says so.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chunk::{Details, OutputDetails};
use super::few::Few;
use super::meaning::{Meaning, Output, Part, Piece, Text, Usage, describe_error};
use crate::core::record::Finish;

/// Reads the data of one event.
pub fn read(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    let Event { kind, delta, response, error } = serde_json::from_slice(data)?;
    let kind = kind.map(Text::decode).unwrap_or_default();
    if let Some(error) = error {
        return Ok(Meaning::error(describe_error(error.get())));
    }
    match &*kind {
        "error" => Ok(Meaning::error(describe_error(&String::from_utf8_lossy(data)))),
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
            Ok(Meaning { output: Output::default(), ..response.unwrap_or_default().meaning(&kind) })
        }
        // Text, reasoning and its summary, a refusal, the arguments of a call.
        kind if kind.ends_with(".delta") => {
            let part = match kind {
                "response.output_text.delta" | "response.refusal.delta" => Part::Message,
                _ if kind.starts_with("response.reasoning") => Part::Reasoning,
                _ => Part::ToolCall,
            };
            let piece = delta.map(|text| Piece { text, part });
            Ok(Meaning { output: Output::pieces(piece), ..Meaning::default() })
        }
        _ => Ok(Meaning::default()),
    }
}

/// Reads an answer that came as one document.
pub fn read_document(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    serde_json::from_slice(data).map(|response: Response<'_>| response.meaning(""))
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<Text<'a>>,
    #[serde(borrow)]
    response: Option<Response<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    usage: Option<RawUsage>,
    #[serde(borrow, default)]
    output: Few<Item<'a>>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow)]
    reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct RawUsage {
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
    input_tokens_details: Option<Details>,
    output_tokens_details: Option<OutputDetails>,
}

impl RawUsage {
    fn counted(&self) -> Option<Usage> {
        let cached = self.input_tokens_details.and_then(|details| details.cached_tokens);
        let reasoning = self.output_tokens_details.and_then(|details| details.reasoning_tokens);
        Usage::of(self.input_tokens, self.output_tokens)
            .map(|usage| usage.with_cached(cached).with_reasoning(reasoning))
    }
}

/// A message, a reasoning or a call.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Few<ItemPart<'a>>,
    #[serde(borrow, default)]
    summary: Few<ItemPart<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

#[derive(Clone, Copy, Deserialize)]
struct ItemPart<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
}

impl<'a> Response<'a> {
    /// What it says when nothing follows; `kind` is the type of the event that brought it.
    fn meaning(self, kind: &str) -> Meaning<'a> {
        let status = self.status.map(Text::decode).unwrap_or_default();
        if let Some(error) = self.error {
            return Meaning::error(describe_error(error.get()));
        }
        let is = |word: &str| status == word || kind.strip_prefix("response.") == Some(word);
        if let Some(word) = ["failed", "cancelled"].into_iter().find(|word| is(word)) {
            return Meaning::error(format!("the response is {word}, without a reason"));
        }
        Meaning {
            output: Output::pieces(self.output.iter().flat_map(Item::pieces)),
            usage: self.usage.as_ref().and_then(RawUsage::counted),
            finish: Some(if is("incomplete") { self.why_incomplete() } else { Finish::Stop }),
            error: None,
            is_end: true,
        }
    }

    fn why_incomplete(&self) -> Finish {
        let reason = self.incomplete_details.as_ref().and_then(|details| details.reason).map(Text::decode);
        match reason.as_deref() {
            Some("max_output_tokens") => Finish::Length,
            Some(other) => Finish::Other(other.to_owned()),
            None => Finish::Other("incomplete".to_owned()),
        }
    }
}

impl<'a> Item<'a> {
    fn pieces(&self) -> impl Iterator<Item = Piece<'a>> {
        let part = match self.kind.map(Text::decode).as_deref() {
            Some("message") => Part::Message,
            Some("reasoning") => Part::Reasoning,
            _ => Part::ToolCall,
        };
        let parts = self.summary.iter().chain(self.content.iter());
        let texts = parts.flat_map(|part| [part.text, part.refusal]).flatten().chain(self.arguments);
        texts.map(move |text| Piece { text, part })
    }
}
