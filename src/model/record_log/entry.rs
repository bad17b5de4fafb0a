//! Encodes a Record as bytes and decodes it. `docs/record-log.md` describes the format field by field.

use std::time::Duration;

use crate::model::record::{
    Events, Failure, FailureClass, FinishReason, LateCounts, Milestone, OptionalDuration, OutputGaps, Record,
    RequestLabels, RequestTraits, ServerTimes, Timestamps, TokenCount, TokenSource,
};
use crate::model::record_log::encoding::{EntryDecoder, EntryEncoder, nanos};
use crate::model::request_id::{RequestId, before_padded_number};

/// The entry kind of a Record.
pub(super) const RECORD: u8 = 1;

/// The bits of the optional parts of an entry.
mod part {
    pub(super) const ID_HAS_ORDINAL: u64 = 1;
    pub(super) const CACHED_TOKENS: u64 = 1 << 1;
    pub(super) const FIRST_EVENT_TOKENS: u64 = 1 << 2;
    pub(super) const LEAVES_AFTER: u64 = 1 << 3;
    pub(super) const AUDIO: u64 = 1 << 4;
    pub(super) const LABELS: u64 = 1 << 5;
    pub(super) const GAPS: u64 = 1 << 6;
    pub(super) const ID_IS_PADDED: u64 = 1 << 7;
    pub(super) const TEXT: u64 = 1 << 8;
    pub(super) const SERVER_TIMES: u64 = 1 << 9;
}

/// Appends a Record.
pub(super) fn encode(record: &Record, to: &mut EntryEncoder) {
    match &record.id {
        Some(id) => id.with_text(|id| encode_with_id(record, id, to)),
        None => encode_with_id(record, "", to),
    }
}

fn encode_with_id(record: &Record, id: &str, to: &mut EntryEncoder) {
    let padded = before_padded_number(id, record.ordinal);
    let prefix = padded.or_else(|| id.strip_suffix(&record.ordinal.to_string()));
    let traits = record.traits();
    let parts = [
        (part::ID_HAS_ORDINAL, prefix.is_some()),
        (part::ID_IS_PADDED, padded.is_some()),
        (part::CACHED_TOKENS, record.cached_tokens.is_some()),
        (part::FIRST_EVENT_TOKENS, record.first_event_tokens.is_some()),
        (part::LEAVES_AFTER, !traits.leaves_after.is_none()),
        (part::AUDIO, !traits.audio.is_none()),
        (part::LABELS, record.facets.is_some()),
        (part::GAPS, record.events.gaps.is_some()),
        (part::TEXT, record.text.is_some()),
        (part::SERVER_TIMES, record.server_times.is_some()),
    ];
    to.number(record.ordinal as u64);
    to.number(parts.iter().filter(|(_, is_there)| *is_there).map(|(part, _)| part).sum::<u64>());
    to.string(prefix.unwrap_or(id));
    encode_times(&record.times, to);
    encode_tokens(record, to);
    encode_events(&record.events, to);
    encode_outcome(&record.outcome, to);
    traits.leaves_after.get().into_iter().for_each(|after| to.duration(after));
    to.number(traits.sequences);
    traits.audio.get().into_iter().for_each(|audio| to.duration(audio));
    record.facets.iter().for_each(|facets| encode_labels(facets, to));
    record.text.iter().for_each(|text| to.text(text));
    record.server_times.iter().for_each(|times| encode_server_times(times, to));
}

