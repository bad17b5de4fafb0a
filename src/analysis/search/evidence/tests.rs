use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::record::{Failure, FailureClass, Milestone};
use crate::testing::queue::record;

fn criterion(rule: &str) -> Criterion {
    Criterion::from_rule(rule.parse().unwrap()).unwrap()
}

fn answered(ttfts_ms: impl IntoIterator<Item = u64>) -> Vec<Record> {
    let at = |i: usize| Duration::from_millis(100 * i as u64);
    let answer =
        |(i, ttft)| record(i, at(i), at(i) + Duration::from_millis(ttft), at(i) + Duration::from_secs(2));
    ttfts_ms.into_iter().enumerate().map(answer).collect()
}

fn of_criterion(criterion: &Criterion, records: &[Record]) -> Option<CriterionEvidence> {
    let sample = TrialSample { records, slo: &Slo::default(), in_flight: 0 };
    criterion.evidence(sample, None, 1.0)
}

fn of(rule: &str, records: &[Record]) -> Option<CriterionEvidence> {
    of_criterion(&criterion(rule), records)
}

#[test]
fn enough_requests_within_the_limit_meet_it_and_few_are_unclear() {
    let outcome =
        |n: u64| of("ttft.p95<500ms", &answered((0..n).map(|i| 100 + i * 7919 % 390))).unwrap().outcome();
    assert_eq!((outcome(10), outcome(400)), (CriterionOutcome::Unclear, CriterionOutcome::Met));
}

#[test]
fn many_requests_beyond_the_limit_miss_it() {
    let found =
        of("ttft.p95<500ms", &answered((0..200).map(|i| if i % 3 == 0 { 900 } else { 100 }))).unwrap();
    assert_eq!((found.outcome(), found.beyond), (CriterionOutcome::Missed, Some(67)));
    assert!((found.slack - (67.0 / 200.0 - 0.05)).abs() < 1e-9, "{found:?}");
}

/// Of 400 requests 40 fail. Where the limit is 1 %, the variance is that of Agresti and Coull: with two failures and two
/// successes added, the share is 42 of 404. Where the limit is 20 %, the variance at the limit is larger. One failure and
/// one success (41 of 402), or the plain share (40 of 400), would give too small an error.
#[test]
fn the_error_of_a_share_is_agresti_and_coulls_or_that_at_the_limit() {
    let with_failures = |n: usize, every: usize| {
        let mut records = answered((0..n).map(|_| 100));
        for record in records.iter_mut().step_by(every) {
            record.outcome = Err(Failure::new(FailureClass::Status(500), "").into());
        }
        records
    };
    let check = |rule: &str, records: &[Record], share: f64| {
        let failed: Vec<bool> = records.iter().map(|record| !record.is_success()).collect();
        let inflation = Proportion::from_events(&failed).unwrap().inflation;
        let expected = (share * (1.0 - share) * inflation / records.len() as f64).sqrt();
        let error = of(rule, records).unwrap().error;
        assert!((error / expected - 1.0).abs() < 1e-9, "{rule}: {error}, not {expected}");
    };
    let tenth = with_failures(400, 10);
    check("failure_rate<1%", &tenth, 42.0 / 404.0);
    check("failure_rate<20%", &tenth, 0.2);
    // No failure among 50 requests is little evidence, among 400 it is more than the limit needs.
    check("failure_rate<1%", &answered([100; 50]), 2.0 / 54.0);
    check("failure_rate<1%", &answered([100; 400]), 0.01);
}

/// The same requests as known when a trial ends at `at`: requests in flight are cut off.
fn cut_off(records: &[Record], at: Duration) -> Vec<Record> {
    let sent = records.iter().filter(|record| record.times.sent().unwrap() <= at);
    let cut = |record: &Record| {
        let mut record = record.clone();
        if record.times.done().unwrap() > at {
            record.outcome = Err(Failure::new(FailureClass::Cancelled, "").into());
            record.times.set(Milestone::FirstToken, record.times.first_token().filter(|first| *first <= at));
            record.times.set(Milestone::LastToken, None);
            record.times.set(Milestone::Done, at);
        }
        record
    };
    sent.map(cut).collect()
}

#[test]
fn requests_that_were_cut_off_count_for_both_sides_unless_they_had_passed_the_limit() {
    let mut records = answered([100; 20]);
    for (i, record) in records.iter_mut().enumerate().skip(10) {
        record.outcome = Err(Failure::new(FailureClass::Cancelled, "").into());
        record.times.set(Milestone::FirstToken, None);
        record.times.set(Milestone::LastToken, None);
        record.times.set(
            Milestone::Done,
            record.times.sent().map(|sent| sent + Duration::from_millis(200 * i as u64 - 1800)),
        );
    }
    // They had waited 200 ms, 400 ms, ...: eight of them longer than 500 ms. The outcome of the others is unknown.
    let found = of("ttft.p95<500ms", &records).unwrap();
    assert_eq!((found.n, found.beyond, found.censored), (20, Some(8), 2));
    let expected = (8.0 / 20.0 - 0.05, 10.0 / 20.0 - 0.05);
    assert!((found.slack - expected.0).abs() < 1e-9, "{found:?}");
    assert!((found.worst_slack - expected.1).abs() < 1e-9, "{found:?}");
    let failures = of("failure_rate<1%", &records).unwrap();
    assert_eq!(
        (failures.value, failures.censored, failures.outcome()),
        (Some(0.0), 10, CriterionOutcome::Unclear)
    );
}

