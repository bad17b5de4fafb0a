//! One run from several processes.

mod tls;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{Ended, Program, Running, Simulator, Witness, quick, until};

const WORDS: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos";

/// The requests of a result, by the name of a column.
fn column(result: &Value, name: &str) -> Vec<Value> {
    let records = result["servegauge"]["records"].as_array().unwrap();
    records.iter().map(|record| record[name].clone()).collect()
}

/// A shard of two that meet at an address.
fn shard(simulator: &Simulator, index: usize, address: &str, words: &str) -> Program {
    simulator.run(&format!("{WORDS} {words} --shard {index}/2 --rendezvous {address} --shard-timeout 60s"))
}

/// Starts a program that is shard 0, and returns where the others join it.
fn start_first(program: Program) -> (Running, String) {
    const PLACE: &str = "waits for the others at ";
    let running = program.start();
    running.wait_for(PLACE);
    running.wait_for("\n");
    let stderr = running.stderr_so_far();
    let (_, rest) = stderr.split_once(PLACE).unwrap();
    let address = rest.split_whitespace().next().unwrap().to_owned();
    (running, address)
}

/// Starts shard 0 of two.
fn first(simulator: &Simulator, words: &str) -> (Running, String) {
    start_first(shard(simulator, 0, "127.0.0.1:0", words))
}

/// Whether a record log with more than a header is in a running program's folder.
fn measures(shard: &Running) -> bool {
    shard.files().iter().any(|(name, bytes)| name.ends_with(".reclog") && *bytes > 4000)
}

#[test]
fn the_processes_of_a_run_send_its_schedule_together() {
    let simulator = Simulator::start(quick());
    let words = format!("{WORDS} --num-prompts 60 --request-rate 60 --seed 3 --save-detailed");
    let alone = simulator.run(&format!("{words} --result-filename r.json")).end().with_code(0).result();
    let witness = Witness::before(&simulator);
    let together =
        witness.run(&format!("{words} --result-filename r.json --local-shards 3")).end().with_code(0);
    assert!(together.stderr.contains("shard 2/3: 20 requests ended"), "{}", together.stderr);
    let result = together.result();
    assert_eq!(column(&result, "ordinal"), (0..60).map(Value::from).collect::<Vec<_>>());
    assert_eq!(column(&result, "due_s"), column(&alone, "due_s"), "the schedule is that of one client");
    assert_eq!(result["input_lens"], alone["input_lens"]);
    assert_eq!(result["servegauge"]["inputs"]["prompts"], alone["servegauge"]["inputs"]["prompts"]);
    let ids: Vec<_> = column(&result, "id").iter().map(|id| id.as_str().unwrap()[..24].to_owned()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "the ids of a run begin alike");
    let left: Vec<_> = together.files("").into_iter().filter(|file| file != "r.json").collect();
    assert_eq!(left, Vec::<String>::new(), "the logs go when the result is saved");
}

#[test]
fn a_limit_is_split_and_each_shard_needs_a_part() {
    let simulator = Simulator::start(quick());
    let words = format!("{WORDS} --num-prompts 40 --max-concurrency 3 --local-shards 2 --json");
    let ended = simulator.run(&words).end().with_code(0);
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["completed"], 40);
    assert!(result["max_concurrent_requests"].as_u64().unwrap() <= 3, "{result}");
    let refused = simulator.run(&format!("{WORDS} --max-concurrency 1 --local-shards 2")).end().with_code(2);
    assert!(refused.stderr.contains("cannot be split into 2 shards"), "{}", refused.stderr);
}

#[test]
fn a_shard_with_another_seed_ends_the_run_by_name() {
    let simulator = Simulator::start(quick());
    let (first, address) = first(&simulator, "--num-prompts 4 --seed 1");
    let other = shard(&simulator, 1, &address, "--num-prompts 4 --seed 2").end().with_code(1);
    let first = first.end().with_code(1);
    for ended in [&first, &other] {
        assert!(ended.stderr.contains("shard 1 has another"), "{}", ended.stderr);
    }
}

