use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::model::record::RequestLabels;
use crate::model::record_log::{ClientLog, RecordLogWriter, Spool};
use crate::testing::queue::{Queue, open_load};
use crate::testing::sample_run;

/// The log of a client that sent these requests.
fn log<'a>(records: impl IntoIterator<Item = &'a Record>) -> ClientLog {
    let mut writer = RecordLogWriter::new(Spool::in_memory(), &sample_run::log_header()).unwrap();
    let mut count = 0;
    for record in records {
        writer.write_record(record).unwrap();
        count += 1;
    }
    ClientLog::new(writer.into_spool(), count, HashMap::new())
}

fn records(n: usize) -> Vec<Record> {
    let queue = Queue::default();
    let mut records = queue.open(n, queue.rate(0.7));
    for record in &mut records {
        record.text = Some("x".repeat(record.ordinal % 7).into());
    }
    records
}

fn read(logs: Vec<ClientLog>, limit: usize) -> RunRecords {
    RunRecords::read(LoggedRecords::new(logs), limit, &mut |_, _| {}).unwrap()
}

fn ordinals(records: &RunRecords) -> Vec<usize> {
    records.sample().iter().map(|record| record.ordinal).collect()
}

#[test]
fn up_to_the_limit_all_records_are_in_memory_with_their_details() {
    let records = records(64);
    let read = read(vec![log(records.iter().rev())], 64);
    assert!(read.is_whole() && read.sampled().is_none());
    assert_eq!(read.sample(), records);
}

#[test]
fn above_the_limit_a_sample_without_details_is_in_memory() {
    let all = records(1000);
    let read = read(vec![log(&all)], 100);
    assert!(!read.is_whole());
    assert_eq!(read.count, 1000);
    let kept = read.sample();
    assert!((25..=100).contains(&kept.len()), "{}", kept.len());
    assert!(kept.is_sorted_by_key(|record| record.ordinal));
    assert!(kept.iter().all(|record| record.text.is_none() && record.events.gaps.is_none()));
    let mut count = 0;
    read.for_each(&mut |record| {
        count += 1;
        assert_eq!(*record, all[record.ordinal], "the log has all of them, with their details");
    })
    .unwrap();
    assert_eq!(count, 1000);
    assert_eq!(read.sampled().map(|sampled| sampled.requests), Some(1000));
}

#[test]
fn a_session_is_in_the_sample_as_a_whole() {
    let mut all = records(1000);
    for record in &mut all {
        let session = u32::try_from(record.ordinal / 4).unwrap();
        let labels = RequestLabels { session: Some(session), ..RequestLabels::default() };
        record.facets = Some(labels.into());
    }
    let kept = ordinals(&read(vec![log(&all)], 300));
    assert!(!kept.is_empty() && kept.len() <= 300);
    let is_kept = |ordinal: usize| kept.binary_search(&ordinal).is_ok();
    assert!((0..250).all(|session| (1..4).all(|turn| is_kept(4 * session) == is_kept(4 * session + turn))));
}

#[test]
fn a_log_that_was_changed_meanwhile_is_an_error() {
    let mut read = read(vec![log(&records(100))], 10);
    read.count += 1;
    let error = read.for_each(&mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("had 101 requests, and now it has 100"), "{error}");
}

#[test]
fn the_requests_in_flight_are_those_of_all_requests() {
    let all = records(4000);
    let run = read(vec![log(&all)], 50);
    let curves = run.curves();
    let second = Duration::from_secs(1);
    for since in [FlightStart::Sent, FlightStart::Due] {
        let exact = ConcurrencyCurve::since(since, &all).levels_within(Duration::ZERO, second, 100);
        let binned = run.view(&curves).in_flight(since).levels_within(Duration::ZERO, second, 100);
        for (exact, binned) in exact.iter().zip(&binned) {
            assert!((exact.mean - binned.mean).abs() < 0.1, "{exact:?} {binned:?}");
        }
    }
    let mut peak = run.peak_search(&open_load(1.0), None).unwrap();
    all.iter().for_each(|record| peak.add_request(record));
    assert_eq!(peak.finish().level, ConcurrencyCurve::from_records(&all).peak());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_sample_does_not_depend_on_the_clients(n in 1_usize..600, count in 1_usize..17, limit in 1_usize..700) {
        let all = records(n);
        let alone = read(vec![log(&all)], limit);
        let parts = (0..count).rev().map(|part| {
            log(all.iter().rev().filter(move |record| record.ordinal % count == part))
        });
        let together = read(parts.collect(), limit);
        prop_assert_eq!(together.sample(), alone.sample());
        prop_assert_eq!((together.count, together.sampled()), (alone.count, alone.sampled()));
        prop_assert!(alone.sample().len() <= limit);
    }
}
