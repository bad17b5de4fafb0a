//! The engine's behavior, as its metrics page and its log show it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};
use servegauge::sim::{OutputSpec, SimSpec, StepTime};

use super::harness::*;

const STEPS_OF_2_MS: StepTime = StepTime {
    base: Duration::from_millis(2),
    per_prefill_token: Duration::ZERO,
    per_decode_seq: Duration::ZERO,
    per_kv_token: Duration::ZERO,
    jitter: 0.0,
};

#[tokio::test]
async fn counters_tell_what_was_served() {
    let sim = Sim::start(tiny()).await;
    for tokens in [3, 5] {
        sim.events("/v1/completions", &completion(tokens)).await;
    }
    assert_eq!(sim.metric("vllm:request_success_total", "length").await, 2.0);
    assert_eq!(sim.metric("vllm:prompt_tokens_total", "").await, 10.0);
    assert_eq!(sim.metric("vllm:generation_tokens_total", "").await, 8.0);
    assert_eq!(sim.metric("vllm:time_to_first_token_seconds_count", "").await, 2.0);
    assert_eq!(sim.metric("vllm:inter_token_latency_seconds_count", "").await, 6.0);
    assert_eq!(sim.metric("vllm:e2e_request_latency_seconds_count", "").await, 2.0);
    assert_eq!(sim.metric("vllm:num_requests_running", "").await, 0.0);
    assert_eq!(sim.metric("vllm:kv_cache_usage_perc", "").await, 0.0);
    sim.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_sequence() {
    let sim = Sim::start(SimSpec { timing: STEPS_OF_2_MS, ..tiny() }).await;
    let mut frames = sim.post("/v1/completions", &completion(2000)).await.bytes_stream();
    frames.next().await.unwrap().unwrap();
    assert_eq!(sim.metric("vllm:num_requests_running", "").await, 1.0);
    drop(frames);
    sim.wait_for("vllm:request_success_total", "abort", 1.0).await;
    sim.wait_for("vllm:num_requests_running", "", 0.0).await;
    assert_eq!(sim.metric("vllm:kv_cache_usage_perc", "").await, 0.0);
    sim.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_is_not_served_later() {
    let sim = Sim::start(SimSpec { timing: STEPS_OF_2_MS, max_num_seqs: 1, ..tiny() }).await;
    let mut first = sim.post("/v1/completions", &completion(2000)).await.bytes_stream();
    first.next().await.unwrap().unwrap();
    let second = sim.post("/v1/completions", &completion(2000)).await;
    sim.wait_for("vllm:num_requests_waiting", "", 1.0).await;
    drop(second);
    sim.wait_for("vllm:num_requests_waiting", "", 0.0).await;
    assert_eq!(sim.metric("vllm:num_requests_running", "").await, 1.0);
    drop(first);
    sim.stop().await;
}

#[tokio::test]
async fn a_full_pool_preempts_and_everyone_still_gets_all_tokens() {
    let spec = SimSpec { num_gpu_blocks: 21, max_model_len: 320, timing: STEPS_OF_2_MS, ..tiny() };
    let sim = Sim::start(spec).await;
    let requests: Vec<_> = (0..12)
        .map(|n| {
            let mut request = completion(100);
            request["prompt"] = format!("{n} {}", "word".repeat(20)).into();
            request
        })
        .collect();
    for events in join_all(requests.iter().map(|request| sim.events("/v1/completions", request))).await {
        assert_eq!(events.iter().filter_map(|event| text(event)).count(), 100);
    }
    assert!(sim.metric("vllm:num_preemptions_total", "").await > 0.0);
    assert_eq!(sim.metric("vllm:kv_cache_usage_perc", "").await, 0.0);
    sim.stop().await;
}

#[tokio::test]
async fn a_repeated_prompt_hits_the_prefix_cache_until_it_is_reset() {
    let sim = Sim::start(tiny()).await;
    let request =
        json!({ "model": "tiny", "prompt": "abcd".repeat(100), "max_tokens": 2, "ignore_eos": true });
    let mut hits = Vec::new();
    for round in 0..3 {
        if round == 2 {
            sim.client.post(sim.url("/reset_prefix_cache")).send().await.unwrap();
        }
        sim.answer("/v1/completions", &request).await;
        hits.push(sim.metric("vllm:prefix_cache_hits_total", "").await);
    }
    assert_eq!(hits, [0.0, 96.0, 96.0], "six blocks of 16 of the 100 tokens");
    assert_eq!(sim.metric("vllm:prefix_cache_queries_total", "").await, 300.0);
    assert_eq!(sim.metric("vllm:gpu_prefix_cache_hit_rate", "").await, 0.32);
    sim.stop().await;
}

#[tokio::test]
async fn answers_depend_on_prompt_and_seed_only() {
    let request = json!({ "model": "tiny", "prompt": "x", "max_tokens": 50, "ignore_eos": true });
    let mut texts = Vec::new();
    for seed in [1, 1, 2] {
        let sim = Sim::start(SimSpec { seed, ..tiny() }).await;
        sim.answer("/v1/completions", &completion_in_one_piece()).await;
        texts.push(sim.answer("/v1/completions", &request).await["choices"][0]["text"].clone());
        texts.push(sim.answer("/v1/completions", &request).await["choices"][0]["text"].clone());
        sim.stop().await;
    }
    assert!(texts[..4].iter().all(|text| *text == texts[0]));
    assert_ne!(texts[4], texts[0]);
}

fn completion_in_one_piece() -> Value {
    json!({ "model": "tiny", "prompt": "something else" })
}

#[tokio::test]
async fn answers_end_by_themselves_unless_told_not_to() {
    let output = OutputSpec { eos_mean: Some(4.0), ..OutputSpec::default() };
    let sim = Sim::start(SimSpec { output, ..tiny() }).await;
    let mut request = json!({ "model": "tiny", "prompt": "x", "max_tokens": 2000 });
    let answer = sim.answer("/v1/completions", &request).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let words = answer["choices"][0]["text"].as_str().unwrap().split_whitespace().count();
    assert_eq!(answer["usage"]["completion_tokens"], words + 1, "the end of the sequence is a token too");
    request["ignore_eos"] = true.into();
    let answer = sim.answer("/v1/completions", &request).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 2000);
    sim.stop().await;
}

#[tokio::test]
async fn statistics_lines_go_to_the_sink() {
    let lines = Arc::new(Mutex::new(Vec::<String>::new()));
    let sink = Arc::clone(&lines);
    let spec = SimSpec {
        timing: STEPS_OF_2_MS,
        log: Some(Box::new(move |line| sink.lock().unwrap().push(line.to_owned()))),
        log_interval: Duration::from_millis(20),
        ..tiny()
    };
    let sim = Sim::start(spec).await;
    sim.events("/v1/completions", &completion(100)).await;
    sim.stop().await;
    let lines = lines.lock().unwrap();
    assert!(lines[0].contains("GPU KV cache size: 262,128 tokens"), "{}", lines[0]);
    let busy =
        lines.iter().find(|line| line.contains("Running: 1 reqs, Waiting: 0 reqs, GPU KV cache usage: "));
    assert!(busy.is_some(), "{lines:?}");
}
