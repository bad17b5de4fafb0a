//! Turns completed requests into Records, on the caller's thread. It asks the server nothing: the load is running.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;

use tracing::info;

use super::{LoadEvent, LoadPlan, TokenAgreement, UncountedAnswers};
use crate::client::request_timer::{Capture, CaptureGaps, CaptureText, MAX_CAPTURED_BYTES, RequestSummary};
use crate::dataset::requests::RequestReader;
use crate::loadgen::session_index::SessionIndex;
use crate::loadgen::text_comparison::compare_text;
use crate::loadgen::worker_loop::{CompletedRequest, WorkerReport};
use crate::model::record::{Record, RequestLabels, RequestTraits, TokenCount, TokenSource};
use crate::model::record_log::PackedRecords;
use crate::model::request::{Content, Request};
use crate::model::run_spec::HistoryMode;
use crate::model::secrets;
use crate::model::validity::TextClaims;
use crate::model::wav;
use crate::tokenizer::Tokenizer;

/// Turns the reports of the workers into Records.
pub(super) struct RecordCollector<'a> {
    requests: RequestReader<'a>,
    /// The number of requests. Requests that are cycled repeat after it.
    planned: usize,
    tokenizer: &'a Tokenizer,
    keep: Capture,
    most_records: Option<usize>,
    sessions: Option<SessionIndex>,
    history: HistoryMode,
    /// The number of tokens that the next turn of a session repeats, by the session's number.
    repeated: HashMap<usize, u32>,
    uncounted: UncountedAnswers,
}

/// What the collector made of the workers' reports.
pub(super) struct CollectedRecords {
    /// The Records, in the order in which the requests ended.
    pub records: PackedRecords,
    /// How our prompt lengths compare with the server's.
    pub agreement: TokenAgreement,
    /// How the server's counts of output tokens compare with the texts.
    pub claims: TextClaims,
    /// The answers whose tokens the server is to count after the load.
    pub uncounted: UncountedAnswers,
}

impl<'a> RecordCollector<'a> {
    /// Creates a collector for the requests of a plan.
    pub(super) fn new(plan: &LoadPlan<'a>, sessions: Option<SessionIndex>, tokenizer: &'a Tokenizer) -> Self {
        Self {
            requests: plan.measured.requests.reader(),
            planned: plan.measured.requests.len(),
            tokenizer,
            keep: plan.capture,
            most_records: plan.most_records,
            sessions,
            history: plan.history,
            repeated: HashMap::new(),
            uncounted: UncountedAnswers::new(plan.history),
        }
    }

