use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::core::record::{Failure, FailureClass};
use crate::core::simulated::record;

fn criterion(rule: &str) -> Criterion {
    Criterion::of(rule.parse().unwrap()).unwrap()
}

fn answered(ttfts_ms: impl IntoIterator<Item = u64>) -> Vec<Record> {
    let at = |i: usize| Duration::from_millis(100 * i as u64);
    let answer =
        |(i, ttft)| record(i, at(i), at(i) + Duration::from_millis(ttft), at(i) + Duration::from_secs(2));
    ttfts_ms.into_iter().enumerate().map(answer).collect()
}

fn of_criterion(criterion: &Criterion, records: &[Record]) -> Option<Evidence> {
    let sample = Sample { records, slo: &Slo::default(), in_flight: 0 };
    criterion.evidence(sample, None, 1.0)
}

fn of(rule: &str, records: &[Record]) -> Option<Evidence> {
    of_criterion(&criterion(rule), records)
}

#[test]
fn enough_requests_within_the_limit_meet_it_and_few_are_unclear() {
    let outcome =
        |n: u64| of("ttft.p95<500ms", &answered((0..n).map(|i| 100 + i * 7919 % 390))).unwrap().outcome();
    assert_eq!((outcome(10), outcome(400)), (Outcome::Unclear, Outcome::Met));
}

#[test]
fn many_requests_beyond_the_limit_miss_it() {
    let found =
        of("ttft.p95<500ms", &answered((0..200).map(|i| if i % 3 == 0 { 900 } else { 100 }))).unwrap();
    assert_eq!((found.outcome(), found.beyond), (Outcome::Missed, Some(67)));
    assert!((found.slack - (67.0 / 200.0 - 0.05)).abs() < 1e-9, "{found:?}");
}

/// The same requests as they are known when a trial ends at this moment: what is in flight is cut off.
fn cut_off(records: &[Record], at: Duration) -> Vec<Record> {
    let sent = records.iter().filter(|record| record.times.sent.unwrap() <= at);
    let cut = |record: &Record| {
        let mut record = record.clone();
        if record.times.done.unwrap() > at {
            record.outcome = Err(Failure::new(FailureClass::Cancelled, ""));
            record.times.first_token.take_if(|first| *first > at);
            record.times.last_token = None;
            record.times.done = Some(at);
        }
        record
    };
    sent.map(cut).collect()
}

#[test]
fn requests_that_were_cut_off_count_for_both_sides_unless_they_had_passed_the_limit() {
    let mut records = answered([100; 20]);
    for (i, record) in records.iter_mut().enumerate().skip(10) {
        record.outcome = Err(Failure::new(FailureClass::Cancelled, ""));
        (record.times.first_token, record.times.last_token) = (None, None);
        record.times.done = record.times.sent.map(|sent| sent + Duration::from_millis(200 * i as u64 - 1800));
    }
    // They had waited 200 ms, 400 ms, ...: eight of them longer than 500 ms, of the others nobody knows.
    let found = of("ttft.p95<500ms", &records).unwrap();
    assert_eq!((found.n, found.beyond, found.censored), (20, Some(8), 2));
    let expected = (8.0 / 20.0 - 0.05, 10.0 / 20.0 - 0.05);
    assert!((found.slack - expected.0).abs() < 1e-9, "{found:?}");
    assert!((found.worst_slack - expected.1).abs() < 1e-9, "{found:?}");
    let failures = of("failure_rate<1%", &records).unwrap();
    assert_eq!((failures.value, failures.censored, failures.outcome()), (Some(0.0), 10, Outcome::Unclear));
}

#[test]
fn the_first_token_of_a_request_that_was_cut_off_counts() {
    let cut = cut_off(&answered([100; 200]), Duration::from_millis(19_950));
    let (ttft, e2e) = (of("ttft.p95<500ms", &cut).unwrap(), of("e2el.p95<5s", &cut).unwrap());
    // Answers take two seconds, first tokens a tenth: only the last request, sent at 19.9 s, has none.
    assert_eq!((ttft.censored, ttft.outcome()), (1, Outcome::Met));
    assert_eq!((e2e.censored, e2e.outcome()), (20, Outcome::Unclear));
}

#[test]
fn a_mean_with_requests_cut_off_is_not_met() {
    let records = answered([100; 200]);
    let whole = of("e2el.mean<5s", &records).unwrap();
    let cut = of("e2el.mean<5s", &cut_off(&records, Duration::from_secs(20))).unwrap();
    assert_eq!((whole.outcome(), cut.outcome()), (Outcome::Met, Outcome::Unclear));
}

