//! The caller's side of a run: finished requests become Records.

use std::sync::mpsc::Receiver;

use super::traffic::{Landed, Report};
use super::{Event, Plan};
use crate::core::record::{Record, TokenCount, TokenSource};
use crate::drive::client::stopwatch::Reading;
use crate::drive::tokenizer::Tokenizer;
use crate::drive::workload::Request;

/// Turns what the traffic reports into Records.
pub struct Collector<'a> {
    requests: &'a [Request],
    tokenizer: &'a Tokenizer,
    details: bool,
}

impl<'a> Collector<'a> {
    /// For the requests of a plan.
    pub fn new(plan: &Plan<'a>, tokenizer: &'a Tokenizer) -> Self {
        Self { requests: plan.requests, tokenizer, details: plan.details }
    }

    /// Reads until the traffic has ended; Records come back in the order of the schedule.
    pub fn collect(&self, reports: &Receiver<Report>, observe: &mut dyn FnMut(Event<'_>)) -> Vec<Record> {
        let mut records = Vec::new();
        for report in reports {
            match report {
                Report::Beat(beat) => observe(Event::Beat(beat)),
                Report::Landed(landed) => {
                    let record = self.record(*landed);
                    observe(Event::Done(&record));
                    records.push(record);
                }
            }
        }
        records.sort_unstable_by_key(|record| record.ordinal);
        records
    }

    fn record(&self, landed: Landed) -> Record {
        let request = &self.requests[landed.ordinal % self.requests.len()];
        let reading = landed.reading;
        Record {
            ordinal: landed.ordinal,
            id: landed.id,
            prompt_tokens: self.prompt_tokens(&reading, request),
            output_tokens: self.output_tokens(&reading),
            times: reading.times,
            events: reading.events,
            outcome: reading.outcome,
            text: reading.text.filter(|_| self.details),
        }
    }

    fn prompt_tokens(&self, reading: &Reading, request: &Request) -> TokenCount {
        match reading.usage.and_then(|usage| usage.prompt_tokens) {
            Some(count) => TokenCount { count, source: TokenSource::Usage },
            None => TokenCount { count: request.prompt_tokens, source: self.tokenizer.source() },
        }
    }

    /// The server's usage, else a tokenizer's count of the text, else the events.
    fn output_tokens(&self, reading: &Reading) -> TokenCount {
        if let Some(count) = reading.usage.and_then(|usage| usage.completion_tokens) {
            return TokenCount { count, source: TokenSource::Usage };
        }
        let counted = reading.text.as_deref().and_then(|text| match self.tokenizer.source() {
            TokenSource::Tokenizer => self.tokenizer.count_plain(text).ok(),
            _ => None,
        });
        match counted {
            Some(count) => TokenCount { count, source: TokenSource::Tokenizer },
            None => TokenCount { count: reading.events.count, source: TokenSource::Events },
        }
    }
}