#[test]
fn nobody_joins_without_the_token_and_garbage_harms_nothing() {
    let simulator = Simulator::start(quick());
    let with_token = |index, address: &str, token: &str| {
        let words = "--num-prompts 6 --request-rate 50 --json";
        shard(&simulator, index, address, words).env("SERVEGAUGE_SHARD_TOKEN", token)
    };
    let (first, address) = start_first(with_token(0, "127.0.0.1:0", "secret-token"));
    let refused = with_token(1, &address, "guess").end().with_code(1);
    assert!(refused.stderr.contains("token of the shards"), "{}", refused.stderr);
    for garbage in [
        &b"\0\xff\xfe garbage"[..],
        b"POST /servegauge/shards/join HTTP/1.1\r\ncontent-length: 9\r\n\r\nnot json",
    ] {
        let mut socket = TcpStream::connect(&address).unwrap();
        socket.write_all(garbage).unwrap();
    }
    with_token(1, &address, "secret-token").end().with_code(0);
    let first = first.end().with_code(0);
    let result: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(result["completed"], 6);
    assert!(!first.stdout.contains("secret-token") && !first.stderr.contains("secret-token"));
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let simulator = Simulator::start(quick());
    let words = format!("{WORDS} --shard 0/2 --rendezvous 0.0.0.0:0");
    let refused = simulator.run(&words).end().with_code(2);
    assert!(refused.stderr.contains("set SERVEGAUGE_SHARD_TOKEN"), "{}", refused.stderr);
}

#[test]
fn a_shard_that_is_killed_leaves_an_invalid_run_that_names_it() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 300 --request-rate 60 --result-filename r.json";
    let (first, address) = first(&simulator, words);
    let mut second = shard(&simulator, 1, &address, words).start();
    until("the second shard measures", || measures(&second));
    second.kill();
    let first = first.end().with_code(0);
    assert!(first.stderr.contains("warning: shard 1 on"), "{}", first.stderr);
    let result = first.result();
    let validity = &result["servegauge"]["validity"];
    assert_eq!(validity["valid"], false);
    assert!(
        validity.to_string().contains("the record log of shard 1 on "),
        "the result names it: {validity}"
    );
    let completed = result["completed"].as_u64().unwrap();
    assert!((151..300).contains(&completed), "what it had sent is kept: {completed}");
    let missing = format!("{} of 300 requests", 300 - completed);
    assert!(first.stderr.contains(&missing), "{missing}: {}", first.stderr);
}

#[test]
fn without_shard_0_the_logs_are_merged_later() {
    let simulator = Simulator::start(quick());
    let words = |index: usize| format!("--num-prompts 120 --request-rate 30 --record-log log{index}.reclog");
    let (mut first, address) = first(&simulator, &words(0));
    let second = shard(&simulator, 1, &address, &words(1)).start();
    until("the first shard measures", || measures(&first));
    first.kill();
    let second = second.end().with_code(3);
    assert!(second.stderr.contains("`servegauge merge`"), "{}", second.stderr);
    let first: Ended = first.end();
    let merged = Program::new("merge a.reclog b.reclog --out all.json")
        .file("a.reclog", second.bytes("log1-shard1.reclog"))
        .file("b.reclog", first.bytes("log0.reclog"))
        .end()
        .with_code(3);
    assert!(merged.stderr.contains("the record log of shard 0 on "), "{}", merged.stderr);
    let completed = merged.result()["completed"].as_u64().unwrap();
    assert!((61..120).contains(&completed), "all of one shard and a part of the other: {completed}");
}

#[test]
fn who_is_missing_is_named_after_the_timeout() {
    let simulator = Simulator::start(quick());
    let words = format!("{WORDS} --shard 0/3 --rendezvous 127.0.0.1:0 --shard-timeout 1s");
    let ended = simulator.run(&words).end().with_code(1);
    assert!(ended.stderr.contains("after 1s, shards 1, 2 did not join"), "{}", ended.stderr);
}

#[test]
fn an_interrupt_ends_all_shards_with_a_report_of_what_was_measured() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 5000 --request-rate 40 --result-filename r.json";
    let (first, address) = first(&simulator, words);
    let second = shard(&simulator, 1, &address, words).start();
    until("both measure", || measures(&first) && measures(&second));
    first.interrupt();
    let first = first.end().with_code(130);
    second.end().with_code(130);
    let result = first.result();
    assert_eq!(result["servegauge"]["interrupted"], true);
    assert!(result["completed"].as_u64().unwrap() > 10, "{}", result["completed"]);
}

/// Adds the flags that let two processes of this machine send the runs.
fn locally(words: &str) -> String {
    format!("{words} --local-shards 2")
}

