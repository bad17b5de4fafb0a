//! `servegauge compare` as a user runs it.

use std::time::Duration;

use serde_json::Value;
use servegauge::sim::SimSpec;

use crate::support::{Program, Simulator, quick, steps};

/// A run of forty requests to a server with such steps, saved. Whether the machine was too busy for it is left out:
/// these tests are about something else.
fn saved(step: u64, words: &str) -> String {
    let simulator = Simulator::start(SimSpec { timing: steps(Duration::from_millis(step)), ..quick() });
    let load = "--dataset-name random --random-input-len 8 --random-output-len 8 --ignore-eos --num-prompts 40 \
                --max-concurrency 20 --disable-tqdm --result-filename run.json";
    let ended = simulator.run(load).words(words).end().well();
    let mut result: Value = serde_json::from_str(&ended.read("run.json")).unwrap();
    result["servegauge"]["validity"]["checks"] = Value::Array(Vec::new());
    result["servegauge"]["validity"]["valid"] = true.into();
    result.to_string()
}

fn invalid(result: &str) -> String {
    let mut result: Value = serde_json::from_str(result).unwrap();
    let check = r#"[{"name": "failures", "outcome": "invalid", "figure": {"share": 0.5}, "bound": {"share": 0.01},
                     "advice": "look at the failures"}]"#;
    result["servegauge"]["validity"]["checks"] = serde_json::from_str(check).unwrap();
    result.to_string()
}

#[test]
fn a_server_of_twice_the_step_is_worse_and_the_text_says_how_it_knows() {
    let (fast, slow) = (saved(20, "--save-detailed"), saved(40, "--save-detailed --seed 1"));
    let compare = |words: &str| Program::new(words).file("fast.json", &fast).file("slow.json", &slow);
    let ended = compare("compare fast.json slow.json").end().well();
    assert!(ended.stdout.starts_with("slow.json is slower: "), "{}", ended.stdout);
    assert!(!ended.stdout.contains("ITL mean"), "it has the headline rows only:\n{}", ended.stdout);
    let ended = compare("compare fast.json slow.json --all").end().well();
    let line = |name: &str| ended.stdout.lines().find(|line| line.starts_with(name)).unwrap();
    for figure in ["TPOT mean", "ITL mean", "E2E mean"] {
        assert!(line(figure).ends_with(" worse"), "{}", ended.stdout);
    }
    for expected in ["Verdicts: ", "Holm", "block bootstrap", "apply only to the measured server starts"] {
        assert!(ended.stdout.contains(expected), "{expected}\n{}", ended.stdout);
    }
    let ended =
        compare("compare --format json --figures tpot.mean fast.json fast.json slow.json").end().well();
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let calls = [&json["candidates"][0], &json["candidates"][1]].map(|side| &side["rows"][0]["call"]);
    assert!(calls[0] == "same" || calls[0] == "cannot_tell", "a run is no worse than itself: {calls:?}");
    assert_eq!(calls[1], "worse");
    let caveat = json["caveats"][0].as_str().unwrap();
    assert!(caveat.starts_with("fast.json and the baseline include the same run"), "{caveat}");
}

#[test]
fn folders_of_repeats_are_compared_from_run_to_run() {
    let mut program = Program::new("compare base cand --format csv --figures tpot.mean,ttft.p99");
    for repeat in 0..4 {
        let seed = format!("--seed {repeat}");
        program = program
            .file(&format!("base/{repeat}.json"), saved(10, &seed))
            .file(&format!("cand/{repeat}.json"), saved(20, &seed));
    }
    let ended = program.file("base/other.json", "{}").end().well();
    assert!(ended.stderr.contains("left out: ") && ended.stderr.contains("other.json"), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(
        lines[0].starts_with("candidate,figure,unit,base,") && lines[1].starts_with("cand,tpot.mean,ms,")
    );
    assert_eq!(lines[1].split(',').nth(15), Some("worse"), "{}", ended.stdout);
    assert_eq!(lines.len(), 3, "{}", ended.stdout);
}

#[test]
fn runs_that_asked_different_things_are_refused_with_the_list_unless_anyway() {
    let (one, other) = (saved(1, ""), saved(1, "--max-concurrency 10 --goodput ttft:500"));
    let program = |words: &str| Program::new(words).file("one.json", &one).file("other.json", &other).end();
    let ended = program("compare one.json other.json").with_code(2);
    for field in
        ["load.max_concurrency is 20 in the baseline, 10 in other.json", "slo.ttft_s is nothing", "--anyway"]
    {
        assert!(ended.stderr.contains(field), "{field}\n{}", ended.stderr);
    }
    assert!(ended.stdout.is_empty());
    let ended = program("compare one.json other.json --anyway --format markdown").well();
    assert!(ended.stdout.contains("\n> **Caveat:** load.max_concurrency"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("\n|  | baseline | candidate | difference | verdict |\n|---|"),
        "{}",
        ended.stdout
    );
}

#[test]
fn an_invalid_run_is_refused_with_3_unless_anyway() {
    let good = saved(1, "");
    let program =
        |words: &str| Program::new(words).file("good.json", &good).file("bad.json", invalid(&good)).end();
    let ended = program("compare good.json bad.json").with_code(3);
    assert!(ended.stderr.contains("bad.json is INVALID: failed requests: 50"), "{}", ended.stderr);
    let ended = program("compare good.json bad.json --anyway").well();
    assert!(ended.stdout.contains("\nCAVEAT: bad.json is INVALID"), "{}", ended.stdout);
}

#[test]
fn mistakes_exit_with_code_2() {
    let good = saved(1, "");
    let cases = [
        ("compare good.json gone.json", "cannot read gone.json"),
        ("compare good.json broken.json", "broken.json is not a servegauge result"),
        ("compare good.json empty", "empty holds no servegauge result"),
        ("compare good.json", "<CAND>"),
        ("compare good.json good.json --figures speed", "`speed` is not a metric"),
        ("compare good.json good.json --margin 2", "write it as 30%"),
        ("compare good.json good.json --figures goodput_ratio", "none of these metrics"),
    ];
    for (words, expected) in cases {
        let program =
            Program::new(words).file("good.json", &good).file("broken.json", "{").file("empty/x.txt", "");
        let ended = program.end().with_code(2);
        assert!(ended.stderr.contains(expected), "{words}\n{}", ended.stderr);
    }
}

#[test]
fn a_full_stdout_is_2_and_a_closed_one_no_error() {
    let program = || Program::new("compare a.json a.json").file("a.json", saved(5, ""));
    let ended = program().with_full_stdout().end().with_code(2);
    assert!(ended.stderr.contains("cannot write to stdout: "), "{}", ended.stderr);
    assert_eq!(program().with_closed_stdout().end().well().stderr, "");
}
