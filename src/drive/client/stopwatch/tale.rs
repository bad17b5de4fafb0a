//! What a stream has told: events in, the parts of a Record out.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{KeepText, Meters, Story};
use crate::core::record::{Events, Failure, FailureClass, Finish, Times};
use crate::drive::client::excerpt::excerpt;
use crate::drive::client::framing::Framing;
use crate::drive::client::sse::Event;
use crate::drive::client::wire::Reading;
use crate::drive::client::wire::meaning::{Meaning, Output, Text, Usage};
use crate::drive::client::wire::refrain::Refrain;

/// What the stream has told so far.
#[derive(Debug)]
pub(super) struct Tale {
    pub(super) times: Times,
    pub(super) events: Events,
    /// Shared by the requests of a thread.
    pub(super) meters: Rc<RefCell<Meters>>,
    /// Output events since the socket was read.
    pub(super) outputs_of_read: u32,
    pub(super) keep_text: KeepText,
    pub(super) text: Option<String>,
    /// What is said to the user, for who listens.
    pub(super) said: Option<String>,
    /// How far the output had grown, from protocols that repeat it: in tokens or bytes.
    pub(super) so_far: usize,
    pub(super) usage: Option<Usage>,
    pub(super) finish: Option<Finish>,
    pub(super) reading: Reading,
    pub(super) refrain: Refrain,
    /// Whether the refrain is said to the user.
    pub(super) is_said: bool,
    /// `Ok` after the end that a protocol marks, such as `[DONE]`.
    pub(super) ended: Option<Result<(), Failure>>,
}

impl Tale {
    pub(super) fn event(&mut self, at: Duration, event: Event<'_>) {
        let data = event.data.trim_ascii();
        let is_nothing = data.is_empty() && self.reading.framing != Framing::Document;
        if self.ended.is_some() || is_nothing {
            return;
        }
        if data == b"[DONE]" {
            self.ended = Some(Ok(()));
            return;
        }
        match self.refrain.text_of(data).filter(|_| event.name.is_empty()) {
            Some(text) => self.repeat(at, text),
            None => self.read(at, event.name, data),
        }
    }

    /// An event that is another one but for its text.
    fn repeat(&mut self, at: Duration, text: &str) {
        self.output(at);
        if let Some(kept) = &mut self.text {
            kept.push_str(text);
        }
        if let Some(said) = self.said.as_mut().filter(|_| self.is_said) {
            said.push_str(text);
        }
    }

    fn read(&mut self, at: Duration, name: &[u8], data: &[u8]) {
        match (self.reading.read)(data) {
            Ok(Meaning { error: Some(error), .. }) => self.fail(FailureClass::ErrorEvent, error),
            Ok(_) if name == b"error" => self.fail(FailureClass::ErrorEvent, excerpt(data)),
            Ok(meaning) => {
                if let Some(text) = meaning.only_text() {
                    self.refrain.learn(data, text);
                    self.is_said = meaning.is_said();
                }
                self.take(at, meaning);
            }
            Err(_) if name == b"error" => self.fail(FailureClass::ErrorEvent, excerpt(data)),
            Err(error) => {
                let what = match self.reading.framing {
                    Framing::Events => "event is not a chunk",
                    Framing::Lines => "line is not a chunk",
                    Framing::Document => "answer is not the document that was asked for",
                };
                self.fail(FailureClass::BrokenStream, format!("{what} ({error}): {}", excerpt(data)));
            }
        }
    }

    fn take(&mut self, at: Duration, meaning: Meaning<'_>) {
        let Meaning { output, usage, finish, is_end, .. } = meaning;
        let is_document = self.reading.framing == Framing::Document;
        match self.grows(&output) {
            true if is_document => self.times.last_token = Some(at),
            true => self.output(at),
            false => {}
        }
        self.keep(&output);
        self.listen(&output);
        self.finish = finish.or(self.finish.take());
        if let Some(usage) = usage {
            self.usage = Some(usage.or(self.usage));
            if self.keep_text == KeepText::UntilUsage && usage.completion_tokens.is_some() {
                self.text = None;
            }
        }
        if is_end || is_document {
            self.ended = Some(Ok(()));
        }
    }

    /// Whether it adds to the output. Of a text that is repeated, its length tells; or better its tokens, where they are
    /// counted: a server may send them before their text can be shown.
    fn grows(&mut self, output: &Output<'_>) -> bool {
        match *output {
            Output::New(ref pieces) => !pieces.is_empty(),
            Output::Results(count) => count > 0,
            Output::SoFar { text: Some(text), .. } if text.is_empty() => false,
            Output::SoFar { text, tokens } => {
                let tokens = tokens.map(|count| count as usize);
                let length = tokens.or(text.map(Text::length)).unwrap_or_default();
                let grown = length.max(self.so_far);
                std::mem::replace(&mut self.so_far, grown) < grown
            }
        }
    }

    fn keep(&mut self, output: &Output<'_>) {
        let Some(text) = &mut self.text else { return };
        match *output {
            Output::New(ref pieces) => text.extend(pieces.iter().map(|piece| piece.text.decode())),
            Output::SoFar { text: Some(whole), .. } => *text = whole.decode().into_owned(),
            Output::SoFar { text: None, .. } | Output::Results(_) => {}
        }
    }

    fn listen(&mut self, output: &Output<'_>) {
        let Some(said) = &mut self.said else { return };
        match *output {
            Output::New(ref pieces) => {
                said.extend(pieces.iter().filter(|piece| piece.is_said).map(|piece| piece.text.decode()));
            }
            Output::SoFar { text: Some(whole), .. } => *said = whole.decode().into_owned(),
            Output::SoFar { text: None, .. } | Output::Results(_) => {}
        }
    }

    fn output(&mut self, at: Duration) {
        self.events.note(at);
        let meters = &mut *self.meters.borrow_mut();
        meters.shared += u64::from(self.outputs_of_read > 0);
        self.outputs_of_read += 1;
        match self.times.last_token {
            None => self.times.first_token = Some(at),
            Some(last) => {
                let gap = at.saturating_sub(last);
                meters.itl.record(gap);
                meters.itl_by_second.record(at, gap);
                if let Some(gaps) = &mut self.events.gaps {
                    gaps.push(gap);
                }
            }
        }
        self.times.last_token = Some(at);
    }

    pub(super) fn fail(&mut self, class: FailureClass, detail: String) {
        self.ended.get_or_insert(Err(Failure::new(class, detail)));
    }

    pub(super) fn conclude(self, sent: Result<(), Failure>) -> Story {
        let Self { times, events, text, said, usage, finish, ended, reading, .. } = self;
        let outcome = match (ended, sent) {
            // What the stream said goes before what became of the connection.
            (Some(Err(failure)), _) | (None, Err(failure)) => Err(failure),
            (None, Ok(())) if finish.is_none() && !reading.ends_unmarked => Err(unended(&events)),
            _ if times.last_token.is_none() => Err(Failure::new(FailureClass::EmptyStream, "")),
            _ => Ok(finish.unwrap_or(Finish::Unsaid)),
        };
        Story { times, events, outcome, usage, said, text }
    }
}

fn unended(events: &Events) -> Failure {
    let detail = format!("ended with neither finish_reason nor [DONE] (output events: {})", events.count);
    Failure::new(FailureClass::BrokenStream, detail)
}
