use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream as Client},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::sim::{self, FixedTiming, SimSpec};

const AT_ONCE: FixedTiming =
    FixedTiming { ttft: Duration::ZERO, gap: Duration::ZERO, lockstep: false, events_per_write: 1 };

/// Runs `talk` against a server of this timing, and returns the server's truth log.
fn truth_of(timing: FixedTiming, talk: impl FnOnce(SocketAddr)) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth.jsonl");
    let spec = SimSpec {
        fixed_timing: Some(timing),
        truth_log: Some(path.clone()),
        max_model_len: 65_536,
        ..SimSpec::default()
    };
    let (shutdown, asked) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(sim::listen("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        runtime.block_on(sim::serve(listener, spec, async { drop(asked.await) })).unwrap();
    });
    talk(address);
    shutdown.send(()).unwrap();
    server.join().unwrap();
    stories(&path)
}

fn stories(path: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(path).unwrap();
    log.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ask(path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: sim\r\nx-request-id: it\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn completion(tokens: usize) -> Vec<u8> {
    ask("/v1/completions", &json!({ "prompt": "Say something.", "max_tokens": tokens, "stream": true }))
}

fn connect(address: SocketAddr) -> Client {
    let client = Client::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client
}

/// Reads until the bytes end with `end`.
fn read_until(client: &mut Client, end: &str) -> String {
    let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
    while !text.ends_with(end.as_bytes()) {
        let length = client.read(&mut bytes).unwrap();
        assert!(length > 0, "ended early: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&bytes[..length]);
    }
    String::from_utf8(text).unwrap()
}

fn read_stream(client: &mut Client) -> String {
    read_until(client, "0\r\n\r\n")
}

#[test]
fn a_stream_has_every_token_its_end_and_a_connection_to_go_on_with() {
    let truth = truth_of(AT_ONCE, |address| {
        let mut client = connect(address);
        for tokens in [1, 5] {
            client.write_all(&completion(tokens)).unwrap();
            let answer = read_stream(&mut client);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert_eq!(answer.matches("data: {").count(), tokens);
            assert_eq!(answer.matches(r#""finish_reason":"length""#).count(), 1);
            assert!(answer.contains("data: [DONE]\n\n"), "{answer}");
        }
    });
    let lengths: Vec<_> = truth.iter().map(|story| story["tokens_ns"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [1, 5]);
    assert_eq!((&truth[0]["id"], &truth[1]["finish_reason"]), (&json!("it"), &json!("length")));
}

#[test]
fn the_truth_has_arrival_reading_and_writes_in_their_order() {
    let timing = FixedTiming { ttft: Duration::from_millis(3), gap: Duration::from_millis(2), ..AT_ONCE };
    let truth = truth_of(timing, |address| {
        let mut client = connect(address);
        client.write_all(&completion(4)).unwrap();
        read_stream(&mut client);
    });
    let ns = |name: &str| truth[0][name].as_u64().unwrap();
    let tokens: Vec<_> =
        truth[0]["tokens_ns"].as_array().unwrap().iter().map(|ns| ns.as_u64().unwrap()).collect();
    // Linux starts to timestamp a moment after the request to do so; other systems never do.
    assert!(truth[0]["arrived_ns"].as_u64().is_none_or(|arrived| arrived <= ns("read_ns")));
    assert!(tokens[0] - ns("read_ns") >= 3_000_000, "never before its time");
    assert!(tokens[3] - ns("read_ns") >= 9_000_000, "three gaps later at least");
    assert!(tokens.is_sorted() && tokens[3] <= ns("done_ns"));
}

#[test]
fn events_of_one_write_share_a_chunk_and_an_instant() {
    let truth = truth_of(FixedTiming { events_per_write: 4, ..AT_ONCE }, |address| {
        let mut client = connect(address);
        client.write_all(&completion(10)).unwrap();
        let answer = read_stream(&mut client);
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let per_chunk: Vec<_> =
            body.split("\r\n").map(|part| part.matches("data: {").count()).filter(|n| *n > 0).collect();
        assert_eq!(per_chunk, [4, 4, 2]);
    });
    let mut instants = truth[0]["tokens_ns"].as_array().unwrap().clone();
    assert_eq!(instants.len(), 10);
    instants.dedup();
    assert!(instants.len() <= 3);
}

#[test]
fn chats_open_with_a_role_and_end_with_the_usage_that_was_asked_for() {
    truth_of(AT_ONCE, |address| {
        let mut client = connect(address);
        let body = json!({
            "messages": [{ "role": "user", "content": "Hello" }], "max_tokens": 3, "stream": true,
            "stream_options": { "include_usage": true },
        });
        client.write_all(&ask("/v1/chat/completions", &body)).unwrap();
        let answer = read_stream(&mut client);
        assert_eq!(answer.matches(r#""role":"assistant""#).count(), 1);
        assert!(answer.contains(r#""completion_tokens":3"#), "{answer}");
    });
}

#[test]
fn a_client_that_reads_late_misses_nothing() {
    let truth = truth_of(FixedTiming { events_per_write: 64, ..AT_ONCE }, |address| {
        let mut client = connect(address);
        // More than the buffers of both sockets can hold.
        client.write_all(&completion(50_000)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(read_stream(&mut client).matches("data: {").count(), 50_000);
    });
    assert_eq!(truth[0]["output_tokens"], 50_000);
}

#[test]
fn a_client_that_leaves_is_in_the_truth_and_holds_up_nobody() {
    let timing = FixedTiming { gap: Duration::from_millis(1), ..AT_ONCE };
    let truth = truth_of(timing, |address| {
        let mut leaver = connect(address);
        leaver.write_all(&completion(60_000)).unwrap();
        leaver.read_exact(&mut [0; 100]).unwrap();
        drop(leaver);
        let mut client = connect(address);
        client.write_all(&completion(3)).unwrap();
        read_stream(&mut client);
    });
    let whole = truth.iter().filter(|story| story["finish_reason"] == "length").count();
    assert_eq!((truth.len(), whole), (2, 1));
}

#[test]
fn what_is_no_stream_gets_the_usual_answers() {
    truth_of(AT_ONCE, |address| {
        let mut client = connect(address);
        client.write_all(b"GET /v1/models HTTP/1.1\r\nhost: sim\r\n\r\n").unwrap();
        assert!(read_until(&mut client, r#""object":"list"}"#).contains("servegauge-sim"));
        let unknown = json!({ "model": "nope", "prompt": "Hi", "stream": true });
        client.write_all(&ask("/v1/completions", &unknown)).unwrap();
        assert!(read_until(&mut client, "}}").starts_with("HTTP/1.1 404 Not Found\r\n"));
        let whole = json!({ "prompt": "Hi there", "max_tokens": 2 });
        client.write_all(&ask("/v1/completions", &whole)).unwrap();
        assert!(read_until(&mut client, "\"metrics\":null}").contains(r#""completion_tokens":2"#));
    });
}
