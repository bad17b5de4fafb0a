//! The Record of one request: the plan and the outcome side by side, all offsets from one monotonic t0.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::request_id::RequestId;
pub use crate::model::record::timestamps::{Milestone, Timestamps};
pub use events::Events;
pub(crate) use events::whole_second;
pub(crate) use failure::TimeoutPhase;
pub use failure::{Failure, FailureClass};
pub(crate) use gaps::OutputGaps;
pub(crate) use late_counts::LateCounts;
pub(crate) use optional_duration::OptionalDuration;
pub(crate) use request_phases::{RequestPhases, SERVER_TIME_TOLERANCE};
pub(crate) use server_times::ServerTimes;

mod events;
mod failure;
mod gaps;
mod late_counts;
mod optional_duration;
mod request_phases;
mod server_times;
mod timestamps;

/// The timeline and outcome of one request. Offsets are durations since the run's t0; `None` marks an event that did
/// not happen.
///
/// Derived values ([`Record::ttft`] and the others) are methods, so that an absent value can never be a stored zero. In
/// JSON a Record is a flat object with the columns of `docs/records.md`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Position in the schedule, from 0.
    pub ordinal: usize,
    /// The request's `x-request-id`; `None` where the client sent none.
    pub(crate) id: Option<RequestId>,
    /// The times of the request's milestones.
    pub times: Timestamps,
    /// Prompt tokens: the server's usage if it reports one, else the client's count.
    pub prompt_tokens: TokenCount,
    /// The number of prompt tokens that the server found in its prefix cache; `None` if it does not report it.
    pub cached_tokens: Option<u32>,
    /// Output tokens; zero for a request that failed before the first.
    pub output_tokens: TokenCount,
    /// Reasoning tokens that the server counted and did not stream, included in `output_tokens`: generated before the
    /// first output event.
    pub hidden_tokens: u32,
    /// Streamed tokens in the first output event, and the source of the count; `None` if the count is unknown, so that
    /// the first event is assumed to carry as many tokens as the others.
    pub first_event_tokens: Option<TokenCount>,
    /// The server's own times for the request; `None` if its answer reports none.
    pub(crate) server_times: Option<Box<ServerTimes>>,
    /// The output events and their times.
    pub(crate) events: Events,
    /// The request's outcome.
    pub outcome: Result<FinishReason, Box<Failure>>,
    /// What sets the request apart from an ordinary one; `None` for an ordinary one.
    pub(crate) traits: Option<Box<RequestTraits>>,
    /// The groups that the request belongs to; `None` without groups.
    pub(crate) facets: Option<Box<RequestLabels>>,
    /// The generated text, kept only when something needs it. A saved run stores it in vLLM's `generated_texts`.
    pub text: Option<Box<str>>,
}

/// What sets a request apart from an ordinary one: a text whose user waits for the whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestTraits {
    /// The number of texts that are embedded or ranked; one for generation.
    pub sequences: u32,
    /// The length of the request's recording.
    pub audio: OptionalDuration,
    /// The time after `sent` at which the user was scheduled to leave, whether or not the answer came first; absent for
    /// a user who stays.
    pub leaves_after: OptionalDuration,
}

impl Default for RequestTraits {
    fn default() -> Self {
        Self { sequences: 1, audio: OptionalDuration::NONE, leaves_after: OptionalDuration::NONE }
    }
}

impl RequestTraits {
    /// As a Record stores them: an ordinary request takes no memory for them.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// The groups that a request belongs to: each label gets its own rows in a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct RequestLabels {
    /// The class of a mixed workload.
    pub class: Option<String>,
    /// The LoRA adapter.
    pub adapter: Option<String>,
    /// The session, from 0.
    pub session: Option<u32>,
    /// The turn of the session, from 0.
    pub turn: Option<u32>,
    /// The planned number of turns of the session.
    pub turns: Option<u32>,
}

