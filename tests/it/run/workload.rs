//! Workloads by their flags.

use serde_json::json;

use crate::support::{Port, Program, Simulator, quick};

const PROMPTS: &str = "{\"prompt\": \"How is rain made, in a few words?\", \"output_tokens\": 3}\n\
                       {\"prompt\": \"What is the tallest tree in the world?\", \"output_tokens\": 4}\n";

/// A program that prepares a workload and sends nothing.
fn dry_run(words: &str) -> Program {
    Program::measure(&Port::take().base_url(), "--dry-run").words(words).file("data.jsonl", PROMPTS)
}

#[test]
fn custom_prompts_are_sent_with_the_lengths_of_the_file() {
    let simulator = Simulator::start(quick());
    let words = "--dataset-name custom --dataset-path data.jsonl --custom-output-len -1 --num-prompts 5";
    let ended = simulator.run(words).arg("--save-result").file("data.jsonl", PROMPTS).end().well();
    let result = ended.result();
    let spec = &result["servegauge"]["spec"];
    assert_eq!((&result["completed"], &spec["rng"]), (&json!(5), &json!("python")));
    assert_eq!(spec["workload"]["dataset"]["name"], json!("custom"));
    assert!(simulator.truth().iter().all(|story| [3, 4].contains(&story.output_tokens)));
}

#[test]
fn without_oversampling_a_run_is_as_short_as_its_dataset() {
    let words = "--dataset-name custom --dataset-path data.jsonl --num-prompts 5";
    assert_eq!(dry_run(words).end().well().line("Requests"), "5, warm-up included");
    assert_eq!(dry_run(words).arg("--no-oversample").end().well().line("Requests"), "2, warm-up included");
}

#[test]
fn one_flag_sets_the_length_for_every_dataset() {
    for dataset in ["random", "prefix_repetition", "custom --dataset-path data.jsonl"] {
        let words = format!("--num-prompts 10 --output-len 7 --input-len 30 --dataset-name {dataset}");
        let stdout = dry_run(&words).end().well().stdout;
        let outputs = stdout.lines().find(|line| line.trim_start().starts_with("requested output")).unwrap();
        assert_eq!(outputs.split_whitespace().nth(2), Some("7"), "{dataset}: {stdout}");
    }
}

#[test]
fn requests_are_sent_to_lora_adapters_instead_of_the_model() {
    let simulator = Simulator::start(sim_of(&["red", "blue"]));
    let words = "--lora-modules red nobody blue --lora-assignment round-robin --num-prompts 6 --save-result \
                 --random-input-len 8 --random-output-len 2";
    let result = simulator.run(words).end().well().result();
    // Neither the adapter `nobody` nor the model exists on the simulator.
    assert_eq!((&result["completed"], &result["failed"]), (&json!(4), &json!(2)));
}

fn sim_of(names: &[&str]) -> servegauge::sim::SimSpec {
    servegauge::sim::SimSpec {
        served_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..quick()
    }
}

#[test]
fn token_ids_are_sent_as_they_are() {
    let simulator = Simulator::start(quick());
    let words = "--prompt-token-ids --num-prompts 4 --random-input-len 20 --random-output-len 2";
    simulator.run(words).end().well();
    let lengths: Vec<u64> = simulator.truth().iter().map(|story| story.prompt_tokens).collect();
    assert_eq!(lengths, [20; 4]);
}

#[test]
fn our_own_random_numbers_are_a_flag_away() {
    let lengths = |rng: &str| {
        let words = format!("--dataset-name random --num-prompts 20 --random-range-ratio 0.5 --rng {rng}");
        dry_run(&words).end().well().stdout
    };
    assert_eq!(lengths("native"), lengths("native"));
    assert_ne!(lengths("python"), lengths("native"));
}

#[test]
fn mistakes_in_a_workload_are_usage_errors() {
    for (words, expected) in [
        ("--dataset-name custom", "needs its file: --dataset-path"),
        ("--dataset-name custom --dataset-path data.jsonl --custom-output-len -2", "--custom-output-len -2"),
        ("--dataset-name prefix_repetition --dataset-path data.jsonl", "are made, not read"),
        ("--dataset-name prefix_repetition --num-prompts 3", "3 prompts cannot share 10 prefixes"),
    ] {
        let error = dry_run(words).end().with_code(2).stderr;
        assert!(error.contains(expected) && error.trim_end().lines().count() == 1, "{error}");
    }
}
