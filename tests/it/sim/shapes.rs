//! Answers against recordings of a real vLLM, key by key.

use serde_json::{Value, json};
use servegauge::sim::{LineEnding, OutputSpec, ReasoningField, SimSpec};

use super::harness::*;

/// The body of a recording, after its request and its response's head.
fn recorded(name: &str) -> String {
    fixture(name).split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Every key of a value with the type of what it holds, in the order of appearance.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => "string".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) | Value::Null => value.clone(),
    }
}

fn shape_of(event: &str) -> Value {
    if event == "[DONE]" { event.into() } else { shape(&serde_json::from_str(event).unwrap()) }
}

/// The order of a chunk's keys, which a parsed value has lost.
fn key_order(event: &str) -> Vec<String> {
    let plain = event.replace("\\\\", "").replace("\\\"", "");
    let keys = plain.split('"').enumerate().filter(|(at, _)| at % 2 == 1).map(|(_, quoted)| quoted);
    keys.filter(|key| plain.contains(&format!("\"{key}\":"))).map(str::to_owned).collect()
}

/// The different kinds of event of a stream, in their order. The real server joins tokens as it pleases, so
/// how often a kind is repeated means nothing.
fn kinds(events: &[String]) -> Vec<(Value, Vec<String>)> {
    let mut kinds: Vec<_> = events.iter().map(|event| (shape_of(event), key_order(event))).collect();
    kinds.dedup();
    kinds
}

/// Compares a stream with the recording of one.
async fn assert_stream_like(name: &str, path: &str, request: &Value) {
    let real = event_data(&recorded(name));
    let sim = Sim::start(tiny()).await;
    let ours = sim.events(path, request).await;
    assert_eq!(kinds(&ours), kinds(&real), "{name}");
    sim.stop().await;
}

#[tokio::test]
async fn a_completions_stream_looks_like_the_real_one() {
    assert_stream_like("sse-completions.txt", "/v1/completions", &completion(24)).await;
}

#[tokio::test]
async fn a_completions_stream_without_usage_looks_like_the_real_one() {
    let mut request = completion(4);
    request.as_object_mut().unwrap().remove("stream_options");
    assert_stream_like("sse-completions-no-usage.txt", "/v1/completions", &request).await;
}

