//! `servegauge diagnose` as a user runs it: runs against simulators with and without a problem, logs, and a live
//! server.

use std::time::Duration;

use serde_json::Value;
use servegauge::internals::{RULES, with_flags};
use servegauge::sim::{SimSpec, StepTime};

use crate::support::{Ended, Pages, Program, Simulator, quick, steps};

const PAGE: &str = include_str!("../../docs/diagnose.md");
const OVERLOAD: &str = include_str!("../fixtures/logs/overload-v1.log");
const SWAPPING: &str = include_str!("../fixtures/logs/swapping-v0.log");
const REAL: &str = include_str!("../fixtures/logs/real-startup-and-idle.log");

/// The diagnosis of a run against a simulator.
struct Case(Value);

impl Case {
    fn of(spec: SimSpec, words: &str) -> Self {
        let simulator = Simulator::start(spec);
        let ended =
            simulator.run(words).words("--metrics-interval 50ms --result-filename run.json").end().well();
        Self::diagnosed(
            &Program::new("diagnose --json run.json").file("run.json", ended.read("run.json")).end().well(),
        )
    }

    fn diagnosed(ended: &Ended) -> Self {
        Self(serde_json::from_str::<Value>(&ended.stdout).unwrap()["diagnosis"].clone())
    }

    fn found(&self, rule: &str) -> Option<&Value> {
        self.0["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == rule)
    }

    /// It was looked at, and is not so.
    #[track_caller]
    fn is_fine(&self, rule: &str) {
        let fine = self.0["fine"].as_array().unwrap();
        assert!(fine.iter().any(|name| name == rule), "{rule}: {:#}", self.0);
    }

    #[track_caller]
    fn has(&self, rule: &str) -> &Value {
        self.found(rule).unwrap_or_else(|| panic!("{rule} was not found: {:#}", self.0))
    }
}

/// The levers that a finding names, in their order.
fn levers(finding: &Value) -> Vec<&str> {
    let changes = finding["changes"].as_array().unwrap();
    changes.iter().filter_map(|change| change["lever"]["name"].as_str()).collect()
}

const ANSWERS: &str =
    "--dataset-name random --rng native --random-input-len 32 --random-output-len 40 --ignore-eos";

#[test]
fn a_queue_is_found_where_the_batch_is_small_and_not_where_it_is_not() {
    let load = format!("{ANSWERS} --num-prompts 60 --max-concurrency 30");
    let narrow = SimSpec { max_num_seqs: 2, timing: steps(Duration::from_millis(2)), ..quick() };
    let case = Case::of(narrow, &load);
    let finding = case.has("queue");
    assert_eq!(finding["level"], "alert");
    assert!(finding["facts"][0]["figure"]["count"].as_u64().unwrap() > 20, "{finding}");
    assert!(levers(finding).contains(&"--enable-chunked-prefill"), "{finding}");
    Case::of(quick(), &format!("{ANSWERS} --num-prompts 60 --max-concurrency 8")).is_fine("queue");
}

#[test]
fn slow_tokens_are_put_down_to_many_running_only_where_many_run() {
    let timing = StepTime { per_decode_seq: Duration::from_millis(1), ..steps(Duration::from_millis(4)) };
    let slow = || SimSpec { timing, ..quick() };
    let load = |count: u32| format!("{ANSWERS} --num-prompts {} --max-concurrency {count}", 2 * count);
    let many = Case::of(slow(), &load(48));
    assert_eq!(many.has("many-running")["changes"][0]["lever"]["name"], "--max-num-seqs");
    many.is_fine("slow-steps");
    Case::of(slow(), &load(4)).is_fine("many-running");
    let large = Case::of(SimSpec { timing: steps(Duration::from_millis(60)), ..quick() }, &load(4));
    large.is_fine("many-running");
    large.has("slow-steps");
}

#[test]
fn preemptions_are_found_where_the_pool_is_small() {
    let small = || SimSpec { num_gpu_blocks: 129, prefix_caching: false, max_model_len: 1024, ..quick() };
    let load =
        "--dataset-name random --rng native --random-input-len 64 --random-output-len 192 --ignore-eos";
    let case = Case::of(small(), &format!("{load} --num-prompts 40 --max-concurrency 20"));
    assert!(case.has("preemptions")["facts"][0]["figure"]["count"].as_u64().unwrap() > 0);
    assert!(case.has("preemptions")["facts"][0]["when"]["at_s"].is_number());
    Case::of(small(), &format!("{load} --num-prompts 8 --max-concurrency 4")).is_fine("preemptions");
}

#[test]
fn conversations_without_a_prefix_cache_are_found() {
    let load = "--multi-turn --backend openai-chat --dataset-name random --random-input-len 200 --per-turn-input-len 16 \
                --multi-turn-num-turns 4 --random-output-len 16 --num-prompts 10 --max-active-sessions 2";
    let case = Case::of(SimSpec { prefix_caching: false, ..quick() }, load);
    assert!(levers(case.has("prefix-cache")).contains(&"--enable-prefix-caching"), "{:#}", case.0);
    Case::of(quick(), load).is_fine("prefix-cache");
}

#[test]
fn stalls_by_prompts_are_found_where_prompts_are_not_cut() {
    let timing =
        StepTime { per_prefill_token: Duration::from_micros(100), ..steps(Duration::from_millis(3)) };
    let whole = SimSpec { timing, chunked_prefill: false, max_num_batched_tokens: 8192, ..quick() };
    let load = "--dataset-name random --rng native --random-input-len 2000 --random-output-len 60 --ignore-eos \
                --num-prompts 24 --max-concurrency 6 --save-detailed";
    let case = Case::of(whole, load);
    let finding = case.has("itl-spikes");
    assert!(levers(finding).contains(&"--enable-chunked-prefill"), "{finding}");
    // Pieces of 32 tokens take as long as a token does.
    let cut = SimSpec { timing, max_num_batched_tokens: 40, ..quick() };
    assert!(Case::of(cut, &load.replace("2000", "100")).found("itl-spikes").is_none());
}

#[test]
fn a_healthy_run_has_no_trouble_of_the_servers() {
    let case = Case::of(quick(), &format!("{ANSWERS} --num-prompts 40 --max-concurrency 4"));
    for rule in ["restart", "failures", "preemptions", "kv-full", "queue", "many-running", "v0-engine"] {
        assert!(case.found(rule).is_none(), "{:#}", case.0);
    }
    assert!(case.0["not_judged"].as_array().unwrap().iter().any(|rule| rule["rule"] == "oom"));
}

#[test]
fn the_report_of_an_overloaded_servers_log() {
    let ended = Program::new("diagnose --log server.log").file("server.log", OVERLOAD).end().well();
    assert_eq!(ended.stdout, include_str!("../golden/diagnose-overload.txt"));
    assert_eq!(ended.stderr, "");
}

#[test]
fn the_report_of_an_old_servers_log() {
    let ended = Program::new("diagnose --log old.log").file("old.log", SWAPPING).end().well();
    for part in ["[swapping]", "[v0-engine]", "--swap-space: a larger swap space only"] {
        assert!(ended.stdout.contains(part), "{part}:\n{}", ended.stdout);
    }
}

/// The log of a real server on a CPU, which has no CUDA graphs. With another device the same log has `--enforce-eager`
/// left on.
#[test]
fn a_real_servers_log_has_enforce_eager_left_on_only_if_it_has_a_gpu() {
    let ended = Program::new("diagnose --log real.log").file("real.log", REAL).end().well();
    assert!(!ended.stdout.contains("CUDA graphs"), "{}", ended.stdout);
    assert!(ended.stdout.contains("enforce-eager"), "it was checked:\n{}", ended.stdout);
    let on_gpu = REAL.replace("device_config=cpu", "device_config=cuda");
    let ended = Program::new("diagnose --log real.log").file("real.log", on_gpu).end().well();
    assert!(ended.stdout.contains("vLLM: v0.32.0"), "{}", ended.stdout);
    for part in [
        "1. WARN  The server's log has errors  [log-errors]",
        "     lines of level ERROR or of a traceback: 44, from 11-22 09:52:33 for 44s (log)",
        "2. WARN  CUDA graphs and compilation are off  [enforce-eager]",
    ] {
        assert!(ended.stdout.contains(part), "{part}:\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains("\n3. "), "{}", ended.stdout);
}

#[test]
fn a_log_without_trouble_says_what_was_looked_for_and_what_would_be_needed() {
    let quiet: String = REAL
        .replace("'enforce_eager': True", "'seed': 1")
        .replace("enforce_eager=True", "enforce_eager=False");
    // Its bad requests were a trial.
    let bad = |line: &&str| !line.contains(" ERROR ") && !line.contains("HTTP/1.1\" 4");
    let quiet: String = quiet.lines().filter(bad).map(|line| format!("{line}\n")).collect();
    let ended = Program::new("diagnose --log quiet.log").file("quiet.log", quiet).end().well();
    assert!(ended.stdout.contains("\nNothing found.\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\nChecked, not found: oom, "), "{}", ended.stdout);
    assert!(ended.stdout.contains("\n  [failures] needs a result of `servegauge run`\n"), "{}", ended.stdout);
}

#[test]
fn a_live_server_is_looked_at_for_a_while() {
    let page = |count: u32| {
        format!(
            "vllm:num_requests_running 60\nvllm:num_requests_waiting 17\nvllm:num_preemptions_total {count}\n"
        )
    };
    let pages = Pages::start(vec![page(5), page(9)]);
    let ended = Program::new("diagnose --json --for 100ms --url").arg(pages.url()).end().well();
    let case = Case::diagnosed(&ended);
    assert_eq!(case.has("queue")["facts"][0]["origin"], "live");
    assert_eq!(case.has("preemptions")["facts"][0]["figure"]["count"], 4);
}

#[test]
fn another_engines_server_is_named() {
    let pages = Pages::start(vec!["sglang:num_running_reqs 60\nsglang:num_queue_reqs 170\n".into()]);
    let ended = Program::new("diagnose --for 50ms --url").arg(pages.url()).end().well();
    assert!(ended.stdout.contains("\nServer: SGLang (settings are named as in vLLM)\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("[queue]"), "{}", ended.stdout);
}

#[test]
fn a_result_a_log_and_a_server_are_judged_together() {
    let simulator = Simulator::start(quick());
    let words = format!("{ANSWERS} --num-prompts 8 --result-filename run.json");
    let run = simulator.run(&words).end().well().read("run.json");
    let program =
        Program::new("diagnose run.json --log server.log --for 50ms --url").arg(simulator.base_url());
    let ended = program.file("run.json", run).file("server.log", OVERLOAD).end().well();
    let first = ended.stdout.lines().next().unwrap();
    for part in ["result run.json", "log server.log (", "server http://127.0.0.1:"] {
        assert!(first.contains(part), "{first}");
    }
    assert!(ended.stdout.contains("[oom]"), "{}", ended.stdout);
}

#[test]
fn what_cannot_be_read_is_told_in_one_line() {
    let cases = [
        ("diagnose gone.json", "cannot read gone.json"),
        ("diagnose other.log", "other.log is not a servegauge result"),
        ("diagnose --log gone.log", "gone.log: cannot open the log"),
        ("diagnose --log other.log", "none of its 2 lines is known"),
        (
            "diagnose --for 1s --url http://127.0.0.1:1",
            "http://127.0.0.1:1/metrics: no metrics: cannot connect: connection refused; is the server running?",
        ),
    ];
    for (words, message) in cases {
        let ended = Program::new(words).file("other.log", "one\ntwo\n").end().with_code(2);
        assert!(ended.stderr.contains(message), "{words}\n{}", ended.stderr);
        assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1), "{}", ended.stderr);
    }
    let nothing = Program::new("diagnose").end().with_code(2);
    assert!(nothing.stderr.contains("RESULT"), "{}", nothing.stderr);
}

#[test]
fn the_documented_table_of_rules_is_the_programs() {
    for rule in RULES {
        let levers = rule.steps.iter().filter_map(|step| Some(format!("`{}`", step.lever?.info().name)));
        let levers = levers.collect::<Vec<_>>().join(", ");
        let change = if levers.is_empty() { rule.steps[0].what } else { &levers };
        let row = format!("| `{}` | {} | {change} | {} |", rule.name, rule.when, rule.source);
        let row = with_flags(&row);
        assert!(PAGE.contains(&row), "the page lacks this row:\n{row}");
    }
    let rows = PAGE.split("| rule | when | what to change | source |").nth(1).unwrap();
    let rows = rows.lines().skip(2).take_while(|line| line.starts_with('|')).count();
    assert_eq!(rows, RULES.len(), "the page has a rule that the program lacks");
}
