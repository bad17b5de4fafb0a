use std::time::Duration;

use super::*;
use crate::analysis::compare::{SampleUnit, SideInfo};
use crate::model::metrics::Latency;
use crate::model::record::{Record, RequestLabels};
use crate::stats::DurationInterval;
use crate::testing::sample_run;

/// Makes a run whose only known metric is its mean TTFT, in milliseconds.
fn with(ttft: f64) -> Run {
    let mut run = sample_run::run(false);
    let ttft_of = run.metrics.latencies.get_mut(&Latency::Ttft).unwrap();
    ttft_of.mean = Duration::from_secs_f64(ttft / 1e3);
    ttft_of.mean_interval = None;
    run
}

/// Makes five repeats around a mean, 1 % of it apart.
fn repeats(mean: f64) -> Vec<Run> {
    [-2.0, -1.0, 0.0, 1.0, 2.0].map(|step| with(mean * (1.0 + 0.005 * step))).to_vec()
}

fn sides<'a>(baseline: &'a [Run], candidate: &'a [Run]) -> GateSides<'a> {
    GateSides { baseline, candidate, same_start: false }
}

fn rules(texts: &[&str]) -> Vec<GateRule> {
    let rule = |text: &&str| GateRule { rule: text.parse().unwrap(), severity: RuleSeverity::Fail };
    texts.iter().map(rule).collect()
}

fn answer(rule: &str, baseline: f64, candidate: f64) -> RuleAnswer {
    evaluate_rules(&rules(&[rule]), &sides(&repeats(baseline), &repeats(candidate)), ALPHA)[0].answer
}

const RELATIVE: &str = "ttft.mean <= baseline * 1.05";

#[test]
fn a_rule_is_kept_broken_or_open() {
    assert_eq!(answer(RELATIVE, 100.0, 100.0), RuleAnswer::Pass);
    assert_eq!(answer(RELATIVE, 100.0, 80.0), RuleAnswer::Pass);
    assert_eq!(answer(RELATIVE, 100.0, 120.0), RuleAnswer::Fail);
    let RuleAnswer::CannotTell { why: Undecided::TooFew { needs: Some(needs) } } =
        answer(RELATIVE, 100.0, 104.5)
    else {
        panic!("{:?}", answer(RELATIVE, 100.0, 104.5))
    };
    assert_eq!(needs.of, SampleUnit::Runs);
    assert!((6..100).contains(&needs.count), "{needs:?}");
}

#[test]
fn a_fixed_limit_needs_no_baseline() {
    let held = |text: &str| evaluate_rules(&rules(&[text]), &sides(&[], &repeats(100.0)), ALPHA)[0].answer;
    assert_eq!(held("ttft.mean < 110ms"), RuleAnswer::Pass);
    assert_eq!(held("ttft.mean < 90ms"), RuleAnswer::Fail);
    assert!(!held("ttft.mean < 100.1ms").is_settled());
}

#[test]
fn a_small_amount_is_allowed_whatever_share_it_is() {
    let rule = "ttft.mean <= baseline * 1.05 or <= baseline + 5ms";
    assert_eq!(answer(rule, 10.0, 13.0), RuleAnswer::Pass);
    assert_eq!(answer(rule, 10.0, 18.0), RuleAnswer::Fail);
    assert_eq!(answer(rule, 1000.0, 1020.0), RuleAnswer::Pass);
    assert_eq!(answer(rule, 1000.0, 1100.0), RuleAnswer::Fail);
}

#[test]
fn the_limit_is_the_loosest_bound() {
    let rule = "ttft.mean <= baseline * 1.05 or <= baseline + 5ms";
    let limit = |baseline| {
        evaluate_rules(&rules(&[rule]), &sides(&repeats(baseline), &repeats(100.0)), ALPHA)[0].limit.unwrap()
    };
    assert!((limit(10.0) - 15.0).abs() < 1e-6 && (limit(1000.0) - 1050.0).abs() < 1e-6);
}

#[test]
fn a_bound_that_a_missing_baseline_leaves_open_breaks_nothing() {
    let rule = rules(&["ttft.mean <= 90ms or <= baseline * 1.05"]);
    assert!(!evaluate_rules(&rule, &sides(&[], &repeats(100.0)), ALPHA)[0].answer.is_settled());
    assert_eq!(evaluate_rules(&rule, &sides(&[], &repeats(50.0)), ALPHA)[0].answer, RuleAnswer::Pass);
}

