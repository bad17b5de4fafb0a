//! What the answers of all protocols have in common.

use std::{ops::Range, time::Duration};

use serde::Serialize;

use super::refusal::Refusal;
use crate::sim::{
    plan::{Finish, Plan},
    spec::LineEnding,
    tokens::Vocabulary,
};

/// The media type of server-sent events.
pub(super) const EVENTS: &str = "text/event-stream; charset=utf-8";

/// Who an answer belongs to.
pub(super) struct Identity<'a> {
    pub id: &'a str,
    /// Unix time in seconds.
    pub created: u64,
    pub model: &'a str,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub prompt: usize,
    /// Of the prompt, what the prefix cache had.
    pub cached: usize,
    pub output: usize,
    /// Of the output, what went out as reasoning.
    pub reasoned: usize,
    /// From the request's arrival to its first token.
    pub prompt_time: Duration,
    /// From the first token to the latest.
    pub output_time: Duration,
}

/// Some tokens of output.
pub(super) struct Fragment<'a> {
    /// Plain words: no JSON needs to escape them.
    pub text: &'a str,
    /// Whether they are reasoning.
    pub thought: bool,
    pub plan: &'a Plan,
    pub vocabulary: &'a Vocabulary,
    /// Which of the plan's tokens they are.
    pub range: Range<usize>,
}

impl Fragment<'_> {
    /// The tokens' ids, without that of the end of the sequence.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.plan.ids(self.vocabulary, self.range.clone())
    }
}

/// An answer given at once.
pub(super) struct Whole<'a> {
    pub reasoning: &'a str,
    pub said: Fragment<'a>,
    /// Left out only by a fault.
    pub finish: Option<Finish>,
}

/// The shape in which a protocol writes an answer; a value writes one.
pub(super) trait Shape: Send {
    /// The media type of a stream.
    fn media_type(&self) -> &'static str {
        EVENTS
    }

    /// What a stream says before anything has been computed.
    fn greet(&mut self, _out: &mut Vec<u8>) {}

    /// What goes out with the first output, before it.
    fn open(&mut self, _out: &mut Vec<u8>, _so_far: &Progress) {}

    /// Output.
    fn fragment(&mut self, out: &mut Vec<u8>, fragment: &Fragment, so_far: &Progress);

    /// The last output, which may have no text, with the reason for the end, and whatever ends the stream.
    fn close(&mut self, out: &mut Vec<u8>, last: &Fragment, finish: Finish, so_far: &Progress);

    /// An error inside the stream, and whatever ends the stream after it.
    fn error(&mut self, out: &mut Vec<u8>, refusal: &Refusal);

    /// An event that breaks off in the middle of its JSON.
    fn malformed(&mut self, out: &mut Vec<u8>);

    /// The whole answer as the body of a response.
    fn whole(&mut self, whole: &Whole, so_far: &Progress) -> Vec<u8>;
}

/// Server-sent events.
#[derive(Clone, Copy)]
pub(super) struct Sse(pub LineEnding);

impl Sse {
    /// An event of data only.
    pub(super) fn event(self, out: &mut Vec<u8>, data: &impl Serialize) {
        self.raw(out, "data: ", &json(data));
    }

    /// An event with a name.
    pub(super) fn named(self, out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(self.0.line_end().as_bytes());
        self.event(out, data);
    }

    /// `[DONE]`.
    pub(super) fn done(self, out: &mut Vec<u8>) {
        self.raw(out, "data: ", b"[DONE]");
    }

    /// The refusal's own words.
    pub(super) fn error(self, out: &mut Vec<u8>, refusal: &Refusal) {
        self.raw(out, "data: ", refusal.json().as_bytes());
    }

    /// An event that is half an object.
    pub(super) fn malformed(self, out: &mut Vec<u8>) {
        self.raw(out, "data: ", br#"{"tex"#);
    }

    /// An event of these bytes after this prefix.
    pub(super) fn raw(self, out: &mut Vec<u8>, prefix: &str, data: &[u8]) {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(self.0.blank_line().as_bytes());
    }
}

/// The value as JSON.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers are made of strings, numbers and lists")
}
