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
        if let (Some(servers), TokenSource::Tokenizer) = (servers, self.tokenizer.source()) {
            let ours = request.prompt_tokens;
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
        Record {
            ordinal: landed.ordinal,
            id: landed.id,
            prompt_tokens: match story.usage.and_then(|usage| usage.prompt_tokens) {
                Some(count) => TokenCount { count, source: TokenSource::Usage },
                None => TokenCount { count: prompt, source: self.tokenizer.source() },
            },
            cached_tokens: story.usage.and_then(|usage| usage.cached_tokens),
            output_tokens,
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