#[test]
fn a_ladder_and_repeats_of_several_processes_are_those_of_one() {
    let simulator = Simulator::start(quick());
    let ladder = format!("{WORDS} --max-concurrency 2,4,8 --num-prompts 16 --json");
    let shape = |words: &str| {
        let ended = simulator.run(words).end().with_code(0);
        let index: Value = serde_json::from_str(&ended.stdout).unwrap();
        let steps = index["steps"].as_array().unwrap().clone();
        steps.iter().map(|step| (step["load"].clone(), step["completed"].clone())).collect::<Vec<_>>()
    };
    let alone = shape(&ladder);
    assert_eq!(alone.len(), 3);
    assert_eq!(shape(&locally(&ladder)), alone);
    let repeats = locally(&format!("{WORDS} --num-prompts 6 --repeats 2 --result-filename r.json"));
    let ended = simulator.run(&repeats).end().with_code(0);
    assert!(ended.stderr.contains("shard 1/2: 6 requests ended"), "{}", ended.stderr);
    let seeds: Vec<_> = ["r-r1.json", "r-r2.json"]
        .map(|name| {
            let run: Value = serde_json::from_slice(&ended.bytes(name)).unwrap();
            assert_eq!(run["completed"], 6);
            run["servegauge"]["spec"]["seed"].clone()
        })
        .into();
    assert_ne!(seeds[0], seeds[1]);
}

#[test]
fn a_search_by_several_processes_finds_a_limit() {
    let simulator = Simulator::start(quick());
    let words = format!(
        "search --over concurrency --slo ttft.p95<10s --start 4 --max 8 --time 6s --trial 1s --json -- run --allow-invalid \
         --model m --base-url {} {WORDS} --local-shards 2",
        simulator.base_url()
    );
    let ended = Program::new(&words).end().with_code(0);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(!answer["trials"].as_array().unwrap().is_empty(), "{answer}");
    assert!(ended.stderr.contains("shard 1/2:"), "{}", ended.stderr);
}

#[test]
fn a_gate_measures_its_candidate_from_several_processes() {
    let simulator = Simulator::start(quick());
    let flags =
        format!("--allow-invalid --model m --base-url {} {WORDS} --num-prompts 20", simulator.base_url());
    let baseline = Program::new(&format!("run {flags} --save-detailed --result-filename base.json"));
    let baseline = baseline.end().with_code(0).bytes("base.json");
    let words =
        format!("gate --allow-invalid --same-start --baseline base.json -- run {flags} --local-shards 2");
    let gate = Program::new(&words).file("base.json", baseline).end();
    assert!(gate.stdout.contains("PASS") || gate.stdout.contains("FAIL"), "{}\n{}", gate.stdout, gate.stderr);
    assert!(gate.stderr.contains("shard 1/2: 10 requests ended"), "{}", gate.stderr);
}

