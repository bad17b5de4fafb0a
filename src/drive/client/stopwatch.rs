//! One request's story on the run's clock: bytes and their instants in, the parts of a Record out.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::excerpt::excerpt;
use super::framing::{Cutter, Framing};
use super::sse::Event;
use super::wire::Reading;
use super::wire::meaning::{Meaning, Output, Text, Usage};
use super::wire::refrain::Refrain;
use crate::core::record::{Events, Failure, FailureClass, Finish, Phase, Times};
use crate::core::stats::{Tally, TallyBySecond};
use crate::drive::clock::Clock;

/// What to keep of an answer beyond its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The generated text.
    pub text: KeepText,
    /// Every gap between output events, in order.
    pub gaps: bool,
}

/// Whether to keep the generated text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepText {
    /// No: the memory of a request does not follow its tokens.
    Never,
    /// Until the server says how many tokens it is; for a server that does not say, they are counted in the text.
    UntilUsage,
    /// Always.
    Always,
}

/// What the requests of a thread are measured into together, because there is too much of it to keep.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    /// Gaps between output events, those of requests that fail later included.
    pub itl: Tally,
    /// The same gaps by the second of the later event.
    pub itl_by_second: TallyBySecond,
    /// How long bytes lay in the socket before we read them: our read − the kernel's stamp, for each read that had one.
    pub read_delay: Tally,
    /// Reads without a stamp of the kernel.
    pub unstamped: u64,
    /// Output events whose read held another output event before them, so that both have one time. Either the server
    /// sent them together, or we came so late that the first one's stamp is lost (and the first one's time too late).
    pub shared: u64,
}

impl Meters {
    /// Adds what another thread measured.
    pub fn merge(&mut self, other: &Self) {
        self.itl.merge(&other.itl);
        self.itl_by_second.merge(&other.itl_by_second);
        self.read_delay.merge(&other.read_delay);
        self.unstamped += other.unstamped;
        self.shared += other.shared;
    }
}

/// A step on the way to an answer, before its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is no open connection at hand: one is being made.
    Connecting,
    /// The name has an address.
    Resolved,
    /// The TCP connection is open.
    Connected,
    /// The TLS handshake is done.
    Secured,
    /// The connection can take the request.
    Ready,
    /// The kernel has all bytes of the request.
    Written,
}

/// The parts of a Record that the client knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// When the steps happened.
    pub times: Times,
    /// The output events.
    pub events: Events,
    /// How it ended.
    pub outcome: Result<Finish, Failure>,
    /// The server's last count of tokens; partial for a stream that broke off.
    pub usage: Option<Usage>,
    /// What was said to the user, of a stopwatch that [listens](Stopwatch::listening).
    pub said: Option<String>,
    /// All output in order of arrival (reasoning and tool calls included), as far as [`Keep`] asks for it.
    pub text: Option<String>,
}

/// Follows one request. What was seen stays seen when the request fails or is given up.
///
/// The transport tells it when things happened; it takes no time itself, except for the end.
#[derive(Debug)]
pub struct Stopwatch {
    cutter: Cutter,
    answer: Answer,
    clock: Clock,
    /// The latest moment told: stamps of two clocks may disagree by microseconds, a story does not go back.
    latest: Duration,
    connecting: bool,
}

impl Stopwatch {
    /// Ready for a request that is due at an offset.
    pub fn new(clock: Clock, due: Duration, keep: Keep, meters: Rc<RefCell<Meters>>) -> Self {
        let times = Times { due, ..Times::default() };
        let events = Events { gaps: keep.gaps.then(Vec::new), ..Events::default() };
        let text = (keep.text != KeepText::Never).then(String::new);
        let keep_text = keep.text;
        let answer = Answer {
            times,
            events,
            meters,
            outputs_of_read: 0,
            keep_text,
            text,
            said: None,
            so_far: 0,
            usage: None,
            finish: None,
            reading: Reading::default(),
            refrain: Refrain::default(),
            is_said: false,
            ended: None,
        };
        let cutter = Cutter::new(answer.reading.framing);
        Self { cutter, answer, clock, latest: Duration::ZERO, connecting: false }
    }

    /// Says how the answer is to be read; a stream of completions or chat unless told otherwise.
    pub fn expect(&mut self, reading: Reading) {
        self.cutter = Cutter::new(reading.framing);
        self.answer.reading = reading;
    }

    /// In what pieces the answer is expected.
    pub fn framing(&self) -> Framing {
        self.answer.reading.framing
    }

    /// The same, which also remembers what is said to the user (reasoning and tool calls apart), for the next turn.
    pub fn listening(mut self) -> Self {
        self.answer.said = Some(String::new());
        self
    }

    /// The offset of this moment.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The offset of an instant.
    pub fn offset(&self, instant: Instant) -> Duration {
        self.clock.at(instant)
    }

    /// The cap let the request go.
    pub fn released(&mut self, at: Duration) {
        self.answer.times.released = Some(at);
    }

    /// The request begins.
    pub fn sending(&mut self, at: Duration) {
        self.latest = at;
        self.answer.times.sent = Some(at);
    }

