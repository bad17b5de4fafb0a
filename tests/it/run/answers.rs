//! What counts as an answer, from the bytes of a server to the report and the JSON.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::post;
use futures_util::stream;
use serde_json::json;

use crate::support::{Ended, Program};

/// The time between two events of an answer: events that arrive together are read together, which has a verdict of its
/// own.
const PACE: Duration = Duration::from_millis(4);

/// The events of a stream, one after the other.
fn paced(events: String) -> Body {
    let events = events.split_inclusive("\n\n").map(str::to_owned).collect::<VecDeque<_>>();
    Body::from_stream(stream::unfold(events, async |mut events| {
        let next = events.pop_front()?;
        tokio::time::sleep(PACE).await;
        Some((Ok::<_, Infallible>(next), events))
    }))
}

/// A server that gives each request the same stream.
fn server(stream: String) -> String {
    let complete = move || {
        let answer = Response::builder().header("content-type", "text/event-stream");
        let answer = answer.body(paced(stream.clone())).unwrap();
        async { Ok::<_, Infallible>(answer) }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/v1/chat/completions", post(complete));
    // It ends with the test's process.
    std::thread::spawn(move || runtime.block_on(async { axum::serve(listener, app).await }));
    format!("http://{address}")
}

fn delta(delta: &str, reason: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n")
}

fn words(count: usize) -> String {
    (0..count).map(|at| delta(&format!("{{\"content\":\" w{at}\"}}"), "null")).collect()
}

fn end(reason: &str, tokens: usize) -> String {
    let usage = format!("{{\"prompt_tokens\":20,\"completion_tokens\":{tokens}}}");
    delta("{}", reason) + &format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n")
}

fn measure(stream: String, more: &str) -> Ended {
    let small = "--backend openai-chat --dataset-name random --random-input-len 8 --num-prompts 2 --max-concurrency 1 \
                 --no-server-metrics --save-detailed";
    Program::measure(&server(stream), small).words(more).end()
}

#[test]
fn an_aborted_answer_is_a_failure_unless_its_reason_is_accepted() {
    let stream = || words(2) + &end("\"abort\"", 2);
    let ended = measure(stream(), "--random-output-len 8").with_code(1);
    assert!(
        ended.stdout.contains("aborted by the server: 2 (first: finish reason `abort`)"),
        "{}",
        ended.stdout
    );
    let result = ended.result();
    assert_eq!((&result["completed"], &result["failed"]), (&json!(0), &json!(2)));
    assert_eq!(result["servegauge"]["records"][0]["failure_class"], "aborted");

    let ended = measure(stream(), "--random-output-len 8 --accept-finish-reason abort").well();
    assert_eq!(ended.line("Finish reasons"), "abort 2");
    assert_eq!(ended.result()["servegauge"]["metrics"]["finish_reasons"], json!({ "abort": 2 }));
}

#[test]
fn a_stream_that_only_says_done_was_cut() {
    let ended = measure(words(2) + "data: [DONE]\n\n", "--random-output-len 8").with_code(1);
    assert!(ended.stdout.contains("ended without a finish reason: the answer was cut"), "{}", ended.stdout);
}

#[test]
fn an_unknown_reason_is_a_failure_and_a_content_filter_shows() {
    let ended = measure(words(2) + &end("\"odd\"", 2), "--random-output-len 8").with_code(1);
    assert!(
        ended.stdout.contains("unknown finish reason: 2 (first: finish reason `odd`)"),
        "{}",
        ended.stdout
    );
    let ended = measure(words(8) + &end("\"content_filter\"", 8), "--random-output-len 8").well();
    assert_eq!(ended.line("Finish reasons"), "content_filter 2");
}

#[test]
fn answers_of_another_length_than_asked_are_objected_to() {
    let objected = |stream: String, more: &str, words: &str| {
        let ended = measure(stream, more).well();
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    };
    objected(
        words(40) + &end("\"stop\"", 40),
        "--random-output-len 8",
        "2 of 2 answers are longer than requested (40 tokens on average, 8 requested)",
    );
    objected(
        words(4) + &end("\"stop\"", 4),
        "--random-output-len 100 --ignore-eos",
        "2 of 2 answers are shorter than requested (4 tokens on average, 100 requested)",
    );
    objected(
        words(16) + &end("\"length\"", 136),
        "--random-output-len 16",
        "2 of 2 answers report a usage of 136 tokens although they have no more events than their limit of 16",
    );
    objected(
        words(8) + &end("\"length\"", 1),
        "--random-output-len 8",
        "2 of 2 answers report a usage of 1 tokens",
    );
}

/// The usage of an answer that stopped by itself proves no less than that of one that ended at its limit.
#[test]
fn a_usage_that_the_text_cannot_be_makes_the_token_metrics_invalid() {
    let invalid = |stream: String, more: &str, words: &str| {
        let ended = measure(stream, more).well();
        let first = ended.stdout.lines().find(|line| line.starts_with("INVALID")).unwrap_or_default();
        assert!(first.contains("TPOT and output tok/s"), "{}", ended.stdout);
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    };
    invalid(
        words(16) + &end("\"stop\"", 200),
        "--random-output-len 256 --no-ignore-eos",
        "2 of 2 answers report a usage of 200 tokens on average, but their text is at most",
    );
    invalid(
        words(16) + &end("\"stop\"", 300),
        "--random-output-len 256 --no-ignore-eos",
        "2 of 2 answers report a usage of 300 tokens although they have no more events than their limit of 256",
    );
    invalid(
        words(16) + &end("\"tool_calls\"", 4_000_000_000),
        "--random-output-len 256 --no-ignore-eos",
        "their limit of 256",
    );
}

/// Speculative decoding, several tokens in an event, reported reasoning, special tokens.
#[test]
fn a_usage_above_the_events_that_the_text_can_be_is_valid() {
    let valid = |stream: String| {
        let ended = measure(stream, "--random-output-len 256 --no-ignore-eos").well();
        let usage = ended.result()["servegauge"]["validity"]["checks"].clone();
        let usage = usage.as_array().unwrap().iter().find(|check| check["name"] == "usage").unwrap().clone();
        assert_eq!(usage["outcome"], "passed", "{usage}");
    };
    let long: String = (0..20).map(|_| delta("{\"content\":\" and then we went on\"}", "null")).collect();
    valid(long + &end("\"stop\"", 100));
    valid(words(4) + &end("\"stop\"", 60));
    let details = ",\"completion_tokens_details\":{\"reasoning_tokens\":180}}";
    valid(words(16) + &end("\"stop\"", 200).replace("200}", &format!("200{details}")));
}

#[test]
fn an_answer_far_beyond_its_limit_is_a_failure() {
    let ended = measure(words(500) + &end("\"stop\"", 500), "--random-output-len 16").with_code(1);
    assert!(ended.stdout.contains("answer beyond its limit: 2"), "{}", ended.stdout);
    assert!(ended.stdout.contains("although at most 16 tokens were requested"), "{}", ended.stdout);
}

#[test]
fn what_is_no_part_of_an_answer_is_said_once() {
    let stream = "data: : OPENROUTER PROCESSING\n\n".repeat(2) + &words(8) + &end("\"length\"", 8);
    let ended = measure(stream, "--random-output-len 8").well();
    assert!(ended.line("Ignored events").starts_with("4 (pings or comments"), "{}", ended.stdout);
    assert_eq!(ended.result()["servegauge"]["streams"]["ignored_events"], 4);
}

/// A gateway's own name of the reasoning: the first output that is read comes too late.
#[test]
fn text_in_an_unknown_field_is_named() {
    let thoughts: String =
        (0..3).map(|_| delta("{\"thought\":\"hm hm\",\"role\":\"assistant\"}", "null")).collect();
    let ended = measure(thoughts + &words(8) + &end("\"length\"", 8), "--random-output-len 8").well();
    let expected = "deltas have text in fields that are not read: thought (6 events)";
    assert!(ended.line("Unread fields").starts_with(expected), "{}", ended.stdout);
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    assert_eq!(ended.result()["servegauge"]["streams"]["unread_fields"], json!({ "thought": 6 }));
    let ended = measure(words(8) + &end("\"length\"", 8), "--random-output-len 8").well();
    assert!(!ended.stderr.contains("not read"), "{}", ended.stderr);
}

#[test]
fn an_error_of_another_kind_is_one_and_other_json_is_quoted() {
    let around = |event: &str| words(4) + &format!("data: {event}\n\n") + &words(4) + &end("\"length\"", 8);
    for (event, words) in [
        ("{\"detail\": \"Internal error\"}", "(first: Internal error)"),
        ("{\"errorCode\": 500, \"errorMessage\": \"boom\"}", "(first: boom (code 500))"),
    ] {
        let ended = measure(around(event), "--random-output-len 8").with_code(1);
        assert!(ended.stdout.contains(&format!("error event in the stream: 2 {words}")), "{}", ended.stdout);
    }
    let ended = measure(around("{\"queue_position\": 3}"), "--random-output-len 8").well();
    let expected = "2 (not read as part of an answer; first: {\"queue_position\": 3})";
    assert_eq!(ended.line("Unknown events"), expected);
    assert!(!ended.stdout.contains("pings"), "{}", ended.stdout);
    let streams = &ended.result()["servegauge"]["streams"];
    assert_eq!((&streams["unknown_events"], &streams["ignored_events"]), (&json!(2), &json!(2)));
    assert_eq!(streams["first_unknown_event"], "{\"queue_position\": 3}");
}

#[test]
fn tokens_without_text_have_an_end_and_no_first_token() {
    let ended =
        measure(delta("{\"content\":\"\"}", "null") + &end("\"length\"", 8), "--random-output-len 8").well();
    let result = ended.result();
    assert_eq!((&result["completed"], &result["total_output_tokens"]), (&json!(2), &json!(16)));
    let latencies = &result["servegauge"]["metrics"]["latencies"];
    assert!(latencies["e2el"]["mean_s"].is_number() && latencies["ttft"].is_null(), "{latencies}");
}

/// vLLM #42548: a reasoning model spends its tokens before it says anything.
#[test]
fn a_session_that_repeats_empty_answers_says_so() {
    let reasoning: String =
        (0..8).map(|at| delta(&format!("{{\"reasoning\":\" t{at}\"}}"), "null")).collect();
    let more = "--random-output-len 8 --multi-turn --multi-turn-num-turns 2";
    let ended = measure(reasoning + &end("\"length\"", 8), more).well();
    assert!(
        ended.stdout.contains("answers without text that the next turn repeats: 100.0 %"),
        "{}",
        ended.stdout
    );
    let ended = measure(words(8) + &end("\"length\"", 8), more).well();
    assert!(!ended.stdout.contains("without text"), "{}", ended.stdout);
}
