//! Mistakes end with exit code 2 and one line for people, before anything is sent.

use std::fs;
use std::time::Duration;

use servegauge::sim::SimSpec;

use crate::support::{Ended, Port, Program, Simulator, Witness, quick, steps};

#[test]
fn a_dataset_that_is_not_json_is_told_in_one_line() {
    let error = dataset_error(b"id,prompt\n1,hello\n");
    assert!(error.contains("1 not JSON: expected value (first: line 1 column 1)"), "{error}");
    assert!(error.contains("a ShareGPT file is"), "{error}");
}

#[test]
fn a_dataset_that_ends_in_the_middle_is_told_in_one_line() {
    let error = dataset_error(br#"[{"conversations": [{"from": "human", "value": "half a"#);
    assert!(error.contains("entry 1, line 1") && error.contains("ends in the middle"), "{error}");
}

#[test]
fn a_dataset_of_another_shape_is_told_in_one_line() {
    let error = dataset_error(br#"[{"conversations": [{"from": "human", "text": "no value"}]}]"#);
    assert!(error.contains("entry 1") && error.contains("value"), "{error}");
}

#[test]
fn a_dataset_without_a_usable_conversation_is_told_in_one_line() {
    let error = dataset_error(br#"[{"conversations": [{"from": "human", "value": "alone"}]}]"#);
    assert!(error.contains("none of 1 entries can be used"), "{error}");
}

#[test]
fn a_dataset_that_is_not_there_is_a_usage_error() {
    let error = usage_error("--dataset-path nowhere.json");
    assert!(error.contains("nowhere.json: no such file"), "{error}");
}

#[test]
fn rates_that_are_none_are_usage_errors() {
    for rate in ["fast", "0", "-1", "nan", ""] {
        let error = Program::new("run").arg(format!("--request-rate={rate}")).end().with_code(2).stderr;
        assert!(error.contains("--request-rate"), "{error}");
    }
}

#[test]
fn headers_that_are_none_are_usage_errors() {
    for header in ["no-value", "=x", "a b=hidden", "x=hid\nden"] {
        let program = Program::run_against(&Port::take().base_url(), "--header").arg(header);
        let error = program.end().with_code(2).stderr;
        assert!(error.contains("header"), "{error}");
        assert!(!error.contains("hid"), "{error}");
    }
}

#[test]
fn an_unknown_backend_is_a_usage_error_that_names_the_known_ones() {
    let error = usage_error("--backend scalellm");
    assert!(error.contains("scalellm") && error.contains("openai-chat"), "{error}");
}

#[test]
fn a_cap_of_nothing_is_a_usage_error() {
    let error = usage_error("--max-concurrency 0");
    assert!(error.contains("--max-concurrency"), "{error}");
}

#[test]
fn a_result_that_cannot_be_written_is_found_out_before_the_run() {
    let simulator = Simulator::start(quick());
    for words in [
        "--save-result --result-dir taken/results",
        "--result-filename taken/result.json",
        "--append-result --result-filename .",
        "--plot-timeline --result-dir taken",
    ] {
        let program = simulator.run("--num-prompts 1").words(words).file("taken", "");
        let error = program.end().with_code(2).stderr;
        assert!(error.starts_with("error: cannot write ") && error.contains("--result-dir"), "{error}");
    }
    assert_eq!(simulator.truth().len(), 0, "nothing was sent");
}

/// Whatever could be written before the run: something takes the folder's place during it.
#[test]
fn a_result_that_cannot_be_saved_costs_no_report() {
    let simulator = Simulator::start(SimSpec { timing: steps(Duration::from_millis(200)), ..quick() });
    let witness = Witness::before(&simulator);
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("results");
    let words = "--num-prompts 1 --random-input-len 8 --random-output-len 6 --save-result";
    let running = witness.run(words).arg("--result-dir").arg(&folder).start();
    witness.wait_for(1, "/v1/completions");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    let ended = running.end().with_code(2);
    assert_eq!(ended.line("Successful requests"), "1");
    assert!(ended.stderr.starts_with("error: cannot write "), "{}", ended.stderr);
    assert!(ended.stderr.contains("--result-dir"), "{}", ended.stderr);
}

#[test]
fn thresholds_that_do_not_ascend_are_a_usage_error() {
    let error = usage_error("--plot-timeline --timeline-itl-thresholds 50,25");
    assert!(error.contains("--timeline-itl-thresholds") && error.contains("ascend"), "{error}");
}

#[test]
fn the_simulator_and_a_server_exclude_each_other() {
    let error = usage_error("--sim");
    assert!(error.contains("--sim") && error.contains("--base-url"), "{error}");
}

#[test]
fn a_server_that_is_not_there_cannot_be_asked_for_its_model() {
    let program = Program::new("run --base-url").arg(Port::take().base_url());
    let error = program.end().with_code(1).stderr;
    assert!(error.starts_with("error: cannot ask the server for its model") && error.contains("--model"));
}

/// The error of a dataset, which is one line that names the file, and nothing was sent.
#[track_caller]
fn dataset_error(content: &[u8]) -> String {
    let simulator = Simulator::start(quick());
    let ended = simulator.run("--dataset-path data.json --num-prompts 3").file("data.json", content).end();
    let Ended { stdout, stderr, .. } = ended.with_code(2);
    assert_eq!(stdout, "");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("error: data.json: "), "{stderr}");
    assert_eq!(simulator.truth().len(), 0, "nothing was sent");
    stderr
}

#[track_caller]
fn usage_error(words: &str) -> String {
    let ended = Program::run_against(&Port::take().base_url(), words).end().with_code(2);
    assert_eq!(ended.stdout, "");
    ended.stderr
}

/// A number that would overflow a clock or an allocation is a usage error of one line, and nothing is sent.
#[test]
fn numbers_beyond_all_reason_are_usage_errors() {
    let times = [
        "run --timeout",
        "run --duration",
        "run --warmup",
        "run --ready-check-timeout-sec",
        "run --metrics-interval",
        "run --think-time",
        "run --profile-after",
        "run --profile-duration",
        "run --steady-state-min-window",
        "run --multi-turn-delay-ms",
        "watch --interval",
        "watch --for",
        "search --slo ttft.p95<1s --time",
        "search --slo ttft.p95<1s --trial",
        "gate --candidate x.json --extend",
        "ab --a http://a --b http://b --block",
        "sweep x.toml --health-timeout",
        "diagnose --url http://127.0.0.1:1 --for",
        "plan --kv-tokens 9 --prompt-tokens 1 --output-tokens 1 --tpot",
        "sim --step-time",
    ];
    let counts = [
        "run --num-prompts",
        "run --num-warmups",
        "run --max-concurrency",
        "run --max-active-sessions",
        "run --preconnect",
        "run --workers",
        "run --repeats",
        "run --prefix-repetition-num-prefixes",
        "run --random-input-len",
        "run --random-output-len",
        "run --sharegpt-output-len",
        "ab --a http://a --b http://b --blocks",
        "sweep x.toml --repeats",
    ];
    let small = ["run --request-rate", "run --trace-speed", "run --timed-trace-sec-multiplier"];
    let cases = times
        .map(|words| (words, ["1e19", "584554531y"].as_slice()))
        .into_iter()
        .chain(counts.map(|words| (words, ["9999999999999999999", "18446744073709551616"].as_slice())))
        .chain(small.map(|words| (words, ["1e-30", "1e-300"].as_slice())));
    for (words, values) in cases {
        for value in values {
            let flag = words.rsplit(' ').next().unwrap();
            let error = Program::new(words).arg(value).end().with_code(2).stderr;
            assert!(error.starts_with("error: ") && error.contains(flag), "{words} {value}: {error}");
            assert!(!error.contains("panicked"), "{words} {value}: {error}");
        }
    }
}

/// The largest values that are taken do no harm.
#[test]
fn the_largest_times_and_counts_are_taken() {
    let simulator = Simulator::start(quick());
    let words = "--timeout 100years --max-concurrency 1000000000 --num-prompts 2 --random-input-len 4 \
                 --random-output-len 2 --dataset-name random --ready-check-timeout-sec 100years --duration 100years";
    let words = words.replace("100years", "36500days");
    simulator.run(&words).end().well();
}
