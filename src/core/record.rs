//! What happened to one request: plan and deed side by side, all offsets from one monotonic t0.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::seconds;

/// The life of one request. Offsets are durations since the run's t0; what never happened is `None`.
///
/// Derived values ([`Record::ttft`] and the others) are methods, so that an absent value can never be a stored zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Position in the schedule, from 0.
    pub ordinal: usize,
    /// Sent as `x-request-id`.
    pub id: String,
    /// The times.
    pub times: Times,
    /// Prompt tokens, by the server's usage if it sent one, else by our count.
    pub prompt_tokens: TokenCount,
    /// Of these, how many the server found in its prefix cache, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
    /// Output tokens; zero for a request that failed before the first.
    pub output_tokens: TokenCount,
    /// Of the output tokens, reasoning that the server counted and did not stream: generated before the first output event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hidden_tokens: u32,
    /// Streamed tokens in the first output event, and who counted them; `None` where nobody did, so that the first event
    /// is taken to carry as many as the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_event_tokens: Option<TokenCount>,
    /// Events that carried output, and when.
    pub events: Events,
    /// How it ended.
    pub outcome: Result<Finish, Failure>,
    /// How long after `sent` its user was to leave, whether or not the answer came first; `None` for a user who stays.
    #[serde(
        default,
        rename = "leaves_after_s",
        with = "seconds::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub leaves_after: Option<Duration>,
    /// What it carried beside its tokens.
    #[serde(default)]
    pub input: Input,
    /// What it belongs to, where that is told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facets: Option<Box<Facets>>,
    /// The generated text, kept only when something needs it. A saved run has it in vLLM's `generated_texts`.
    #[serde(skip)]
    pub text: Option<String>,
}

/// What a request carried beside its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// How many texts are embedded or ranked in it; one where text is generated.
    pub sequences: u32,
    /// How long its recording is.
    #[serde(default, rename = "audio_s", with = "seconds::option", skip_serializing_if = "Option::is_none")]
    pub audio: Option<Duration>,
}

impl Default for Input {
    fn default() -> Self {
        Self { sequences: 1, audio: None }
    }
}

/// What a request belongs to: each facet gives a report rows of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facets {
    /// The class of a mixed workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The LoRA adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// The session, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
    /// The turn of the session, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// How many turns its session was to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
}

/// When the steps of a request happened, as offsets from t0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// When the schedule says the request starts.
    #[serde(with = "seconds")]
    pub due: Duration,
    /// When the cap let it go; `None` without a cap.
    #[serde(default, with = "seconds::option")]
    pub released: Option<Duration>,
    /// The client began with the request: just before its first byte was written, or, where no open connection was
    /// at hand, before one was opened. The user waits for the connection too, so it counts into TTFT and E2E
    /// (as with vLLM's clients); connections opened before t0 leave it out.
    #[serde(with = "seconds::option")]
    pub sent: Option<Duration>,
    /// The server's (or the proxy's) name was resolved, for a new connection to a name.
    #[serde(default, with = "seconds::option")]
    pub resolved: Option<Duration>,
    /// The TCP connection was open, if the request opened one.
    #[serde(default, with = "seconds::option")]
    pub connected: Option<Duration>,
    /// The TLS handshake was done (a proxy's tunnel before it included), for a new connection over https.
    #[serde(default, with = "seconds::option")]
    pub secured: Option<Duration>,
    /// The kernel had all bytes of the request.
    #[serde(default, with = "seconds::option")]
    pub written: Option<Duration>,
    /// The response head was there.
    #[serde(with = "seconds::option")]
    pub headers: Option<Duration>,
    /// The first body byte was there.
    #[serde(with = "seconds::option")]
    pub first_chunk: Option<Duration>,
    /// The first event that carried output; an answer in one piece has none.
    #[serde(with = "seconds::option")]
    pub first_token: Option<Duration>,
    /// The last event that carried output, or the end of an answer in one piece.
    #[serde(with = "seconds::option")]
    pub last_token: Option<Duration>,
    /// Nothing more happens to this request.
    #[serde(with = "seconds::option")]
    pub done: Option<Duration>,
}

