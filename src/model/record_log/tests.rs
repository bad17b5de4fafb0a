use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::record::{
    Events, Failure, FailureClass, FinishReason, Milestone, OutputGaps, RequestLabels, RequestTraits,
    ServerTimes, Timestamps, TokenCount, TokenSource,
};
use crate::model::request_id::RequestIds;
use crate::testing::queue::Queue;
use crate::testing::sample_run::log_header as header;

const T0: WallTime = WallTime { unix_ns: 1_764_426_428_123_456_789, doubt_ns: 70 };

fn log_of(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = RecordLogWriter::new(&mut bytes, &header()).unwrap();
    writer.write_start(T0).unwrap();
    for record in records {
        writer.write_record(record).unwrap();
    }
    writer
        .write_mark(ProgressMark { at: Duration::from_millis(1500), sent: records.len() as u64 + 3 })
        .unwrap();
    bytes
}

/// What a log has, and its Records in the order of the schedule.
#[derive(Debug)]
struct WholeLog {
    summary: RecordLogSummary,
    records: Vec<Record>,
}

fn read(bytes: &[u8]) -> Result<WholeLog, RecordLogError> {
    let mut log = Spool::in_memory();
    log.write_all(bytes)?;
    let (summary, log) = ClientLog::from_spool(log)?;
    let mut records = Vec::new();
    log.for_each(&mut |record| records.push(record))?;
    assert_eq!(summary.records, records.len() as u64);
    records.sort_by_key(|record| record.ordinal);
    Ok(WholeLog { summary, records })
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![0..100_000_000_000_u64, any::<u64>()].prop_map(Duration::from_nanos)
}

fn times() -> impl Strategy<Value = Timestamps> {
    (duration(), vec(option::of(duration()), 11)).prop_map(|(due, steps)| {
        let mut times = Timestamps::new(due);
        Milestone::ALL.into_iter().zip(steps).for_each(|(milestone, at)| times.set(milestone, at));
        times
    })
}

fn tokens() -> impl Strategy<Value = TokenCount> {
    let sources =
        vec![TokenSource::Usage, TokenSource::Tokenizer, TokenSource::Events, TokenSource::Estimate];
    (any::<u32>(), prop::sample::select(sources)).prop_map(|(count, source)| TokenCount { count, source })
}

fn outcome() -> impl Strategy<Value = Result<FinishReason, Failure>> {
    let classes: Vec<_> =
        FailureClass::NAMED_CLASSES.into_iter().chain([FailureClass::Status(503)]).collect();
    let finishes =
        prop_oneof![Just(FinishReason::Stop), Just(FinishReason::Length), Just(FinishReason::Unsaid)];
    prop_oneof![
        finishes.prop_map(Ok),
        ".{0,9}".prop_map(|reason| Ok(FinishReason::Other(reason.into()))),
        (prop::sample::select(classes), ".{0,9}").prop_map(|(class, detail)| Err(Failure { class, detail })),
    ]
}

fn facets() -> impl Strategy<Value = RequestLabels> {
    let text = || option::of("[ab]{1,2}");
    let number = || option::of(any::<u32>());
    (text(), text(), number(), number(), number()).prop_map(|(class, adapter, session, turn, turns)| {
        RequestLabels { class, adapter, session, turn, turns }
    })
}

fn events() -> impl Strategy<Value = Events> {
    (any::<u32>(), vec(any::<(u32, u32)>(), 0..5), option::of(vec(duration(), 0..5))).prop_map(
        |(count, by_second, gaps)| Events { count, by_second, gaps: gaps.map(OutputGaps::from_iter) },
    )
}

fn ids() -> impl Strategy<Value = RequestIds> {
    prop_oneof![
        Just(RequestIds::None),
        any::<u128>().prop_map(|nonce| RequestIds::Uuids(Uuid::from_u128(nonce))),
        "[a-z]{0,3}-".prop_map(RequestIds::Prefix),
    ]
}

