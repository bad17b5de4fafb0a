//! Conversations of several turns, clients that leave, and what the truth log records of both.

use std::{path::Path, time::Duration};

use futures_util::StreamExt;
use serde_json::{Value, json};
use servegauge::sim::{FixedTiming, OutputSpec, SimSpec, StepTime};

use super::harness::*;

/// A prompt token takes a fifth of a millisecond and nothing else takes time.
const PREFILL: StepTime = StepTime {
    base: Duration::ZERO,
    per_prefill_token: Duration::from_micros(200),
    per_decode_seq: Duration::ZERO,
    per_kv_token: Duration::ZERO,
    jitter: 0.0,
};

fn stories(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Three turns of a conversation whose history grows by the real answers; what the truth log says of each.
async fn three_turns(prefix_caching: bool) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("truth.jsonl");
    let output = OutputSpec { prompt_tokens_details: true, ..OutputSpec::default() };
    let log = Some(path.clone());
    let spec =
        SimSpec { prefix_caching, output, timing: PREFILL, truth_log: log, truth_prompts: 1000, ..tiny() };
    let sim = Sim::start(spec).await;
    let mut messages = Vec::new();
    for turn in 0..3 {
        let text = format!("This is turn {turn}. {}", "word".repeat(200));
        messages.push(json!({ "role": "user", "content": text }));
        let body = json!({ "model": "tiny", "messages": messages, "max_tokens": 40, "ignore_eos": true });
        let sent =
            sim.client.post(sim.url("/v1/chat/completions")).header("X-Session-ID", "a session").json(&body);
        let answer: Value = serde_json::from_str(&sent.send().await.unwrap().text().await.unwrap()).unwrap();
        messages.push(json!({ "role": "assistant", "content": answer["choices"][0]["message"]["content"] }));
        let cached = &answer["usage"]["prompt_tokens_details"]["cached_tokens"];
        assert_eq!(cached == 0, turn == 0 || !prefix_caching, "{answer}");
    }
    sim.stop().await;
    stories(&path)
}

fn number(story: &Value, name: &str) -> u64 {
    story[name].as_u64().unwrap_or_else(|| panic!("no {name} in {story}"))
}

/// Prompt tokens that had to be computed before the first token.
fn computed(story: &Value) -> u64 {
    number(story, "prompt_tokens") - number(story, "cached_tokens")
}

/// From the request to its first token, at least: an answer in one piece tells its end, and decoding takes no time.
fn assert_takes_its_prefill(story: &Value) {
    let end = story["step_ns"][0].as_u64().unwrap();
    let least = computed(story) * PREFILL.per_prefill_token.as_nanos() as u64;
    assert!(end - number(story, "read_ns") >= least, "{story}");
}

#[tokio::test]
async fn with_prefix_caching_a_later_turn_computes_only_what_is_new() {
    let turns = three_turns(true).await;
    turns.iter().for_each(assert_takes_its_prefill);
    let computed: Vec<_> = turns.iter().map(computed).collect();
    assert!(computed[0] > 200, "{computed:?}");
    // The history is found up to its last answer, where in a vocabulary of four bytes the tokens may fall otherwise.
    assert!(computed[1..].iter().all(|tokens| *tokens < 300), "{computed:?}");
    let totals: Vec<_> = turns.iter().map(|turn| number(turn, "prompt_tokens")).collect();
    assert!(totals[2] > 600 && totals.is_sorted(), "{totals:?}");
}

#[tokio::test]
async fn without_prefix_caching_the_work_before_the_first_token_grows_with_the_history() {
    let turns = three_turns(false).await;
    turns.iter().for_each(assert_takes_its_prefill);
    let computed: Vec<_> = turns.iter().map(computed).collect();
    assert!(computed[1] > computed[0] + 200 && computed[2] > computed[1] + 200, "{computed:?}");
}

#[tokio::test]
async fn the_truth_log_tells_path_model_session_limit_and_the_prompts_blocks() {
    let turns = three_turns(true).await;
    let blocks: Vec<Vec<&str>> = turns
        .iter()
        .map(|turn| {
            turn["prompt_blocks"].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap()).collect()
        })
        .collect();
    for (turn, blocks) in turns.iter().zip(&blocks) {
        assert_eq!((&turn["path"], &turn["model"]), (&"/v1/chat/completions".into(), &"tiny".into()));
        assert_eq!((&turn["session"], &turn["max_tokens"]), (&"a session".into(), &40.into()));
        assert_eq!(turn["cancelled"], false);
        assert_eq!(blocks.len() as u64, number(turn, "prompt_tokens") / 16);
        assert!(blocks.iter().all(|hash| hash.len() == 16));
    }
    let shared = |a: &[&str], b: &[&str]| a.iter().zip(b).take_while(|(a, b)| a == b).count() as u64;
    // The first turn's prompt begins the second's, but for its last block; and what is shared is what was cached.
    assert!(shared(&blocks[0], &blocks[1]) as usize >= blocks[0].len() - 1);
    assert!(number(&turns[1], "cached_tokens") >= 16 * shared(&blocks[0], &blocks[1]));
}