/// The output events of a request, in a form whose size does not follow the number of tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// How many events carried output.
    pub count: u32,
    /// Events in each whole second since t0 in which there was one: `(second, events)`, ascending.
    pub by_second: Vec<(u32, u32)>,
    /// Every gap between output events (ITL), in order; only when the run keeps details. A saved run has them in
    /// vLLM's `itls`.
    #[serde(skip)]
    pub gaps: Option<Vec<Duration>>,
}

impl Events {
    /// Counts an output event at an offset from t0. Offsets do not go back.
    pub fn note(&mut self, at: Duration) {
        self.add(whole_second(at), 1);
    }

    /// Counts output events in a second since t0 that is not before those counted already.
    pub fn add(&mut self, second: u32, events: u32) {
        self.count += events;
        match self.by_second.last_mut() {
            Some((last, counted)) if *last == second => *counted += events,
            _ => self.by_second.push((second, events)),
        }
    }
}

impl Record {
    /// Whether the request got its answer.
    pub fn succeeded(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Whether its user left before the end, as users do: neither an answer nor a failure.
    pub fn was_abandoned(&self) -> bool {
        self.failure().is_some_and(|failure| failure.class == FailureClass::Abandoned)
    }

    /// Whether its user was drawn to leave before the end, even if the answer came first. The draw does not depend on the
    /// server, but who of those drawn is answered in time does: only the quick answers are. So latencies are of the others.
    pub fn was_to_leave(&self) -> bool {
        self.leaves_after.is_some() || self.was_abandoned()
    }

    /// Whether the request did not get its answer although somebody waited for it.
    pub fn failed(&self) -> bool {
        !self.succeeded() && !self.was_abandoned()
    }

    /// Why the request did not get its answer.
    pub fn failure(&self) -> Option<&Failure> {
        self.outcome.as_ref().err()
    }

    /// sent − due: the client's (or the cap's) delay.
    pub fn lag(&self) -> Option<Duration> {
        since(self.times.due, self.times.sent)
    }

    /// sent − max(due, released): the client's delay alone, without the cap's share.
    pub fn own_lag(&self) -> Option<Duration> {
        since(self.times.due.max(self.times.released.unwrap_or_default()), self.times.sent)
    }

    /// First output event − sent.
    pub fn ttft(&self) -> Option<Duration> {
        since(self.times.sent?, self.times.first_token)
    }

    /// First output event − due: TTFT as felt by a user who arrived on schedule.
    pub fn ttft_from_due(&self) -> Option<Duration> {
        since(self.times.due, self.times.first_token)
    }

    /// Last output event − sent.
    pub fn e2e(&self) -> Option<Duration> {
        since(self.times.sent?, self.times.last_token)
    }

    /// Last output event − due: E2E as felt by a user who arrived on schedule.
    pub fn e2e_from_due(&self) -> Option<Duration> {
        since(self.times.due, self.times.last_token)
    }

    /// (last output event − first) / tokens after the first output event; `None` for an answer in fewer than two events,
    /// whose tokens cannot be timed.
    pub fn tpot(&self) -> Option<Duration> {
        let (tokens, _) = self.tokens_after_first_event()?;
        let span = since(self.times.first_token?, self.times.last_token)?;
        // A whole number of tokens gives vLLM's value to the nanosecond.
        Some(if tokens.fract() == 0.0 { span / tokens as u32 } else { span.div_f64(tokens) })
    }

    /// TPOT as `vllm bench serve` computes it: (last output event − first) / (output tokens − 1), for more than one output
    /// token. It counts the first event as one token, so an answer in one event has a TPOT of zero.
    pub fn vllm_tpot(&self) -> Option<Duration> {
        let gaps = self.output_tokens.count.checked_sub(1).filter(|&gaps| gaps > 0)?;
        Some(since(self.times.first_token?, self.times.last_token)? / gaps)
    }

    /// Streamed tokens that came after the first output event, and who counted those in it; `None` below two events.
    ///
    /// Where nobody counted, each event is taken to carry the same share, as it is where a count leaves none for the other
    /// events.
    pub fn tokens_after_first_event(&self) -> Option<(f64, TokenSource)> {
        let (streamed, events) = (self.streamed_tokens(), self.events.count);
        if events < 2 || streamed < 2 {
            return None;
        }
        let counted = self.first_event_tokens.filter(|first| (1..streamed).contains(&first.count));
        Some(match counted {
            Some(first) => (f64::from(streamed - first.count), first.source),
            None => {
                let source = match self.output_tokens.source {
                    TokenSource::Events => TokenSource::Events,
                    _ => TokenSource::Estimate,
                };
                (f64::from(streamed) * f64::from(events - 1) / f64::from(events), source)
            }
        })
    }

    /// Output tokens without the reasoning that was not streamed.
    fn streamed_tokens(&self) -> u32 {
        self.output_tokens.count.saturating_sub(self.hidden_tokens)
    }

    /// Whether the answer is known to be one token, after which nothing is left to be timed.
    pub fn is_one_token(&self) -> bool {
        let is_counted = matches!(self.output_tokens.source, TokenSource::Usage | TokenSource::Tokenizer);
        is_counted && self.streamed_tokens() == 1
    }

    /// Output tokens by whole second since t0, each event taken to carry the same share of the request's tokens; those of
    /// an answer in one piece came with it.
    pub fn tokens_by_second(&self) -> impl Iterator<Item = (u32, f64)> {
        let tokens = f64::from(self.output_tokens.count);
        let per_event = tokens / f64::from(self.events.count.max(1));
        let by_second = self
            .events
            .by_second
            .iter()
            .map(move |&(second, events)| (second, per_event * f64::from(events)));
        let at_once = self.times.last_token.filter(|_| self.events.count == 0 && tokens > 0.0);
        by_second.chain(at_once.map(|at| (whole_second(at), tokens)))
    }

    /// Streamed tokens per output event; `None` without events.
    pub fn tokens_per_event(&self) -> Option<f64> {
        (self.events.count > 0).then(|| f64::from(self.streamed_tokens()) / f64::from(self.events.count))
    }
}

/// The whole second that an offset from t0 is in.
pub fn whole_second(at: Duration) -> u32 {
    u32::try_from(at.as_secs()).unwrap_or(u32::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn since(start: Duration, end: Option<Duration>) -> Option<Duration> {
    Some(end?.saturating_sub(start))
}

/// A number of tokens and who counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCount {
    /// How many.
    pub count: u32,
    /// Who says so.
    pub source: TokenSource,
}

/// Who counted tokens, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The server's `usage`.
    Usage,
    /// A tokenizer: ours, or the server's `/tokenize`.
    Tokenizer,
    /// One token an event: wrong wherever an event carries several.
    Events,
    /// A guess from the length of the text, for want of a tokenizer.
    Estimate,
}

impl TokenSource {
    /// How reports name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Usage => "server usage",
            Self::Tokenizer => "tokenizer",
            Self::Events => "events",
            Self::Estimate => "estimate",
        }
    }
}

