//! Answers as event streams: one frame for each step that brought the request a token.

use std::{io, time::Instant};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::{
    Parts,
    answer::{Answer, broken},
    ask::{Endpoint, UsageReports},
    chunks::{Chunks, Field, Identity, Piece},
    refusal::Refusal,
};
use crate::sim::{engine::Event, fault::FaultKind, plan::Finish};

/// A stream of HTTP 200 whose only event is an error.
pub(super) fn only_error(parts: &Parts, refusal: &Refusal) -> Response {
    let nobody = Identity { id: "", created: 0, model: "" };
    let chunks = Chunks::new(Endpoint::Completions, &nobody, parts.spec.output.line_ending);
    let mut out = Vec::new();
    chunks.error(&mut out, refusal);
    chunks.done(&mut out);
    as_events(out.into())
}

/// Opens the answer's stream.
pub(super) fn open(answer: Answer) -> Response {
    let chunks = Chunks::new(answer.endpoint, &answer.identity(), answer.parts.spec.output.line_ending);
    let usage = if answer.parts.spec.output.usage { answer.ask.usage } else { UsageReports::Never };
    // In the middle, but never after the last token: a fault that comes too late would be none.
    let spared = answer.plan.len() / 2;
    let live = Live { answer, chunks, usage, spared, unsent: 0, opened: false, over: false };
    let frames = stream::unfold(live, |mut live| async move {
        let frame = live.next_frame().await?;
        Some((frame, live))
    });
    as_events(Body::from_stream(frames))
}

fn as_events(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], body).into_response()
}

/// A stream under way.
struct Live {
    answer: Answer,
    chunks: Chunks,
    usage: UsageReports,
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
        let Some(ticket) = &mut self.answer.ticket else { return Some(Ok(self.without_tokens())) };
        loop {
            let Some(event) = ticket.next().await else {
                self.over = true;
                return Some(Err(broken()));
            };
            self.answer.story.output_tokens += 1;
            self.answer.story.cached_tokens = event.cached;
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

    /// The frame of an answer that finishes without a single token.
    fn without_tokens(&mut self) -> Bytes {
        let mut out = Vec::new();
        self.open_chat(&mut out);
        self.close(&mut out, "");
        out.into()
    }

    async fn go_wrong(&mut self, kind: FaultKind) -> Option<io::Result<Bytes>> {
        self.over = true;
        // What did not go out was not handed out.
        self.answer.story.output_tokens -= self.unsent;
        match kind {
            FaultKind::ErrorEvent => {
                let mut out = Vec::new();
                self.chunks.error(&mut out, &Refusal::internal());
                self.chunks.done(&mut out);
                Some(Ok(out.into()))
            }
            FaultKind::Stall => {
                self.answer.parts.closing().await;
                Some(Err(broken()))
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
            self.chunks.malformed(&mut out);
        }
        self.open_chat(&mut out);
        let (thought, said) = self.waiting_text();
        let visible = !(thought.is_empty() && said.is_empty());
        if !thought.is_empty() {
            let name = self.answer.parts.spec.output.reasoning_field.name();
            self.put(&mut out, Field::Reasoning(name), &thought, None);
        }
        if event.last {
            self.close(&mut out, &said);
        } else if !said.is_empty() {
            self.put(&mut out, Field::Text, &said, None);
        }
        self.unsent = 0;
        if visible {
            self.note_written(event);
        }
        out.into()
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
    fn waiting(&self) -> std::ops::Range<usize> {
        let received = self.answer.story.output_tokens;
        received - self.unsent..received
    }

    /// The reasoning and the text of the tokens that wait.
    fn waiting_text(&self) -> (String, String) {
        let Answer { parts, plan, endpoint, .. } = &self.answer;
        let reasoning = if *endpoint == Endpoint::Chat { parts.spec.output.reasoning } else { 0 };
        let (mut thought, mut said) = (String::new(), String::new());
        for index in self.waiting() {
            let part = if index < reasoning { &mut thought } else { &mut said };
            part.push_str(plan.text(&parts.vocabulary, index));
        }
        (thought, said)
    }

    /// The role chunk, once and in chats only.
    fn open_chat(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.opened, true) && self.answer.endpoint == Endpoint::Chat {
            let nothing_yet = super::chunks::Usage { completion: 0, ..self.answer.usage() };
            let usage = (self.usage == UsageReports::WithEveryEvent).then_some(nothing_yet);
            self.chunks.role(out, usage);
        }
    }

    /// The last text with the finish reason, then whatever ends the stream.
    fn close(&mut self, out: &mut Vec<u8>, said: &str) {
        self.over = true;
        let finish = self.answer.plan.finish;
        self.answer.story.finish_reason = Some(finish);
        self.put(out, Field::Text, said, Some(finish));
        if self.usage != UsageReports::Never {
            self.chunks.usage(out, self.answer.usage());
        }
        self.chunks.done(out);
    }

    fn put(&self, out: &mut Vec<u8>, field: Field, text: &str, finish: Option<Finish>) {
        let usage = (self.usage == UsageReports::WithEveryEvent).then(|| self.answer.usage());
        let signed = finish.is_some() && self.usage == UsageReports::Never;
        self.chunks.piece(out, &Piece { field, text, finish, usage, signed });
    }
}
