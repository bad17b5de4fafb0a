//! Transcripts: vLLM's chunks, OpenAI's own events, and the document that is either without a stream.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chunk::Choice;
use super::few::Few;
use super::meaning::{Meaning, Output, Piece, Text, Usage, describe_error};
use crate::core::record::Finish;

/// Reads the data of one event, or a document.
pub fn read(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    let Event { choices, usage, error, kind, delta, text } = serde_json::from_slice(data)?;
    let is_end = kind.is_some_and(|kind| kind.decode() == "transcript.text.done");
    let finish = choices.iter().filter_map(|choice| choice.finish_reason).last();
    let finish = finish.map(|reason| Finish::from_reason(&reason.decode()));
    // The event that ends OpenAI's own stream repeats the text.
    let text = text.filter(|_| !is_end);
    Ok(Meaning {
        output: Output::pieces(
            choices
                .iter()
                .flat_map(Choice::pieces)
                .chain([delta, text].into_iter().flatten().map(Piece::said)),
        ),
        usage: usage.and_then(Counts::counted),
        finish: finish.or_else(|| is_end.then_some(Finish::Stop)),
        error: error.map(|error| describe_error(error.get())),
        is_end,
    })
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    choices: Few<Choice<'a>>,
    usage: Option<Counts>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

/// Tokens under the names of either; a usage of seconds has neither.
#[derive(Deserialize)]
struct Counts {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
}

impl Counts {
    fn counted(self) -> Option<Usage> {
        Usage::of(self.prompt_tokens.or(self.input_tokens), self.completion_tokens.or(self.output_tokens))
    }
}
