//! Compares the lengths of the answers with the requested lengths and with the number of events.

use crate::client::protocol::Protocol;
use crate::client::protocol::body::RequestTemplate;
use crate::dataset::requests::{RequestRange, RequestReader};
use crate::model::record::{FinishReason, Record, TokenSource};
use crate::model::run_spec::Spec;
use crate::model::validity::OutputLengths;

/// Compares the lengths of a run's answers with the requested lengths.
pub(super) struct Comparison<'a> {
    template: RequestTemplate,
    requests: RequestReader<'a>,
    planned: usize,
    lengths: OutputLengths,
}

impl<'a> Comparison<'a> {
    /// Creates a comparison without answers.
    pub(crate) fn new(spec: &Spec, requests: RequestRange<'a>) -> Self {
        let template = RequestTemplate::new(
            Protocol::for_backend(spec.target.backend),
            spec.target.model_field(),
            &spec.sampling,
        );
        Self {
            template,
            requests: requests.reader(),
            planned: requests.len(),
            lengths: OutputLengths::default(),
        }
    }

    /// Adds the answer to one of the requests.
    pub(crate) fn note(&mut self, record: &Record) {
        let Some(request) = self.requests.without_content(record.ordinal % self.planned.max(1)) else {
            return;
        };
        if let (Ok(finish), Some(most)) = (&record.outcome, self.template.max_output_tokens(&request)) {
            let asked = Asked { most, least: self.template.min_output_tokens(&request) };
            note(&mut self.lengths, record, finish, asked);
        }
    }

    /// The result of the comparison over all answers.
    pub(crate) fn lengths(self) -> OutputLengths {
        self.lengths
    }
}

/// The number of tokens that a request asks for.
#[derive(Clone, Copy)]
struct Asked {
    most: u32,
    least: Option<u32>,
}

