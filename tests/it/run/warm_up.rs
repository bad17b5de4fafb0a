//! Before the run: waiting for the server, and warming it up.

use std::collections::BTreeSet;
use std::time::Duration;

use servegauge::sim::FaultKind;

use crate::support::{Port, Program, Simulator, Witness, fault, quick};

const SMALL: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos";

#[test]
fn warm_ups_are_sent_first_with_prompts_of_their_own_and_not_counted() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--num-prompts 5 --num-warmups 3 --max-concurrency 1 --save-detailed";
    let ended = witness.run(SMALL).words(words).end().well();
    assert_eq!(ended.line("Successful requests"), "5");
    let result = ended.result();
    assert_eq!((&result["completed"], &result["num_prompts"]), (&5.into(), &5.into()));
    assert_eq!(result["total_output_tokens"], 30);

    let heard = witness.heard("/v1/completions");
    let records = result["servegauge"]["records"].as_array().unwrap();
    let measured: BTreeSet<_> = records.iter().map(|record| record["id"].as_str().unwrap()).collect();
    let is_measured: Vec<_> = heard.iter().map(|it| measured.contains(it.header("x-request-id"))).collect();
    assert_eq!(is_measured, [false, false, false, true, true, true, true, true]);
    let prompts: BTreeSet<_> = heard.iter().map(|it| it.body["prompt"].as_str().unwrap()).collect();
    assert_eq!(prompts.len(), 8, "no prompt is sent twice");
}

#[test]
fn the_measured_prompts_are_the_same_with_and_without_warm_ups() {
    let simulator = Simulator::start(quick());
    let prompts = |words: &str| {
        let witness = Witness::before(&simulator);
        witness.run(SMALL).words("--num-prompts 4 --max-concurrency 1").words(words).end().well();
        let heard = witness.heard("/v1/completions");
        heard.iter().rev().take(4).map(|it| it.body["prompt"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(prompts(""), prompts("--num-warmups 2"));
}

#[test]
fn a_warm_up_that_fails_is_told() {
    let simulator = Simulator::start(fault(FaultKind::Error500));
    let ended = simulator.run(SMALL).words("--num-prompts 5 --num-warmups 2").end().with_code(1);
    let is_warning = |line: &str| line.contains("warm-up request") && line.contains("failed");
    assert!(ended.stderr.lines().any(is_warning), "{}", ended.stderr);
}

#[test]
fn the_ready_check_waits_for_a_server_that_starts_late() {
    let port = Port::take();
    let words = "--num-prompts 3 --ready-check-timeout-sec 50";
    let running = Program::measure(&port.base_url(), SMALL).words(words).start();
    std::thread::sleep(Duration::from_millis(1200));
    let simulator = Simulator::start_on(port, quick());
    let ended = running.end().well();
    assert_eq!(ended.line("Successful requests"), "3");
    assert_eq!(simulator.truth().len(), 4, "the ready check's request is not counted");
}

#[test]
fn a_server_that_starts_late_is_asked_for_its_model_and_its_tokenizer() {
    let port = Port::take();
    let words = format!(
        "run --allow-invalid --base-url {} --num-prompts 3 --ready-check-timeout-sec 50 --save-result",
        port.base_url()
    );
    let running = Program::new(&words).words(SMALL).start();
    std::thread::sleep(Duration::from_millis(1200));
    let simulator = Simulator::start_on(port, quick());
    let ended = running.end().well();
    let result = ended.result();
    assert_eq!(result["model_id"], "servegauge-sim");
    assert_eq!(result["tokenizer_id"], format!("{}/tokenize", simulator.base_url()));
    assert_eq!(result["servegauge"]["environment"]["server_version"], servegauge::sim::VERSION);
}

#[test]
fn the_ready_check_gives_up_on_a_server_that_never_starts() {
    let port = Port::take();
    let words = "--num-prompts 3 --ready-check-timeout-sec 0.2";
    let ended = Program::measure(&port.base_url(), SMALL).words(words).end().with_code(1);
    let url = format!("{}/v1/models", port.base_url());
    let start = format!("error: the server was not ready within 200ms: cannot connect to {url}: ");
    let lines: Vec<_> = ended.stderr.lines().filter(|line| *line != "waiting for the server").collect();
    assert!(lines.len() == 1 && lines[0].starts_with(&start), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[test]
fn the_ready_check_gives_up_on_a_server_that_only_fails() {
    let simulator = Simulator::start(fault(FaultKind::Error500));
    let words = "--num-prompts 3 --ready-check-timeout-sec 0.2";
    let ended = simulator.run(SMALL).words(words).end().with_code(1);
    for part in ["not ready within 200ms", &simulator.base_url(), "/v1/completions", ": HTTP 500: "] {
        assert!(ended.stderr.contains(part), "{part} is not in {}", ended.stderr);
    }
}
