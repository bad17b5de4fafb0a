//! A rerun against the same server has a way to be valid, and the program names it.

use serde_json::Value;

use crate::support::{Ended, Program, Simulator, quick};

/// A minute's worth of the bundled dataset, saved.
const LOAD: &str = "--dataset-name sharegpt --num-prompts 60 --save-detailed --max-concurrency";

const CHAT: &str = "--backend openai-chat --endpoint /v1/chat/completions";

fn check<'r>(result: &'r Value, name: &str) -> &'r Value {
    let checks = result["servegauge"]["validity"]["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap()
}

#[track_caller]
fn outcome(ended: &Ended, name: &str, expected: &str) {
    let result = ended.result();
    assert_eq!(check(&result, name)["outcome"], expected, "{}", check(&result, name));
}

#[test]
fn a_loop_over_concurrency_with_unique_prompts_finds_a_cold_cache_each_time() {
    for backend in ["", CHAT] {
        let simulator = Simulator::start(quick());
        for slots in [1, 2, 4, 8] {
            let run = simulator.run(&format!("{LOAD} {slots} --unique-prompts {backend}"));
            let ended = run.end().well();
            outcome(&ended, "prefix_cache", "passed");
            assert!(!ended.stderr.contains("note: the server has looked up"), "{}", ended.stderr);
            let unique = &ended.result()["servegauge"]["spec"]["workload"]["unique"];
            assert_eq!(
                (unique["salt"].as_str().map(str::len), &unique["scope"]),
                (Some(16), &"session".into())
            );
        }
    }
}

#[test]
fn a_loop_without_them_is_told_of_both_flags_before_and_after() {
    let simulator = Simulator::start(quick());
    let first = simulator.run(&format!("{LOAD} 1")).end().well();
    outcome(&first, "prefix_cache", "passed");
    assert!(!first.stderr.contains("note:"), "a server that has answered nothing: {}", first.stderr);
    let second = simulator.run(&format!("{LOAD} 2")).end().well();
    outcome(&second, "prefix_cache", "invalid");
    let result = second.result();
    let advice = check(&result, "prefix_cache")["advice"].as_str().unwrap();
    let note = second.stderr.lines().find(|line| line.starts_with("note: ")).unwrap();
    for flag in ["--unique-prompts", "--reset-prefix-cache", "VLLM_SERVER_DEV_MODE=1"] {
        assert!(advice.contains(flag) && note.contains(flag), "{flag}: {advice} {note}");
    }
    assert!(!advice.contains("--seed"), "another seed draws from the same file: {advice}");
}

#[test]
fn the_built_in_simulator_needs_no_flag() {
    for _ in 0..2 {
        let words = "run --sim --allow-invalid --num-prompts 30 --request-rate 60 --save-result";
        let ended = Program::new(words).end().well();
        outcome(&ended, "prefix_cache", "passed");
        assert!(!ended.stderr.contains("note:"), "{}", ended.stderr);
    }
}

#[test]
fn sessions_share_their_history_and_nothing_else() {
    let simulator = Simulator::start(quick());
    let words = "--dataset-name random --multi-turn --random-input-len 64 --random-output-len 8 --ignore-eos \
                 --num-prompts 8 --max-concurrency 4 --save-detailed --unique-prompts";
    for _ in 0..2 {
        outcome(&simulator.run(words).end().well(), "prefix_cache", "passed");
    }
}

#[test]
fn prompts_made_to_share_a_prefix_share_it_within_the_run_alone() {
    let simulator = Simulator::start(quick());
    let words = "--dataset-name random --random-prefix-len 256 --random-input-len 32 --random-output-len 4 \
                 --num-prompts 30 --max-concurrency 1 --save-detailed --unique-prompts";
    for _ in 0..2 {
        let ended = simulator.run(words).end().well();
        outcome(&ended, "prefix_cache", "passed");
        assert_eq!(ended.result()["servegauge"]["spec"]["workload"]["unique"]["scope"], "run");
    }
}

#[test]
fn repeats_of_a_prompt_are_none_when_each_begins_with_its_own_words() {
    let simulator = Simulator::start(quick());
    let prompt = format!("{{\"prompt\": \"{}\", \"output_tokens\": 4}}\n", "Tell me more of it. ".repeat(20));
    let words = "--dataset-name custom --dataset-path one.jsonl --num-prompts 20 --max-concurrency 1 \
                 --save-detailed --skip-chat-template";
    let run = |flag: &str| simulator.run(words).words(flag).file("one.jsonl", &prompt).end().well();
    outcome(&run(""), "repeated_prompts", "warning");
    let unique = run("--unique-prompts");
    outcome(&unique, "repeated_prompts", "passed");
    outcome(&unique, "prefix_cache", "passed");
}

#[test]
fn token_ids_are_salted_too() {
    let simulator = Simulator::start(quick());
    let words = "--dataset-name random --prompt-token-ids --random-input-len 64 --random-output-len 4 --num-prompts 20 \
                 --max-concurrency 1 --save-detailed --unique-prompts";
    for _ in 0..2 {
        let ended = simulator.run(words).end().well();
        outcome(&ended, "prefix_cache", "passed");
    }
}

#[test]
fn runs_with_other_salts_are_compared() {
    let simulator = Simulator::start(quick());
    let run = |salted: &str| {
        let ended = simulator.run(&format!("{LOAD} 4 {salted} --result-filename a.json")).end().well();
        ended.read("a.json")
    };
    let (one, two, plain) = (run("--unique-prompts"), run("--unique-prompts"), run(""));
    let compare = |base: &str, candidate: &str| {
        Program::new("compare a.json b.json").file("a.json", base).file("b.json", candidate).end()
    };
    compare(&one, &two).well();
    let unlike = compare(&one, &plain);
    assert!(unlike.stderr.contains("workload.unique"), "{}", unlike.stderr);
}
