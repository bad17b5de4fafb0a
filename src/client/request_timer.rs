//! Times one request on the run's clock: takes bytes with their arrival times and returns the client's parts of a
//! [`Record`](crate::model::record::Record).

mod captured;
mod other_data;
mod outcome;
mod output_modes;
mod stream_state;
mod text_mode;
mod text_size;
mod unread_fields;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::framing::{FrameDecoder, StreamFraming};
use crate::client::clock::RunClock;
use crate::client::protocol::ResponseFormat;
use crate::client::protocol::event_template::EventTemplate;
use crate::client::protocol::parsed_event::TokenUsage;
use crate::client::request_timer::captured::CapturedOutput;
pub(crate) use crate::client::request_timer::captured::MAX_CAPTURED_BYTES;
use crate::client::request_timer::stream_state::{HotState, StreamState};
pub(crate) use crate::client::request_timer::unread_fields::UnreadFields;
use crate::model::record::{
    Events, Failure, FailureClass, FinishReason, Milestone, ServerTimes, TimeoutPhase, Timestamps,
};
use crate::stats::{DurationSketch, PendingDurations, PerSecondHistogram};

/// The parts of an answer to keep besides its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// Whether to keep the generated text.
    pub text: CaptureText,
    /// Whether to keep every gap between output events, in order.
    pub gaps: CaptureGaps,
}

/// Whether to keep the gaps between output events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaptureGaps {
    /// Keep no gaps. A request's memory then does not grow with its tokens.
    Never,
    /// Keep the gaps until the request has ended and its observer has seen them.
    UntilEnded,
    /// Always keep the gaps.
    Always,
}

/// Whether to keep the generated text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureText {
    /// Keep no text. A request's memory then does not grow with its tokens.
    Never,
    /// Keep the text until the server reports its token count. If the server reports none, the tokens are counted in
    /// the text.
    UntilUsage,
    /// Keep the text until the request has ended and its observer has seen it.
    UntilEnded,
    /// Always keep the text.
    Always,
}

/// Statistics that all requests of a thread share, because the single values are too many to keep.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StreamStats {
    /// Gaps between output events of answered requests, without requests that were planned to be canceled.
    pub itl: DurationSketch,
    /// All gaps by the second of the later event, including those of requests that fail later or are canceled: they
    /// show what the server did in that second.
    pub itl_by_second: PerSecondHistogram,
    /// The number of gaps so far.
    pub gaps: u64,
    /// Gap buffers of ended requests, which later requests reuse.
    #[serde(skip)]
    spare: Vec<PendingDurations>,
    /// How long bytes waited in the socket before the client read them: the time of the read minus the kernel's
    /// timestamp, for each read that has one.
    pub read_delay: DurationSketch,
    /// The number of reads without a kernel timestamp.
    pub unstamped: u64,
    /// The number of output events whose read held an earlier output event, so that both have one time. Either the
    /// server sent them together, or the client read so late that the first event's timestamp is lost (and its time is
    /// too late).
    pub shared: u64,
    /// The number of answers with several output events.
    pub streams: u64,
    /// The number of those answers whose first output event arrived in one read with the next. If the first event
    /// waited for the next, the first token appears too late.
    pub burst_starts: u64,
    /// The number of events that are not part of an answer: pings, and comments that a gateway sent as data.
    pub ignored: u64,
    /// The number of ignored events that are not pings: JSON of another kind, and texts.
    pub unknown: u64,
    /// The first of them.
    pub first_unknown: Option<Box<str>>,
    /// The number of events with text in fields that are not read, by the field.
    pub unread: UnreadFields,
    /// The number of streams that repeated the whole text with every event although their protocol does not.
    pub repeating: u64,
    /// The number of answers that the next turn of their session repeats.
    pub turns: u64,
    /// The number of those answers without any text that is visible to the user.
    pub silent_turns: u64,
}

impl StreamStats {
    /// Adds the statistics of another thread.
    pub fn merge(&mut self, other: &Self) {
        self.itl.merge(&other.itl);
        self.itl_by_second.merge(&other.itl_by_second);
        self.gaps += other.gaps;
        self.read_delay.merge(&other.read_delay);
        self.unstamped += other.unstamped;
        self.shared += other.shared;
        self.streams += other.streams;
        self.burst_starts += other.burst_starts;
        self.ignored += other.ignored;
        self.unknown += other.unknown;
        self.first_unknown = self.first_unknown.take().or_else(|| other.first_unknown.clone());
        self.unread.merge(&other.unread);
        self.repeating += other.repeating;
        self.turns += other.turns;
        self.silent_turns += other.silent_turns;
    }
}

