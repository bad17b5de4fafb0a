//! `/v1/responses`.

use serde_json::{Value, json};
use servegauge::sim::{FaultInjection, FaultKind, OutputSpec, SimSpec};

use super::harness::*;

fn request(tokens: usize) -> Value {
    json!({
        "model": "tiny", "input": "Say something about threads.", "max_output_tokens": tokens, "ignore_eos": true,
        "stream": true,
    })
}

/// The events of a stream: the name of each, which is also its type, and its data.
async fn events(sim: &Sim, request: &Value) -> Vec<(String, Value)> {
    let body = sim.post("/v1/responses", request).await.text().await.unwrap();
    let events = body.split("\n\n").filter(|event| !event.is_empty()).map(|event| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        (name.to_owned(), data)
    });
    events.collect()
}

/// The names of the events, each run of the same as one.
fn names(events: &[(String, Value)]) -> Vec<&str> {
    let mut names: Vec<_> = events.iter().map(|(name, _)| name.strip_prefix("response.").unwrap()).collect();
    names.dedup();
    names
}

#[tokio::test]
async fn a_response_streams_its_events_in_order_and_counts_its_tokens_at_the_end() {
    let sim = Sim::start(tiny()).await;
    let events = events(&sim, &request(8)).await;
    assert_eq!(
        names(&events),
        [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    );
    assert!(events.iter().enumerate().all(|(at, (_, data))| data["sequence_number"] == at));
    let deltas: Vec<_> = events
        .iter()
        .filter(|(name, _)| name.ends_with("text.delta"))
        .map(|(_, data)| data["delta"].as_str().unwrap())
        .collect();
    assert_eq!(deltas.len(), 8);
    let response = &events.last().unwrap().1["response"];
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(response["output"][0]["content"][0]["text"], deltas.concat());
    assert_eq!(response["usage"]["output_tokens"], 8);
    assert_eq!(response["usage"]["input_tokens"], 12, "`user: `, 28 bytes, a line end and `assistant:`");
    assert_eq!(response["usage"]["total_tokens"], 20);
    sim.stop().await;
}

#[tokio::test]
async fn reasoning_is_an_item_of_its_own_before_the_message() {
    let output = OutputSpec { reasoning: 3, ..OutputSpec::default() };
    let sim = Sim::start(SimSpec { output, ..tiny() }).await;
    let events = events(&sim, &request(8)).await;
    let count = |suffix: &str| events.iter().filter(|(name, _)| name.ends_with(suffix)).count();
    assert_eq!((count("reasoning_text.delta"), count("output_text.delta")), (3, 5));
    let response = &events.last().unwrap().1["response"];
    let kinds: Vec<_> = response["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["reasoning", "message"]);
    assert_eq!(response["usage"]["output_tokens_details"]["reasoning_tokens"], 3);
    let mut whole = request(8);
    whole["stream"] = false.into();
    let whole = sim.answer("/v1/responses", &whole).await;
    for item in [0, 1] {
        assert_eq!(whole["output"][item]["content"], response["output"][item]["content"]);
    }
    sim.stop().await;
}

#[tokio::test]
async fn a_response_that_ends_by_itself_is_completed() {
    let sim =
        Sim::start(SimSpec { output: OutputSpec { eos_mean: Some(4.0), ..OutputSpec::default() }, ..tiny() })
            .await;
    let mut request = request(1000);
    request["ignore_eos"] = false.into();
    let events = events(&sim, &request).await;
    let (name, last) = events.last().unwrap();
    assert_eq!((name.as_str(), &last["response"]["status"]), ("response.completed", &json!("completed")));
    let words = events.iter().filter(|(name, _)| name.ends_with("output_text.delta")).count();
    assert_eq!(last["response"]["usage"]["output_tokens"], words + 1);
    sim.stop().await;
}

#[tokio::test]
async fn input_may_be_a_list_of_messages_with_instructions_before_it() {
    let sim = Sim::start(tiny()).await;
    let plain = json!({ "model": "tiny", "input": "abcd", "max_output_tokens": 1 });
    let list = json!({
        "model": "tiny", "max_output_tokens": 1,
        "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "abcd" }] }],
    });
    let mut instructed = list.clone();
    instructed["instructions"] = "be brief".into();
    let mut counts = Vec::new();
    for request in [plain, list, instructed] {
        counts.push(sim.answer("/v1/responses", &request).await["usage"]["input_tokens"].as_u64().unwrap());
    }
    assert_eq!(counts, [6, 6, 10], "`system: be brief` and a line end are 17 bytes more");
    sim.stop().await;
}

#[tokio::test]
async fn an_error_in_the_middle_is_a_response_that_failed() {
    let faults = FaultInjection { rate: 1.0, kinds: vec![FaultKind::ErrorEvent] };
    let sim = Sim::start(SimSpec { faults, ..tiny() }).await;
    let events = events(&sim, &request(8)).await;
    let (name, data) = events.last().unwrap();
    assert_eq!(name, "response.failed");
    assert!(data["response"]["error"]["message"].is_string(), "{data}");
    sim.stop().await;
}
