//! What a stream has told: events in, the parts of a Record out.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{FirstEvent, Keep, KeepGaps, KeepText, Meters, Story};
use crate::core::record::{Events, Failure, FailureClass, Finish, Times, whole_second};
use crate::core::stats::Pending;
use crate::drive::client::excerpt::excerpt;
use crate::drive::client::framing::Framing;
use crate::drive::client::sse::Event;
use crate::drive::client::wire::Reading;
use crate::drive::client::wire::meaning::{Meaning, Output, Piece, Text, Usage};
use crate::drive::client::wire::refrain::Refrain;

/// What the stream has told so far.
///
/// An event that is like the one before touches the pulse, the refrain and what is kept; the rest stays out of the
/// processor's cache.
#[derive(Debug)]
pub(super) struct Tale {
    pub(super) pulse: Pulse,
    /// What every event is held against.
    pub(super) refrain: Refrain,
    /// Shared by the requests of a thread.
    pub(super) meters: Rc<RefCell<Meters>>,
    /// Those between output events, until it is known whether the request is answered.
    pub(super) gaps: Option<Pending>,
    /// Whether they count if it is.
    pub(super) counts: bool,
    pub(super) kept: Kept,
    pub(super) first: FirstEvent,
    /// `Ok` after the end that a protocol marks, such as `[DONE]`.
    pub(super) ended: Option<Result<(), Box<Failure>>>,
    pub(super) reading: Reading,
    pub(super) times: Box<Times>,
    /// But for those of the second that is not over.
    pub(super) events: Events,
    /// How far the output had grown, from protocols that repeat it: in tokens or bytes.
    pub(super) so_far: usize,
    pub(super) usage: Option<Usage>,
    pub(super) finish: Option<Finish>,
}

/// What changes with every output event.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// The last output.
    pub(super) last: Option<Duration>,
    /// Output events since the socket was read.
    pub(super) of_read: u32,
    /// Output events in the read that brought the first one; 0 until the next read.
    pub(super) of_first_read: u32,
    /// The second of the last output, and the output events in it.
    pub(super) second: (u32, u32),
}

impl Pulse {
    /// The socket was read again.
    pub(super) fn next_read(&mut self) {
        if self.of_first_read == 0 {
            self.of_first_read = self.of_read;
        }
        self.of_read = 0;
    }
}

/// What is kept of an answer beyond its times.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) gaps: Option<Vec<Duration>>,
    pub(super) text: Option<String>,
    /// Whether the text is for counting, and not needed once the server has counted.
    pub(super) until_usage: bool,
    /// What is said to the user, for who listens.
    pub(super) said: Option<String>,
    /// Whether the refrain is said to the user.
    pub(super) is_said: bool,
}

impl Kept {
    /// Nothing yet, of the things asked for.
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            gaps: (keep.gaps != KeepGaps::Never).then(Vec::new),
            text: (keep.text != KeepText::Never).then(String::new),
            until_usage: keep.text == KeepText::UntilUsage,
            said: None,
            is_said: false,
        }
    }
}

impl Tale {
    pub(super) fn event(&mut self, at: Duration, event: Event<'_>) {
        if self.ended.is_some() {
            return;
        }
        let data = event.data.trim_ascii();
        match self.refrain.text_of(data).filter(|_| event.name.is_empty()) {
            Some(text) => self.repeat(at, text),
            None if data.is_empty() && self.reading.framing != Framing::Document => {}
            None if data == b"[DONE]" => self.ended = Some(Ok(())),
            None => self.read(at, event.name, data),
        }
    }