/// A step of a request before the first byte of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectStep {
    /// No open connection is available, so the client opens one.
    Connecting,
    /// The name is resolved to an address.
    Resolved,
    /// The TCP connection is open.
    Connected,
    /// The TLS handshake is complete.
    Secured,
    /// The connection is ready for the request.
    Ready,
    /// The kernel has accepted all bytes of the request.
    Written,
}

/// The parts of a [`Record`](crate::model::record::Record) that the client knows.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestSummary {
    /// When each step happened.
    pub times: Timestamps,
    /// The output events.
    pub events: Events,
    /// The first output event.
    pub first_event: FirstEvent,
    /// How the request ended.
    pub outcome: Result<FinishReason, Failure>,
    /// The server's last token counts; partial if the stream broke off.
    pub usage: Option<TokenUsage>,
    /// The server's own times for the request.
    pub server_times: ServerTimes,
    /// The size of all output; `None` if some of it is not text.
    pub text_size: Option<TextSize>,
    /// The text that is visible to the user; `None` unless the timer [keeps it](RequestTimer::with_history_text).
    pub visible_text: Option<String>,
    /// All output in order of arrival (including reasoning and tool calls), if [`Capture`] asks for it.
    pub text: Option<String>,
}

/// The size of an answer's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TextSize {
    /// The length of the text, in bytes of its JSON; never shorter than the text itself.
    pub bytes: u64,
    /// The number of events that added no text. Each may stand for tokens without text.
    pub silent_events: u32,
}

/// The known facts about an answer's first output event, which separate its tokens from those of later events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FirstEvent {
    /// The number of tokens generated so far, from the usage that came with the event.
    pub tokens_so_far: Option<u32>,
    /// The event's text, if no usage came with it.
    pub text: String,
    /// Whether any event of the answer carried reasoning.
    pub reasoning_is_streamed: bool,
}

/// Follows one request. It keeps what it has recorded when the request fails or is canceled.
///
/// The transport reports when things happened. The timer reads the clock only for ends that no byte marks.
#[derive(Debug)]
pub struct RequestTimer {
    frame_decoder: FrameDecoder,
    state: StreamState,
    clock: RunClock,
    /// The latest recorded time. The timestamps of two clocks may differ by microseconds, but recorded times never
    /// decrease.
    latest: Duration,
    connecting: bool,
}

impl RequestTimer {
    /// Creates a timer for a request that is due at the offset `due`. It expects a stream of completions or chat chunks
    /// until [`RequestTimer::set_response_format`] is called.
    pub fn new(
        clock: RunClock,
        due: Duration,
        keep: Capture,
        stream_stats: Rc<RefCell<StreamStats>>,
    ) -> Self {
        let state = StreamState {
            hot: HotState::default(),
            template: EventTemplate::default(),
            stream_stats,
            gaps: None,
            counts: true,
            captured: CapturedOutput::new(keep),
            first: FirstEvent::default(),
            ended: None,
            reading: ResponseFormat::default(),
            times: Box::new(Timestamps::new(due)),
            events: Events::default(),
            seen_len: 0,
            usage: None,
            finish: None,
            cold: Box::default(),
        };
        let frame_decoder = FrameDecoder::new(state.reading.framing);
        Self { frame_decoder, state, clock, latest: Duration::ZERO, connecting: false }
    }

    /// Sets how the answer is read, and which finish reasons count as successes in addition to the known ones.
    pub fn set_response_format(&mut self, reading: ResponseFormat, accepted: &Arc<[String]>) {
        self.frame_decoder = FrameDecoder::new(reading.framing);
        self.state.reading = reading;
        self.state.cold.accepted = Arc::clone(accepted);
    }

    /// Sets the token limit of the answer. The client stops reading an answer that goes far beyond this limit.
    pub fn with_token_limit(mut self, tokens: Option<u32>) -> Self {
        self.state.cold.limit = tokens;
        self
    }

    /// How the expected answer splits into pieces.
    pub fn framing(&self) -> StreamFraming {
        self.state.reading.framing
    }

    /// Keeps the text that is visible to the user (without reasoning and tool calls) for the next turn.
    pub fn with_history_text(mut self) -> Self {
        self.state.captured.said = Some(String::new());
        self
    }

    /// Marks a request that is planned to be canceled: its gaps do not count in the latency statistics.
    pub fn with_early_cancel(mut self) -> Self {
        self.state.counts = false;
        self
    }

    /// The offset of the current moment.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The offset of an instant.
    pub fn offset(&self, instant: Instant) -> Duration {
        self.clock.offset_of(instant)
    }

