//! `servebench plan` as a user meets it, and whether its limit is where the simulator begins to preempt.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use servebench::sim::Spec;

#[path = "support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses its part")]
mod support;

use support::{Program, Simulator, quick};

/// A small pool: 512 blocks that can be used.
fn small() -> Simulator {
    Simulator::start(Spec { num_gpu_blocks: 513, prefix_caching: false, max_model_len: 1024, ..quick() })
}

fn planned(words: &str) -> Value {
    let ended = Program::new("plan --json").words(words).end();
    serde_json::from_str(&ended.well().stdout).unwrap()
}

fn preemptions(simulator: &Simulator) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", simulator.port())).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let line = page.lines().find(|line| line.starts_with("vllm:num_preemptions_total")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Whether a new server with a small pool preempts under this load with so many requests at once.
fn preempts(load: &str, concurrency: u64) -> bool {
    let simulator = small();
    simulator.run(load).words(&format!("--max-concurrency {concurrency}")).end().well();
    preemptions(&simulator) > 0.0
}

#[test]
fn the_limit_is_where_requests_in_step_begin_to_be_preempted() {
    let simulator = small();
    let plan =
        planned(&format!("--base-url {} --prompt-tokens 64 --output-tokens 192", simulator.base_url()));
    let limit = plan["limit"].as_u64().unwrap();
    assert_eq!(limit, 32, "513 blocks of 16 over 256 tokens");
    let wave = |count: u64| {
        format!(
            "--dataset-name random --rng native --random-input-len 64 --random-output-len 192 --ignore-eos \
             --num-prompts {count}"
        )
    };
    let [below, above] = [85, 115].map(|percent| limit * percent / 100);
    assert!(!preempts(&wave(below), below));
    assert!(preempts(&wave(above), above));
}

#[test]
fn the_drawn_limit_is_where_requests_at_all_stages_begin_to_be_preempted() {
    let simulator = small();
    let load = "--dataset-name random --rng native --random-input-len 32 --random-output-len 64 \
                --random-range-ratio 0.9 --ignore-eos --num-prompts 600";
    let plan = planned(&format!("--base-url {} -- --sim {load}", simulator.base_url()));
    let limit = plan["at_all_stages"]["limit"].as_u64().unwrap();
    assert!(limit > plan["limit"].as_u64().unwrap(), "{plan}");
    assert!(!preempts(load, limit * 85 / 100), "{limit}");
    assert!(preempts(load, limit * 115 / 100), "{limit}");
}

#[test]
fn the_chapters_example_is_printed() {
    let ended = Program::new("plan --kv-tokens 110000 --prompt-tokens 500 --output-tokens 300").end().well();
    assert!(ended.stdout.contains("Limit: 137 concurrent requests"), "{}", ended.stdout);
    assert!(ended.stdout.contains("--max-num-seqs 96 (30.0 % headroom)"), "{}", ended.stdout);
}

#[test]
fn a_saved_run_gives_the_mix_and_the_pace_and_is_checked() {
    let simulator = Simulator::start(quick());
    let program = simulator.run(
        "--dataset-name random --random-input-len 32 --random-output-len 16 --ignore-eos --num-prompts 12 \
         --max-concurrency 4 --save-detailed --result-filename run.json",
    );
    let ended = program.end().well();
    let program = Program::new("plan --json --kv-tokens 4800 --result run.json --check run.json");
    let ended = program.file("run.json", ended.read("run.json")).end().well();
    let plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(plan["requests"]["output_tokens"]["mean"], 16.0);
    assert!(plan["service"]["demand"]["requests_per_s"].as_f64().unwrap() > 0.0);
    let findings = plan["check"]["findings"].as_array().unwrap();
    assert!(findings.contains(&"4 in flight stay within the suggestion".into()), "{findings:?}");
}

