//! Answers as event streams: one frame for each step that gave the request a token.

use std::{io, ops::Range, time::Instant};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::ApiState;
use crate::sim::api::{
    api_error::ApiError,
    generate_request::GenerateRequest,
    generation::{Generation, broken_connection},
    response_writer::{GenerationIdentity, ResponseWriter},
};
use crate::sim::{engine::TokenEvent, fault::FaultKind};

/// A stream of HTTP 200 whose only event is an error.
pub(super) fn error_stream(parts: &ApiState, ask: &GenerateRequest, refusal: &ApiError) -> Response {
    let nobody = GenerationIdentity { id: "", created: 0, model: "" };
    let mut shape = (ask.endpoint.shape)(&nobody, ask, &parts.spec);
    let mut out = Vec::new();
    shape.error(&mut out, refusal);
    as_stream(shape.media_type(), out.into())
}

/// Opens the answer's stream.
pub(super) fn stream_response(answer: Generation) -> Response {
    let mut shape = answer.response_writer();
    let media_type = shape.media_type();
    let mut greeting = Vec::new();
    shape.write_greeting(&mut greeting);
    // In the middle, but never after the last token, where the fault would have no effect.
    let spared = answer.plan.len() / 2;
    let live = StreamBody { answer, shape, greeting, spared, unsent: 0, opened: false, over: false };
    let frames = stream::unfold(live, |mut live| async move {
        let frame = live.next_frame().await?;
        Some((frame, live))
    });
    as_stream(media_type, Body::from_stream(frames))
}

fn as_stream(media_type: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, media_type)], body).into_response()
}

/// A running stream.
struct StreamBody {
    answer: Generation,
    shape: Box<dyn ResponseWriter>,
    /// Bytes that go out before anything has been computed.
    greeting: Vec<u8>,
    /// The number of tokens that go out before a fault strikes.
    spared: usize,
    /// The number of tokens that wait to be merged with the next ones into one event.
    unsent: usize,
    opened: bool,
    over: bool,
}

impl StreamBody {
    async fn next_frame(&mut self) -> Option<io::Result<Bytes>> {
        if self.over {
            return None;
        }
        if !self.greeting.is_empty() {
            return Some(Ok(std::mem::take(&mut self.greeting).into()));
        }
        if self.answer.token_stream.is_none() {
            return Some(Ok(self.empty_answer_frame()));
        }
        loop {
            let ticket = self.answer.token_stream.as_mut()?;
            let Some(event) = ticket.next().await else {
                self.end();
                return Some(Err(broken_connection()));
            };
            self.answer.record_token(&event);
            self.unsent += 1;
            if let Some(kind) = self.answer.trace.fault
                && self.answer.trace.output_tokens == self.spared + 1
                && kind != FaultKind::Malformed
            {
                return self.apply_fault(kind).await;
            }
            if event.last || self.unsent >= self.answer.parts.spec.output.tokens_per_event {
                return Some(Ok(self.token_frame(event)));
            }
        }
    }

    /// Ends the stream without blaming the client.
    fn end(&mut self) {
        self.over = true;
        self.answer.trace.cancelled = false;
    }

    /// Returns the frame of an answer that ends without a token.
    fn empty_answer_frame(&mut self) -> Bytes {
        let mut out = Vec::new();
        self.open_once(&mut out);
        self.close(&mut out, "", 0..0);
        out.into()
    }

    async fn apply_fault(&mut self, kind: FaultKind) -> Option<io::Result<Bytes>> {
        // Pending tokens were never handed out.
        self.answer.trace.output_tokens -= self.unsent;
        if kind == FaultKind::Stall {
            self.answer.parts.shutdown_begun().await;
        }
        self.end();
        match kind {
            FaultKind::ErrorEvent => {
                let mut out = Vec::new();
                let refusal = ApiError::internal().in_format(self.answer.request.endpoint.dialect);
                self.shape.error(&mut out, &refusal);
                Some(Ok(out.into()))
            }
            FaultKind::NoTerminal => None,
            _ => Some(Err(broken_connection())),
        }
    }

    /// Returns the frame of the pending tokens.
    fn token_frame(&mut self, event: TokenEvent) -> Bytes {
        let mut out = Vec::with_capacity(512);
        let broken = self.answer.trace.fault == Some(FaultKind::Malformed);
        if broken && self.waiting_range().contains(&self.spared) {
            self.shape.malformed(&mut out);
        }
        self.open_once(&mut out);
        let waiting = self.waiting_range();
        let turning = self.answer.reasoning().clamp(waiting.start, waiting.end);
        let (thoughts, rest) = (waiting.start..turning, turning..waiting.end);
        let (thought, said) = (self.answer.text(thoughts.clone()), self.answer.text(rest.clone()));
        if !thought.is_empty() {
            self.put(&mut out, &thought, thoughts, true);
        }
        if event.last {
            self.close(&mut out, &said, rest);
        } else if !said.is_empty() {
            self.put(&mut out, &said, rest, false);
        }
        self.unsent = 0;
        if !(thought.is_empty() && said.is_empty()) {
            self.note_written(event);
        }
        out.into()
    }

    fn put(&mut self, out: &mut Vec<u8>, text: &str, range: Range<usize>, thought: bool) {
        let fragment = self.answer.output_chunk(text, range, thought);
        self.shape.write_output(out, &fragment, &self.answer.progress());
    }

    /// Writes the last text with the finish reason, then the end of the stream.
    fn close(&mut self, out: &mut Vec<u8>, said: &str, range: Range<usize>) {
        self.end();
        let finish = self.answer.plan.finish;
        self.answer.trace.finish_reason = Some(finish);
        let fragment = self.answer.output_chunk(said, range, false);
        self.shape.close(out, &fragment, finish, &self.answer.progress());
    }

    fn note_written(&mut self, event: TokenEvent) {
        let now = self.answer.parts.truth.offset_ns(Instant::now());
        let step = self.answer.parts.truth.offset_ns(event.at);
        let story = &mut self.answer.trace;
        story.first_token_ns.get_or_insert(now);
        story.tokens_ns.push(now);
        story.step_ns.push(step);
    }

    /// The pending tokens, by their index in the answer.
    fn waiting_range(&self) -> Range<usize> {
        let received = self.answer.trace.output_tokens;
        received - self.unsent..received
    }

    /// Writes the part that precedes the first output, once.
    fn open_once(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.opened, true) {
            self.shape.open(out, &self.answer.progress());
        }
    }
}