/// Decodes the output of [`encode`].
pub(super) fn decode(from: &mut EntryDecoder<'_>) -> Option<Record> {
    let ordinal = usize::try_from(from.number()?).ok()?;
    let parts = from.number()?;
    let has = |part: u64| parts & part != 0;
    let id = from.with_string(|text| match (has(part::ID_IS_PADDED), has(part::ID_HAS_ORDINAL)) {
        (true, _) => RequestId::from_numbered_uuid(text, ordinal)
            .unwrap_or_else(|| RequestId::from(format!("{text}{ordinal:012}"))),
        (false, true) => RequestId::from(format!("{text}{ordinal}")),
        (false, false) => RequestId::from(text.to_owned()),
    })?;
    let times = decode_times(from)?;
    let [prompt, output] = [from.small_number()?, from.small_number()?];
    let sources = from.byte()?;
    let count = |count, place: u8| {
        let source = token_source((sources >> (2 * place)) & 3)?;
        Some(TokenCount { count, source })
    };
    let cached_tokens = from.optional(has(part::CACHED_TOKENS), EntryDecoder::small_number)?;
    let hidden_tokens = from.small_number()?;
    let first = from.optional(has(part::FIRST_EVENT_TOKENS), EntryDecoder::small_number)?;
    let events = decode_events(from, has(part::GAPS))?;
    let outcome = decode_outcome(from)?;
    let leaves_after = from.optional(has(part::LEAVES_AFTER), EntryDecoder::duration)?;
    let sequences = from.small_number()?;
    let audio = from.optional(has(part::AUDIO), EntryDecoder::duration)?;
    let facets = from.optional(has(part::LABELS), decode_labels)?;
    let text = from.optional(has(part::TEXT), EntryDecoder::text)?;
    let server_times = from.optional(has(part::SERVER_TIMES), decode_server_times)?;
    Some(Record {
        ordinal,
        id: Some(id).filter(|id| !matches!(id, RequestId::Text(text) if text.is_empty())),
        times,
        prompt_tokens: count(prompt, 0)?,
        cached_tokens,
        output_tokens: count(output, 1)?,
        hidden_tokens,
        first_event_tokens: match first {
            Some(first) => Some(count(first, 2)?),
            None => None,
        },
        server_times: server_times.and_then(ServerTimes::boxed),
        events,
        outcome,
        traits: RequestTraits { sequences, audio: audio.into(), leaves_after: leaves_after.into() }.boxed(),
        facets: facets.map(Box::new),
        text: text.map(Into::into),
    })
}

/// Encodes the due time, then for each later milestone that happened the difference to the one before.
fn encode_times(times: &Timestamps, to: &mut EntryEncoder) {
    let steps = Milestone::ALL.map(|milestone| times.get(milestone));
    let mask = steps.iter().enumerate().filter(|(_, at)| at.is_some()).map(|(step, _)| 1_u64 << step);
    to.number(mask.sum::<u64>());
    let mut before = nanos(times.due());
    to.number(before);
    for at in steps.into_iter().flatten().map(nanos) {
        to.difference(before, at);
        before = at;
    }
}

fn decode_times(from: &mut EntryDecoder<'_>) -> Option<Timestamps> {
    let mask = from.number()?;
    let mut before = from.number()?;
    let mut times = Timestamps::new(Duration::from_nanos(before));
    for (step, milestone) in Milestone::ALL.into_iter().enumerate() {
        if mask >> step & 1 == 1 {
            before = from.difference(before)?;
            times.set(milestone, Duration::from_nanos(before));
        }
    }
    Some(times)
}

/// Encodes which of the times are there, then those.
fn encode_server_times(times: &ServerTimes, to: &mut EntryEncoder) {
    let times = [times.queue, times.prefill, times.decode].map(OptionalDuration::get);
    to.byte(times.iter().enumerate().map(|(place, time)| u8::from(time.is_some()) << place).sum());
    times.into_iter().flatten().for_each(|time| to.duration(time));
}

fn decode_server_times(from: &mut EntryDecoder<'_>) -> Option<ServerTimes> {
    let mask = from.byte()?;
    let mut next = |place: u8| from.optional(mask >> place & 1 == 1, EntryDecoder::duration);
    Some(ServerTimes::new(next(0)?, next(1)?, next(2)?))
}

fn encode_tokens(record: &Record, to: &mut EntryEncoder) {
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

/// Appends counts that replace those of a Record.
pub(super) fn encode_counts(counts: &LateCounts, to: &mut EntryEncoder) {
    let LateCounts { ordinal, prompt_tokens, output_tokens } = counts;
    to.number(*ordinal as u64);
    for TokenCount { count, source } in [prompt_tokens, output_tokens] {
        to.number(*count);
        to.byte(source_code(*source));
    }
}

/// Decodes the output of [`encode_counts`].
pub(super) fn decode_counts(from: &mut EntryDecoder<'_>) -> Option<LateCounts> {
    let ordinal = usize::try_from(from.number()?).ok()?;
    let mut next = || Some(TokenCount { count: from.small_number()?, source: token_source(from.byte()?)? });
    Some(LateCounts { ordinal, prompt_tokens: next()?, output_tokens: next()? })
}

fn source_code(source: TokenSource) -> u8 {
    match source {
        TokenSource::Usage => 0,
        TokenSource::Tokenizer => 1,
        TokenSource::Events => 2,
        TokenSource::Estimate => 3,
    }
}

fn token_source(code: u8) -> Option<TokenSource> {
    use TokenSource::{Estimate, Events, Tokenizer, Usage};
    [Usage, Tokenizer, Events, Estimate].into_iter().find(|source| source_code(*source) == code)
}

fn encode_events(events: &Events, to: &mut EntryEncoder) {
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
        gaps.iter().for_each(|gap| to.duration(gap));
    }
}