    /// Reads reports until all workers have finished.
    pub(super) fn collect(
        mut self,
        reports: &Receiver<WorkerReport>,
        observe: &mut dyn FnMut(LoadEvent<'_>),
    ) -> CollectedRecords {
        let mut records = PackedRecords::with_limit(self.most_records);
        let mut agreement = TokenAgreement::default();
        let mut claims = TextClaims::default();
        for report in reports {
            match report {
                WorkerReport::Started(t0) => {
                    info!("the measured phase begins");
                    observe(LoadEvent::Started(t0));
                }
                WorkerReport::Progress(beat) => observe(LoadEvent::Progress(beat)),
                WorkerReport::Completed(landed) => {
                    for landed in landed {
                        let request = self.requests.get(landed.ordinal % self.planned);
                        self.compare_prompt_tokens(&landed, &request, &mut agreement);
                        compare_text(&mut claims, &landed.summary, self.tokenizer);
                        let mut record = self.record(landed, &request);
                        observe(LoadEvent::Done(&record));
                        record.events.gaps.take_if(|_| self.keep.gaps != CaptureGaps::Always);
                        record.text.take_if(|_| self.keep.text != CaptureText::Always);
                        records.push(&record);
                    }
                }
            }
        }
        CollectedRecords { records, agreement, claims, uncounted: self.uncounted }
    }

    /// Compares our count of a prompt with the server's, if both counted.
    fn compare_prompt_tokens(
        &self,
        landed: &CompletedRequest,
        request: &Request,
        agreement: &mut TokenAgreement,
    ) {
        // The repeated part of a later turn is not counted as a whole: only its parts were counted.
        let is_whole = request.turn().is_none_or(|turn| turn.index == 0);
        let servers = landed.summary.usage.and_then(|usage| usage.prompt_tokens).filter(|_| is_whole);
        if let Some(servers) = servers {
            let ours = request.prompt_tokens;
            agreement.is_estimate = self.tokenizer.token_source() == TokenSource::Estimate;
            agreement.prompts += 1;
            agreement.ours += u64::from(ours);
            agreement.servers += u64::from(servers);
            agreement.more += u64::from(servers.saturating_sub(ours));
            agreement.less += u64::from(ours.saturating_sub(servers));
        }
    }

    fn record(&mut self, landed: CompletedRequest, request: &Request) -> Record {
        let story = landed.summary;
        let output_tokens = self.output_tokens(&story);
        self.keep_uncounted(landed.ordinal, &story);
        let prompt = self.prompt_length(landed.ordinal, request, output_tokens.count);
        let hidden_tokens = hidden_tokens(&story, output_tokens);
        let keeps_text = matches!(self.keep.text, CaptureText::UntilEnded | CaptureText::Always);
        Record {
            ordinal: landed.ordinal,
            id: landed.id,
            prompt_tokens: match story.usage.and_then(|usage| usage.prompt_tokens) {
                Some(count) => TokenCount { count, source: TokenSource::Usage },
                None => TokenCount { count: prompt, source: self.tokenizer.token_source() },
            },
            cached_tokens: story.usage.and_then(|usage| usage.cached_tokens),
            output_tokens,
            hidden_tokens,
            first_event_tokens: self.first_event_tokens(&story, output_tokens, hidden_tokens),
            times: story.times,
            server_times: story.server_times.boxed(),
            events: story.events,
            outcome: story.outcome.map_err(Box::new),
            traits: request_traits(request).boxed(),
            facets: self.labels(landed.ordinal, request),
            // From here on the text is only stored and shown.
            text: story
                .text
                .filter(|_| keeps_text)
                .map(|text| secrets::scrubbed(text, secrets::scrub_generated).into_boxed_str()),
        }
    }

    /// The length of a prompt by our count. In a session it includes the repeated turns, as the sum of parts that are
    /// counted anyway.
    fn prompt_length(&mut self, ordinal: usize, request: &Request, output: u32) -> u32 {
        let (Some(sessions), Some(turn)) = (&self.sessions, request.turn()) else {
            return request.prompt_tokens;
        };
        let number = sessions.session_number(ordinal);
        let prompt = self.repeated.remove(&number).unwrap_or_default().saturating_add(request.prompt_tokens);
        let answer = match self.history {
            HistoryMode::Real => Some(output),
            HistoryMode::Fixed => Some(request.max_tokens),
            HistoryMode::None => None,
        };
        if let Some(answer) = answer.filter(|_| turn.index + 1 < turn.of) {
            self.repeated.insert(number, prompt.saturating_add(answer));
        }
        prompt
    }

    fn labels(&self, ordinal: usize, request: &Request) -> Option<Box<RequestLabels>> {
        let own = request.own.as_deref()?;
        let place = self.sessions.as_ref().map(|sessions| sessions.labels(ordinal, request));
        let facets = RequestLabels {
            class: own.class.clone(),
            adapter: own.model.clone(),
            ..place.unwrap_or_default()
        };
        (facets != RequestLabels::default()).then(|| facets.into())
    }

    /// The number of tokens in the first output event: from the usage that came with it, else from our tokenizer. A
    /// server-side tokenizer is not used, because it would cost a request for each answer. If there are as many events
    /// as tokens, each event has one token.
    fn first_event_tokens(
        &self,
        story: &RequestSummary,
        output: TokenCount,
        hidden: u32,
    ) -> Option<TokenCount> {
        let streamed = output.count - hidden;
        if story.outcome.is_err() || story.events.count < 2 {
            return None;
        }
        if let Some(so_far) = story.first_event.tokens_so_far {
            let count = so_far.checked_sub(hidden)?;
            return Some(TokenCount { count, source: TokenSource::Usage });
        }
        let (false, Tokenizer::Local(_)) = (streamed == story.events.count, self.tokenizer) else {
            return None;
        };
        let count = self.tokenizer.count_plain(&story.first_event.text).ok()?;
        Some(TokenCount { count, source: TokenSource::Tokenizer })
    }

    /// The number of output tokens: the server's usage, else our tokenizer's count of the text, else the number of
    /// events. An answer without streaming has no events.
    fn output_tokens(&self, story: &RequestSummary) -> TokenCount {
        if let Some(count) = story.usage.and_then(|usage| usage.completion_tokens) {
            return TokenCount { count, source: TokenSource::Usage };
        }
        let counted = countable_text(story).and_then(|text| match self.tokenizer {
            Tokenizer::Local(_) => self.tokenizer.count_plain(text).ok(),
            Tokenizer::Server(_) | Tokenizer::Estimate => None,
        });
        let guess = |text| Tokenizer::Estimate.count_plain(text).unwrap_or_default();
        match (counted, story.text.as_deref()) {
            (Some(count), _) => TokenCount { count, source: TokenSource::Tokenizer },
            (None, Some(text)) if story.events.count == 0 => {
                TokenCount { count: guess(text), source: TokenSource::Estimate }
            }
            (None, _) => TokenCount { count: story.events.count, source: TokenSource::Events },
        }
    }

    /// Keeps the text of an answer that only the server can count.
    fn keep_uncounted(&mut self, ordinal: usize, story: &RequestSummary) {
        let is_counted = story.usage.is_some_and(|usage| usage.completion_tokens.is_some());
        if let (false, Tokenizer::Server(_), Some(text)) = (is_counted, self.tokenizer, countable_text(story))
        {
            self.uncounted.push(ordinal, text.into());
        }
    }
}

/// The text of an answer, if its tokens are worth counting. Counting the text of an endless stream would take longer
/// than the stream, and no metric uses the count of a failed answer.
fn countable_text(story: &RequestSummary) -> Option<&str> {
    let text = story.text.as_deref().filter(|_| story.outcome.is_ok())?;
    Some(text).filter(|text| text.len() < MAX_CAPTURED_BYTES)
}

/// The number of reasoning tokens that the server counted as output and did not stream. If a server's count of
/// reasoning tokens is not below its count of all output tokens, the reasoning tokens are not included in the latter.
fn hidden_tokens(story: &RequestSummary, output: TokenCount) -> u32 {
    let reasoning = story.usage.and_then(|usage| usage.reasoning_tokens);
    let is_hidden = output.source == TokenSource::Usage && !story.first_event.reasoning_is_streamed;
    reasoning.filter(|reasoning| is_hidden && *reasoning < output.count).unwrap_or_default()
}

fn request_traits(request: &Request) -> RequestTraits {
    let sequences = match &request.content {
        Content::Batch(texts) => texts.len(),
        Content::Rerank { documents, .. } => documents.len(),
        _ => 1,
    };
    let audio = match &request.content {
        Content::Audio { wav, .. } => wav::length(wav),
        _ => None,
    };
    RequestTraits {
        sequences: u32::try_from(sequences).unwrap_or(u32::MAX),
        audio: audio.into(),
        leaves_after: request.patience().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::clock::RunClock;
    use crate::client::request_timer::{Capture, RequestTimer};

    /// An answer of 20 tokens. 12 are reasoning tokens, and the text is in two events after `before`.
    fn story(before: &str) -> RequestSummary {
        let keep = Capture { text: CaptureText::Never, gaps: CaptureGaps::Never };
        let mut timer = RequestTimer::new(RunClock::start(), Duration::ZERO, keep, std::rc::Rc::default());
        let event = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
        let said = event(r#"{"content":"a b"}"#) + &event(r#"{"content":" c"}"#);
        let details = r#""completion_tokens_details":{"reasoning_tokens":12}"#;
        let usage = format!("data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":20,{details}}}}}\n\n");
        let stream = before.to_owned() + &said + &usage + "data: [DONE]\n\n";
        timer.on_bytes(Duration::from_millis(5), stream.as_bytes());
        timer.finish(Ok(()))
    }

    #[test]
    fn reasoning_is_hidden_where_it_is_counted_and_not_streamed() {
        let usage = TokenCount { count: 20, source: TokenSource::Usage };
        assert_eq!(hidden_tokens(&story(""), usage), 12);
        let streamed = "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}]}\n\n";
        assert_eq!(hidden_tokens(&story(streamed), usage), 0, "it was streamed");
        let ours = TokenCount { source: TokenSource::Tokenizer, ..usage };
        assert_eq!(hidden_tokens(&story(""), ours), 0, "we count only what we see");
        assert_eq!(
            hidden_tokens(&story(""), TokenCount { count: 12, ..usage }),
            0,
            "counted beside the output"
        );
    }
}
