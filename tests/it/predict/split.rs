//! `--prefill-decode`: fleets in which some servers compute prompts and others decode.

use serde_json::Value;

use super::{measured, predict};
use crate::support::Program;

const CONFIG: &str = include_str!("../../fixtures/models/llama-3-8b.json");

fn split(words: &str, run: &str) -> Program {
    predict(&format!("--like run.json --members 4 {words}"), run).file("config.json", CONFIG)
}

fn answer(words: &str, run: &str) -> Value {
    serde_json::from_str(&split(&format!("{words} --json"), run).end().well().stdout).unwrap()
}

#[test]
fn a_split_fleet_names_its_bottleneck_and_says_what_was_assumed() {
    let words = "--prefill-decode 1:2 --kv-bandwidth 50GB/s --model-config config.json -o p.json";
    let ended = split(words, &measured()).end().well();
    let out = &ended.stdout;
    assert!(out.contains("  prefill servers (1): ρ ") && out.contains("  decode servers (2): ρ "), "{out}");
    assert!(out.contains("  KV transfer: ρ ") && out.contains("Bottleneck: "), "{out}");
    // 32 layers of 8 KV heads of 128 numbers of 16 bits, keys and values.
    assert!(out.contains("131072 bytes of KV a token (config.json)"), "{out}");
    assert!(out.contains("1 prefill and 2 decode") && out.contains("links of 50 GB/s"), "{out}");
    assert!(out.contains("clients get all tokens from decode servers"), "{out}");
    let saved: Value = serde_json::from_str(&ended.read("p.json")).unwrap();
    assert_eq!(saved["predicted"], true);
    let again = Program::new("report p.json").file("p.json", ended.read("p.json")).end().well().stdout;
    assert!(again.contains("Bottleneck: "), "a saved prediction has its bottleneck: {again}");
}

#[test]
fn a_slow_link_delays_the_first_token_and_not_those_after_it() {
    let run = measured();
    let point = |bandwidth: &str, metric: &str| {
        let words = format!(
            "--prefill-decode 2:2 --kv-bandwidth {bandwidth} --kv-bytes-per-token 128KiB --router least-requests"
        );
        let answer = answer(&words, &run);
        answer["loads"][0]["prediction"]["metrics"][metric]["point"].as_f64().unwrap()
    };
    // About 64 tokens are 8 MB: 10 ms at 800 MB/s.
    let later = point("800MB/s", "ttft.mean") - point("inf", "ttft.mean");
    assert!((8.0..30.0).contains(&later), "{later} ms");
    let slower = point("800MB/s", "tpot.mean") / point("inf", "tpot.mean");
    assert!((0.8..1.2).contains(&slower), "{slower}");
}

#[test]
fn splits_are_compared_with_as_many_whole_servers_and_repeat_exactly() {
    let run = measured();
    let words = "--prefill-decode 3 --kv-bandwidth 400Gbit/s --kv-bytes-per-token 128KiB --slo ttft.p95<2s";
    let found = answer(words, &run);
    let splits = found["splits"]["splits"].as_array().unwrap();
    assert_eq!(found["splits"]["servers"], 3);
    let names: Vec<_> =
        splits.iter().map(|split| (split["prefill"].as_u64(), split["decode"].as_u64())).collect();
    assert_eq!(names, [(Some(1), Some(2)), (Some(2), Some(1))]);
    assert!(splits.iter().all(|split| split["slo_met"] == 1.0), "{found}");
    assert!(splits[0]["differences"]["tpot.mean"]["difference"]["point"].is_f64(), "{found}");
    assert_eq!(found, answer(words, &run));
    let text = split(words, &run).end().well().stdout;
    assert!(text.contains("Splits of 3 servers") && text.contains("\n2 prefill, 1 decode"), "{text}");
    assert!(text.contains("\n3 whole ") && text.contains("ttft.p95 < 2000ms"), "{text}");
}

#[test]
fn a_closed_loop_uses_the_stages_as_much_as_it_is_answered() {
    let words = "--prefill-decode 1:1 --kv-bandwidth inf --kv-bytes-per-token 128KiB --max-concurrency 8";
    let found = answer(words, &measured());
    let stages = found["loads"][0]["prediction"]["stages"].as_array().unwrap();
    let rho: Vec<f64> = stages.iter().map(|stage| stage["utilization"]["point"].as_f64().unwrap()).collect();
    assert!(rho[..2].iter().all(|rho| (0.01..1.1).contains(rho)) && rho[2] == 0.0, "{found}");
}

#[test]
fn what_is_missing_or_has_no_answer_is_refused_with_what_to_give() {
    let run = measured();
    let size = "--kv-bytes-per-token 128KiB";
    for (words, why) in [
        ("--prefill-decode 1:1 --kv-bytes-per-token 128KiB", "needs --kv-bandwidth"),
        ("--prefill-decode 1:1 --kv-bandwidth 50GB/s", "give --model-config"),
        (
            &format!("--prefill-decode 1:1 --kv-bandwidth 50GB/s {size} --autoscale 1:2,delay=1s"),
            "--autoscale",
        ),
        (
            &format!("--prefill-decode 1:1 --kv-bandwidth 50GB/s {size} --slo ttft.p95<2s --fleet"),
            "give a list of splits",
        ),
        (&format!("--prefill-decode 3 --kv-bandwidth 50GB/s {size} --load x1,x2"), "under one load"),
        (
            &format!("--prefill-decode 3 --kv-bandwidth 50GB/s {size} --router random,round-robin"),
            "one router",
        ),
        (&format!("--prefill-decode 1:2,1:1 --kv-bandwidth 50GB/s {size}"), "the same sum"),
        (&format!("--prefill-decode 1:2 --kv-bandwidth 50GB/s {size} --replicas 3"), "cannot be used with"),
        ("--kv-bandwidth 50GB/s", "--prefill-decode"),
    ] {
        let ended = split(words, &run).end();
        assert!(ended.code == Some(2) && ended.stderr.contains(why), "{words}\n{}", ended.stderr);
    }
}