    /// An event that is another one but for its text.
    fn repeat(&mut self, at: Duration, text: &str) {
        self.output(at);
        let Kept { text: whole, said, is_said, .. } = &mut self.kept;
        if let Some(whole) = whole {
            whole.push_str(text);
        }
        if let Some(said) = said.as_mut().filter(|_| *is_said) {
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
                    self.kept.is_said = meaning.is_said();
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
        self.first.reasoning_is_streamed |= meaning.has_reasoning();
        let Meaning { output, usage, finish, is_end, .. } = meaning;
        let is_document = self.reading.framing == Framing::Document;
        match self.grows(&output) {
            true if is_document => self.pulse.last = Some(at),
            true => {
                if self.pulse.last.is_none() {
                    self.first.note(&output, usage);
                }
                self.output(at);
            }
            false => {}
        }
        self.finish = finish.or(self.finish.take());
        if let Some(usage) = usage {
            self.usage = Some(usage.or(self.usage));
        }
        self.kept.take(&output);
        if self.kept.until_usage && usage.is_some_and(|usage| usage.completion_tokens.is_some()) {
            self.kept.text = None;
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

    fn output(&mut self, at: Duration) {
        self.count(at);
        let Self { pulse, meters, gaps, counts, kept, times, .. } = self;
        let meters = &mut *meters.borrow_mut();
        meters.shared += u64::from(pulse.of_read > 0);
        match pulse.last {
            None => {
                times.first_token = Some(at);
                *gaps = counts.then(|| meters.spare.pop().unwrap_or_default());
            }
            Some(last) => {
                let gap = at.saturating_sub(last);
                meters.gaps += 1;
                meters.itl_by_second.record(at, gap);
                if let Some(gaps) = gaps {
                    gaps.record(gap);
                }
                if let Some(all) = &mut kept.gaps {
                    all.push(gap);
                }
            }
        }
        pulse.last = Some(at);
        pulse.of_read += 1;
    }

    fn count(&mut self, at: Duration) {
        let second = whole_second(at);
        let (last, events) = &mut self.pulse.second;
        if *last != second {
            self.close_second();
            self.pulse.second = (second, 1);
        } else {
            *events += 1;
        }
    }

    fn close_second(&mut self) {
        let (second, events) = std::mem::take(&mut self.pulse.second);
        if events > 0 {
            self.events.add(second, events);
        }
    }

    pub(super) fn fail(&mut self, class: FailureClass, detail: String) {
        self.ended.get_or_insert_with(|| Err(Box::new(Failure::new(class, detail))));
    }

    pub(super) fn conclude(mut self, sent: Result<(), Failure>) -> Story {
        self.close_second();
        self.pulse.next_read();
        let Self {
            pulse, meters, gaps, kept, first, ended, reading, times, mut events, usage, finish, ..
        } = self;
        let times = Times { last_token: pulse.last, ..*times };
        let outcome = match (ended, sent) {
            // What the stream said goes before what became of the connection.
            (Some(Err(failure)), _) => Err(*failure),
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) if finish.is_none() && !reading.ends_unmarked => Err(unended(&events)),
            _ if times.last_token.is_none() => Err(Failure::new(FailureClass::EmptyStream, "")),
            _ => Ok(finish.unwrap_or(Finish::Unsaid)),
        };
        if let Some(gaps) = gaps {
            meters.borrow_mut().settle(gaps, outcome.is_ok());
        }
        if outcome.is_ok() && events.count > 1 {
            let meters = &mut *meters.borrow_mut();
            meters.streams += 1;
            meters.burst_starts += u64::from(pulse.of_first_read > 1);
        }
        let Kept { gaps, text, said, .. } = kept;
        events.gaps = gaps;
        Story { times, events, first, outcome, usage, said, text }
    }
}

impl Meters {
    /// The gaps of a request that has ended, which count if it was answered.
    fn settle(&mut self, mut gaps: Pending, answered: bool) {
        if answered {
            self.itl.take(&mut gaps);
        }
        gaps.clear();
        self.spare.push(gaps);
    }
}

impl FirstEvent {
    /// The first output event and the usage that came with it.
    fn note(&mut self, output: &Output<'_>, usage: Option<Usage>) {
        self.tokens_so_far = usage.and_then(|usage| usage.completion_tokens);
        if self.tokens_so_far.is_none() {
            add(&mut self.text, output, |_| true);
        }
    }
}

impl Kept {
    fn take(&mut self, output: &Output<'_>) {
        if let Some(text) = &mut self.text {
            add(text, output, |_| true);
        }
        if let Some(said) = &mut self.said {
            add(said, output, |piece| piece.is_said());
        }
    }
}

/// Adds an output to a text, or puts it in the text's place, as the protocol has it.
fn add(text: &mut String, output: &Output<'_>, wanted: impl Fn(&Piece<'_>) -> bool) {
    match *output {
        Output::New(ref pieces) => {
            text.extend(pieces.iter().filter(|piece| wanted(piece)).map(|piece| piece.text.decode()));
        }
        Output::SoFar { text: Some(whole), .. } => *text = whole.decode().into_owned(),
        Output::SoFar { text: None, .. } | Output::Results(_) => {}
    }
}

fn unended(events: &Events) -> Failure {
    let detail = format!("ended with neither finish_reason nor [DONE] (output events: {})", events.count);
    Failure::new(FailureClass::BrokenStream, detail)
}
