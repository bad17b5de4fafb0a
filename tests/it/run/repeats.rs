//! `--repeats`: several runs, each of its own seed, and how much they differ.

use serde_json::Value;

use crate::support::{Simulator, Witness, quick};

const LOAD: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --num-prompts 5";

#[test]
fn every_run_has_a_seed_and_a_file_of_its_own_and_the_cache_is_emptied_between() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let ended = witness.run(LOAD).words("--repeats 3 --seed 4 --result-filename r.json").end().well();
    let run = |name: &str| serde_json::from_str::<Value>(&ended.read(name)).unwrap();
    let runs = ["r-r1.json", "r-r2.json", "r-r3.json"].map(run);
    let ours = |run: &Value| run["servegauge"].clone();
    assert_eq!(runs.each_ref().map(|run| ours(run)["spec"]["seed"].clone()), [4, 5, 6].map(Value::from));
    let prompts = runs.each_ref().map(|run| ours(run)["inputs"]["prompts"].clone());
    assert!(prompts[0] != prompts[1] && prompts[1] != prompts[2]);
    assert_eq!(ours(&runs[1])["settings"]["seed"], 5, "--like does this one alone again");
    assert_eq!(ours(&runs[1])["settings"].get("repeats"), None);
    assert_eq!(witness.heard("/reset_prefix_cache").len(), 2);
    let (_, table) = ended.stdout.split_once("3 runs, seeds 4, 5, 6\n").unwrap();
    let row = table.lines().find(|line| line.starts_with("TTFT mean")).unwrap();
    assert!(row.ends_with(" 3") && row.contains('['), "{row}");
}

#[test]
fn a_server_that_keeps_its_cache_is_told_once() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before_without(&simulator, "/reset_prefix_cache");
    let ended = witness.run(LOAD).words("--repeats 3").end().well();
    assert_eq!(ended.stderr.matches("does not reset its prefix cache").count(), 1, "{}", ended.stderr);
}

/// Ten rows are enough for two runs of five prompts, and not of six.
#[test]
fn repeats_that_share_prompts_of_a_small_dataset_are_told_so_before_they_begin() {
    let row =
        |i: usize| format!("{{\"prompt\": \"{i} is the number of this row.\", \"output_tokens\": 4}}\n");
    let rows: String = (0..10).map(row).collect();
    let small = "--dataset-name custom --dataset-path small.jsonl --skip-chat-template --num-prompts";
    let simulator = Simulator::start(quick());
    let stderr = |words: &str| simulator.run(words).file("small.jsonl", &rows).end().well().stderr;
    let output = stderr(&format!("{small} 6 --repeats 2"));
    let note = "note: 2 runs of 6 prompts from a dataset of 10 have prompts in common: --unique-prompts begins each \
                prompt with unique words\n";
    let order = ["note: 2 runs", "run 1 of 2"].map(|line| output.find(line));
    assert!(output.contains(note) && order.is_sorted(), "{output}");
    for words in [
        &format!("{small} 5 --repeats 2"),
        &format!("{small} 6"),
        &format!("{small} 6 --repeats 2 --unique-prompts"),
        &format!("{LOAD} --repeats 2"),
    ] {
        let stderr = stderr(words);
        assert!(!stderr.contains("prompts in common"), "{words}: {stderr}");
    }
}

#[test]
fn an_interrupt_ends_with_the_runs_that_are_there() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let running =
        witness.run(LOAD).words("--repeats 3 --request-rate 5 --num-prompts 12 --save-result").start();
    running.wait_for("run 2 of 3");
    witness.wait_for(14, "/v1/completions");
    running.interrupt();
    let ended = running.end().with_code(130);
    assert!(ended.stdout.contains("1 run, seed 0"), "{}", ended.stdout);
    assert!(ended.stdout.contains("─── Interrupted"), "{}", ended.stdout);
}
