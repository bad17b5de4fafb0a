use std::num::NonZeroUsize;

use super::*;
use crate::testing::sample_run;

fn cap(number: usize) -> StepLoad {
    StepLoad::Concurrency(NonZeroUsize::new(number).unwrap())
}

fn ladder<'a>(
    steps: &[(usize, Result<&'a Run, &'a str>)],
    end: LadderEnd,
    open: &[usize],
) -> LadderReport<'a> {
    let step = |(load, outcome): &(usize, Result<&'a Run, &'a str>)| StepReport {
        load: cap(*load),
        outcome: *outcome,
        file: Some(format!("c{load}.json")),
    };
    LadderReport {
        steps: steps.iter().map(step).collect(),
        open: open.iter().copied().map(cap).collect(),
        end,
        percents: &[],
    }
}

fn text(ladder: &LadderReport<'_>) -> String {
    let mut text = Vec::new();
    render(ladder, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn valid() -> Run {
    let mut run = sample_run::run(false);
    run.validity.valid = true;
    run.validity.checks.clear();
    run
}

fn invalid() -> Run {
    use crate::model::validity::{Check, CheckName, CheckOutcome, CheckScope, Quantity};
    let mut run = valid();
    run.validity.valid = false;
    run.validity.checks = vec![Check {
        name: CheckName::PrefixCache,
        outcome: CheckOutcome::Invalid,
        scope: CheckScope::Run,
        figure: Some(Quantity::Share(0.8)),
        bound: Some(Quantity::Share(0.2)),
        advice: "empty it".into(),
    }];
    run
}

#[test]
fn every_step_has_a_row_and_an_invalid_one_hides_no_other() {
    let (valid, invalid) = (valid(), invalid());
    let steps = [(1, Ok(&valid)), (2, Ok(&invalid)), (16, Ok(&invalid)), (32, Err("no\nanswer"))];
    let text = text(&ladder(&steps, LadderEnd::Complete, &[]));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("conc.") && lines[0].contains("TTFT  TTFT  TTFT"), "{text}");
    assert!(lines[2].contains("req/s   tok/s"), "{text}");
    let verdicts = lines[3..7].iter().map(|line| line.split_whitespace().last().unwrap());
    assert_eq!(verdicts.collect::<Vec<_>>(), ["VALID", "INVALID", "INVALID", "failed"], "{text}");
    let below = [
        "INVALID: prompt tokens from a warm prefix cache, limit 20.0 %: at concurrency 2 (80.0 %), concurrency 16 (80.0 %)",
        "  empty it",
        "Failed at concurrency 32: no answer",
    ];
    assert_eq!(lines[7..], below, "{text}");
    assert!(lines[..7].iter().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_step_without_answers_says_what_failed() {
    let mut run = valid();
    run.metrics.completed = 0;
    let text = text(&ladder(&[(1, Ok(&run))], LadderEnd::Complete, &[]));
    let line = text.lines().last().unwrap();
    assert!(
        line.starts_with("Failed at concurrency 1: none of ") && line.contains(" was answered: "),
        "{text}"
    );
}

#[test]
fn the_table_says_why_steps_are_missing() {
    let run = valid();
    let rule = "ttft.p95>2s".parse().unwrap();
    let ended = text(&ladder(&[(1, Ok(&run))], LadderEnd::Until { rule }, &[2, 4, 8]));
    let expected = "Ended after concurrency 1, because ttft.p95 > 2000ms: 3 loads from concurrency 2 to concurrency 8 were \
                    not measured\n";
    assert!(ended.ends_with(expected), "{ended}");
    let interrupted = text(&ladder(&[(1, Ok(&run))], LadderEnd::Interrupted, &[2]));
    assert!(
        interrupted.ends_with("Interrupted at concurrency 1: concurrency 2 was not measured\n"),
        "{interrupted}"
    );
    assert_eq!(text(&ladder(&[], LadderEnd::Interrupted, &[2])), "");
}

#[test]
fn percentiles_that_are_asked_for_are_columns_once() {
    let run = valid();
    let report =
        LadderReport { percents: &[90.0, 95.0], ..ladder(&[(1, Ok(&run))], LadderEnd::Complete, &[]) };
    let text = text(&report);
    let statistics: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(statistics, ["user", "P50", "P95", "P99", "P90", "mean", "P90", "P95", "P95"], "{text}");
}

#[test]
fn only_bad_verdicts_are_colored() {
    let (valid, invalid) = (valid(), invalid());
    let text = text(&ladder(&[(1, Ok(&valid)), (2, Ok(&invalid))], LadderEnd::Complete, &[]));
    let colored = colored(&text);
    let marked: Vec<bool> = colored.lines().map(|line| line.contains('\u{1b}')).collect();
    assert_eq!(marked, [false, false, false, false, true, true, false], "{colored}");
    assert_eq!(console::strip_ansi_codes(&colored), text);
}

#[test]
fn an_index_is_read_as_it_is_written_and_told_from_other_files() {
    let (valid, invalid) = (valid(), invalid());
    let report = ladder(&[(1, Ok(&valid)), (2, Ok(&invalid)), (4, Err("refused"))], LadderEnd::Failed, &[8]);
    let written = serde_json::to_value(LadderIndex::new(&report)).unwrap();
    assert_eq!(written["servegauge_ladder"], 1);
    assert_eq!(written["steps"][1]["load"]["max_concurrency"], 2);
    assert_eq!(written["steps"][1]["verdict"], "invalid");
    assert_eq!(written["steps"][2]["reason"], "refused");
    assert!(written["steps"][0]["metrics"]["ttft.p95"].as_f64() > Some(0.0), "{written}");
    let read = LadderIndex::parse(written.to_string().as_bytes()).unwrap().unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), written);
    assert!(LadderIndex::parse(b"{\"date\": \"x\"}").unwrap().is_none());
    assert!(LadderIndex::parse(b"[1").unwrap().is_none());
    assert!(LadderIndex::parse(b"{\"servegauge_ladder\": 9}").unwrap_err().contains("version 9"));
}