#[test]
fn goodput_counts_requests_that_were_cut_off_beyond_a_limit_as_bad_and_others_for_both_sides() {
    let slo = Slo { e2e: Some(Duration::from_secs(1)), ..Slo::default() };
    let cut = cut_off(&answered([100; 200]), Duration::from_secs(20));
    let rule = criterion("goodput_ratio>=0.9");
    let found = rule.evidence(Sample { records: &cut, slo: &slo, in_flight: 0 }, None, 1.0).unwrap();
    // All take two seconds. Of those in flight, half had been so for more than one.
    assert_eq!((found.censored, found.beyond), (10, Some(190)));
    assert_eq!(found.outcome(), Outcome::Missed);
}

#[test]
fn the_guard_rules_out_and_never_more() {
    let guard = Criterion::FewFailures(0.01);
    let mut records = answered([100; 30]);
    assert_eq!(of_criterion(&guard, &records).unwrap().outcome(), Outcome::Met);
    let cut = cut_off(&records, Duration::from_secs(3));
    assert_eq!(of_criterion(&guard, &cut).unwrap().outcome(), Outcome::Unclear, "20 may fail yet");
    records[7].outcome = Err(Failure::new(FailureClass::Status(500), ""));
    assert_eq!(of_criterion(&guard, &records).unwrap().outcome(), Outcome::Unclear);
    records.iter_mut().for_each(|record| record.outcome = Err(Failure::new(FailureClass::Status(500), "")));
    assert_eq!(of_criterion(&guard, &records).unwrap().outcome(), Outcome::Missed);
}

proptest! {
    /// Whatever the answers take and whenever the trial is cut: what is met or missed then is not the opposite when all have come.
    #[test]
    fn a_trial_cut_off_never_contradicts_the_whole_one(
        takes in prop::collection::vec((1_u64..20_000, 1_u64..20_000, prop::bool::weighted(0.9)), 1..250),
        at in 0_u64..30_000,
        rule in prop::sample::select(vec![
            "ttft.p95<5s", "e2el.p95<10s", "e2el.p50<10s", "e2el.p99<10s", "e2el.mean<10s", "failure_rate<5%", "goodput_ratio>=0.9",
        ]),
    ) {
        let slo = Slo { e2e: Some(Duration::from_secs(10)), ..Slo::default() };
        let answer = |(i, (first, more, succeeds)): (usize, (u64, u64, bool))| {
            let due = Duration::from_millis(100 * i as u64);
            let first = due + Duration::from_millis(first);
            let mut record = record(i, due, first, first);
            let last = first + Duration::from_millis(more);
            (record.times.last_token, record.times.done) = (Some(last), Some(last));
            if !succeeds {
                record.outcome = Err(Failure::new(FailureClass::Status(500), ""));
            }
            record
        };
        let whole: Vec<Record> = takes.into_iter().enumerate().map(answer).collect();
        let at = Duration::from_millis(at);
        let cut = cut_off(&whole, at);
        let whole: Vec<Record> = whole.into_iter().take(cut.len()).collect();
        let outcome = |records: &[Record]| {
            criterion(rule).evidence(Sample { records, slo: &slo, in_flight: 0 }, None, 1.0).map(|found| found.outcome())
        };
        let (cut, whole) = (outcome(&cut), outcome(&whole));
        prop_assert!(cut != Some(Outcome::Met) || whole != Some(Outcome::Missed), "{cut:?} {whole:?}");
        prop_assert!(cut != Some(Outcome::Missed) || whole != Some(Outcome::Met), "{cut:?} {whole:?}");
    }
}

#[test]
fn a_mean_is_held_by_its_interval() {
    let found = of("tpot.mean<30ms", &answered((0..200).map(|i| 100 + i % 50))).unwrap();
    assert_eq!(found.outcome(), Outcome::Met);
    assert!((found.value.unwrap() - 9.9).abs() < 0.3, "{found:?}");
}

#[test]
fn a_limit_of_zero_is_missed_by_one() {
    let mut records = answered([100; 50]);
    assert_eq!(of("failure_rate<=0%", &records).unwrap().outcome(), Outcome::Met);
    records[7].outcome = Err(Failure::new(FailureClass::Status(500), ""));
    assert_eq!(of("failure_rate<=0%", &records).unwrap().outcome(), Outcome::Missed);
}

#[test]
fn a_level_of_failures_needs_as_many_requests_as_it_takes_to_see_one() {
    let outcome = |n: usize| of("failure_rate<1%", &answered(vec![100; n])).unwrap().outcome();
    // 0.99^30 = 74 %, 0.99^450 = 1 %.
    assert_eq!((outcome(30), outcome(450)), (Outcome::Unclear, Outcome::Met));
}

#[test]
fn nothing_known_is_no_evidence() {
    assert_eq!(of("ttft.p95<500ms", &[]), None);
    assert_eq!(of("itl.p95<50ms", &answered([100; 50])), None);
}

#[test]
fn rules_that_do_not_limit_the_load_are_refused_with_what_to_do() {
    for (rule, says) in
        [("output_throughput > 100", "gets better"), ("ttft.p95 < baseline * 1.1", "baseline")]
    {
        let error = Criterion::of(rule.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
