//! The truth log against what the client received.

use std::{path::Path, time::Duration};

use futures_util::future::join_all;
use serde_json::Value;
use servegauge::sim::{FaultInjection, FaultKind, OutputSpec, SimSpec, StepTime};

use super::harness::*;

const STEP: Duration = Duration::from_millis(2);

const STEPS: StepTime = StepTime {
    base: STEP,
    per_prefill_token: Duration::ZERO,
    per_decode_seq: Duration::ZERO,
    per_kv_token: Duration::ZERO,
    jitter: 0.0,
};

fn logged(path: &Path) -> (Value, Vec<Value>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (lines.next().unwrap(), lines.collect())
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_truth_log_agrees_with_what_was_received() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("truth.jsonl");
    let sim = Sim::start(SimSpec { timing: STEPS, truth_log: Some(path.clone()), ..tiny() }).await;
    let requests = (0..8).map(|n| {
        let body = if n % 2 == 0 { completion(n + 1) } else { chat(n + 1) };
        let path = if n % 2 == 0 { "/v1/completions" } else { "/v1/chat/completions" };
        sim.client.post(sim.url(path)).header("x-request-id", format!("request-{n}")).json(&body).send()
    });
    for response in join_all(requests).await {
        response.unwrap().text().await.unwrap();
    }
    sim.stop().await;

    let (header, stories) = logged(&path);
    assert_eq!(header["clock"], "monotonic");
    assert!(header["base_unix_ns"].as_u64().unwrap() > 1_700_000_000_000_000_000);
    assert_eq!(stories.len(), 8);
    for story in &stories {
        let n: usize = story["id"].as_str().unwrap().strip_prefix("request-").unwrap().parse().unwrap();
        assert_eq!((&story["output_tokens"], &story["finish_reason"]), (&(n + 1).into(), &"length".into()));
        let (steps, written) = (numbers(&story["step_ns"]), numbers(&story["tokens_ns"]));
        assert_eq!((steps.len(), written.len()), (n + 1, n + 1));
        assert_eq!(story["first_token_ns"], written[0]);
        let read = story["read_ns"].as_u64().unwrap();
        // A step cannot end before its time, so these bounds hold on any machine.
        assert!(written.iter().zip(&steps).all(|(write, step)| write >= step), "{story}");
        assert!(written.is_sorted() && story["done_ns"].as_u64().unwrap() >= *written.last().unwrap());
        let least = STEP.as_nanos() as u64 * n as u64;
        assert!(steps[n] - read >= least, "{} tokens in {} ns", n + 1, steps[n] - read);
    }
    let mut ordinals: Vec<_> = stories.iter().map(|story| story["ordinal"].as_u64().unwrap()).collect();
    ordinals.sort_unstable();
    assert_eq!(ordinals, (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_token_without_text_is_counted_but_has_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("truth.jsonl");
    let output = OutputSpec { eos_mean: Some(5.0), ..OutputSpec::default() };
    let sim = Sim::start(SimSpec { output, truth_log: Some(path.clone()), ..tiny() }).await;
    let mut request = completion(1000);
    request["ignore_eos"] = false.into();
    let events = sim.events("/v1/completions", &request).await;
    sim.stop().await;
    let (_, stories) = logged(&path);
    let words = events.iter().filter_map(|event| text(event)).count();
    assert_eq!(stories[0]["finish_reason"], "stop");
    assert_eq!(stories[0]["output_tokens"], words + 1);
    assert_eq!(numbers(&stories[0]["tokens_ns"]).len(), words);
}

#[tokio::test]
async fn faults_and_departures_are_told_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("truth.jsonl");
    let faults = FaultInjection { rate: 1.0, kinds: vec![FaultKind::Disconnect] };
    let sim = Sim::start(SimSpec { faults, truth_log: Some(path.clone()), ..tiny() }).await;
    read_out(sim.post("/v1/completions", &completion(8)).await).await;
    sim.stop().await;
    let (_, stories) = logged(&path);
    assert_eq!(stories[0]["fault"], "disconnect");
    assert_eq!((&stories[0]["output_tokens"], &stories[0]["finish_reason"]), (&4.into(), &Value::Null));
}

#[tokio::test]
async fn a_truth_log_that_cannot_be_written_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no/such/folder/truth.jsonl");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec = SimSpec { truth_log: Some(path), ..tiny() };
    let error = servegauge::sim::serve(listener, spec, std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains("no/such/folder/truth.jsonl"), "{error}");
}