    /// Records when the concurrency limit released the request.
    pub fn mark_released(&mut self, at: Duration) {
        self.state.times.set(Milestone::Released, at);
    }

    /// Records the start of the request.
    pub fn mark_sent(&mut self, at: Duration) {
        self.latest = at;
        self.state.times.set(Milestone::Sent, at);
    }

    /// Records a completed step.
    pub fn mark_step(&mut self, step: ConnectStep, at: Duration) {
        let times = &mut self.state.times;
        match step {
            ConnectStep::Connecting => self.connecting = true,
            ConnectStep::Resolved => times.set(Milestone::Resolved, at),
            ConnectStep::Connected => times.set(Milestone::Connected, at),
            ConnectStep::Secured => times.set(Milestone::Secured, at),
            ConnectStep::Ready => self.connecting = false,
            ConnectStep::Written => times.set(Milestone::Written, at),
        }
    }

    /// Records a read of the socket: all bytes that arrive until the next read have one time. `delay` is how long the
    /// bytes waited in the socket, if the kernel reports it.
    pub fn on_socket_read(&mut self, delay: Option<Duration>) {
        self.state.hot.next_read();
        let stream_stats = &mut *self.state.stream_stats.borrow_mut();
        match delay {
            Some(delay) => stream_stats.read_delay.record(delay),
            None => stream_stats.unstamped += 1,
        }
    }

    /// Records the arrival of the response head.
    pub fn on_head(&mut self, at: Duration) {
        let at = self.monotonic_time(at);
        let times = &mut self.state.times;
        times.set(Milestone::Headers, at);
        // The answer to a request may arrive before the client reads the clock after writing the request.
        times.map_time(Milestone::Written, |written| written.min(at));
    }

    /// Handles a piece of the body that arrived at `at`. The piece may hold any part of any number of events.
    pub fn on_bytes(&mut self, at: Duration, bytes: &[u8]) {
        if bytes.is_empty() || self.is_outcome_known() {
            return;
        }
        let at = self.monotonic_time(at);
        let state = &mut self.state;
        if state.hot.last.is_none() && state.times.get(Milestone::FirstChunk).is_none() {
            state.times.set(Milestone::FirstChunk, at);
        }
        if let Err(error) = self.frame_decoder.push(bytes, &mut |event| state.on_event(at, event)) {
            state.fail(FailureClass::BrokenStream, error.to_string());
        }
    }

    /// Records that the server closed the connection. The time is now, because nothing reports a more exact one.
    pub fn on_close(&mut self) {
        self.monotonic_time(self.now());
    }

    /// Records the end of the request and returns its time: that of the last byte if `decided` states that this byte
    /// decided the outcome, else now.
    pub fn stop_at(&mut self, decided: bool) -> Duration {
        if let Some(at) = self.state.times.done() {
            return at;
        }
        let at = if decided { self.latest } else { self.now() };
        self.state.times.set(Milestone::Done, at);
        at
    }

    /// Whether the outcome is known (`[DONE]`, or a failure), so that further bytes do not matter.
    pub fn is_outcome_known(&self) -> bool {
        self.state.ended.is_some()
    }

    /// The phase that the request is waiting in, for a timeout.
    pub fn phase(&self) -> TimeoutPhase {
        let times = &self.state.times;
        match (times.get(Milestone::Headers), times.first_token()) {
            (None, _) if self.connecting => TimeoutPhase::Connect,
            (None, _) => TimeoutPhase::Headers,
            // A document has no first token, so the request does not wait for one.
            (Some(_), None) if self.framing() != StreamFraming::Document => TimeoutPhase::FirstToken,
            (Some(_), _) => TimeoutPhase::Stream,
        }
    }

    /// Ends the request and returns its summary. `sent` is the transport's result: `Ok` if the body was read to its
    /// proper end, else the reason why not.
    pub fn finish(mut self, sent: Result<(), Failure>) -> RequestSummary {
        self.stop_at(false);
        if sent.is_ok() {
            self.finish_stream();
        }
        self.state.finish_summary(sent)
    }

    /// The time of a read, but never before an earlier recorded time.
    fn monotonic_time(&mut self, at: Duration) -> Duration {
        self.latest = self.latest.max(at);
        self.latest
    }

    fn finish_stream(&mut self) {
        let Self { frame_decoder, state, latest, .. } = self;
        if let Err(error) = frame_decoder.finish(&mut |event| state.on_event(*latest, event)) {
            state.fail(FailureClass::BrokenStream, error.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