fn note(lengths: &mut OutputLengths, record: &Record, finish: &FinishReason, asked: Asked) {
    let Asked { most, least } = asked;
    let (tokens, events) = (record.output_tokens.count, record.events.count);
    let slack = match record.output_tokens.source {
        TokenSource::Usage => 0,
        // Tokenizing a text again does not always give the tokens that it was made from.
        TokenSource::Tokenizer => 2 + most / 10,
        TokenSource::Events | TokenSource::Estimate => return,
    };
    lengths.answers += 1;
    let is_usage = record.output_tokens.source == TokenSource::Usage;
    lengths.by_usage += usize::from(is_usage);
    // An answer that ended at its token limit has exactly that number of tokens. Of other answers, a server that ignores
    // the limit may send several tokens in an event, so their texts decide.
    let is_impossible = is_usage && *finish == FinishReason::Length && (1..=most).contains(&events);
    let is_doubtful = is_usage && events <= most && tokens > most.saturating_add(2 + most / 10);
    if tokens > most && is_impossible {
        lengths.usage_above.add(tokens, most);
    } else if is_doubtful {
        lengths.usage_above_at_stop.add(tokens, most);
    } else if tokens > most.saturating_add(slack) {
        lengths.longer.add(tokens, most);
    }
    // The last event may have no token.
    if is_usage && tokens.saturating_add(1) < events {
        lengths.usage_below.add(tokens, events);
    }
    if let Some(least) = least {
        lengths.bound += 1;
        if tokens.saturating_add(slack) < least {
            lengths.shorter.add(tokens, least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Events, TokenCount};
    use crate::model::request::Request;
    use crate::model::validity::LengthComparison;
    use crate::testing::sample_run;

    /// A Record with this number of tokens by usage, this number of events, and this finish reason.
    fn record(tokens: u32, events: u32, finish: FinishReason) -> Record {
        let [good, _] = <[Record; 2]>::try_from(sample_run::records()).unwrap();
        Record {
            output_tokens: TokenCount { count: tokens, source: TokenSource::Usage },
            events: Events { count: events, ..Events::default() },
            outcome: Ok(finish),
            ..good
        }
    }

    fn lengths(most: u32, ignore_eos: bool, record: Record) -> OutputLengths {
        let mut spec = sample_run::spec();
        spec.sampling.ignore_eos = ignore_eos;
        compare(&spec, most, &record)
    }

    fn compare(spec: &Spec, most: u32, record: &Record) -> OutputLengths {
        let requests = [Request::text("Hi", 1, most)];
        let mut comparison = Comparison::new(spec, (&requests).into());
        comparison.note(record);
        comparison.lengths()
    }

    fn some(tokens: u64, other: u64) -> LengthComparison {
        LengthComparison { answers: 1, tokens, other }
    }

    /// B17 and B18 of the reports (llama.cpp #13700, dynamo PR #7642, srt-slurm PR #437, aiperf #339, dynamo #723), and
    /// correct answers: speculative decoding (several tokens per event), and an end of the text before the limit.
    #[test]
    fn answers_are_held_against_what_was_asked_for() {
        let nothing = LengthComparison::default();
        let cases = [
            // The columns are: requested tokens, ignore_eos, tokens, events, finish; then longer, shorter, usage above at
            // the limit and at a stop, usage below.
            ((8, false, 40, 40, FinishReason::Stop), [some(40, 8), nothing, nothing, nothing, nothing]),
            ((16, false, 136, 16, FinishReason::Length), [nothing, nothing, some(136, 16), nothing, nothing]),
            ((100, true, 4, 4, FinishReason::Stop), [nothing, some(4, 100), nothing, nothing, nothing]),
            ((100, false, 4, 4, FinishReason::Stop), [nothing; 5]),
            ((100, true, 100, 100, FinishReason::Length), [nothing; 5]),
            ((100, true, 100, 25, FinishReason::Length), [nothing; 5]),
            ((100, true, 97, 96, FinishReason::Length), [nothing, some(97, 100), nothing, nothing, nothing]),
            ((8, false, 1, 8, FinishReason::Length), [nothing, nothing, nothing, nothing, some(1, 8)]),
            ((8, false, 8, 9, FinishReason::Length), [nothing; 5]),
            // A usage that is far too high, whatever the reason; one more token is the end-of-sequence token.
            ((256, false, 300, 16, FinishReason::Stop), [nothing, nothing, nothing, some(300, 256), nothing]),
            ((16, false, 17, 16, FinishReason::Stop), [some(17, 16), nothing, nothing, nothing, nothing]),
            // The answer ran to the end of its context, not to the limit.
            (
                (16, false, 900, 900, FinishReason::Length),
                [some(900, 16), nothing, nothing, nothing, nothing],
            ),
            // An answer without streaming has no events that could contradict its usage, but a text.
            ((16, false, 40, 0, FinishReason::Stop), [nothing, nothing, nothing, some(40, 16), nothing]),
            ((16, false, 19, 0, FinishReason::Length), [some(19, 16), nothing, nothing, nothing, nothing]),
        ];
        for ((most, ignore_eos, tokens, events, finish), expected) in cases {
            let found = lengths(most, ignore_eos, record(tokens, events, finish.clone()));
            let OutputLengths { longer, shorter, usage_above, usage_above_at_stop, usage_below, .. } = found;
            let figures = [longer, shorter, usage_above, usage_above_at_stop, usage_below];
            assert_eq!(figures, expected, "{most} {tokens} {events} {finish:?}");
            assert_eq!((found.answers, found.by_usage, found.bound), (1, 1, usize::from(ignore_eos)));
        }
    }

    #[test]
    fn a_tokenizers_count_has_some_slack_and_a_guess_proves_nothing() {
        let by = |count, source| {
            let tokens = TokenCount { count, source };
            lengths(100, true, Record { output_tokens: tokens, ..record(1, 100, FinishReason::Length) })
        };
        assert_eq!(by(108, TokenSource::Tokenizer).longer.answers, 0);
        assert_eq!(by(130, TokenSource::Tokenizer).longer, some(130, 100));
        assert_eq!(by(93, TokenSource::Tokenizer).shorter.answers, 0);
        assert_eq!(by(50, TokenSource::Tokenizer).shorter, some(50, 100));
        for source in [TokenSource::Events, TokenSource::Estimate] {
            assert_eq!(by(500, source), OutputLengths::default());
        }
    }

    #[test]
    fn the_users_own_fields_are_what_was_asked_for() {
        let found = |extra: &str, tokens| {
            let mut spec = sample_run::spec();
            spec.sampling.extra_body = serde_json::from_str(extra).unwrap();
            let lengths = compare(&spec, 8, &record(tokens, tokens, FinishReason::Stop));
            (lengths.longer.answers, lengths.shorter.answers)
        };
        assert_eq!(found(r#"{"max_tokens":40}"#, 40), (0, 0));
        assert_eq!(found(r#"{"max_completion_tokens":4}"#, 8), (0, 0), "which name is heeded is not known");
        assert_eq!(found(r#"{"n":5}"#, 40), (0, 0));
        assert_eq!(found(r#"{"n":4}"#, 40), (1, 0));
        assert_eq!(found(r#"{"max_tokens":null}"#, 400), (0, 0), "no limit");
        assert_eq!(found(r#"{"max_tokens":null,"max_completion_tokens":8}"#, 9), (1, 0));
        assert_eq!(found(r#"{"min_tokens":8}"#, 1), (0, 1));
        assert_eq!(found(r#"{"min_tokens":4}"#, 4), (0, 0));
        assert_eq!(found(r#"{"ignore_eos":true}"#, 4), (0, 1));
    }
}
