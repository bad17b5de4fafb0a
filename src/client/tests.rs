use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::client::clock::RunClock;
use crate::client::request_timer::{Capture, CaptureGaps, CaptureText, RequestSummary};
use crate::model::record::{FailureClass, FinishReason, Milestone};
use crate::model::units::Secret;
use crate::testing::scripted_server::{
    Script, ScriptedServer, json, refusing_port, serve, stream, target, unfinished_stream,
};

mod answers;

const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
const DONE: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// Sends a request and returns its summary. The time limit only keeps a broken test from hanging.
async fn send(client: &Client) -> RequestSummary {
    let keep = Capture { text: CaptureText::Always, gaps: CaptureGaps::Never };
    let mut timer = RequestTimer::new(RunClock::start(), Duration::ZERO, keep, Rc::default());
    let body = client.body(&Request::text("Hi", 1, 4));
    let sending = client.send("bench-7", body, &mut timer, |_| {});
    let sent = timeout(Duration::from_secs(60), sending).await.expect("the client waits for nothing");
    timer.finish(sent)
}

async fn ask(target: &Target) -> RequestSummary {
    send(&Client::new(target, &Sampling::default(), 8).unwrap()).await
}

fn answering(answer: String) -> ScriptedServer {
    serve(vec![Script::Answers(vec![answer])])
}

/// The failure of a request that gets this answer.
async fn failure(answer: String) -> (FailureClass, String) {
    let failure = ask(&answering(answer).target()).await.outcome.unwrap_err();
    (failure.class, failure.detail)
}

#[tokio::test]
async fn a_streamed_answer_is_followed_to_its_end() {
    let story = ask(&answering(stream(&[&TOKEN[..30], &TOKEN[30..], TOKEN, DONE])).target()).await;
    assert_eq!(story.outcome, Ok(FinishReason::Stop));
    assert_eq!((story.text.as_deref(), story.events.count), (Some("aa"), 2));
    let times = story.times;
    let steps = [
        times.sent(),
        times.get(Milestone::Headers),
        times.get(Milestone::FirstChunk),
        times.first_token(),
        times.last_token(),
        times.done(),
    ];
    assert!(steps.iter().all(Option::is_some) && steps.is_sorted(), "{times:?}");
}

/// Gateways that pass a stream on as JSON (B3 of the reports).
#[tokio::test]
async fn a_stream_that_is_sent_as_json_is_read() {
    for before in ["", "\r\n", ": comment\n\n", "event: message\n", "id: 1\n", "\u{FEFF}"] {
        let body = stream(&[&format!("{before}{TOKEN}"), TOKEN, DONE]);
        let body = body.replace("text/event-stream", "application/json");
        assert!(body.contains("application/json"), "{body}");
        let story = ask(&answering(body).target()).await;
        assert_eq!(story.outcome, Ok(FinishReason::Stop), "{before:?}");
        assert_eq!(story.text.as_deref(), Some("aa"), "{before:?}");
    }
    let (class, detail) = failure(json("200 OK", "")).await;
    assert_eq!(class, FailureClass::BrokenStream);
    assert!(detail.starts_with("one JSON document instead"), "{detail}");
}

#[tokio::test]
async fn the_users_headers_win_over_ours() {
    let stage = answering(stream(&[TOKEN, DONE]));
    let mut target = stage.target();
    let given = [("X-Request-Id", "mine"), ("authorization", "Bearer sk-2"), ("User-Agent", "me")];
    target.headers.extend(given.map(|(name, value)| (name.to_owned(), Secret::new(value))));
    ask(&target).await.outcome.unwrap();

    let request = stage.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let values = |name: &str| -> Vec<String> {
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
    };
    assert!(head.starts_with("POST /v1/completions HTTP/1.1\r\n"), "{head}");
    assert_eq!(values("content-type"), ["application/json"]);
    assert_eq!(values("authorization"), ["Bearer sk-2"], "the later one, as with vLLM's --header");
    assert_eq!(values("user-agent"), ["me"]);
    let ids = values("x-request-id");
    assert!(ids == ["mine"], "{ids:?}");
    assert_eq!(values("accept-encoding"), ["identity"]);
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["model"], &body["prompt"], &body["stream"]),
        (&"tiny".into(), &"Hi".into(), &true.into())
    );
}

#[tokio::test]
async fn a_refusing_port_is_no_connection_and_says_why() {
    let (_socket, port) = refusing_port();
    let failure = ask(&target("http", port)).await.outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::Refused);
    assert!(failure.detail.ends_with(": connection refused"), "{failure}");
}

#[tokio::test]
async fn tls_to_a_port_that_speaks_none_is_a_tls_failure() {
    for blurt in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let stage = serve(vec![Script::GarbageThenClose(blurt)]);
        let failure = ask(&stage.tls_target()).await.outcome.unwrap_err();
        assert_eq!(failure.class, FailureClass::Tls, "{failure}");
        assert!(!failure.detail.is_empty() && !failure.detail.contains("https://"), "{failure}");
    }
}

