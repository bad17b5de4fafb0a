use std::num::NonZeroUsize;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::record_log::{ClockOffset, ClockRelation, RecordLogHeader, RecordLogWriter, Spool};
use crate::model::run_records::MANY_REQUESTS;
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use crate::model::validity::{CheckName, CheckOutcome};
use crate::testing::queue::{self, Queue};
use crate::testing::sample_run;

mod many_requests;

const T0: WallTime = WallTime { unix_ns: 1_764_426_428_123_456_789, doubt_ns: 70 };

fn header(spec: &Spec, share: Option<RunShare>) -> RecordLogHeader {
    RecordLogHeader { spec: spec.clone(), server_version: None, share, ..sample_run::log_header() }
}

/// The part of a client that sent these requests.
fn part(spec: &Spec, share: Option<RunShare>, records: &[Record]) -> ClientPart {
    let mut stream_stats = StreamStats::default();
    records.iter().for_each(|record| add_gaps(&mut stream_stats, record));
    let client = ClientObservations { stream_stats, ..ClientObservations::new(T0) };
    let mut writer = RecordLogWriter::new(Spool::in_memory(), &header(spec, share)).unwrap();
    writer.write_start(T0).unwrap();
    for record in records {
        writer.write_record(record).unwrap();
    }
    writer.write_end(false).unwrap();
    let (summary, log) = ClientLog::from_spool(writer.into_spool()).unwrap();
    let observed = Some(RunObservations::of_client(client));
    ClientPart { path: "a.reclog".into(), summary, log, observed }
}

fn share(index: usize, count: usize) -> RunShare {
    let shard = Shard::new(index, NonZeroUsize::new(count).unwrap()).unwrap();
    RunShare { shard, run: Uuid::from_u128(7), host: format!("node{index}"), clock: None }
}

/// The parts of a run that `count` clients sent.
fn parts(spec: &Spec, records: &[Record], count: usize) -> Vec<ClientPart> {
    let of = |index: usize| -> Vec<Record> {
        records.iter().filter(|record| record.ordinal % count == index).cloned().collect()
    };
    (0..count).map(|index| part(spec, Some(share(index, count)), &of(index))).collect()
}