#[test]
fn more_is_better_for_a_throughput() {
    let rule = rules(&["request_throughput >= baseline * 0.97"]);
    let with = |rate: f64| {
        let mut run = sample_run::run(false);
        run.metrics.duration = Duration::from_secs_f64(run.metrics.completed as f64 / rate);
        run
    };
    let runs = |rate: f64| [0.99, 1.0, 1.01, 0.995, 1.005].map(|factor| with(rate * factor)).to_vec();
    let held = |candidate: f64| {
        let finding = evaluate_rules(&rule, &sides(&runs(10.0), &runs(candidate)), ALPHA).pop().unwrap();
        (finding.answer, finding.margin.unwrap().interval)
    };
    let [(kept, above), (broken, below)] = [held(10.0), held(8.0)];
    assert_eq!((kept, broken), (RuleAnswer::Pass, RuleAnswer::Fail));
    assert!(above.low > 0.0 && below.high < 0.0, "{above:?} {below:?}");
}

#[test]
fn the_interval_that_is_shown_is_the_one_that_the_answer_rests_on() {
    let held = |rule: &str, candidate: f64| {
        let mut many = rules(&["ttft.mean <= baseline * 9"; 6]);
        many.extend(rules(&[rule]));
        let finding =
            evaluate_rules(&many, &sides(&repeats(100.0), &repeats(candidate)), ALPHA).pop().unwrap();
        (finding.answer, finding.margin.unwrap())
    };
    for candidate in [80.0, 103.0, 104.0, 104.7, 105.2, 106.0, 106.6, 107.0, 108.0, 110.0, 130.0] {
        for rule in [RELATIVE, "ttft.mean <= baseline * 1.05 or <= baseline + 3ms", "ttft.mean <= 105ms"] {
            let (answer, LimitMargin { value, interval: RateInterval { low, high } }) = held(rule, candidate);
            assert!(low <= value && value <= high, "{rule} {candidate}");
            match answer {
                RuleAnswer::Pass => {
                    assert!(high <= 0.01, "{rule} {candidate}: kept, and {high} over the limit")
                }
                RuleAnswer::Fail => {
                    assert!(low >= -0.01, "{rule} {candidate}: broken, and {low} under the limit")
                }
                RuleAnswer::CannotTell { .. } => assert!(low < 0.01 && high > -0.01, "{rule} {candidate}"),
            }
        }
    }
}

#[test]
fn many_rules_share_alpha_and_warnings_are_a_family_of_their_own() {
    // The unadjusted p is about 0.01.
    let (baseline, candidate) = (repeats(100.0), repeats(106.6));
    let alone = evaluate_rules(&rules(&[RELATIVE]), &sides(&baseline, &candidate), ALPHA);
    let p = alone[0].adjusted_p.unwrap();
    assert!((0.002..0.05).contains(&p), "{p}");
    assert_eq!(alone[0].answer, RuleAnswer::Fail);
    let mut many = rules(&[RELATIVE]);
    many.extend(rules(&["ttft.mean <= baseline * 1.2"; 20]));
    let shared = evaluate_rules(&many, &sides(&baseline, &candidate), ALPHA);
    assert!((shared[0].adjusted_p.unwrap() - 21.0 * p).abs() < 1e-9);
    assert!(!shared[0].answer.is_settled());
    many[1..].iter_mut().for_each(|rule| rule.severity = RuleSeverity::Warn);
    assert_eq!(evaluate_rules(&many, &sides(&baseline, &candidate), ALPHA)[0].answer, RuleAnswer::Fail);
}

#[test]
fn what_is_not_known_is_not_decided() {
    let rule = rules(&[RELATIVE]);
    let doubt =
        |baseline: &[Run], candidate: &[Run]| match evaluate_rules(&rule, &sides(baseline, candidate), ALPHA)
            [0]
        .answer
        {
            RuleAnswer::CannotTell { why } => why,
            settled => panic!("{settled:?}"),
        };
    let (one, other) = ([with(100.0)], [with(200.0)]);
    let same = evaluate_rules(&rule, &GateSides { same_start: true, ..sides(&one, &other) }, ALPHA);
    assert_eq!(same[0].answer, RuleAnswer::CannotTell { why: Undecided::NoInterval });
    let mut without = with(100.0);
    without.metrics.latencies.clear();
    without.histograms.clear();
    assert_eq!(doubt(&repeats(100.0), std::slice::from_ref(&without)), Undecided::Absent);
    assert_eq!(missing_metrics(&rule, &[without]).count(), 1);
    assert_eq!(missing_metrics(&rule, &[with(100.0)]).count(), 0);
}

