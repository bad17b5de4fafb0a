//! A Record as bytes and back. `docs/record-log.md` describes the format field by field.

use std::time::Duration;

use super::bytes::{Decoder, Encoder, nanos};
use crate::core::record::{
    Events, Facets, Failure, FailureClass, Finish, Input, Record, Times, TokenCount, TokenSource,
};

/// Which optional parts an entry has.
mod part {
    pub(super) const ID_HAS_ORDINAL: u64 = 1;
    pub(super) const CACHED_TOKENS: u64 = 1 << 1;
    pub(super) const FIRST_EVENT_TOKENS: u64 = 1 << 2;
    pub(super) const LEAVES_AFTER: u64 = 1 << 3;
    pub(super) const AUDIO: u64 = 1 << 4;
    pub(super) const FACETS: u64 = 1 << 5;
    pub(super) const GAPS: u64 = 1 << 6;
}

/// Appends a Record, without its text.
pub(super) fn encode(record: &Record, to: &mut Encoder) {
    let ordinal = record.ordinal.to_string();
    let prefix = record.id.strip_suffix(&ordinal);
    let parts = [
        (part::ID_HAS_ORDINAL, prefix.is_some()),
        (part::CACHED_TOKENS, record.cached_tokens.is_some()),
        (part::FIRST_EVENT_TOKENS, record.first_event_tokens.is_some()),
        (part::LEAVES_AFTER, record.leaves_after.is_some()),
        (part::AUDIO, record.input.audio.is_some()),
        (part::FACETS, record.facets.is_some()),
        (part::GAPS, record.events.gaps.is_some()),
    ];
    to.number(record.ordinal as u64);
    to.number(parts.iter().filter(|(_, is_there)| *is_there).map(|(part, _)| part).sum::<u64>());
    to.string(prefix.unwrap_or(&record.id));
    encode_times(&record.times, to);
    encode_tokens(record, to);
    encode_events(&record.events, to);
    encode_outcome(&record.outcome, to);
    record.leaves_after.into_iter().for_each(|after| to.duration(after));
    to.number(record.input.sequences);
    record.input.audio.into_iter().for_each(|audio| to.duration(audio));
    record.facets.iter().for_each(|facets| encode_facets(facets, to));
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(from: &mut Decoder<'_>) -> Option<Record> {
    let ordinal = usize::try_from(from.number()?).ok()?;
    let parts = from.number()?;
    let has = |part: u64| parts & part != 0;
    let mut id = from.string()?;
    if has(part::ID_HAS_ORDINAL) {
        id.push_str(&ordinal.to_string());
    }
    let times = decode_times(from)?;
    let [prompt, output] = [from.small()?, from.small()?];
    let sources = from.byte()?;
    let count = |count, place: u8| {
        let source = source((sources >> (2 * place)) & 3)?;
        Some(TokenCount { count, source })
    };
    let cached_tokens = from.optional(has(part::CACHED_TOKENS), Decoder::small)?;
    let hidden_tokens = from.small()?;
    let first = from.optional(has(part::FIRST_EVENT_TOKENS), Decoder::small)?;
    let events = decode_events(from, has(part::GAPS))?;
    let outcome = decode_outcome(from)?;
    let leaves_after = from.optional(has(part::LEAVES_AFTER), Decoder::duration)?;
    let sequences = from.small()?;
    let audio = from.optional(has(part::AUDIO), Decoder::duration)?;
    let facets = from.optional(has(part::FACETS), decode_facets)?;
    Some(Record {
        ordinal,
        id,
        times,
        prompt_tokens: count(prompt, 0)?,
        cached_tokens,
        output_tokens: count(output, 1)?,
        hidden_tokens,
        first_event_tokens: match first {
            Some(first) => Some(count(first, 2)?),
            None => None,
        },
        events,
        outcome,
        leaves_after,
        input: Input { sequences, audio },
        facets: facets.map(Box::new),
        text: None,
    })
}

/// When the request was due, then for each later step that happened the difference to the one before.
fn encode_times(times: &Times, to: &mut Encoder) {
    let steps = steps(times);
    let mask = steps.iter().enumerate().filter(|(_, at)| at.is_some()).map(|(step, _)| 1_u64 << step);
    to.number(mask.sum::<u64>());
    let mut before = nanos(times.due);
    to.number(before);
    for at in steps.into_iter().flatten().map(nanos) {
        to.difference(before, at);
        before = at;
    }
}

fn decode_times(from: &mut Decoder<'_>) -> Option<Times> {
    let mask = from.number()?;
    let mut before = from.number()?;
    let mut times = Times { due: Duration::from_nanos(before), ..Times::default() };
    for (step, at) in steps_mut(&mut times).into_iter().enumerate() {
        if mask >> step & 1 == 1 {
            before = from.difference(before)?;
            *at = Some(Duration::from_nanos(before));
        }
    }
    Some(times)
}

/// The steps after `due`, in the order of the format.
fn steps(times: &Times) -> [Option<Duration>; 11] {
    let mut times = *times;
    steps_mut(&mut times).map(|at| *at)
}

fn steps_mut(times: &mut Times) -> [&mut Option<Duration>; 11] {
    let Times { due: _, released, sent, resolved, connected, secured, written, .. } = times;
    let Times { headers, first_chunk, first_token, last_token, done, .. } = times;
    [
        released,
        sent,
        resolved,
        connected,
        secured,
        written,
        headers,
        first_chunk,
        first_token,
        last_token,
        done,
    ]
}

fn encode_tokens(record: &Record, to: &mut Encoder) {
    let first = record.first_event_tokens;
    let sources = [Some(record.prompt_tokens), Some(record.output_tokens), first];
    let codes = sources.into_iter().map(|count| count.map_or(0, |count| source_code(count.source)));
    to.number(record.prompt_tokens.count);
    to.number(record.output_tokens.count);
    to.byte(codes.enumerate().map(|(place, code)| code << (2 * place)).sum());
    record.cached_tokens.into_iter().for_each(|count| to.number(count));
    to.number(record.hidden_tokens);
    first.into_iter().for_each(|first| to.number(first.count));
}

fn source_code(source: TokenSource) -> u8 {
    match source {
        TokenSource::Usage => 0,
        TokenSource::Tokenizer => 1,
        TokenSource::Events => 2,
        TokenSource::Estimate => 3,
    }
}

fn source(code: u8) -> Option<TokenSource> {
    use TokenSource::{Estimate, Events, Tokenizer, Usage};
    [Usage, Tokenizer, Events, Estimate].into_iter().find(|source| source_code(*source) == code)
}

fn encode_events(events: &Events, to: &mut Encoder) {
    to.number(events.count);
    to.number(events.by_second.len() as u64);
    let mut before = 0;
    for (second, events) in &events.by_second {
        to.difference(before, u64::from(*second));
        to.number(*events);
        before = u64::from(*second);
    }
    if let Some(gaps) = &events.gaps {
        to.number(gaps.len() as u64);
        gaps.iter().for_each(|gap| to.duration(*gap));
    }
}

fn decode_events(from: &mut Decoder<'_>, has_gaps: bool) -> Option<Events> {
    let count = from.small()?;
    let mut before = 0;
    let by_second = from.list(|from| {
        before = from.difference(before)?;
        Some((u32::try_from(before).ok()?, from.small()?))
    })?;
    let gaps = from.optional(has_gaps, |from| from.list(Decoder::duration))?;
    Some(Events { count, by_second, gaps })
}

/// How requests end, as numbers: answers from 0, failures from 16.
fn class_code(class: FailureClass) -> u8 {
    use crate::core::record::Phase;
    match class {
        FailureClass::Connect => 16,
        FailureClass::Refused => 17,
        FailureClass::Descriptors => 18,
        FailureClass::Ports => 19,
        FailureClass::Tls => 20,
        FailureClass::Timeout(Phase::Connect) => 21,
        FailureClass::Timeout(Phase::Headers) => 22,
        FailureClass::Timeout(Phase::FirstToken) => 23,
        FailureClass::Timeout(Phase::Stream) => 24,
        FailureClass::Status(_) => STATUS,
        FailureClass::BrokenStream => 26,
        FailureClass::ErrorEvent => 27,
        FailureClass::EmptyStream => 28,
        FailureClass::Cancelled => 29,
        FailureClass::Abandoned => 30,
    }
}

const STOP: u8 = 0;
const LENGTH: u8 = 1;
const UNSAID: u8 = 2;
const OTHER: u8 = 3;
const STATUS: u8 = 25;

fn encode_outcome(outcome: &Result<Finish, Failure>, to: &mut Encoder) {
    match outcome {
        Ok(Finish::Stop) => to.byte(STOP),
        Ok(Finish::Length) => to.byte(LENGTH),
        Ok(Finish::Unsaid) => to.byte(UNSAID),
        Ok(Finish::Other(reason)) => {
            to.byte(OTHER);
            to.string(reason);
        }
        Err(Failure { class, detail }) => {
            to.byte(class_code(*class));
            if let FailureClass::Status(status) = class {
                to.number(*status);
            }
            to.string(detail);
        }
    }
}

fn decode_outcome(from: &mut Decoder<'_>) -> Option<Result<Finish, Failure>> {
    Some(Ok(match from.byte()? {
        STOP => Finish::Stop,
        LENGTH => Finish::Length,
        UNSAID => Finish::Unsaid,
        OTHER => Finish::Other(from.string()?),
        code => {
            let class = match code {
                STATUS => FailureClass::Status(from.number()?.try_into().ok()?),
                code => FailureClass::NAMED.into_iter().find(|class| class_code(*class) == code)?,
            };
            return Some(Err(Failure { class, detail: from.string()? }));
        }
    }))
}

fn encode_facets(facets: &Facets, to: &mut Encoder) {
    let texts = [&facets.class, &facets.adapter];
    let numbers = [facets.session, facets.turn, facets.turns];
    let is_there = texts.iter().map(|text| text.is_some()).chain(numbers.iter().map(Option::is_some));
    to.byte(is_there.enumerate().map(|(place, is_there)| u8::from(is_there) << place).sum());
    texts.into_iter().flatten().for_each(|text| to.string(text));
    numbers.into_iter().flatten().for_each(|number| to.number(number));
}

fn decode_facets(from: &mut Decoder<'_>) -> Option<Facets> {
    let mask = from.byte()?;
    let has = |place: u8| mask >> place & 1 == 1;
    Some(Facets {
        class: from.optional(has(0), Decoder::string)?,
        adapter: from.optional(has(1), Decoder::string)?,
        session: from.optional(has(2), Decoder::small)?,
        turn: from.optional(has(3), Decoder::small)?,
        turns: from.optional(has(4), Decoder::small)?,
    })
}