fn records(n: usize) -> Vec<Record> {
    let mut records = Queue::default().open(n, 18.0);
    for record in &mut records {
        let gap = Duration::from_micros(7_000 + 13 * record.ordinal as u64);
        record.events.gaps = Some(std::iter::repeat_n(gap, record.ordinal % 5 + 1).collect());
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_merged_run_is_that_of_one_client(count in 1..17_usize, rotation in 0..16_usize) {
        let spec = queue::spec(queue::open_load(18.0));
        let records = records(120);
        let alone = merge(vec![part(&spec, None, &records)], MANY_REQUESTS).unwrap();
        let mut parts = parts(&spec, &records, count);
        parts.rotate_left(rotation % count);
        parts.sort_by_key(ClientPart::index);
        prop_assert!(check_one_run(&parts).is_ok());
        let together = merge(parts, MANY_REQUESTS).unwrap();
        prop_assert_eq!(together.lost, Vec::<String>::new());
        prop_assert_eq!(together.records.sample(), alone.records.sample());
        let json = |mut run: Run| {
            run.environment.host = String::new();
            serde_json::to_string(&run).unwrap()
        };
        let names = |run: &Run| run.validity.checks.iter().map(|check| check.name).collect::<Vec<_>>();
        let of_shards = [CheckName::ShardLag, CheckName::StartSkew];
        prop_assert_eq!(count > 1, of_shards.iter().all(|name| names(&together.run).contains(name)));
        let mut together = together.run;
        together.validity.checks.retain(|check| !of_shards.contains(&check.name));
        prop_assert_eq!(json(together), json(alone.run));
    }
}

#[test]
fn a_missing_client_makes_the_run_invalid_and_its_share_is_named() {
    let spec = queue::spec(queue::open_load(18.0));
    let mut parts = parts(&spec, &records(40), 4);
    parts.remove(2);
    let merged = merge(parts, MANY_REQUESTS).unwrap();
    assert_eq!(merged.lost[0], "of 4 shards, 2 left no record log: 25 % of the load was not measured");
    assert!(!merged.run.validity.valid);
    assert_eq!(merged.run.metrics.completed, 30);
}

#[test]
fn shards_that_begin_apart_or_whose_clocks_are_not_related_are_invalid() {
    let spec = queue::spec(queue::open_load(18.0));
    let outcomes = |later_ns: u64, doubt_ns: u64| {
        let mut parts = parts(&spec, &records(40), 2);
        parts[1].summary.t0 = Some(WallTime { unix_ns: T0.unix_ns + later_ns, ..T0 });
        parts[1].summary.header.share.as_mut().unwrap().clock = Some(ClockOffset { ahead_ns: 0, doubt_ns });
        let run = merge(parts, MANY_REQUESTS).unwrap().run;
        [CheckName::StartSkew, CheckName::ClockUncertainty]
            .map(|name| run.validity.checks.iter().find(|check| check.name == name).unwrap().outcome)
    };
    assert_eq!(outcomes(20_000, 30_000), [CheckOutcome::Passed; 2]);
    assert_eq!(outcomes(20_000_000, 0), [CheckOutcome::Warning, CheckOutcome::Passed]);
    assert_eq!(outcomes(900_000_000, 900_000_000), [CheckOutcome::Invalid; 2]);
}

#[test]
fn requests_of_a_lost_client_are_named_with_their_share_of_the_load() {
    let mut spec = queue::spec(queue::open_load(18.0));
    spec.workload.num_prompts = 40;
    let records = records(40);
    let mut parts = parts(&spec, &records, 4);
    let left: Vec<Record> =
        records.iter().filter(|record| record.ordinal % 4 == 2 && record.ordinal < 20).cloned().collect();
    parts[2] = part(&spec, Some(share(2, 4)), &left);
    parts[2].summary.ended = None;
    let merged = merge(parts, MANY_REQUESTS).unwrap();
    let missing = "5 of 40 requests (12.5 %) were not measured: numbers 22, 26, 30, 34, 38";
    assert_eq!(merged.lost.last().unwrap(), missing);
    assert!(merged.lost[0].starts_with("the record log of shard 2 on node2 ends "), "{}", merged.lost[0]);
    assert!(!merged.run.validity.valid);
}

#[test]
fn a_client_that_stops_alone_makes_the_run_invalid() {
    let spec = queue::spec(queue::open_load(18.0));
    let mut parts = parts(&spec, &records(40), 2);
    parts[1].summary.ended = Some(true);
    let merged = merge(parts, MANY_REQUESTS).unwrap();
    assert_eq!(merged.lost[0], "of the shards, 1 stopped before the end of the run");
    assert!(!merged.run.validity.valid);
}

#[test]
fn the_clocks_are_as_uncertain_as_the_worse_measurement_and_the_drift() {
    let spec = queue::spec(queue::open_load(18.0));
    let mut parts = parts(&spec, &records(40), 2);
    let offset = |doubt_ns| ClockOffset { ahead_ns: 0, doubt_ns };
    parts[1].observed.as_mut().unwrap().clocks = Some(ClockRelation {
        before: offset(20_000),
        after: offset(500_000),
        apart_ns: 600_000_000_000,
        drift_ppb: -50_000,
    });
    assert_eq!(parts[1].clock_doubt(), Some(Duration::from_micros(30_500)));
    let run = merge(parts, MANY_REQUESTS).unwrap().run;
    let check = run.validity.checks.iter().find(|check| check.name == CheckName::ClockUncertainty).unwrap();
    assert_eq!(check.outcome, CheckOutcome::Warning);
}

#[test]
fn logs_of_two_runs_and_two_logs_of_one_client_are_refused() {
    let spec = queue::spec(queue::open_load(18.0));
    let error = |change: fn(&mut ClientPart)| {
        let mut parts = parts(&spec, &records(20), 2);
        change(&mut parts[1]);
        parts.sort_by_key(ClientPart::index);
        check_one_run(&parts).unwrap_err().to_string()
    };
    let other_run = error(|part| part.summary.header.share.as_mut().unwrap().run = Uuid::from_u128(8));
    assert!(other_run.contains("another run than a.reclog"), "{other_run}");
    let twice = error(|part| part.summary.header.share = Some(share(0, 2)));
    assert!(twice.contains("of the same shard as"), "{twice}");
    let alone = error(|part| part.summary.header.share = None);
    assert!(alone.contains("one client sent a whole run"), "{alone}");
    let prompts = error(|part| part.summary.header.inputs.prompts = None);
    assert!(prompts.contains("other prompts than"), "{prompts}");
}

#[test]
fn clients_without_a_schedule_meet_on_one_axis_by_their_clocks() {
    let spec = queue::spec(queue::closed_load(4));
    let records = Queue::default().closed(20, 4);
    let mut parts = parts(&spec, &records, 2);
    // Its load began 250 ms later, and its wall clock is an hour ahead.
    let hour = 3_600_000_000_000;
    parts[1].summary.t0 = Some(WallTime { unix_ns: T0.unix_ns + hour + 250_000_000, ..T0 });
    let clock = ClockOffset { ahead_ns: hour as i64, doubt_ns: 1000 };
    parts[1].summary.header.share.as_mut().unwrap().clock = Some(clock);
    let merged = merge(parts, MANY_REQUESTS).unwrap();
    for (merged, record) in merged.records.sample().iter().zip(&records) {
        let later = Duration::from_millis(250) * (record.ordinal as u32 % 2);
        assert_eq!(merged.times.sent(), record.times.sent().map(|at| at + later));
        assert_eq!(merged.ttft(), record.ttft());
    }
}