/// How a successful answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model stopped by itself.
    Stop,
    /// The token limit was reached.
    Length,
    /// Another reason, in the server's words.
    Other(String),
    /// The stream ended properly without giving a reason.
    Unsaid,
}

impl Finish {
    /// From the wire's `finish_reason`.
    pub fn from_reason(reason: &str) -> Self {
        match reason {
            "stop" => Self::Stop,
            "length" => Self::Length,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Why a request did not get its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its class, by which failures are counted.
    pub class: FailureClass,
    /// What was seen: the error with its causes, or the first 300 bytes of the body.
    pub detail: String,
}

impl Failure {
    /// How many bytes of a body are kept.
    pub const BODY_LIMIT: usize = 300;

    /// A failure with what was seen.
    pub fn new(class: FailureClass, detail: impl Into<String>) -> Self {
        Self { class, detail: detail.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { self.class.fmt(f) } else { write!(f, "{}: {}", self.class, self.detail) }
    }
}

/// The classes of failure: closed, so that reports can be compared. In JSON a class is its [key](Self::key).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FailureClass {
    /// No connection, for another reason than those below: unreachable, name not found, the proxy's refusal.
    Connect,
    /// Nothing listens there, or its queue is full: the connection was refused.
    Refused,
    /// Our process or machine has no descriptor left for another connection.
    Descriptors,
    /// Our machine has no local port left for another connection to the server.
    Ports,
    /// The TLS handshake failed.
    Tls,
    /// The request's time was up in this phase.
    Timeout(Phase),
    /// An HTTP status other than 2xx.
    Status(u16),
    /// The stream broke off, was not understood, or ended with neither `finish_reason` nor `[DONE]`.
    BrokenStream,
    /// The server sent an error inside the stream.
    ErrorEvent,
    /// The stream ended properly without one token.
    EmptyStream,
    /// We gave up on it: an interrupt.
    Cancelled,
    /// Its user left, as some were to: no failure of anybody's.
    Abandoned,
}

/// What a request was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// A connection: name, TCP, TLS.
    Connect,
    /// The response head (sending included).
    Headers,
    /// The first token.
    FirstToken,
    /// The rest of the stream.
    Stream,
}

impl FailureClass {
    /// The key in JSON: `connect`, `timeout_headers`, `status_500`, …
    pub fn key(self) -> String {
        match self {
            Self::Connect => "connect".into(),
            Self::Refused => "connect_refused".into(),
            Self::Descriptors => "descriptors".into(),
            Self::Ports => "ports".into(),
            Self::Tls => "tls".into(),
            Self::Timeout(Phase::Connect) => "timeout_connect".into(),
            Self::Timeout(Phase::Headers) => "timeout_headers".into(),
            Self::Timeout(Phase::FirstToken) => "timeout_first_token".into(),
            Self::Timeout(Phase::Stream) => "timeout_stream".into(),
            Self::Status(code) => format!("status_{code}"),
            Self::BrokenStream => "broken_stream".into(),
            Self::ErrorEvent => "error_event".into(),
            Self::EmptyStream => "empty_stream".into(),
            Self::Cancelled => "cancelled".into(),
            Self::Abandoned => "abandoned".into(),
        }
    }
}

impl From<FailureClass> for String {
    fn from(class: FailureClass) -> Self {
        class.key()
    }
}

impl FailureClass {
    /// All but the statuses, of which there are many.
    pub const NAMED: [Self; 14] = [
        Self::Connect,
        Self::Refused,
        Self::Descriptors,
        Self::Ports,
        Self::Tls,
        Self::Timeout(Phase::Connect),
        Self::Timeout(Phase::Headers),
        Self::Timeout(Phase::FirstToken),
        Self::Timeout(Phase::Stream),
        Self::BrokenStream,
        Self::ErrorEvent,
        Self::EmptyStream,
        Self::Cancelled,
        Self::Abandoned,
    ];
}

impl TryFrom<String> for FailureClass {
    type Error = String;

    fn try_from(key: String) -> Result<Self, String> {
        let status = key.strip_prefix("status_").and_then(|code| code.parse().ok()).map(Self::Status);
        let known = || Self::NAMED.into_iter().find(|class| class.key() == key);
        status.or_else(known).ok_or_else(|| format!("`{key}` is no class of failures"))
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Refused => f.write_str("connection refused"),
            Self::Descriptors => f.write_str("no descriptor left"),
            Self::Ports => f.write_str("no local port left"),
            Self::Tls => f.write_str("TLS handshake failed"),
            Self::Timeout(Phase::Connect) => f.write_str("timeout while connecting"),
            Self::Timeout(Phase::Headers) => f.write_str("timeout waiting for the response head"),
            Self::Timeout(Phase::FirstToken) => f.write_str("timeout waiting for the first token"),
            Self::Timeout(Phase::Stream) => f.write_str("timeout within the stream"),
            Self::Status(code) => write!(f, "HTTP {code}"),
            Self::BrokenStream => f.write_str("broken stream"),
            Self::ErrorEvent => f.write_str("error event in the stream"),
            Self::EmptyStream => f.write_str("stream without a token"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Abandoned => f.write_str("abandoned"),
        }
    }
}

#[cfg(test)]
mod tests;