    /// A step is done.
    pub fn reached(&mut self, step: Step, at: Duration) {
        let times = &mut self.answer.times;
        match step {
            Step::Connecting => self.connecting = true,
            Step::Resolved => times.resolved = Some(at),
            Step::Connected => times.connected = Some(at),
            Step::Secured => times.secured = Some(at),
            Step::Ready => self.connecting = false,
            Step::Written => times.written = Some(at),
        }
    }

    /// The socket was read: what arrives until the next read has one time. `delay` is how long it had lain there, where
    /// the kernel tells.
    pub fn socket_read(&mut self, delay: Option<Duration>) {
        self.answer.outputs_of_read = 0;
        let meters = &mut *self.answer.meters.borrow_mut();
        match delay {
            Some(delay) => meters.read_delay.record(delay),
            None => meters.unstamped += 1,
        }
    }

    /// The response head was there.
    pub fn head_arrived(&mut self, at: Duration) {
        let at = self.follow(at);
        let times = &mut self.answer.times;
        times.headers = Some(at);
        // The answer to a request can be there before we get to look at the clock after writing it.
        times.written = times.written.map(|written| written.min(at));
    }

    /// A piece of the body, read at an instant. It may hold any part of any number of events.
    pub fn bytes_arrived(&mut self, at: Duration, bytes: &[u8]) {
        if bytes.is_empty() || self.is_over() {
            return;
        }
        let at = self.follow(at);
        let answer = &mut self.answer;
        answer.times.first_chunk.get_or_insert(at);
        if let Err(error) = self.cutter.push(bytes, &mut |event| answer.event(at, event)) {
            answer.fail(FailureClass::BrokenStream, error.to_string());
        }
    }

    /// Whether the outcome is settled (`[DONE]`, or a failure): what still comes does not matter.
    pub fn is_over(&self) -> bool {
        self.answer.ended.is_some()
    }

    /// What the request is waiting for: the phase of a timeout.
    pub fn phase(&self) -> Phase {
        let times = &self.answer.times;
        match (times.headers, times.first_token) {
            (None, _) if self.connecting => Phase::Connect,
            (None, _) => Phase::Headers,
            // A document has no first token to wait for.
            (Some(_), None) if self.framing() != Framing::Document => Phase::FirstToken,
            (Some(_), _) => Phase::Stream,
        }
    }

    /// Ends the story. `sent` is how the transport fared: `Ok` for a body read to its proper end, else why it was not.
    pub fn conclude(mut self, sent: Result<(), Failure>) -> Story {
        self.answer.times.done = Some(self.clock.now());
        if sent.is_ok() {
            self.finish_stream();
        }
        self.answer.conclude(sent)
    }

    /// The time of a read, never before what was told already.
    fn follow(&mut self, at: Duration) -> Duration {
        self.latest = self.latest.max(at);
        self.latest
    }

    fn finish_stream(&mut self) {
        let Self { cutter, answer, latest, .. } = self;
        if let Err(error) = cutter.finish(&mut |event| answer.event(*latest, event)) {
            answer.fail(FailureClass::BrokenStream, error.to_string());
        }
    }
}

/// What the stream has told so far.
#[derive(Debug)]
struct Answer {
    times: Times,
    events: Events,
    /// Shared by the requests of a thread.
    meters: Rc<RefCell<Meters>>,
    /// Output events since the socket was read.
    outputs_of_read: u32,
    keep_text: KeepText,
    text: Option<String>,
    /// What is said to the user, for who listens.
    said: Option<String>,
    /// How far the output had grown, from protocols that repeat it: in tokens or bytes.
    so_far: usize,
    usage: Option<Usage>,
    finish: Option<Finish>,
    reading: Reading,
    refrain: Refrain,
    /// Whether the refrain is said to the user.
    is_said: bool,
    /// `Ok` after the end that a protocol marks, such as `[DONE]`.
    ended: Option<Result<(), Failure>>,
}

impl Answer {
    fn event(&mut self, at: Duration, event: Event<'_>) {
        let data = event.data.trim_ascii();
        let is_nothing = data.is_empty() && self.reading.framing != Framing::Document;
        if self.ended.is_some() || is_nothing {
            return;
        }
        if data == b"[DONE]" {
            self.ended = Some(Ok(()));
            return;
        }
        if let Some(text) = self.refrain.text_of(data).filter(|_| event.name.is_empty()) {
            self.output(at);
            if let Some(kept) = &mut self.text {
                kept.push_str(text);
            }
            if let Some(said) = self.said.as_mut().filter(|_| self.is_said) {
                said.push_str(text);
            }
            return;
        }
        match (self.reading.read)(data) {
            Ok(Meaning { error: Some(error), .. }) => self.fail(FailureClass::ErrorEvent, error),
            Ok(_) if event.name == b"error" => self.fail(FailureClass::ErrorEvent, excerpt(data)),
            Ok(meaning) => {
                if let Some(text) = meaning.only_text() {
                    self.refrain.learn(data, text);
                    self.is_said = meaning.is_said();
                }
                self.take(at, meaning);
            }
            Err(_) if event.name == b"error" => self.fail(FailureClass::ErrorEvent, excerpt(data)),
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

    fn fail(&mut self, class: FailureClass, detail: String) {
        self.ended.get_or_insert(Err(Failure::new(class, detail)));
    }

    fn conclude(self, sent: Result<(), Failure>) -> Story {
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

#[cfg(test)]
mod tests;