#[test]
fn an_ab_test_sends_each_block_from_several_processes() {
    let simulators = [quick(), quick()].map(Simulator::start);
    let [a, b] = simulators.each_ref().map(Simulator::base_url);
    let words = format!(
        "ab --a {a} --b {b} --blocks 2 --block 1s --format json --out runs -- run --allow-invalid --model m {WORDS} \
         --skip-tokenizer-init --request-rate 20 --unique-prompts --save-detailed --local-shards 2"
    );
    let ended = Program::new(&words).end().with_code(0);
    let comparison: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(comparison["pairs"].as_array().unwrap().len(), 2, "{comparison}");
    let run = |name: &str| serde_json::from_slice::<Value>(&ended.bytes(name)).unwrap();
    let mut sent = 0;
    for block in ["001", "002"] {
        let [a, b] = ["a", "b"].map(|arm| run(&format!("runs/{arm}/{block}.json")));
        for run in [&a, &b] {
            let ordinals = column(run, "ordinal");
            assert!(ordinals.len() > 5, "{}", ordinals.len());
            assert_eq!(ordinals, (0..ordinals.len()).map(Value::from).collect::<Vec<_>>(), "of both shards");
            sent += ordinals.len();
        }
        assert_eq!(a["servegauge"]["inputs"]["prompts"], b["servegauge"]["inputs"]["prompts"]);
        assert_eq!(column(&a, "due_s"), column(&b, "due_s"));
    }
    let answered = simulators.map(|simulator| simulator.truth().len());
    assert!(
        answered.iter().all(|count| *count >= sent / 2),
        "each arm has its server: {answered:?} of {sent}"
    );
    assert!(ended.stderr.contains("shard 1/2:"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_shared_is_said() {
    let refused = Program::new("gate init -- run --base-url http://127.0.0.1:9 --local-shards 2");
    let refused = refused.end().with_code(2);
    assert!(refused.stderr.contains("--local-shards: several clients send"), "{}", refused.stderr);
    let words = "ab --a http://127.0.0.1:9 --b serve-it --block 1s -- run --local-shards 2";
    let refused = Program::new(words).end().with_code(2);
    assert!(
        refused.stderr.contains("--local-shards: only this process knows the server of B"),
        "{}",
        refused.stderr
    );
}

#[test]
fn progress_and_metrics_of_shard_0_are_of_the_whole_run() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 120 --request-rate 20 --metrics-listen 127.0.0.1:0";
    let (first, address) = first(&simulator, words);
    let second = shard(&simulator, 1, &address, "--num-prompts 120 --request-rate 20").start();
    let page = || {
        let stderr = first.stderr_so_far();
        let (_, url) = stderr.split_once("the client's own metrics: http://")?;
        let (address, _) = url.split_once("/metrics\n")?;
        let mut socket = TcpStream::connect(address).ok()?;
        write!(socket, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").ok()?;
        let mut page = String::new();
        socket.read_to_string(&mut page).ok()?;
        Some(page)
    };
    let count = |page: &str, name: &str| {
        let line = page.lines().find(|line| line.starts_with(&format!("{name} ")))?;
        line.rsplit(' ').next()?.parse::<u64>().ok()
    };
    until("more requests than those of shard 0 have ended", || {
        page().is_some_and(|page| {
            let ended = count(&page, "servegauge_requests_completed_total").unwrap_or_default();
            ended > 61 && count(&page, "servegauge_ttft_seconds_count") == Some(ended)
        })
    });
    second.end().with_code(0);
    first.end().with_code(0);
}

#[test]
fn a_wrong_setup_is_that_of_the_whole_run() {
    let words = format!(
        "run --model m --base-url http://127.0.0.1:9 --ready-check-timeout-sec 0 --skip-tokenizer-init {WORDS} --num-prompts 40 \
         --request-rate 40 --local-shards 2"
    );
    let ended = Program::new(&words).end().with_code(1);
    assert!(ended.stderr.contains("requests so far"), "{}", ended.stderr);
}

#[test]
fn a_wall_clock_that_is_wrong_steps_and_drifts_is_measured_and_changes_no_latency() {
    let simulator = Simulator::start(quick());
    let words = |index: usize| {
        format!(
            "--num-prompts 80 --request-rate 16 --record-log {index}.reclog --save-detailed --result-filename r.json"
        )
    };
    let (first, address) = first(&simulator, &words(0));
    let second = shard(&simulator, 1, &address, &words(1))
        .env("SERVEGAUGE_TEST_WALL_CLOCK", "offset=3600s,step=-2s@3s,drift=500ppm")
        .end()
        .with_code(0);
    let log = second.bytes("1-shard1.reclog");
    let text = String::from_utf8_lossy(&log);
    let (_, clocks) = text.split_once(r#""clocks":"#).expect("the clocks are in the log");
    let clocks: Value = serde_json::Deserializer::from_str(clocks).into_iter().next().unwrap().unwrap();
    let number = |path: &str| clocks.pointer(path).and_then(Value::as_f64).unwrap() / 1e9;
    let doubt = number("/before/doubt_ns") + number("/after/doubt_ns");
    let before = number("/before/ahead_ns");
    // It drifts from the first reading of the clock in the process on.
    assert!((3600.0..3600.02 + doubt).contains(&(before + doubt)), "{clocks}");
    let gained = number("/after/ahead_ns") - before;
    let truth = -2.0 + 500e-6 * number("/apart_ns");
    assert!((gained - truth).abs() <= doubt + 0.001, "{gained} {truth} {clocks}");
    let result = first.end().with_code(0).result();
    let checks = result["servegauge"]["validity"]["checks"].as_array().unwrap();
    let skew = checks.iter().find(|check| check["name"] == "start_skew").unwrap();
    assert!(!skew.to_string().contains("invalid"), "{skew}");
    let latest = |name: &str| column(&result, name).iter().filter_map(Value::as_f64).fold(0.0, f64::max);
    assert!(latest("e2el_s") < 1.5, "no latency has the step of the wall clock");
}