impl Record {
    /// Shifts every time of the request.
    pub(crate) fn shift(&mut self, by: Duration) {
        self.events = self.events.later(&self.times, by);
        self.times = self.times.shifted(by);
    }

    /// A request that was answered up to its token limit, with these prompt and output tokens.
    #[doc(hidden)]
    pub fn answered(
        ordinal: usize,
        id: Option<RequestId>,
        times: Timestamps,
        [prompt_tokens, output_tokens]: [TokenCount; 2],
        events: Events,
    ) -> Self {
        Self {
            ordinal,
            id,
            times,
            prompt_tokens,
            cached_tokens: None,
            output_tokens,
            hidden_tokens: 0,
            first_event_tokens: None,
            server_times: None,
            events,
            outcome: Ok(FinishReason::Length),
            traits: None,
            facets: None,
            text: None,
        }
    }

    /// Returns whether the request was answered.
    pub fn is_success(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Returns whether the request's user left before the end, as scheduled: neither an answer nor a failure.
    pub fn is_abandoned(&self) -> bool {
        self.failure().is_some_and(|failure| failure.class == FailureClass::Abandoned)
    }

    /// Returns whether the request's user was scheduled to leave before the end, even if the answer came first. The
    /// schedule does not depend on the server, but which of these users are answered in time does: only those with
    /// quick answers. Latencies therefore exclude these users.
    pub fn has_early_cancel(&self) -> bool {
        self.leaves_after().is_some() || self.is_abandoned()
    }

    /// The time after `sent` at which the user was scheduled to leave, whether or not the answer came first; `None` for
    /// a user who stays.
    pub fn leaves_after(&self) -> Option<Duration> {
        self.traits().leaves_after.get()
    }

    /// What sets the request apart from an ordinary one.
    pub(crate) fn traits(&self) -> RequestTraits {
        self.traits.as_deref().copied().unwrap_or_default()
    }

    /// The server's own times, each absent where its answer does not report it.
    pub(crate) fn server_times(&self) -> ServerTimes {
        self.server_times.as_deref().copied().unwrap_or_default()
    }

    /// Returns whether the request was not answered although its user waited for it.
    pub fn is_failure(&self) -> bool {
        !self.is_success() && !self.is_abandoned()
    }

    /// The reason why the request was not answered.
    pub fn failure(&self) -> Option<&Failure> {
        self.outcome.as_ref().err().map(Box::as_ref)
    }

    /// Returns whether no other turn of the request's session follows this one: it is the last, or it was not answered.
    pub(crate) fn ends_session(&self) -> bool {
        let turn = self.facets.as_deref().and_then(|labels| labels.turn.zip(labels.turns));
        !self.is_success() || turn.is_some_and(|(turn, turns)| turn.saturating_add(1) >= turns)
    }

    /// sent − due: the delay by the client or the concurrency cap.
    pub fn lag(&self) -> Option<Duration> {
        elapsed_since(self.times.due(), self.times.sent())
    }

    /// sent − max(due, released): the client's delay alone, without the cap's share.
    pub fn own_lag(&self) -> Option<Duration> {
        elapsed_since(self.times.due().max(self.times.released().unwrap_or_default()), self.times.sent())
    }

    /// First output event − sent.
    pub fn ttft(&self) -> Option<Duration> {
        elapsed_since(self.times.sent()?, self.times.first_token())
    }

    /// First output event − due: TTFT as experienced by a user who arrived on schedule.
    pub fn ttft_from_due(&self) -> Option<Duration> {
        elapsed_since(self.times.due(), self.times.first_token())
    }

    /// Last output event − sent.
    pub fn e2e(&self) -> Option<Duration> {
        elapsed_since(self.times.sent()?, self.times.last_token())
    }

    /// Last output event − due: E2E as experienced by a user who arrived on schedule.
    pub fn e2e_from_due(&self) -> Option<Duration> {
        elapsed_since(self.times.due(), self.times.last_token())
    }

    /// (last output event − first) / tokens after the first output event; `None` for an answer in fewer than two
    /// events, whose tokens have no measurable times.
    pub fn tpot(&self) -> Option<Duration> {
        let (tokens, _) = self.tokens_after_first_event()?;
        let span = elapsed_since(self.times.first_token()?, self.times.last_token())?;
        // A whole number of tokens gives vLLM's value to the nanosecond.
        Some(if tokens.fract() == 0.0 { span / tokens as u32 } else { span.div_f64(tokens) })
    }

    /// TPOT as `vllm bench serve` computes it: (last output event − first) / (output tokens − 1), for more than one
    /// output token. It counts the first event as one token, so an answer in one event has a TPOT of zero.
    pub fn vllm_tpot(&self) -> Option<Duration> {
        let gaps = self.output_tokens.count.checked_sub(1).filter(|&gaps| gaps > 0)?;
        Some(elapsed_since(self.times.first_token()?, self.times.last_token())? / gaps)
    }

    /// Streamed tokens after the first output event, and the source of the count of the first event's tokens; `None`
    /// with fewer than two events.
    ///
    /// Without a count, each event is assumed to carry the same share, as it is where a count leaves no tokens for the
    /// other events.
    pub(crate) fn tokens_after_first_event(&self) -> Option<(f64, TokenSource)> {
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

    /// Returns whether the answer is known to be one token, after which there is nothing to measure.
    pub(crate) fn is_one_token(&self) -> bool {
        let is_counted = matches!(self.output_tokens.source, TokenSource::Usage | TokenSource::Tokenizer);
        is_counted && self.streamed_tokens() == 1
    }

    /// Output tokens by whole second since t0. Each event is assumed to carry the same share of the request's tokens;
    /// the tokens of an answer in one piece count at its arrival.
    pub(crate) fn tokens_by_second(&self) -> impl Iterator<Item = (u32, f64)> {
        let tokens = f64::from(self.output_tokens.count);
        let per_event = tokens / f64::from(self.events.count.max(1));
        let by_second = self
            .events
            .by_second
            .iter()
            .map(move |&(second, events)| (second, per_event * f64::from(events)));
        let at_once = self.times.last_token().filter(|_| self.events.count == 0 && tokens > 0.0);
        by_second.chain(at_once.map(|at| (whole_second(at), tokens)))
    }

    /// Streamed tokens per output event; `None` without events.
    pub fn tokens_per_event(&self) -> Option<f64> {
        (self.events.count > 0).then(|| f64::from(self.streamed_tokens()) / f64::from(self.events.count))
    }
}

fn elapsed_since(start: Duration, end: Option<Duration>) -> Option<Duration> {
    Some(end?.saturating_sub(start))
}

/// A number of tokens and the source of the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCount {
    /// The number of tokens.
    pub count: u32,
    /// The source of the count.
    pub source: TokenSource,
}

/// The sources of token counts, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenSource {
    /// The server's `usage` field.
    Usage,
    /// A tokenizer: the client's, or the server's `/tokenize`.
    Tokenizer,
    /// One token per event: wrong wherever an event carries several tokens.
    Events,
    /// An estimate from the length of the text, without a tokenizer.
    Estimate,
}

impl TokenSource {
    /// The key in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Tokenizer => "tokenizer",
            Self::Events => "events",
            Self::Estimate => "estimate",
        }
    }

    /// The name of the source in reports.
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model stopped on its own.
    Stop,
    /// The token limit was reached.
    Length,
    /// Any other reason, as the server reports it.
    Other(Box<str>),
    /// The stream ended properly without giving a reason.
    Unsaid,
}

impl FinishReason {
    /// The name under which reports count the finish reason.
    pub fn name(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Other(reason) => reason,
            Self::Unsaid => "none",
        }
    }
}

#[cfg(test)]
mod tests;
