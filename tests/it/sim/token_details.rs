//! Token ids and log-probabilities, in vLLM's formats.

use serde_json::{Value, json};

use super::harness::*;

fn with(mut request: Value, fields: Value) -> Value {
    let fields = fields.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(fields);
    request
}

fn chat(stream: bool) -> Value {
    let messages = json!([{ "role": "user", "content": "Hello" }]);
    json!({ "model": "tiny", "messages": messages, "max_tokens": 3, "stream": stream })
}

fn text(stream: bool) -> Value {
    json!({ "model": "tiny", "prompt": "Hello", "max_tokens": 3, "stream": stream })
}

fn parsed(events: &[String]) -> Vec<Value> {
    events
        .iter()
        .filter(|event| *event != "[DONE]")
        .map(|event| serde_json::from_str(event).unwrap())
        .collect()
}

fn length(value: &Value) -> usize {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).len()
}

#[tokio::test]
async fn an_answer_has_the_ids_of_prompt_and_output_where_they_are_asked_for() {
    let sim = Sim::start(tiny()).await;
    let asked = json!({ "return_token_ids": true });
    let whole = sim.answer("/v1/completions", &with(text(false), asked.clone())).await;
    let choice = &whole["choices"][0];
    assert_eq!(length(&choice["token_ids"]), 3);
    assert_eq!(whole["usage"]["prompt_tokens"], length(&choice["prompt_token_ids"]));
    let whole = sim.answer("/v1/chat/completions", &with(chat(false), asked.clone())).await;
    assert_eq!(length(&whole["choices"][0]["token_ids"]), 3);
    assert_eq!(whole["usage"]["prompt_tokens"], length(&whole["prompt_token_ids"]));

    let events = parsed(&sim.events("/v1/completions", &with(text(true), asked.clone())).await);
    assert!(length(&events[0]["choices"][0]["prompt_token_ids"]) > 0, "the first event has the prompt's");
    assert!(events[1..].iter().all(|event| event["choices"][0]["prompt_token_ids"].is_null()));
    let ids: usize = events.iter().map(|event| length(&event["choices"][0]["token_ids"])).sum();
    assert_eq!(ids, 3);
    let events = parsed(&sim.events("/v1/chat/completions", &with(chat(true), asked)).await);
    assert!(length(&events[0]["prompt_token_ids"]) > 0, "the role's event has the prompt's");
    let ids: usize = events[1..].iter().map(|event| length(&event["choices"][0]["token_ids"])).sum();
    assert_eq!(ids, 3);
    sim.stop().await;
}

#[tokio::test]
async fn a_chat_has_log_probabilities_of_each_token_and_its_alternatives() {
    let sim = Sim::start(tiny()).await;
    let asked = json!({ "logprobs": true, "top_logprobs": 2 });
    let whole = sim.answer("/v1/chat/completions", &with(chat(false), asked.clone())).await;
    let content = &whole["choices"][0]["logprobs"]["content"];
    assert_eq!(length(content), 3);
    let first = &content[0];
    assert!(first["logprob"].as_f64().unwrap() <= 0.0 && first["token"].is_string(), "{first}");
    assert_eq!(length(&first["bytes"]), first["token"].as_str().unwrap().len());
    assert_eq!((length(&first["top_logprobs"]), &first["top_logprobs"][0]["token"]), (2, &first["token"]));
    let spelled: String =
        content.as_array().unwrap().iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(whole["choices"][0]["message"]["content"], spelled);
    let events = parsed(&sim.events("/v1/chat/completions", &with(chat(true), asked)).await);
    let tokens: usize =
        events[1..].iter().map(|event| length(&event["choices"][0]["logprobs"]["content"])).sum();
    assert_eq!(tokens, 3);
    sim.stop().await;
}

#[tokio::test]
async fn a_completion_has_log_probabilities_in_lists() {
    let sim = Sim::start(tiny()).await;
    let asked = json!({ "logprobs": 2 });
    let whole = sim.answer("/v1/completions", &with(text(false), asked.clone())).await;
    let logprobs = &whole["choices"][0]["logprobs"];
    for list in ["text_offset", "token_logprobs", "tokens", "top_logprobs"] {
        assert_eq!(length(&logprobs[list]), 3, "{list}: {logprobs}");
    }
    assert_eq!(logprobs["text_offset"][0], 0);
    assert_eq!(logprobs["top_logprobs"][0].as_object().unwrap().len(), 2);
    let events = parsed(&sim.events("/v1/completions", &with(text(true), asked)).await);
    let offsets: Vec<u64> = events
        .iter()
        .map(|event| event["choices"][0]["logprobs"]["text_offset"][0].as_u64().unwrap())
        .collect();
    assert!(offsets[0] == 0 && offsets.is_sorted() && offsets[1] > 0, "{offsets:?}");
    sim.stop().await;
}

#[tokio::test]
async fn too_many_alternatives_and_alternatives_of_nothing_are_refused() {
    let sim = Sim::start(tiny()).await;
    let refused = async |path: &str, request: Value, word: &str| {
        let response = sim.post(path, &request).await;
        assert_eq!(response.status(), 400);
        let text = response.text().await.unwrap();
        assert!(text.contains(word), "{text}");
    };
    refused("/v1/completions", with(text(false), json!({ "logprobs": 21 })), "logprobs").await;
    refused("/v1/completions", with(text(false), json!({ "logprobs": -2 })), "logprobs").await;
    refused("/v1/chat/completions", with(chat(false), json!({ "top_logprobs": 2 })), "top_logprobs").await;
    sim.stop().await;
}
