//! ollama's own `/api/generate` and `/api/chat`: a line of JSON for each token, and one with `done` and the counts.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::few::Few;
use super::meaning::{Meaning, Output, Piece, Text, Usage, describe_error};
use crate::core::record::Finish;

/// Reads one line, or a document.
pub fn read(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    let line: Line<'_> = serde_json::from_slice(data)?;
    let message = line.message.as_ref();
    let bare = [line.thinking.map(Piece::reasoning), line.response.map(Piece::said)].into_iter().flatten();
    let finish = || match line.done_reason {
        Some(reason) => Finish::from_reason(&reason.decode()),
        None => Finish::Unsaid,
    };
    Ok(Meaning {
        output: Output::pieces(bare.chain(message.into_iter().flat_map(Message::pieces))),
        usage: Usage::of(line.prompt_eval_count, line.eval_count),
        finish: line.done.then(finish),
        error: line.error.map(|error| describe_error(error.get())),
        is_end: line.done,
    })
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    response: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(default)]
    done: bool,
    #[serde(borrow)]
    done_reason: Option<Text<'a>>,
    /// Not told for a prompt that was cached whole.
    prompt_eval_count: Option<u32>,
    eval_count: Option<u32>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Few<Text<'a>>,
}

impl<'a> Message<'a> {
    fn pieces(&self) -> impl Iterator<Item = Piece<'a>> {
        let calls = self.tool_calls.iter().copied().map(Piece::tool_call);
        [self.thinking.map(Piece::reasoning), self.content.map(Piece::said)]
            .into_iter()
            .flatten()
            .chain(calls)
    }
}