prop_compose! {
    fn record()(
        (ordinal, ids, has_ordinal) in (any::<usize>(), ids(), any::<bool>()),
        (times, prompt_tokens, output_tokens) in (times(), tokens(), tokens()),
        (cached_tokens, hidden_tokens) in (option::of(any::<u32>()), any::<u32>()),
        (first_event_tokens, leaves_after) in (option::of(tokens()), option::of(duration())),
        [queue, prefill, decode] in [option::of(duration()), option::of(duration()), option::of(duration())],
        (events, outcome) in (events(), outcome()),
        (sequences, audio) in (any::<u32>(), option::of(duration())),
        (facets, text) in (option::of(facets().prop_map(Box::new)), option::of(".{0,9}")),
    ) -> Record {
        Record {
            ordinal,
            id: ids.request_id(if has_ordinal { ordinal } else { 7 }, true),
            times,
            prompt_tokens,
            cached_tokens,
            output_tokens,
            hidden_tokens,
            first_event_tokens,
            server_times: ServerTimes::new(queue, prefill, decode).boxed(),
            events,
            outcome: outcome.map_err(Box::new),
            traits: RequestTraits { sequences, audio: audio.into(), leaves_after: leaves_after.into() }.boxed(),
            facets,
            text: text.map(Into::into),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_record_comes_back_as_it_was(mut records in vec(record(), 0..20)) {
        let log = read(&log_of(&records)[..]).unwrap();
        records.sort_by_key(|record| record.ordinal);
        prop_assert_eq!(&log.records, &records);
        let mut packed = PackedRecords::default();
        packed.extend(&records);
        prop_assert!(packed.iter().eq(records.iter().cloned()));
        prop_assert_eq!((packed.len(), packed.into_records()), (records.len(), records));
        prop_assert_eq!((log.summary.t0, log.summary.lost_bytes), (Some(T0), 0));
        // Secrets are masked.
        let json = |header: &RecordLogHeader| serde_json::to_value(header).unwrap();
        prop_assert_eq!(json(&log.summary.header), json(&header()));
        prop_assert_eq!(log.summary.mark.map(|mark| mark.at), Some(Duration::from_millis(1500)));
    }

    /// Damage anywhere, or bytes that never were a log, give an error or fewer records, never a panic and never a false
    /// record.
    #[test]
    fn hostile_bytes_never_panic(
        records in vec(record(), 1..5),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        noise in vec(any::<u8>(), 0..200),
    ) {
        let sound = log_of(&records);
        let mut damaged = sound.clone();
        for (at, byte) in damage {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        if let Ok(log) = read(&damaged[..]) {
            prop_assert!(log.records.iter().all(|record| records.contains(record)));
            prop_assert!(damaged == sound || log.summary.lost_bytes > 0 || log.records.len() == records.len());
        }
        let start = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
        let _ = read(&[&start[..], &noise].concat()[..]);
        let _ = read(&[&sound[..], &noise].concat()[..]);
        let _ = entry::decode(&mut EntryDecoder::new(&noise, &mut StringTable::default()));
    }
}

pub(super) fn simulated(count: usize) -> Vec<Record> {
    let queue = Queue { seed: 1, ..Queue::default() };
    queue.open(count, queue.rate(0.5))
}

#[test]
fn a_log_that_is_cut_anywhere_keeps_what_is_before_the_cut() {
    let records = simulated(3);
    let whole = log_of(&records);
    let start = log_of(&[]).len();
    let header = log_of(&[]).len() - 40;
    let mut kept = 0;
    for length in header..whole.len() {
        let Ok(log) = read(&whole[..length]) else { continue };
        assert!(log.records.len() >= kept && records.starts_with(&log.records), "cut at {length}");
        kept = log.records.len();
        assert!(log.summary.lost_bytes < 400);
    }
    assert_eq!(kept, 3);
    assert!(start > header);
    assert!(matches!(read(&whole[..20]), Err(RecordLogError::Header(_))));
}

#[test]
fn what_is_no_log_of_this_version_is_refused() {
    let mut other = log_of(&[]);
    other[MAGIC.len()] = 9;
    assert!(matches!(read(&other[..]), Err(RecordLogError::Version(9))));
    for text in ["", "{}", "\u{89}reclog"] {
        assert!(matches!(read(text.as_bytes()), Err(RecordLogError::NotALog)), "{text}");
    }
}

#[test]
fn entries_of_a_later_program_are_passed_over() {
    let mut bytes = log_of(&simulated(2));
    write_frame(&[200, 1, 2, 3], &mut Vec::new(), &mut bytes).unwrap();
    let mut end = Vec::new();
    write_frame(&[kind::ENDED, 0], &mut Vec::new(), &mut end).unwrap();
    bytes.extend(end);
    let log = read(&bytes[..]).unwrap();
    assert_eq!((log.records.len(), log.summary.ended, log.summary.lost_bytes), (2, Some(false), 0));
}

#[test]
fn what_is_missing_is_what_was_sent_and_is_not_there() {
    assert_eq!(read(&log_of(&simulated(5))[..]).unwrap().summary.missing_requests(), 3);
}

/// The size that the format's description states: about 80 bytes a request.
#[test]
fn a_request_takes_at_most_eighty_bytes() {
    const COUNT: usize = 1000;
    let mut records = simulated(COUNT);
    let ids = RequestIds::Uuids(Uuid::from_u128(7));
    for record in &mut records {
        record.id = ids.request_id(record.ordinal, true);
        let times = &mut record.times;
        let sent = times.sent().unwrap();
        times.set(Milestone::Written, sent + Duration::from_micros(37));
        times.set(Milestone::FirstChunk, times.first_token());
        times.set(Milestone::Done, times.last_token().map(|last| last + Duration::from_micros(53)));
    }
    let size = (log_of(&records).len() - log_of(&[]).len()) as f64 / COUNT as f64;
    assert!((40.0..80.0).contains(&size), "{size} bytes a request");
}
