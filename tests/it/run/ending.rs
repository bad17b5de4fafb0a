//! When a run ends by itself: by count, by time, or before it begins.

use serde_json::Value;
use servegauge::sim::SimSpec;
use servegauge::sim::Speed;

use crate::support::{Port, Program, Simulator, Witness, quick};

const SMALL: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --save-detailed";

#[test]
fn a_duration_ends_an_open_loop() {
    let result = measure("--request-rate 40 --duration 1s");
    // 40 arrivals are scaled to end at one second; the last may fall a rounding error after it.
    let sent = result["completed"].as_u64().unwrap();
    assert!((39..=40).contains(&sent), "{sent}");
    assert!(due_times(&result).all(|due| due <= 1.0));
}

#[test]
fn a_duration_ends_a_closed_loop() {
    let result = measure("--max-concurrency 2 --duration 500ms");
    assert!(result["completed"].as_u64().unwrap() > 2);
    assert!(due_times(&result).all(|due| due <= 0.5));
}

#[test]
fn a_closed_loop_with_a_duration_starts_over_when_its_prompts_are_used_up() {
    let simulator = Simulator::start(SimSpec { timing: Speed::Instant.step_time(), ..quick() });
    let witness = Witness::before(&simulator);
    let words = "--dataset-name random --random-input-len 4 --random-output-len 1 --max-concurrency 8 \
                 --duration 10m --save-result";
    let running = witness.run(words).start();
    // vLLM's thousand prompts, and more.
    witness.wait_for(1100, "/v1/completions");
    running.interrupt();
    let ended = running.end().with_code(130);
    assert!(ended.result()["completed"].as_u64().unwrap() >= 1100);
    let prompts: Vec<_> =
        witness.heard("/v1/completions").iter().map(|it| it.body["prompt"].clone()).collect();
    assert_eq!(prompts[0], prompts[1000]);
}

#[test]
fn a_count_that_is_reached_before_the_duration_ends_the_run() {
    let result = measure("--num-prompts 6 --duration 10m --max-concurrency 2");
    assert_eq!(result["completed"], 6, "closed loop");
    let result = measure("--num-prompts 6 --duration 10m --request-rate 50");
    assert_eq!(result["completed"], 6, "open loop");
}

#[test]
fn a_duration_that_is_reached_before_the_count_ends_the_run() {
    let result = measure("--num-prompts 2000 --duration 1 --request-rate 30");
    let sent = result["completed"].as_u64().unwrap();
    assert!((1..200).contains(&sent), "{sent}");
    assert!(due_times(&result).all(|due| due <= 1.0));
    assert_eq!(result["num_prompts"], 2000, "what was asked for");
}

#[test]
fn nothing_due_within_the_duration_is_a_failed_run_that_says_so() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 3 --burstiness inf --request-rate 0.5 --duration 100ms";
    let ended = simulator.run(SMALL).words(words).end().with_code(1);
    assert!(ended.stderr.contains("error: no request was due within the duration\n"), "{}", ended.stderr);
    assert_eq!((ended.line("Successful requests"), ended.line("Request throughput")), ("0", "n/a"));
}

#[test]
fn a_dry_run_sends_nothing_and_prints_what_it_would() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--dry-run --dataset-name random --random-input-len 20 --random-output-len 7 --num-prompts 9 \
                 --request-rate 4 --num-warmups 2 --max-concurrency 3 --save-result --rng native";
    let ended = witness.run(words).end().well();
    assert!(witness.all().is_empty(), "{:?}", witness.all());
    assert!(ended.saved_nothing());
    assert_eq!(ended.stderr, "");
    let requests = ended.line("Requests");
    assert!(requests.starts_with("11, ") && requests.contains("warm-up"), "{requests}");
    assert_eq!(ended.line("Request rate"), "4.00 req/s");
    assert_eq!(ended.line("Max concurrency"), "3");
    for (row, each, total) in [("prompt", "20", "220"), ("requested output", "7", "77")] {
        let line = ended.stdout.lines().find_map(|line| line.trim().strip_prefix(row)).unwrap();
        let figures: Vec<_> = line.split_whitespace().collect();
        assert_eq!(figures, [each, each, each, each, each, each, each, total], "{row}");
    }
}

#[test]
fn a_dry_run_needs_no_server() {
    let port = Port::take();
    Program::run_against(&port.base_url(), "--dry-run --dataset-name sharegpt --num-prompts 5").end().well();
}

/// Without a tokenizer of ours, the server counts tokens. An estimate would describe other requests than those of the run.
#[test]
fn a_dry_run_asks_the_servers_tokenizer_and_describes_the_requests_of_the_run() {
    let words = "--dataset-name random --random-input-len 20 --random-output-len 4 --num-prompts 9 --rng native \
                 --max-concurrency 3";
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let dry = Program::run_against(&witness.base_url(), words).words("--dry-run").end().well();
    assert!(!witness.heard("/tokenize").is_empty());
    assert!(witness.heard("/v1/completions").is_empty());
    assert_eq!(dry.stderr, "");
    let row = dry.stdout.lines().find_map(|line| line.trim().strip_prefix("prompt")).unwrap();
    let total = row.split_whitespace().last().unwrap();
    let run = Program::run_against(&witness.base_url(), words).end().well();
    assert_eq!(run.line("Total input tokens"), total);

    let mute = Witness::before_without(&simulator, "/tokenize");
    let guessed = Program::run_against(&mute.base_url(), words).words("--dry-run").end().well();
    assert!(
        guessed.stderr.contains("a real run asks the server again, so its prompts may differ"),
        "{}",
        guessed.stderr
    );
}

fn measure(words: &str) -> Value {
    Simulator::start(quick()).run(SMALL).words(words).end().well().result()
}

/// When each request was due, in seconds.
fn due_times(result: &Value) -> impl Iterator<Item = f64> {
    let records = result["servegauge"]["records"].as_array().unwrap();
    records.iter().map(|record| record["due_s"].as_f64().unwrap())
}
