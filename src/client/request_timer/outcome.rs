//! Determines the outcome of an answer.

use super::{RequestSummary, StreamStats};
use crate::client::framing::StreamFraming;
use crate::client::protocol::finish::NO_REASON;
use crate::client::protocol::parsed_event::{ParsedEvent, TokenUsage};
use crate::client::protocol::{EndMarker, max_events};
use crate::client::request_timer::output_modes::REPEATABLE_PARTS;
use crate::client::request_timer::stream_state::StreamState;
use crate::client::request_timer::text_mode::{TextEdit, TextMode};
use crate::model::record::{Failure, FailureClass, FinishReason, Milestone, OutputGaps};
use crate::stats::PendingDurations;

/// How many events and bytes must come before an event that repeats all of them: fewer may be a coincidence.
const MIN_EVENTS_BEFORE_REPEAT: u32 = 3;
const MIN_REPEATED_END: usize = 8;

impl StreamState {
    /// Ends the request and builds its summary. `sent` is the transport's result.
    pub(super) fn finish_summary(mut self, sent: Result<(), Failure>) -> RequestSummary {
        self.close_second();
        self.hot.next_read();
        for part in REPEATABLE_PARTS {
            let whole = self.cold.modes.of(part).and_then(TextMode::close);
            if let Some(text) = whole.filter(|_| !self.captured.is_plain(part)) {
                self.captured.edit_part(part, &TextEdit::Replace, &text);
            }
        }
        self.drop_repeated_end();
        let outcome = match (self.ended.take(), sent) {
            // A failure that the stream reports takes precedence over the connection's result.
            (Some(Err(failure)), _) => Err(*failure),
            (None, Err(failure)) => Err(self.with_stray_text(failure)),
            (ended, _) => self.outcome(ended.is_some()),
        };
        let usage = self.usage();
        let text_size = self.text_size();
        let last = self.hot.last.or(self.cold.finished.filter(|_| outcome.is_ok()));
        let Self {
            hot: pulse,
            stream_stats,
            gaps,
            captured: kept,
            first,
            mut times,
            mut events,
            cold: aside,
            reading,
            ..
        } = self;
        times.set(Milestone::LastToken, last);
        let stream_stats = &mut *stream_stats.borrow_mut();
        if let Some(gaps) = gaps {
            stream_stats.count_gaps(gaps, outcome.is_ok());
        }
        if outcome.is_ok() && events.count > 1 {
            stream_stats.streams += 1;
            stream_stats.burst_starts += u64::from(pulse.events_in_first_read > 1);
        }
        stream_stats.repeating += u64::from(aside.modes.any_is_whole() && !reading.repeats);
        events.by_second.shrink_to_fit();
        events.gaps = kept.gaps.map(OutputGaps::from_iter);
        RequestSummary {
            times: *times,
            events,
            first_event: first,
            outcome,
            usage,
            server_times: aside.server_times,
            text_size,
            visible_text: kept.said,
            text: kept.text,
        }
    }

    /// Drops the text of the last event if it repeats all of the text before it, as some servers do at the end of a
    /// stream of deltas.
    fn drop_repeated_end(&mut self) {
        // The lengths are those of the JSON, with the quotes of some events.
        let (last, all) = (self.hot.last_text_bytes, self.hot.text_bytes);
        if self.events.count <= MIN_EVENTS_BEFORE_REPEAT || last * 8 < all * 3 {
            return;
        }
        let Some(text) = &mut self.captured.text else { return };
        let half = text.len() / 2;
        if half >= MIN_REPEATED_END && text.is_char_boundary(half) && text[..half] == text[half..] {
            text.truncate(half);
            self.captured
                .said
                .iter_mut()
                .filter(|said| said.len() == 2 * half)
                .for_each(|said| said.truncate(half));
            self.events.count -= 1;
            if let Some((_, events)) = self.events.by_second.last_mut() {
                *events -= 1;
            }
        }
    }

    /// The outcome of a body that was read to its end. `is_marked` states whether the stream marked that end.
    fn outcome(&mut self, is_marked: bool) -> Result<FinishReason, Failure> {
        let is_empty =
            self.hot.last.is_none() && self.usage().is_none_or(|usage| usage.completion_tokens.is_none());
        if let Some(failure) = self.over_limit() {
            return Err(failure);
        }
        let is_document = self.reading.framing == StreamFraming::Document;
        let may_end = match self.reading.end_marker {
            EndMarker::Body => true,
            EndMarker::Mark => is_marked,
            EndMarker::Reason => {
                let accepts = self.cold.accepted.iter().any(|reason| reason.eq_ignore_ascii_case(NO_REASON));
                // A document without text and reason has no choice, whatever its usage says.
                let is_choice = !is_document || self.hot.last.is_some();
                is_marked && accepts && is_choice
            }
        };
        match self.finish.take() {
            None if !(may_end || is_marked && is_empty) => Err(self.missing_end_failure(is_marked)),
            _ if is_empty => Err(self.with_stray_text(Failure::new(FailureClass::EmptyStream, ""))),
            finish => Ok(finish.unwrap_or(FinishReason::Unsaid)),
        }
    }

    /// The failure of an answer with far more output events than its token limit allows, whether it was cut short or
    /// ended by itself.
    pub(super) fn over_limit(&self) -> Option<Failure> {
        let limit = self.cold.limit?;
        let count = self.events.count;
        (count > max_events(limit)).then(|| {
            let detail = format!("{count} output events although at most {limit} tokens were requested");
            Failure::new(FailureClass::OverLimit, detail)
        })
    }

    /// The server's token counts, else the number of tokens whose ids it sent.
    fn usage(&self) -> Option<TokenUsage> {
        let ids = Some(self.cold.token_ids).filter(|count| *count > 0);
        let by_ids = TokenUsage::new(None, ids);
        self.usage.map(|usage| usage.merged_with(by_ids)).or(by_ids)
    }

    fn missing_end_failure(&self, is_marked: bool) -> Failure {
        let count = self.events.count;
        let detail = match is_marked {
            _ if self.reading.framing == StreamFraming::Document && self.hot.last.is_none() => {
                "the answer has neither a choice with text nor a finish reason".to_owned()
            }
            _ if self.reading.framing == StreamFraming::Document => {
                "the answer has no finish reason: it may be cut".to_owned()
            }
            true => format!("ended without a finish reason: the answer was cut (output events: {count})"),
            false => format!("ended with neither finish_reason nor [DONE] (output events: {count})"),
        };
        self.with_stray_text(Failure::new(FailureClass::BrokenStream, detail))
    }

    /// Adds other text from the server to a failure, because it may give the reason. If that text is an error, the
    /// error becomes the failure.
    fn with_stray_text(&self, mut failure: Failure) -> Failure {
        let stray = &self.cold.stray;
        if let Ok(ParsedEvent { error: Some(error), .. }) = (self.reading.read)(stray.as_bytes()) {
            return Failure::new(FailureClass::ErrorEvent, error);
        }
        if !stray.is_empty() {
            let pause = if failure.detail.is_empty() { "" } else { "; " };
            failure.detail.push_str(&format!("{pause}it also sent: {stray}"));
        }
        failure
    }
}

impl StreamStats {
    /// Counts the gaps of an ended request if it was answered, and returns their buffer to the spare ones.
    fn count_gaps(&mut self, mut gaps: PendingDurations, answered: bool) {
        if answered {
            self.itl.absorb(&mut gaps);
        }
        gaps.clear();
        self.spare.push(gaps);
    }
}
