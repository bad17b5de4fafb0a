//! The parts of a response that all protocols share.

use std::{ops::Range, time::Duration};

use serde::Serialize;

use crate::sim::api::api_error::ApiError;
use crate::sim::output_plan::{OutputPlan, SimFinishReason};
use crate::sim::{spec::LineEnding, tokens::Vocabulary};

/// The media type of server-sent events.
pub(super) const EVENTS: &str = "text/event-stream; charset=utf-8";

/// Identifies an answer: its request, its time, its model.
pub(super) struct GenerationIdentity<'a> {
    pub id: &'a str,
    /// Unix time in seconds.
    pub created: u64,
    pub model: &'a str,
}

/// The progress of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GenerationProgress {
    pub prompt: usize,
    /// Prompt tokens from the prefix cache.
    pub cached: usize,
    pub output: usize,
    /// Output tokens that went out as reasoning.
    pub reasoned: usize,
    /// From the entry in the engine's queue to the first step that computed the request.
    pub queue_time: Duration,
    /// From the beginning of that step to the first token.
    pub prefill_time: Duration,
    /// From the request's arrival to its first token.
    pub prompt_time: Duration,
    /// From the first token to the latest.
    pub output_time: Duration,
}

/// Several output tokens.
pub(super) struct OutputChunk<'a> {
    /// Plain words, which need no escaping in JSON.
    pub text: &'a str,
    /// Whether the tokens are reasoning.
    pub is_reasoning: bool,
    pub plan: &'a OutputPlan,
    pub vocabulary: &'a Vocabulary,
    /// The indices of the tokens in the plan.
    pub range: Range<usize>,
}

impl OutputChunk<'_> {
    /// The tokens' ids, without that of the end of the sequence.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.plan.ids(self.vocabulary, self.range.clone())
    }
}

/// An answer in one piece.
pub(super) struct FullResponse<'a> {
    pub reasoning: &'a str,
    pub said: OutputChunk<'a>,
    /// The finish reason, which only a fault leaves out.
    pub finish: Option<SimFinishReason>,
}

/// Formats one answer in a protocol.
pub(super) trait ResponseWriter: Send {
    /// The media type of a stream.
    fn media_type(&self) -> &'static str {
        EVENTS
    }

    /// Writes the part of a stream that precedes all computation.
    fn write_greeting(&mut self, _out: &mut Vec<u8>) {}

    /// Writes the part of a stream that precedes the first output.
    fn open(&mut self, _out: &mut Vec<u8>, _so_far: &GenerationProgress) {}

    /// Writes output.
    fn write_output(&mut self, out: &mut Vec<u8>, fragment: &OutputChunk, so_far: &GenerationProgress);

    /// Writes the last output, which may have no text, with the finish reason, and the end of the stream.
    fn close(
        &mut self,
        out: &mut Vec<u8>,
        last: &OutputChunk,
        finish: SimFinishReason,
        so_far: &GenerationProgress,
    );

    /// Writes an error inside the stream, and the end of the stream.
    fn error(&mut self, out: &mut Vec<u8>, refusal: &ApiError);

    /// Writes an event that breaks off in the middle of its JSON.
    fn malformed(&mut self, out: &mut Vec<u8>);

    /// Returns the complete answer as a response body.
    fn full_body(&mut self, whole: &FullResponse, so_far: &GenerationProgress) -> Vec<u8>;
}

/// Writes server-sent events.
#[derive(Clone, Copy)]
pub(super) struct SseWriter(pub LineEnding);

impl SseWriter {
    /// Writes an event that holds only data.
    pub(super) fn event(self, out: &mut Vec<u8>, data: &impl Serialize) {
        self.raw(out, "data: ", &json(data));
    }

    /// Writes an event with a name.
    pub(super) fn named(self, out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(self.0.line_end().as_bytes());
        self.event(out, data);
    }

    /// Writes `[DONE]`.
    pub(super) fn done(self, out: &mut Vec<u8>) {
        self.raw(out, "data: ", b"[DONE]");
    }

    /// Writes an error.
    pub(super) fn error(self, out: &mut Vec<u8>, refusal: &ApiError) {
        self.raw(out, "data: ", refusal.json().as_bytes());
    }

    /// Writes an event with only half of a JSON object.
    pub(super) fn malformed(self, out: &mut Vec<u8>) {
        self.raw(out, "data: ", br#"{"tex"#);
    }

    /// Writes an event of a prefix and these bytes.
    pub(super) fn raw(self, out: &mut Vec<u8>, prefix: &str, data: &[u8]) {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(self.0.blank_line().as_bytes());
    }
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers are made of strings, numbers and lists")
}
