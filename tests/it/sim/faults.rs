//! Each way to go wrong, seen from the client.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use servegauge::sim::{FaultInjection, FaultKind, SimSpec};

use super::harness::*;

/// How long a silent server is listened to. Silence has no end, so a slow machine cannot fail these tests.
const SILENCE: Duration = Duration::from_millis(200);

async fn always(kind: FaultKind) -> Sim {
    Sim::start(SimSpec { faults: FaultInjection { rate: 1.0, kinds: vec![kind] }, ..tiny() }).await
}

async fn error_of(response: reqwest::Response) -> Value {
    serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap()["error"].clone()
}

#[tokio::test]
async fn error500_and_error429_are_answered_in_the_shape_of_an_error() {
    for (kind, status) in [(FaultKind::Error500, 500), (FaultKind::Error429, 429)] {
        let sim = always(kind).await;
        let response = sim.post("/v1/completions", &completion(8)).await;
        assert_eq!(response.status(), status);
        assert_eq!(error_of(response).await["code"], status);
        sim.stop().await;
    }
}

#[tokio::test]
async fn disconnect_breaks_the_stream_in_the_middle() {
    let sim = always(FaultKind::Disconnect).await;
    let (events, clean) = read_out(sim.post("/v1/completions", &completion(8)).await).await;
    assert!(!clean, "the connection broke");
    assert_eq!(events.iter().filter_map(|event| text(event)).count(), 4);
    sim.stop().await;
}

#[tokio::test]
async fn stall_goes_silent_in_the_middle() {
    let sim = always(FaultKind::Stall).await;
    let mut frames = sim.post("/v1/completions", &completion(8)).await.bytes_stream();
    let mut seen = String::new();
    while seen.matches("\"text\"").count() < 4 {
        seen += std::str::from_utf8(&frames.next().await.unwrap().unwrap()).unwrap();
    }
    assert!(tokio::time::timeout(SILENCE, frames.next()).await.is_err(), "nothing more comes");
    sim.stop().await;
}

#[tokio::test]
async fn stall_headers_never_answers() {
    let sim = always(FaultKind::StallHeaders).await;
    let request = completion(8);
    let answer = sim.post("/v1/completions", &request);
    assert!(tokio::time::timeout(SILENCE, answer).await.is_err());
    sim.stop().await;
}

#[tokio::test]
async fn error_event_comes_inside_the_stream_and_is_followed_by_done() {
    let sim = always(FaultKind::ErrorEvent).await;
    let events = sim.events("/v1/chat/completions", &chat(8)).await;
    let [.., error, done] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(serde_json::from_str::<Value>(error).unwrap()["error"]["code"], 500);
    assert_eq!(done, "[DONE]");
    sim.stop().await;
}

#[tokio::test]
async fn malformed_breaks_one_event_and_no_other() {
    let sim = always(FaultKind::Malformed).await;
    let events = sim.events("/v1/completions", &completion(8)).await;
    let broken =
        events.iter().filter(|event| *event != "[DONE]" && serde_json::from_str::<Value>(event).is_err());
    assert_eq!(broken.count(), 1);
    assert_eq!(events.iter().filter_map(|event| text(event)).count(), 8);
    assert_eq!(events.last().unwrap(), "[DONE]");
    sim.stop().await;
}

#[tokio::test]
async fn no_terminal_ends_cleanly_without_finish_reason_and_done() {
    let sim = always(FaultKind::NoTerminal).await;
    let (events, clean) = read_out(sim.post("/v1/completions", &completion(8)).await).await;
    assert!(clean);
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event.contains("\"finish_reason\":null")));
    sim.stop().await;
}

#[tokio::test]
async fn empty_finishes_without_a_single_token() {
    let sim = always(FaultKind::Empty).await;
    let events = sim.events("/v1/completions", &completion(8)).await;
    assert_eq!(events.len(), 3, "finish, usage, done: {events:?}");
    assert!(events[0].contains("\"text\":\"\"") && events[0].contains("\"finish_reason\":\"length\""));
    assert!(events[1].contains("\"completion_tokens\":0"));
    let chat = sim.events("/v1/chat/completions", &chat(8)).await;
    assert_eq!(chat.len(), 4, "role, finish, usage, done: {chat:?}");
    sim.stop().await;
}

#[tokio::test]
async fn every_fault_strikes_answers_in_one_piece_too() {
    for kind in FaultKind::ALL {
        let sim = always(*kind).await;
        let mut request = completion(8);
        request.as_object_mut().unwrap().retain(|key, _| !key.starts_with("stream"));
        let sent = sim.client.post(sim.url("/v1/completions")).json(&request).send();
        let answer = async {
            let response = sent.await?;
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>((status, serde_json::from_str::<Value>(&response.text().await?)))
        };
        let silent = matches!(kind, FaultKind::Stall | FaultKind::StallHeaders);
        let outcome = tokio::time::timeout(if silent { SILENCE } else { PATIENCE }, answer).await;
        let wrong = match kind {
            FaultKind::Stall | FaultKind::StallHeaders => outcome.is_err(),
            FaultKind::Error500 | FaultKind::ErrorEvent => matches!(outcome, Ok(Ok((500, _)))),
            FaultKind::Error429 => matches!(outcome, Ok(Ok((429, _)))),
            FaultKind::Disconnect => matches!(outcome, Ok(Err(_))),
            FaultKind::Malformed => matches!(outcome, Ok(Ok((200, Err(_))))),
            FaultKind::NoTerminal => {
                outcome.unwrap().unwrap().1.unwrap()["choices"][0]["finish_reason"].is_null()
            }
            FaultKind::Empty => outcome.unwrap().unwrap().1.unwrap()["usage"]["completion_tokens"] == 0,
            other => panic!("{other} is not tested"),
        };
        assert!(wrong, "{kind}");
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_server_with_stalled_requests_can_be_shut_down() {
    let sim = always(FaultKind::Stall).await;
    let response = sim.post("/v1/completions", &completion(8)).await;
    sim.stop().await;
    let (_, clean) = read_out(response).await;
    assert!(!clean, "the stalled stream is cut off");
}