#[tokio::test]
async fn a_streams_usage_says_what_the_prefix_cache_had_if_that_is_switched_on() {
    for (details, expected) in [(true, json!({ "cached_tokens": 96 })), (false, Value::Null)] {
        let output = OutputSpec { prompt_tokens_details: details, ..OutputSpec::default() };
        let sim = Sim::start(SimSpec { output, ..tiny() }).await;
        let mut request = completion(2);
        request["prompt"] = "abcd".repeat(100).into();
        let mut last = Value::Null;
        for _ in 0..2 {
            let events = sim.events("/v1/completions", &request).await;
            last = serde_json::from_str(&events[events.len() - 2]).unwrap();
        }
        assert_eq!(last["usage"]["prompt_tokens_details"], expected);
        sim.stop().await;
    }
}

#[tokio::test]
async fn the_prompts_blocks_are_told_only_if_asked_for_and_only_the_first_ones() {
    let dir = tempfile::tempdir().unwrap();
    for (asked, expected) in [(0, None), (3, Some(3))] {
        let path = dir.path().join(format!("truth-{asked}.jsonl"));
        let sim = Sim::start(SimSpec { truth_log: Some(path.clone()), truth_prompts: asked, ..tiny() }).await;
        sim.answer("/v1/completions", &json!({ "prompt": "abcd".repeat(100) })).await;
        sim.stop().await;
        assert_eq!(stories(&path)[0]["prompt_blocks"].as_array().map(Vec::len), expected);
    }
}

/// A simulator that is slow enough to be left, with its truth log.
async fn slow(folder: &Path) -> (Sim, std::path::PathBuf) {
    let path = folder.join("truth.jsonl");
    let timing = StepTime { base: Duration::from_millis(2), per_prefill_token: Duration::ZERO, ..PREFILL };
    (Sim::start(SimSpec { timing, truth_log: Some(path.clone()), ..tiny() }).await, path)
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_stream_is_told_as_cancelled_and_its_blocks_are_freed() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, path) = slow(dir.path()).await;
    for (at, (url, body)) in [
        ("/v1/completions", completion(2000)),
        ("/generate", json!({ "text": "x", "sampling_params": { "max_new_tokens": 2000, "ignore_eos": true }, "stream": true })),
    ].into_iter().enumerate() {
        let mut frames = sim.post(url, &body).await.bytes_stream();
        frames.next().await.unwrap().unwrap();
        drop(frames);
        sim.wait_for("vllm:request_success_total", "abort", (at + 1) as f64).await;
        assert_eq!(sim.metric("vllm:kv_cache_usage_perc", "").await, 0.0);
    }
    sim.stop().await;
    for story in stories(&path) {
        assert_eq!((&story["cancelled"], &story["finish_reason"]), (&true.into(), &Value::Null), "{story}");
        assert!((1..2000).contains(&number(&story, "output_tokens")));
    }
}

/// Two thousand tokens that begin like no others.
fn long_text(number: usize) -> String {
    format!("{number:04}{}", "abcd".repeat(1999))
}

#[tokio::test]
async fn a_client_that_leaves_before_an_answer_in_one_piece_is_told_as_cancelled_too() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, path) = slow(dir.path()).await;
    for (url, body) in [
        ("/v1/completions", json!({ "prompt": "x", "max_tokens": 2000, "ignore_eos": true })),
        ("/v1/embeddings", json!({ "input": (0..500).map(long_text).collect::<Vec<_>>() })),
    ] {
        let asked = tokio::spawn(sim.client.post(sim.url(url)).json(&body).send());
        let running = async {
            while sim.metric("vllm:num_requests_running", "").await == 0.0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, running).await.expect("it runs");
        asked.abort();
        sim.wait_for("vllm:num_requests_running", "", 0.0).await;
        sim.wait_for("vllm:num_requests_waiting", "", 0.0).await;
    }
    sim.stop().await;
    let cancelled: Vec<_> = stories(&path).iter().map(|story| story["cancelled"].clone()).collect();
    assert_eq!(cancelled, [true, true]);
}

#[tokio::test]
async fn streams_of_fixed_timing_tell_the_same_of_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("truth.jsonl");
    let rhythm = FixedTiming {
        ttft: Duration::from_millis(1),
        gap: Duration::from_millis(1),
        lockstep: false,
        events_per_write: 1,
    };
    let log = Some(path.clone());
    let sim =
        Sim::start(SimSpec { fixed_timing: Some(rhythm), truth_log: log, truth_prompts: 8, ..tiny() }).await;
    let mut request = completion(3);
    request["prompt"] = "abcd".repeat(32).into();
    let sent = sim.client.post(sim.url("/v1/completions")).header("x-session-id", "s").json(&request);
    sent.send().await.unwrap().text().await.unwrap();
    sim.stop().await;
    let story = &stories(&path)[0];
    assert_eq!((&story["path"], &story["session"]), (&"/v1/completions".into(), &"s".into()));
    assert_eq!((&story["max_tokens"], &story["cancelled"]), (&3.into(), &false.into()));
    assert_eq!(story["prompt_blocks"].as_array().unwrap().len(), 2);
}