fn decode_events(from: &mut EntryDecoder<'_>, has_gaps: bool) -> Option<Events> {
    let count = from.small_number()?;
    let mut before = 0;
    let by_second = from.list(|from| {
        before = from.difference(before)?;
        Some((u32::try_from(before).ok()?, from.small_number()?))
    })?;
    let gaps = from.optional(has_gaps, |from| from.list(EntryDecoder::duration))?;
    let gaps = gaps.map(OutputGaps::from_iter);
    Some(Events { count, by_second, gaps })
}

/// The number of an outcome: answers from 0, failures from 16.
fn class_code(class: FailureClass) -> u8 {
    use crate::model::record::TimeoutPhase;
    match class {
        FailureClass::Connect => 16,
        FailureClass::Refused => 17,
        FailureClass::Descriptors => 18,
        FailureClass::Ports => 19,
        FailureClass::Tls => 20,
        FailureClass::Timeout(TimeoutPhase::Connect) => 21,
        FailureClass::Timeout(TimeoutPhase::Headers) => 22,
        FailureClass::Timeout(TimeoutPhase::FirstToken) => 23,
        FailureClass::Timeout(TimeoutPhase::Stream) => 24,
        FailureClass::Status(_) => STATUS,
        FailureClass::BrokenStream => 26,
        FailureClass::ErrorEvent => 27,
        FailureClass::EmptyStream => 28,
        FailureClass::Cancelled => 29,
        FailureClass::Abandoned => 30,
        FailureClass::Aborted => 31,
        FailureClass::ServerTimeout => 32,
        FailureClass::ServerOverloaded => 33,
        FailureClass::UnknownFinishReason => 34,
        FailureClass::OverLimit => 35,
    }
}

const STOP: u8 = 0;
const LENGTH: u8 = 1;
const UNSAID: u8 = 2;
const OTHER: u8 = 3;
const STATUS: u8 = 25;

fn encode_outcome(outcome: &Result<FinishReason, Box<Failure>>, to: &mut EntryEncoder) {
    match outcome {
        Ok(FinishReason::Stop) => to.byte(STOP),
        Ok(FinishReason::Length) => to.byte(LENGTH),
        Ok(FinishReason::Unsaid) => to.byte(UNSAID),
        Ok(FinishReason::Other(reason)) => {
            to.byte(OTHER);
            to.string(reason);
        }
        Err(failure) => {
            let Failure { class, detail } = &**failure;
            to.byte(class_code(*class));
            if let FailureClass::Status(status) = class {
                to.number(*status);
            }
            to.string(detail);
        }
    }
}

fn decode_outcome(from: &mut EntryDecoder<'_>) -> Option<Result<FinishReason, Box<Failure>>> {
    Some(Ok(match from.byte()? {
        STOP => FinishReason::Stop,
        LENGTH => FinishReason::Length,
        UNSAID => FinishReason::Unsaid,
        OTHER => FinishReason::Other(from.string()?.into()),
        code => {
            let class = match code {
                STATUS => FailureClass::Status(from.number()?.try_into().ok()?),
                code => FailureClass::NAMED_CLASSES.into_iter().find(|class| class_code(*class) == code)?,
            };
            return Some(Err(Box::new(Failure { class, detail: from.string()? })));
        }
    }))
}

fn encode_labels(facets: &RequestLabels, to: &mut EntryEncoder) {
    let texts = [&facets.class, &facets.adapter];
    let numbers = [facets.session, facets.turn, facets.turns];
    let is_there = texts.iter().map(|text| text.is_some()).chain(numbers.iter().map(Option::is_some));
    to.byte(is_there.enumerate().map(|(place, is_there)| u8::from(is_there) << place).sum());
    texts.into_iter().flatten().for_each(|text| to.string(text));
    numbers.into_iter().flatten().for_each(|number| to.number(number));
}

fn decode_labels(from: &mut EntryDecoder<'_>) -> Option<RequestLabels> {
    let mask = from.byte()?;
    let has = |place: u8| mask >> place & 1 == 1;
    Some(RequestLabels {
        class: from.optional(has(0), EntryDecoder::string)?,
        adapter: from.optional(has(1), EntryDecoder::string)?,
        session: from.optional(has(2), EntryDecoder::small_number)?,
        turn: from.optional(has(3), EntryDecoder::small_number)?,
        turns: from.optional(has(4), EntryDecoder::small_number)?,
    })
}
