//! The caller's side of a run: finished requests become Records.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;

use super::deal::Sessions;
use super::traffic::{Landed, Report};
use super::{Agreement, Event, Plan};
use crate::core::record::{Facets, Input, Record, TokenCount, TokenSource};
use crate::core::spec::History;
use crate::drive::client::stopwatch::{KeepGaps, KeepText, Story};
use crate::drive::tokenizer::Tokenizer;
use crate::drive::workload::{Content, Request, wav};

/// Turns what the traffic reports into Records.
pub struct Collector<'a> {
    requests: &'a [Request],
    tokenizer: &'a Tokenizer,
    keep_text: bool,
    keep_gaps: bool,
    sessions: Option<Sessions>,
    history: History,
    /// Tokens that the next turn of a session repeats, by the session's number.
    repeated: HashMap<usize, u32>,
}

impl<'a> Collector<'a> {
    /// For the requests of a plan.
    pub fn new(plan: &Plan<'a>, tokenizer: &'a Tokenizer) -> Self {
        Self {
            requests: plan.measured.requests,
            tokenizer,
            keep_text: plan.keep.text == KeepText::Always,
            keep_gaps: plan.keep.gaps == KeepGaps::Always,
            sessions: Sessions::of(plan.measured.requests),
            history: plan.history,
            repeated: HashMap::new(),
        }
    }

