//! One request's story on the run's clock: bytes and their instants in, the parts of a Record out.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::framing::{Cutter, Framing};
use super::wire::Reading;
use super::wire::meaning::Usage;
use super::wire::refrain::Refrain;
use crate::core::record::{Events, Failure, FailureClass, Finish, Phase, Times};
use crate::core::stats::{Pending, Tally, TallyBySecond};
use crate::drive::clock::Clock;
use tale::{Kept, Pulse, Tale};

mod tale;

/// What to keep of an answer beyond its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The generated text.
    pub text: KeepText,
    /// Every gap between output events, in order.
    pub gaps: KeepGaps,
}

/// Whether to keep the gaps between output events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepGaps {
    /// No: the memory of a request does not follow its tokens.
    Never,
    /// Until the request has ended and its observer has seen them.
    UntilEnded,
    /// Always.
    Always,
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
    /// Gaps between output events of answered requests whose users were to stay.
    pub itl: Tally,
    /// All gaps by the second of the later event, also of requests that fail later or are left: they show what the server
    /// did in that second.
    pub itl_by_second: TallyBySecond,
    /// How many gaps there were so far.
    pub gaps: u64,
    /// Room for the gaps of requests in flight, left by those that have ended.
    spare: Vec<Pending>,
    /// How long bytes lay in the socket before we read them: our read − the kernel's stamp, for each read that had one.
    pub read_delay: Tally,
    /// Reads without a stamp of the kernel.
    pub unstamped: u64,
    /// Output events whose read held another output event before them, so that both have one time. Either the server
    /// sent them together, or we came so late that the first one's stamp is lost (and the first one's time too late).
    pub shared: u64,
    /// Answers of several output events.
    pub streams: u64,
    /// Those of them whose first output event came in one read with the next: what waits for company shows the first
    /// token too late.
    pub burst_starts: u64,
}

impl Meters {
    /// Adds what another thread measured.
    pub fn merge(&mut self, other: &Self) {
        self.itl.merge(&other.itl);
        self.itl_by_second.merge(&other.itl_by_second);
        self.gaps += other.gaps;
        self.read_delay.merge(&other.read_delay);
        self.unstamped += other.unstamped;
        self.shared += other.shared;
        self.streams += other.streams;
        self.burst_starts += other.burst_starts;
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
    /// The first of them.
    pub first: FirstEvent,
    /// How it ended.
    pub outcome: Result<Finish, Failure>,
    /// The server's last count of tokens; partial for a stream that broke off.
    pub usage: Option<Usage>,
    /// What was said to the user, of a stopwatch that [listens](Stopwatch::listening).
    pub said: Option<String>,
    /// All output in order of arrival (reasoning and tool calls included), as far as [`Keep`] asks for it.
    pub text: Option<String>,
}

/// What is known of an answer's first output event, by which its tokens can be told from the others'.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FirstEvent {
    /// Tokens generated so far, by the usage that came with it.
    pub tokens_so_far: Option<u32>,
    /// Its text, where no usage came with it.
    pub text: String,
    /// Whether any event of the answer carried reasoning.
    pub reasoning_is_streamed: bool,
}

/// Follows one request. What was seen stays seen when the request fails or is given up.
///
/// The transport tells it when things happened; it takes no time itself, except for ends that no byte tells of.
#[derive(Debug)]
pub struct Stopwatch {
    cutter: Cutter,
    tale: Tale,
    clock: Clock,
    /// The latest moment told: stamps of two clocks may disagree by microseconds, a story does not go back.
    latest: Duration,
    connecting: bool,
}

impl Stopwatch {
    /// Ready for a request that is due at an offset.
    pub fn new(clock: Clock, due: Duration, keep: Keep, meters: Rc<RefCell<Meters>>) -> Self {
        let tale = Tale {
            pulse: Pulse::default(),
            refrain: Refrain::default(),
            meters,
            gaps: None,
            counts: true,
            kept: Kept::new(keep),
            first: FirstEvent::default(),
            ended: None,
            reading: Reading::default(),
            times: Box::new(Times { due, ..Times::default() }),
            events: Events::default(),
            so_far: 0,
            usage: None,
            finish: None,
        };
        let cutter = Cutter::new(tale.reading.framing);
        Self { cutter, tale, clock, latest: Duration::ZERO, connecting: false }
    }

    /// Says how the answer is to be read; a stream of completions or chat unless told otherwise.
    pub fn expect(&mut self, reading: Reading) {
        self.cutter = Cutter::new(reading.framing);
        self.tale.reading = reading;
    }

    /// In what pieces the answer is expected.
    pub fn framing(&self) -> Framing {
        self.tale.reading.framing
    }

    /// The same, which also remembers what is said to the user (reasoning and tool calls apart), for the next turn.
    pub fn listening(mut self) -> Self {
        self.tale.kept.said = Some(String::new());
        self
    }

    /// The same for a user who is to leave: the gaps count for no latency.
    pub fn leaving(mut self) -> Self {
        self.tale.counts = false;
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
        self.tale.times.released = Some(at);
    }

    /// The request begins.
    pub fn sending(&mut self, at: Duration) {
        self.latest = at;
        self.tale.times.sent = Some(at);
    }

    /// A step is done.
    pub fn reached(&mut self, step: Step, at: Duration) {
        let times = &mut self.tale.times;
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
        self.tale.pulse.next_read();
        let meters = &mut *self.tale.meters.borrow_mut();
        match delay {
            Some(delay) => meters.read_delay.record(delay),
            None => meters.unstamped += 1,
        }
    }

    /// The response head was there.
    pub fn head_arrived(&mut self, at: Duration) {
        let at = self.follow(at);
        let times = &mut self.tale.times;
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
        let tale = &mut self.tale;
        if tale.pulse.last.is_none() {
            tale.times.first_chunk.get_or_insert(at);
        }
        if let Err(error) = self.cutter.push(bytes, &mut |event| tale.event(at, event)) {
            tale.fail(FailureClass::BrokenStream, error.to_string());
        }
    }

    /// The server closed the connection: now, as far as anybody knows.
    pub fn closed(&mut self) {
        self.follow(self.now());
    }

    /// Nothing more happens to this request: since its last byte if that `decided` the outcome, else since now. Returns when.
    pub fn settle(&mut self, decided: bool) -> Duration {
        let at = if decided { self.latest } else { self.now() };
        *self.tale.times.done.get_or_insert(at)
    }

    /// Whether the outcome is settled (`[DONE]`, or a failure): what still comes does not matter.
    pub fn is_over(&self) -> bool {
        self.tale.ended.is_some()
    }

    /// What the request is waiting for: the phase of a timeout.
    pub fn phase(&self) -> Phase {
        let times = &self.tale.times;
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
        self.settle(false);
        if sent.is_ok() {
            self.finish_stream();
        }
        self.tale.conclude(sent)
    }

    /// The time of a read, never before what was told already.
    fn follow(&mut self, at: Duration) -> Duration {
        self.latest = self.latest.max(at);
        self.latest
    }

    fn finish_stream(&mut self) {
        let Self { cutter, tale, latest, .. } = self;
        if let Err(error) = cutter.finish(&mut |event| tale.event(*latest, event)) {
            tale.fail(FailureClass::BrokenStream, error.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