/// Makes runs on these server starts, 1 % of the mean apart.
fn on_starts(starts: &[u64], mean: f64) -> Vec<Run> {
    let step = |at: usize| if at.is_multiple_of(2) { 0.995 } else { 1.005 };
    starts.iter().enumerate().map(|(at, &start)| sample_run::on_start(with(mean * step(at)), start)).collect()
}

#[test]
fn a_server_is_judged_by_its_starts_and_not_by_how_often_one_start_was_measured() {
    let rule = rules(&[RELATIVE]);
    let answer = |baseline: &[u64], candidate: &[u64], mean: f64| {
        let (baseline, candidate) = (on_starts(baseline, 100.0), on_starts(candidate, mean));
        evaluate_rules(&rule, &sides(&baseline, &candidate), ALPHA)[0].answer
    };
    let too_few =
        |baseline, candidate| RuleAnswer::CannotTell { why: Undecided::TooFewStarts { baseline, candidate } };
    assert_eq!(answer(&[1], &[2], 200.0), too_few(1, 1));
    assert_eq!(answer(&[1; 8], &[2; 8], 200.0), too_few(1, 1), "more runs are no more starts");
    assert_eq!(answer(&[1, 2], &[3, 3], 200.0), too_few(2, 1));
    assert_eq!(answer(&[1, 2, 3], &[4], 200.0), RuleAnswer::Fail);
    assert_eq!(answer(&[1, 2, 3, 4, 5], &[6], 100.0), RuleAnswer::Pass);
    assert_eq!(answer(&[1, 2, 3], &[4, 5, 6], 200.0), RuleAnswer::Fail);
    assert_eq!(
        answer(&[1; 4], &[1; 4], 200.0),
        RuleAnswer::Fail,
        "both are from one start: it did get slower"
    );
}

#[test]
fn a_fixed_limit_settles_a_rule_whose_other_bound_lacks_starts() {
    let rule = rules(&["ttft.mean <= baseline * 1.05 or <= 300ms"]);
    let answer = |mean: f64| {
        let (baseline, candidate) = (on_starts(&[1], 100.0), on_starts(&[2; 5], mean));
        evaluate_rules(&rule, &sides(&baseline, &candidate), ALPHA)[0].answer
    };
    assert_eq!(answer(200.0), RuleAnswer::Pass);
    assert!(!answer(400.0).is_settled(), "the other bound may hold");
}

#[test]
fn a_bound_without_an_interval_does_not_unsettle_the_bound_beside_it() {
    let (baseline, mut candidate) = ([with(100.0)], [with(100.0)]);
    let (low, high) = (Duration::from_millis(90), Duration::from_millis(110));
    let ttft = candidate[0].metrics.latencies.get_mut(&Latency::Ttft).unwrap();
    ttft.mean_interval = Some(DurationInterval { low, high });
    let answer = |rule: &str| {
        let sides = GateSides { same_start: true, ..sides(&baseline, &candidate) };
        evaluate_rules(&rules(&[rule]), &sides, ALPHA)[0].answer
    };
    assert_eq!(answer(RELATIVE), RuleAnswer::CannotTell { why: Undecided::NoInterval });
    assert_eq!(
        answer("ttft.mean <= baseline * 1.05 or <= 300ms"),
        RuleAnswer::Pass,
        "the fixed bound is kept"
    );
}

#[test]
fn an_answer_that_was_given_stands() {
    let rule = rules(&[RELATIVE, "ttft.mean < 104ms"]);
    let at = |candidate: f64| evaluate_rules(&rule, &sides(&repeats(100.0), &repeats(candidate)), ALPHA);
    let first = carry_over_answers(Vec::new(), at(104.3), 1);
    assert!(!first[0].answer.is_settled() && !first[1].answer.is_settled());
    let second = carry_over_answers(first, at(100.0), 2);
    assert_eq!((second[0].answer, second[0].look), (RuleAnswer::Pass, 2));
    let third = carry_over_answers(second, at(150.0), 3);
    assert_eq!((third[0].answer, third[0].look), (RuleAnswer::Pass, 2));
}

