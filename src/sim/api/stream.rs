//! Answers as event streams: one frame for each step that brought the request a token.

use std::{io, ops::Range, time::Instant};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::{
    Parts,
    answer::{Answer, broken},
    ask::Ask,
    refusal::Refusal,
    shape::{Identity, Shape},
};
use crate::sim::{engine::Event, fault::FaultKind};

/// A stream of HTTP 200 whose only event is an error.
pub(super) fn only_error(parts: &Parts, ask: &Ask, refusal: &Refusal) -> Response {
    let nobody = Identity { id: "", created: 0, model: "" };
    let mut shape = (ask.endpoint.shape)(&nobody, ask, &parts.spec);
    let mut out = Vec::new();
    shape.error(&mut out, refusal);
    as_stream(shape.media_type(), out.into())
}

/// Opens the answer's stream.
pub(super) fn open(answer: Answer) -> Response {
    let mut shape = answer.shape();
    let media_type = shape.media_type();
    let mut greeting = Vec::new();
    shape.greet(&mut greeting);
    // In the middle, but never after the last token: a fault that comes too late would be none.
    let spared = answer.plan.len() / 2;
    let live = Live { answer, shape, greeting, spared, unsent: 0, opened: false, over: false };
    let frames = stream::unfold(live, |mut live| async move {
        let frame = live.next_frame().await?;
        Some((frame, live))
    });
    as_stream(media_type, Body::from_stream(frames))
}

fn as_stream(media_type: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, media_type)], body).into_response()
}

/// A stream under way.
struct Live {
    answer: Answer,
    shape: Box<dyn Shape>,
    /// What goes out before anything has been computed.
    greeting: Vec<u8>,
    /// Tokens that go out before a fault strikes.
    spared: usize,
    /// Tokens that wait to be joined with the next into one event.
    unsent: usize,
    opened: bool,
    over: bool,
}

impl Live {
    async fn next_frame(&mut self) -> Option<io::Result<Bytes>> {
        if self.over {
            return None;
        }
        if !self.greeting.is_empty() {
            return Some(Ok(std::mem::take(&mut self.greeting).into()));
        }
        if self.answer.ticket.is_none() {
            return Some(Ok(self.without_tokens()));
        }
        loop {
            let ticket = self.answer.ticket.as_mut()?;
            let Some(event) = ticket.next().await else {
                self.end();
                return Some(Err(broken()));
            };
            self.answer.note(&event);
            self.unsent += 1;
            if let Some(kind) = self.answer.story.fault
                && self.answer.story.output_tokens == self.spared + 1
                && kind != FaultKind::Malformed
            {
                return self.go_wrong(kind).await;
            }
            if event.last || self.unsent >= self.answer.parts.spec.output.tokens_per_event {
                return Some(Ok(self.with_tokens(event)));
            }
        }
    }

    /// Nothing more will go out, and it is not the client's doing.
    fn end(&mut self) {
        self.over = true;
        self.answer.story.cancelled = false;
    }

    /// The frame of an answer that finishes without a single token.
    fn without_tokens(&mut self) -> Bytes {
        let mut out = Vec::new();
        self.open_once(&mut out);
        self.close(&mut out, "", 0..0);
        out.into()
    }

    async fn go_wrong(&mut self, kind: FaultKind) -> Option<io::Result<Bytes>> {
        // What did not go out was not handed out.
        self.answer.story.output_tokens -= self.unsent;
        if kind == FaultKind::Stall {
            self.answer.parts.closing().await;
        }
        self.end();
        match kind {
            FaultKind::ErrorEvent => {
                let mut out = Vec::new();
                let refusal = Refusal::internal().speaking(self.answer.ask.endpoint.dialect);
                self.shape.error(&mut out, &refusal);
                Some(Ok(out.into()))
            }
            FaultKind::NoTerminal => None,
            _ => Some(Err(broken())),
        }
    }

    /// The frame of the tokens that wait.
    fn with_tokens(&mut self, event: Event) -> Bytes {
        let mut out = Vec::with_capacity(512);
        let broken = self.answer.story.fault == Some(FaultKind::Malformed);
        if broken && self.waiting().contains(&self.spared) {
            self.shape.malformed(&mut out);
        }
        self.open_once(&mut out);
        let waiting = self.waiting();
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
        let fragment = self.answer.fragment(text, range, thought);
        self.shape.fragment(out, &fragment, &self.answer.progress());
    }

    /// The last text with the finish reason, then whatever ends the stream.
    fn close(&mut self, out: &mut Vec<u8>, said: &str, range: Range<usize>) {
        self.end();
        let finish = self.answer.plan.finish;
        self.answer.story.finish_reason = Some(finish);
        let fragment = self.answer.fragment(said, range, false);
        self.shape.close(out, &fragment, finish, &self.answer.progress());
    }

    fn note_written(&mut self, event: Event) {
        let now = self.answer.parts.truth.stamp(Instant::now());
        let step = self.answer.parts.truth.stamp(event.at);
        let story = &mut self.answer.story;
        story.first_token_ns.get_or_insert(now);
        story.tokens_ns.push(now);
        story.step_ns.push(step);
    }

    /// The tokens that wait, by their number in the answer.
    fn waiting(&self) -> Range<usize> {
        let received = self.answer.story.output_tokens;
        received - self.unsent..received
    }

    /// What precedes the first output, once.
    fn open_once(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.opened, true) {
            self.shape.open(out, &self.answer.progress());
        }
    }
}