#[tokio::test]
async fn continuous_usage_looks_like_the_real_one_and_counts_every_token() {
    let mut request = completion(8);
    request["stream_options"]["continuous_usage_stats"] = true.into();
    assert_stream_like("sse-completions-continuous-usage.txt", "/v1/completions", &request).await;
    let sim = Sim::start(tiny()).await;
    let events = sim.events("/v1/completions", &request).await;
    let counts = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let counts: Vec<_> = counts.map(|chunk| chunk["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8, 8]);
    sim.stop().await;
}

#[tokio::test]
async fn a_chat_stream_looks_like_the_real_one() {
    assert_stream_like("sse-chat.txt", "/v1/chat/completions", &chat(24)).await;
}

#[tokio::test]
async fn answers_in_one_piece_look_like_the_real_ones() {
    let sim = Sim::start(tiny()).await;
    for (name, path, mut request) in [
        ("json-completions-nonstream.txt", "/v1/completions", completion(8)),
        ("json-chat-nonstream.txt", "/v1/chat/completions", chat(8)),
    ] {
        let fields = request.as_object_mut().unwrap();
        fields.remove("stream_options");
        fields.remove("stream");
        let (real, ours) = (recorded(name), sim.post(path, &request).await.text().await.unwrap());
        assert_eq!(shape_of(&ours), shape_of(&real), "{name}");
        assert_eq!(key_order(&ours), key_order(&real), "{name}");
    }
    sim.stop().await;
}

#[tokio::test]
async fn reasoning_goes_out_first_in_the_field_that_was_chosen() {
    for field in [ReasoningField::Reasoning, ReasoningField::ReasoningContent] {
        let output = OutputSpec { reasoning: 3, reasoning_field: field, ..OutputSpec::default() };
        let sim = Sim::start(SimSpec { output, ..tiny() }).await;
        let events = sim.events("/v1/chat/completions", &chat(5)).await;
        let deltas: Vec<Value> = events[1..6]
            .iter()
            .map(|event| serde_json::from_str::<Value>(event).unwrap()["choices"][0]["delta"].clone())
            .collect();
        let has = |delta: &Value, key: &str| delta[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(deltas[..3].iter().all(|delta| has(delta, field.name()) && delta.get("content").is_none()));
        assert!(deltas[3..].iter().all(|delta| has(delta, "content") && delta.get(field.name()).is_none()));
        sim.stop().await;
    }
}

#[tokio::test]
async fn tokens_can_be_joined_into_events_and_usage_still_counts_them_all() {
    let output = OutputSpec { tokens_per_event: 3, ..OutputSpec::default() };
    let sim = Sim::start(SimSpec { output, ..tiny() }).await;
    let events = sim.events("/v1/completions", &completion(8)).await;
    let words: Vec<_> =
        events.iter().filter_map(|event| text(event)).map(|text| text.split_whitespace().count()).collect();
    assert_eq!(words, [3, 3, 2]);
    assert!(events.iter().any(|event| event.contains("\"completion_tokens\":8")));
    sim.stop().await;
}

#[tokio::test]
async fn crlf_streams_have_the_same_events_as_lf_streams() {
    let output = OutputSpec { line_ending: LineEnding::Crlf, ..OutputSpec::default() };
    let sim = Sim::start(SimSpec { output, ..tiny() }).await;
    let body = sim.post("/v1/completions", &completion(4)).await.text().await.unwrap();
    assert_eq!(body.matches("\r\n\r\n").count(), 6, "four tokens, usage, done");
    assert_eq!(body.matches('\n').count(), 12);
    sim.stop().await;
}

#[tokio::test]
async fn a_server_can_be_made_to_keep_its_usage_to_itself() {
    let output = OutputSpec { usage: false, ..OutputSpec::default() };
    let sim = Sim::start(SimSpec { output, ..tiny() }).await;
    for events in [
        sim.events("/v1/completions", &completion(4)).await,
        sim.events("/v1/chat/completions", &chat(4)).await,
    ] {
        assert!(!events.concat().contains("usage"));
        assert_eq!(events.last().unwrap(), "[DONE]");
    }
    sim.stop().await;
}

/// Bodies whose validation message quotes Python's own words, which are not repeated here.
const QUOTES_PYTHON: &str = "validation error";

#[tokio::test]
async fn errors_look_like_the_real_ones() {
    let sim = Sim::start(tiny()).await;
    let all = fixture("errors.txt");
    for case in all.split("=== ").filter(|case| case.contains(">>> POST /")) {
        let (head, body) = case.split_once("HTTP/1.1 ").unwrap();
        let name = head.lines().next().unwrap();
        let path = head.lines().nth(1).unwrap().strip_prefix(">>> POST ").unwrap();
        let request = head.lines().nth(2).unwrap().strip_prefix(">>> body:").unwrap().trim_start();
        // The vocabulary without a tokenizer has no unknown ids.
        if name.starts_with("token id out of the vocabulary") {
            continue;
        }
        let media_type = if name == "wrong content type" { "text/plain" } else { "application/json" };
        let sent = sim.client.post(sim.url(path)).header("content-type", media_type).body(request.to_owned());
        let response = sent.send().await.unwrap();
        let status = response.status().as_u16();
        assert_eq!(status.to_string(), body[..3], "{name}");
        let ours: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        let real: Value = serde_json::from_str(body.split_once("\n\n").unwrap().1.trim()).unwrap();
        if real["error"]["message"].as_str().is_some_and(|message| message.contains(QUOTES_PYTHON)) {
            assert!(
                ours["error"]["message"].as_str().unwrap().starts_with("1 validation error:\n  "),
                "{name}"
            );
            assert_eq!(shape(&ours)["error"]["message"], "string");
            for key in ["type", "code"] {
                assert_eq!(ours["error"][key], real["error"][key], "{name}");
            }
        } else {
            assert_eq!(ours, real, "{name}");
        }
    }
    sim.stop().await;
}

#[tokio::test]
async fn a_prompt_too_long_is_refused_and_one_that_leaves_little_room_is_cut_short() {
    let sim = Sim::start(tiny()).await;
    let mut request = json!({ "model": "tiny", "prompt": "abcd".repeat(3000), "max_tokens": 4 });
    let response = sim.post("/v1/completions", &request).await;
    assert_eq!(response.status(), 400);
    let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(
        error["error"]["message"],
        "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens, \
         which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. \
         (parameter=input_tokens, value=2049)"
    );
    request["prompt"] = "abcd".repeat(2000).into();
    request["max_tokens"] = 1800.into();
    request["ignore_eos"] = true.into();
    let answer = sim.answer("/v1/completions", &request).await;
    assert_eq!(
        answer["usage"],
        json!({
            "prompt_tokens": 2000, "completion_tokens": 48, "total_tokens": 2048,
            "prompt_tokens_details": null, "completion_tokens_details": null,
        })
    );
    sim.stop().await;
}