    /// Reads until the traffic has ended; Records come back in the order of the schedule.
    pub fn collect(
        mut self,
        reports: &Receiver<Report>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> (Vec<Record>, Agreement) {
        let mut records = Vec::new();
        let mut agreement = Agreement::default();
        for report in reports {
            match report {
                Report::Started(t0) => observe(Event::Started(t0)),
                Report::Beat(beat) => observe(Event::Beat(beat)),
                Report::Landed(landed) => records.extend(landed.into_iter().map(|landed| {
                    self.compare(&landed, &mut agreement);
                    let mut record = self.record(landed);
                    observe(Event::Done(&record));
                    record.events.gaps.take_if(|_| !self.keep_gaps);
                    record
                })),
            }
        }
        records.sort_unstable_by_key(|record| record.ordinal);
        (records, agreement)
    }

    /// Holds our count of a prompt against the server's, where both counted.
    fn compare(&self, landed: &Landed, agreement: &mut Agreement) {
        let request = self.request(landed.ordinal);
        // What a later turn repeats is not counted again: only its parts were.
        let is_whole = request.turn().is_none_or(|turn| turn.index == 0);
        let servers = landed.story.usage.and_then(|usage| usage.prompt_tokens).filter(|_| is_whole);
        if let Some(servers) = servers {
            let ours = request.prompt_tokens;
            agreement.is_estimate = self.tokenizer.source() == TokenSource::Estimate;
            agreement.ours += u64::from(ours);
            agreement.servers += u64::from(servers);
            agreement.more += u64::from(servers.saturating_sub(ours));
            agreement.less += u64::from(ours.saturating_sub(servers));
        }
    }

    fn request(&self, ordinal: usize) -> &Request {
        &self.requests[ordinal % self.requests.len()]
    }

    fn record(&mut self, landed: Landed) -> Record {
        let requests = self.requests;
        let request = &requests[landed.ordinal % requests.len()];
        let story = landed.story;
        let output_tokens = self.output_tokens(&story);
        let prompt = self.prompt_length(landed.ordinal, request, output_tokens.count);
        let hidden_tokens = hidden_tokens(&story, output_tokens);
        Record {
            ordinal: landed.ordinal,
            id: landed.id,
            prompt_tokens: match story.usage.and_then(|usage| usage.prompt_tokens) {
                Some(count) => TokenCount { count, source: TokenSource::Usage },
                None => TokenCount { count: prompt, source: self.tokenizer.source() },
            },
            cached_tokens: story.usage.and_then(|usage| usage.cached_tokens),
            output_tokens,
            hidden_tokens,
            first_event_tokens: self.first_event_tokens(&story, output_tokens, hidden_tokens),
            leaves_after: request.patience(),
            times: story.times,
            events: story.events,
            outcome: story.outcome,
            input: input(&request.content),
            facets: self.facets(landed.ordinal, request),
            text: story.text.filter(|_| self.keep_text),
        }
    }

    /// A prompt by our count, in a session with what it repeats: the sum of the parts, which are counted anyway.
    fn prompt_length(&mut self, ordinal: usize, request: &Request, output: u32) -> u32 {
        let (Some(sessions), Some(turn)) = (&self.sessions, request.turn()) else {
            return request.prompt_tokens;
        };
        let number = sessions.number(ordinal);
        let prompt = self.repeated.remove(&number).unwrap_or_default().saturating_add(request.prompt_tokens);
        let answer = match self.history {
            History::Real => Some(output),
            History::Fixed => Some(request.max_tokens),
            History::None => None,
        };
        if let Some(answer) = answer.filter(|_| turn.index + 1 < turn.of) {
            self.repeated.insert(number, prompt.saturating_add(answer));
        }
        prompt
    }

    fn facets(&self, ordinal: usize, request: &Request) -> Option<Box<Facets>> {
        let own = request.own.as_deref()?;
        let place = self.sessions.as_ref().map(|sessions| sessions.facets(ordinal, request));
        let facets =
            Facets { class: own.class.clone(), adapter: own.model.clone(), ..place.unwrap_or_default() };
        (facets != Facets::default()).then(|| facets.into())
    }

    /// Tokens of the first output event: by the usage that came with it, else by our own tokenizer. The server's is not
    /// asked: that would be a request for each answer. Where there are as many events as tokens, each event has one.
    fn first_event_tokens(&self, story: &Story, output: TokenCount, hidden: u32) -> Option<TokenCount> {
        let streamed = output.count - hidden;
        if story.outcome.is_err() || story.events.count < 2 {
            return None;
        }
        if let Some(so_far) = story.first.tokens_so_far {
            let count = so_far.checked_sub(hidden)?;
            return Some(TokenCount { count, source: TokenSource::Usage });
        }
        let (false, Tokenizer::Local(_)) = (streamed == story.events.count, self.tokenizer) else {
            return None;
        };
        let count = self.tokenizer.count_plain(&story.first.text).ok()?;
        Some(TokenCount { count, source: TokenSource::Tokenizer })
    }

    /// The server's usage, else a tokenizer's count of the text, else the events, of which an answer in one piece has none.
    fn output_tokens(&self, story: &Story) -> TokenCount {
        if let Some(count) = story.usage.and_then(|usage| usage.completion_tokens) {
            return TokenCount { count, source: TokenSource::Usage };
        }
        let counted = story.text.as_deref().and_then(|text| match self.tokenizer.source() {
            TokenSource::Tokenizer => self.tokenizer.count_plain(text).ok(),
            _ => None,
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
}

/// Reasoning that the server counted among the output tokens and did not stream. A server whose count of reasoning is not
/// below the count of all leaves it out there.
fn hidden_tokens(story: &Story, output: TokenCount) -> u32 {
    let reasoning = story.usage.and_then(|usage| usage.reasoning_tokens);
    let is_hidden = output.source == TokenSource::Usage && !story.first.reasoning_is_streamed;
    reasoning.filter(|reasoning| is_hidden && *reasoning < output.count).unwrap_or_default()
}

fn input(content: &Content) -> Input {
    let sequences = match content {
        Content::Batch(texts) => texts.len(),
        Content::Rerank { documents, .. } => documents.len(),
        _ => 1,
    };
    let audio = match content {
        Content::Audio { wav, .. } => wav::length(wav),
        _ => None,
    };
    Input { sequences: u32::try_from(sequences).unwrap_or(u32::MAX), audio }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::drive::client::stopwatch::{Keep, Stopwatch};
    use crate::drive::clock::Clock;

    /// Of 20 tokens, 12 are reasoning; the answer is in two events after whatever comes before.
    fn story(before: &str) -> Story {
        let keep = Keep { text: KeepText::Never, gaps: KeepGaps::Never };
        let mut watch = Stopwatch::new(Clock::start(), Duration::ZERO, keep, std::rc::Rc::default());
        let event = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
        let said = event(r#"{"content":"a b"}"#) + &event(r#"{"content":" c"}"#);
        let details = r#""completion_tokens_details":{"reasoning_tokens":12}"#;
        let usage = format!("data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":20,{details}}}}}\n\n");
        let stream = before.to_owned() + &said + &usage + "data: [DONE]\n\n";
        watch.bytes_arrived(Duration::from_millis(5), stream.as_bytes());
        watch.conclude(Ok(()))
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