#[test]
fn the_first_token_of_a_request_that_was_cut_off_counts() {
    let cut = cut_off(&answered([100; 200]), Duration::from_millis(19_950));
    let (ttft, e2e) = (of("ttft.p95<500ms", &cut).unwrap(), of("e2el.p95<5s", &cut).unwrap());
    // Answers take two seconds, first tokens 0.1 s: only the last request, sent at 19.9 s, has none.
    assert_eq!((ttft.censored, ttft.outcome()), (1, CriterionOutcome::Met));
    assert_eq!((e2e.censored, e2e.outcome()), (20, CriterionOutcome::Unclear));
}

#[test]
fn a_mean_with_requests_cut_off_is_not_met() {
    let records = answered([100; 200]);
    let whole = of("e2el.mean<5s", &records).unwrap();
    let cut = of("e2el.mean<5s", &cut_off(&records, Duration::from_secs(20))).unwrap();
    assert_eq!((whole.outcome(), cut.outcome()), (CriterionOutcome::Met, CriterionOutcome::Unclear));
}

#[test]
fn goodput_counts_requests_that_were_cut_off_beyond_a_limit_as_bad_and_others_for_both_sides() {
    let slo = Slo { e2e: Some(Duration::from_secs(1)), ..Slo::default() };
    let cut = cut_off(&answered([100; 200]), Duration::from_secs(20));
    let rule = criterion("goodput_ratio>=0.9");
    let found = rule.evidence(TrialSample { records: &cut, slo: &slo, in_flight: 0 }, None, 1.0).unwrap();
    // All requests take two seconds. Half of those in flight had lasted for more than one second.
    assert_eq!((found.censored, found.beyond), (10, Some(190)));
    assert_eq!(found.outcome(), CriterionOutcome::Missed);
}

#[test]
fn the_guard_rules_out_and_never_more() {
    let guard = Criterion::FewFailures(0.01);
    let mut records = answered([100; 30]);
    assert_eq!(of_criterion(&guard, &records).unwrap().outcome(), CriterionOutcome::Met);
    let cut = cut_off(&records, Duration::from_secs(3));
    assert_eq!(of_criterion(&guard, &cut).unwrap().outcome(), CriterionOutcome::Unclear, "20 may fail yet");
    records[7].outcome = Err(Failure::new(FailureClass::Status(500), "").into());
    assert_eq!(of_criterion(&guard, &records).unwrap().outcome(), CriterionOutcome::Unclear);
    records
        .iter_mut()
        .for_each(|record| record.outcome = Err(Failure::new(FailureClass::Status(500), "").into()));
    assert_eq!(of_criterion(&guard, &records).unwrap().outcome(), CriterionOutcome::Missed);
}

proptest! {
    /// For any length of the answers and any time of the cut, the outcome is never the opposite of the outcome with all
    /// answers.
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
            record.times.set(Milestone::LastToken, last);
            record.times.set(Milestone::Done, last);
            if !succeeds {
                record.outcome = Err(Failure::new(FailureClass::Status(500), "").into());
            }
            record
        };
        let whole: Vec<Record> = takes.into_iter().enumerate().map(answer).collect();
        let at = Duration::from_millis(at);
        let cut = cut_off(&whole, at);
        let whole: Vec<Record> = whole.into_iter().take(cut.len()).collect();
        let outcome = |records: &[Record]| {
            criterion(rule).evidence(TrialSample { records, slo: &slo, in_flight: 0 }, None, 1.0).map(|found| found.outcome())
        };
        let (cut, whole) = (outcome(&cut), outcome(&whole));
        prop_assert!(cut != Some(CriterionOutcome::Met) || whole != Some(CriterionOutcome::Missed), "{cut:?} {whole:?}");
        prop_assert!(cut != Some(CriterionOutcome::Missed) || whole != Some(CriterionOutcome::Met), "{cut:?} {whole:?}");
    }
}

#[test]
fn a_mean_is_held_by_its_interval() {
    let found = of("tpot.mean<30ms", &answered((0..200).map(|i| 100 + i % 50))).unwrap();
    assert_eq!(found.outcome(), CriterionOutcome::Met);
    assert!((found.value.unwrap() - 9.9).abs() < 0.3, "{found:?}");
}

#[test]
fn a_limit_of_zero_is_missed_by_one() {
    let mut records = answered([100; 50]);
    assert_eq!(of("failure_rate<=0%", &records).unwrap().outcome(), CriterionOutcome::Met);
    records[7].outcome = Err(Failure::new(FailureClass::Status(500), "").into());
    assert_eq!(of("failure_rate<=0%", &records).unwrap().outcome(), CriterionOutcome::Missed);
}

#[test]
fn a_level_of_failures_needs_as_many_requests_as_it_takes_to_see_one() {
    let outcome = |n: usize| of("failure_rate<1%", &answered(vec![100; n])).unwrap().outcome();
    // 0.99^30 = 74 %, 0.99^450 = 1 %.
    assert_eq!((outcome(30), outcome(450)), (CriterionOutcome::Unclear, CriterionOutcome::Met));
}

#[test]
fn nothing_known_is_no_evidence() {
    assert_eq!(of("ttft.p95<500ms", &[]), None);
    assert_eq!(of("itl.p95<50ms", &answered([100; 50])), None);
}

#[test]
fn rules_that_do_not_limit_the_load_are_refused_with_what_to_do() {
    for (rule, says) in
        [("output_throughput > 100", "improves as the load grows"), ("ttft.p95 < baseline * 1.1", "baseline")]
    {
        let error = Criterion::from_rule(rule.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