fn ruled(
    answers: &[(RuleAnswer, RuleSeverity)],
    on_unsettled: OnUndecided,
    invalid: Option<&str>,
) -> GateVerdict {
    let rule: MetricRule = RELATIVE.parse().unwrap();
    let finding = |(answer, severity): &(RuleAnswer, RuleSeverity)| RuleFinding {
        rule: GateRule { rule: rule.clone(), severity: *severity },
        candidate: None,
        baseline: None,
        limit: None,
        margin: None,
        adjusted_p: None,
        answer: *answer,
        look: 1,
    };
    let ruling = GateReport {
        outcome: GateVerdict::Pass,
        invalid: invalid.map(ToOwned::to_owned),
        baseline: None,
        candidate: SideInfo::from_runs("c", &[]),
        scope: None,
        findings: answers.iter().map(finding).collect(),
        caveats: Vec::new(),
        alpha: ALPHA,
        on_unsettled,
        looks: [1, 1],
    };
    ruling.conclude().outcome
}

#[test]
fn what_the_findings_come_to() {
    use RuleSeverity::{Fail, Warn};
    let open = RuleAnswer::CannotTell { why: Undecided::TooFew { needs: None } };
    let pass = (RuleAnswer::Pass, Fail);
    assert_eq!(ruled(&[pass], OnUndecided::Fail, None), GateVerdict::Pass);
    assert_eq!(ruled(&[pass, (RuleAnswer::Fail, Fail)], OnUndecided::Pass, None), GateVerdict::Fail);
    assert_eq!(ruled(&[pass, (RuleAnswer::Fail, Warn)], OnUndecided::Pass, None), GateVerdict::Warn);
    for (policy, outcome) in [
        (OnUndecided::Pass, GateVerdict::Pass),
        (OnUndecided::Warn, GateVerdict::Warn),
        (OnUndecided::Fail, GateVerdict::Fail),
    ] {
        assert_eq!(ruled(&[pass, (open, Fail)], policy, None), outcome);
    }
    assert_eq!(ruled(&[pass, (open, Warn)], OnUndecided::Fail, None), GateVerdict::Warn);
    assert_eq!(ruled(&[pass], OnUndecided::Pass, Some("late")), GateVerdict::Invalid, "it never passes");
    assert_eq!(ruled(&[(RuleAnswer::Fail, Fail)], OnUndecided::Pass, Some("late")), GateVerdict::Invalid);
}

#[test]
fn blocks_are_joined_to_one_long_run() {
    let block = sample_run::run(true);
    let joined = concatenate(&[block.clone(), block.clone(), block.clone()], &[77.0]).unwrap();
    assert_eq!((joined.metrics.completed, joined.metrics.failed), (3, 3));
    assert_eq!(joined.metrics.duration, 3 * block.metrics.duration);
    let figure = |run: &Run, name: &str| name.parse::<MetricId>().unwrap().value(run).unwrap();
    for name in ["ttft.mean", "tpot.mean", "itl.p99", "output_throughput", "failure_rate"] {
        let (one, all) = (figure(&block, name), figure(&joined, name));
        assert!((one / all - 1.0).abs() < 0.01, "{name}: {one} {all}");
    }
    assert!(figure(&joined, "itl.p77") > 0.0, "a percentile that a rule asks for");
    let due: Vec<_> = joined.records.unwrap().iter().map(|record| record.times.due()).collect();
    assert!(due.is_sorted());
    assert_eq!(super::concatenate(&[sample_run::run(false)], &[]), None, "it has no requests");
}

/// A block of 0.6 s starts every 0.6 s. Each token must be in the second in which it arrived.
#[test]
fn tokens_of_joined_blocks_are_in_the_second_they_came_in() {
    let mut block = sample_run::run(true);
    block.metrics.duration = Duration::from_millis(600);
    let joined = concatenate(&[block.clone(), block.clone(), block], &[]).unwrap().records.unwrap();
    let seconds: Vec<u32> =
        joined.iter().flat_map(|record| &record.events.by_second).map(|(second, _)| *second).collect();
    let first: Vec<u64> =
        joined.iter().filter_map(|record| record.times.first_token()).map(|at| at.as_secs()).collect();
    assert_eq!(seconds, [0, 0, 1]);
    assert_eq!(first, [0, 0, 1]);
}

#[test]
fn sessions_of_different_blocks_stay_apart() {
    let mut block = sample_run::run(true);
    for (session, record) in (0..).zip(block.records.as_mut().unwrap()) {
        record.facets = Some(RequestLabels { session: Some(session), ..RequestLabels::default() }.into());
    }
    let each = block.records.as_ref().unwrap().len() as u32;
    let joined = concatenate(&[block.clone(), block], &[]).unwrap();
    let session = |record: &Record| record.facets.as_ref().and_then(|facets| facets.session).unwrap();
    let sessions: Vec<u32> = joined.records.unwrap().iter().map(session).collect();
    assert_eq!(sessions, (0..2 * each).collect::<Vec<_>>());
}