#[tokio::test]
async fn a_server_that_closes_within_the_stream_breaks_it() {
    let story = ask(&answering(unfinished_stream(&[TOKEN, TOKEN])).target()).await;
    assert_eq!(story.outcome.unwrap_err().class, FailureClass::BrokenStream);
    assert_eq!((story.events.count, story.text.as_deref()), (2, Some("aa")), "what came is kept");
}

#[tokio::test]
async fn no_answer_and_no_http_are_broken_streams() {
    for answer in ["", "HTTP/1.1 2", "SSH-2.0-OpenSSH_9.2\r\n\r\n"] {
        let (class, detail) = failure(answer.to_owned()).await;
        assert_eq!(class, FailureClass::BrokenStream, "{answer}: {detail}");
        assert!(!detail.is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn nothing_is_sent_twice() {
    let close = || Script::Answers(vec![String::new()]);
    let stage = serve(vec![close(), close()]);
    assert!(ask(&stage.target()).await.outcome.is_err());
    assert_eq!(stage.requests().len(), 1);
}

#[tokio::test]
async fn a_status_comes_with_the_first_300_bytes_of_the_body() {
    let body = "{\"error\":{\"message\":\"The model `nope` does not exist.\",\"code\":404}}";
    assert_eq!(failure(json("404 Not Found", body)).await, (FailureClass::Status(404), body.to_owned()));
    let long = failure(json("500 Internal Server Error", &"é".repeat(100_000))).await;
    assert_eq!(long, (FailureClass::Status(500), "é".repeat(150)));
}

#[tokio::test]
async fn a_status_is_told_though_its_body_never_ends() {
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 500\r\n\r\nbusy".to_owned();
    let failure = ask(&serve(vec![Script::Open(head)]).target()).await.outcome.unwrap_err();
    assert_eq!((failure.class, failure.detail.as_str()), (FailureClass::Status(503), "busy"));
}

#[tokio::test]
async fn redirects_are_told_and_not_followed() {
    let answer =
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://x/v1\r\ncontent-length: 0\r\n\r\n".to_owned();
    let expected = (FailureClass::Status(308), "redirects to https://x/v1".to_owned());
    assert_eq!(failure(answer).await, expected);
}

#[tokio::test]
async fn a_json_document_instead_of_a_stream_is_a_failure() {
    let error = failure(json("200 OK", "{\"error\":{\"message\":\"busy\",\"code\":503}}")).await;
    assert_eq!(error, (FailureClass::ErrorEvent, "busy (code 503)".to_owned()));
    let (class, detail) = failure(json("200 OK", "{\"choices\":[{\"text\":\"abc\"}]}")).await;
    assert_eq!(class, FailureClass::BrokenStream);
    assert!(detail.starts_with("one JSON document instead of an event stream: {\"choices\""), "{detail}");
}

#[tokio::test]
async fn an_in_band_error_is_an_error_event() {
    let error = "data: {\"error\": {\"message\": \"busy\", \"code\": 503}}\n\n";
    assert_eq!(
        failure(stream(&[error, DONE])).await,
        (FailureClass::ErrorEvent, "busy (code 503)".to_owned())
    );
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let answers = vec![stream(&[TOKEN, DONE]), stream(&[TOKEN, DONE])];
    let stage = serve(vec![Script::Answers(answers)]);
    let client = Client::new(&stage.target(), &Sampling::default(), 8).unwrap();
    for _ in 0..2 {
        assert_eq!(send(&client).await.outcome, Ok(FinishReason::Stop));
    }
    assert_eq!(stage.requests().len(), 2, "on the only connection there is");
}

#[tokio::test]
async fn done_ends_an_answer_though_the_server_does_not() {
    let stage = serve(vec![Script::Open(unfinished_stream(&[TOKEN, DONE]))]);
    assert_eq!(ask(&stage.target()).await.outcome, Ok(FinishReason::Stop));
}

#[test]
fn a_url_that_cannot_be_requested_is_refused() {
    for url in ["localhost:8000", "ftp://host", "http://", "http://host:99999", ""] {
        let target = Target { base_url: url.into(), ..target("http", 1) };
        let error = Client::new(&target, &Sampling::default(), 0).unwrap_err();
        assert!(matches!(error, ClientError::Url { .. }), "{url}: {error}");
    }
}

#[test]
fn a_header_that_http_does_not_allow_is_refused_without_its_value() {
    for (name, value) in [("a b", "secret"), ("", "secret"), ("key", "se\ncret")] {
        let target = Target { headers: vec![(name.into(), Secret::new(value))], ..target("http", 1) };
        let error = Client::new(&target, &Sampling::default(), 0).unwrap_err();
        assert!(matches!(error, ClientError::Header { .. }), "{error}");
        assert!(!error.to_string().contains(value), "{error}");
    }
}