/// F3 of the newcomer: a TPOT of two in flight promised six times what the server gave with 57.
#[test]
fn a_pace_measured_elsewhere_is_a_bound_and_a_ladder_is_fitted() {
    let simulator = Simulator::start(quick());
    let run = |concurrency: u32| {
        let load = format!(
            "--dataset-name random --random-input-len 32 --random-output-len 16 --ignore-eos --num-prompts 24 \
             --seed {concurrency} --max-concurrency {concurrency} --result-filename run.json"
        );
        simulator.run(&load).end().well().read("run.json")
    };
    let (one, eight) = (run(1), run(8));
    let plan = |words: &str| {
        let program = Program::new("plan --kv-tokens 9600").words(words);
        program.file("runs/1.json", &one).file("runs/8.json", &eight).end().well().stdout
    };
    let alone = plan("--result runs/1.json");
    for part in
        ["Measured: TTFT ", " in flight (1 result)", "CAUTION: TPOT grows with ", "Request rate: at most "]
    {
        assert!(alone.contains(part), "{part}\n{alone}");
    }
    for words in ["--result runs", "--result runs/1.json runs/8.json"] {
        let ladder = plan(words);
        for part in
            ["Fitted: TPOT ", " for each request in flight, 2 results with ", "beyond what was measured"]
        {
            assert!(ladder.contains(part), "{part}\n{ladder}");
        }
    }
    let given = plan("--result runs/1.json --tpot 30ms");
    assert!(!given.contains("CAUTION") && !given.contains("at most"), "{given}");
    let json: Value = serde_json::from_str(&plan("--json --result runs")).unwrap();
    let service = &json["service"];
    assert_eq!(
        (&service["speed"]["from"], &service["reach"]),
        (&"fitted".into(), &"above".into()),
        "{service}"
    );
}

#[test]
fn a_check_holds_preemptions_and_the_pool_against_the_servers_own_metrics() {
    let simulator = small();
    let load = "--dataset-name random --rng native --random-input-len 64 --random-output-len 192 --ignore-eos \
                --num-prompts 96 --max-concurrency 48 --metrics-interval 20ms --result-filename run.json";
    let ended = simulator.run(load).end().well();
    let run = ended.read("run.json");
    let plan = |words: &str| {
        let words =
            format!("plan --base-url {} --result run.json --check run.json {words}", simulator.base_url());
        Program::new(&words).file("run.json", &run).end().well().stdout
    };
    let text = plan("");
    for part in [
        "running when preemptions began",
        "KV usage peak at the run's concurrency",
        "the plan expects the first",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json: Value = serde_json::from_str(&plan("--json")).unwrap();
    let rows = json["check"]["rows"].as_array().unwrap();
    let of = |what: &str| rows.iter().find(|row| row["what"].as_str().unwrap().starts_with(what)).unwrap();
    let shown = |what: &str| of(what)["shown"].as_f64().unwrap();
    assert!(shown("preemptions at") > 0.0 && shown("KV usage peak") > 85.0, "{rows:?}");
    assert!((27.0..=48.0).contains(&shown("running when preemptions began")), "{rows:?}");
}

#[test]
fn the_pool_is_read_from_a_log_and_the_mix_from_a_dataset() {
    let log = "INFO 05-01 10:00:00 [kv_cache_utils.py:634] GPU KV cache size: 110,000 tokens\n";
    let program =
        Program::new("plan --json --log server.log -- --sim --num-prompts 50").file("server.log", log);
    let plan: Value = serde_json::from_str(&program.end().well().stdout).unwrap();
    assert_eq!(
        (&plan["pool"]["capacity"], &plan["requests"]["total_tokens"]["n"]),
        (&110_000.into(), &50.into())
    );
}

#[test]
fn mistakes_are_one_line_with_the_cure() {
    let config = r#"{"num_attention_heads": 32, "hidden_size": 4096}"#;
    let cases = [
        (
            "--model-config config.json --gpu-memory 80GB",
            "config.json: `num_hidden_layers` is missing; add it",
        ),
        ("--model-config gone.json --gpu-memory 80GB", "cannot read --model-config gone.json"),
        ("--log config.json", "no line says `GPU KV cache size"),
        ("--base-url http://127.0.0.1:1", "http://127.0.0.1:1/metrics does not answer"),
        ("--kv-tokens 100", "not one fits"),
        ("--kv-tokens 110000 --wanted-rate 10", "give --tpot"),
        ("--kv-tokens 110000 --ttft 1s", "--ttft alone gives no rate"),
    ];
    for (words, expected) in cases {
        let program = Program::new("plan --prompt-tokens 500 --output-tokens 300").words(words);
        let ended = program.file("config.json", config).end();
        assert!(ended.code != Some(0) && ended.stdout.is_empty(), "{words}");
        assert!(ended.stderr.contains(expected), "{words}\n{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
