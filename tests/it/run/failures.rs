//! Each class of failure is provoked, and found in the report, in the JSON, and (when all fail) on stderr.

use std::time::Duration;

use serde_json::{Value, json};
use servegauge::sim::{FaultInjection, FaultKind, SimSpec};

use crate::support::{Ended, Port, Program, Simulator, fault, quick, steps};

/// A few small requests, saved with everything.
const FOUR: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos \
                    --num-prompts 4 --max-concurrency 2 --save-detailed";

#[test]
fn a_status_of_500_is_a_class() {
    all_fail_by(FaultKind::Error500, "status_500", "HTTP 500");
}

#[test]
fn a_status_of_429_is_a_class() {
    all_fail_by(FaultKind::Error429, "status_429", "HTTP 429");
}

#[test]
fn a_response_head_that_does_not_come_in_time_is_a_class() {
    let ended = measure(fault(FaultKind::StallHeaders), "--timeout 300ms");
    all_failed_as(&ended, "timeout_headers", "timeout waiting for the response head");
    assert!(ended.stdout.contains("no end within 300ms, the limit of "), "{}", ended.stdout);
}

#[test]
fn a_first_token_that_does_not_come_in_time_is_a_class() {
    let never = SimSpec { timing: steps(Duration::from_secs(600)), ..quick() };
    let ended = measure(never, "--timeout 500ms");
    all_failed_as(&ended, "timeout_first_token", "timeout waiting for the first token");
}

#[test]
fn a_stream_that_does_not_go_on_in_time_is_a_class() {
    let ended = measure(fault(FaultKind::Stall), "--timeout 1s");
    all_failed_as(&ended, "timeout_stream", "timeout within the stream");
}

#[test]
fn a_connection_that_breaks_in_the_stream_is_a_class() {
    all_fail_by(FaultKind::Disconnect, "broken_stream", "broken stream");
}

#[test]
fn an_event_that_is_not_json_is_a_broken_stream() {
    let ended = all_fail_by(FaultKind::Malformed, "broken_stream", "broken stream");
    assert!(ended.stdout.contains("event is not a chunk"), "{}", ended.stdout);
}

#[test]
fn a_stream_without_an_end_is_a_broken_stream() {
    let ended = all_fail_by(FaultKind::NoTerminal, "broken_stream", "broken stream");
    assert!(ended.stdout.contains("neither finish_reason nor [DONE]"), "{}", ended.stdout);
}

#[test]
fn an_error_event_in_the_stream_is_a_class() {
    all_fail_by(FaultKind::ErrorEvent, "error_event", "error event in the stream");
}

#[test]
fn a_stream_without_a_token_is_a_class() {
    all_fail_by(FaultKind::Empty, "empty_stream", "stream without a token");
}

#[test]
fn a_refused_connection_is_a_class() {
    let port = Port::take();
    let ended = Program::run_against(&port.base_url(), FOUR).words("--keep-going").end();
    all_failed_as(&ended, "connect_refused", "connection refused");
}

#[test]
fn a_failed_tls_handshake_is_a_class() {
    let simulator = Simulator::start(quick());
    let url = simulator.base_url().replace("http:", "https:");
    let ended = Program::run_against(&url, FOUR).words("--keep-going").end();
    all_failed_as(&ended, "tls", "TLS handshake failed");
}

#[test]
fn one_run_may_have_failures_of_several_classes() {
    let kinds = vec![FaultKind::Error500, FaultKind::Error429, FaultKind::Empty];
    let spec = SimSpec { faults: FaultInjection { rate: 1.0, kinds }, ..quick() };
    let simulator = Simulator::start(spec);
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --num-prompts 40 \
                 --max-concurrency 2 --save-result";
    let ended = simulator.run(words).end().with_code(1);
    let truth = simulator.truth();
    for (fault, class) in [("error500", "status_500"), ("error429", "status_429"), ("empty", "empty_stream")]
    {
        let struck = truth.iter().filter(|story| story.fault.as_deref() == Some(fault)).count();
        assert!(struck > 0, "the simulator's dice leave out {fault}");
        let counted = classes(&ended.result()).find(|(key, _)| key == class);
        assert_eq!(counted, Some((class.to_owned(), struck as u64)));
    }
}

#[test]
fn failures_and_successes_add_up_to_all_and_some_successes_are_a_success() {
    let spec =
        SimSpec { faults: FaultInjection { rate: 0.4, kinds: vec![FaultKind::Disconnect] }, ..quick() };
    let simulator = Simulator::start(spec);
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos \
                 --num-prompts 30 --max-concurrency 4 --save-detailed";
    let ended = simulator.run(words).end().well();
    let (result, truth) = (ended.result(), simulator.truth());
    let struck = truth.iter().filter(|story| story.fault.is_some()).count();
    assert!(0 < struck && struck < 30, "{struck} of 30 struck");
    assert_eq!((&result["completed"], &result["failed"]), (&json!(30 - struck), &json!(struck)));
    assert_eq!(errors(&result).filter(|error| !error.is_empty()).count(), struck);
    assert_eq!(result["total_output_tokens"], 6 * (30 - struck), "only of those that succeeded");
    assert_eq!(ended.line("Successful requests"), (30 - struck).to_string());
    assert!(ended.line("Failed requests").starts_with(&format!("{struck} of 30 (")));
    let said = ended.stderr.lines().filter(|line| !line.contains("prompts are longer or shorter"));
    assert_eq!(said.count(), 1, "only where it was saved: {}", ended.stderr);
}

#[test]
fn what_the_server_said_is_kept_up_to_300_bytes() {
    let ended = measure(fault(FaultKind::Error500), "");
    let result = ended.result();
    let error = errors(&result).next().unwrap();
    assert!(error.starts_with("HTTP 500: {") && error.len() <= "HTTP 500: ".len() + 300, "{error}");
}

fn all_fail_by(kind: FaultKind, class: &str, words: &str) -> Ended {
    let ended = measure(fault(kind), "");
    all_failed_as(&ended, class, words);
    ended
}

fn measure(spec: SimSpec, words: &str) -> Ended {
    Simulator::start(spec).run(FOUR).words(words).end()
}

/// Asserts everything that is promised of a run of four requests that all failed in one way.
#[track_caller]
fn all_failed_as(ended: &Ended, class: &str, words: &str) {
    let context = format!("stdout:\n{}\nstderr:\n{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(1), "{context}");
    let why = format!("error: all 4 requests failed, 4 of them with: {words}");
    assert!(ended.stderr.lines().any(|line| line.starts_with(&why)), "{context}");

    assert_eq!(ended.line("Successful requests"), "0");
    assert_eq!(ended.line("Failed requests"), "4 of 4 (100.0 %)");
    assert!(ended.stdout.lines().any(|line| line.starts_with(&format!("{words}: 4"))), "{context}");
    for figure in
        ["Mean TTFT", "Median TPOT", "P99 TPOT", "Input tokens counted by", "Output tokens counted by"]
    {
        assert_eq!(ended.line(figure), "n/a", "{context}");
    }

    let result = ended.result();
    assert_eq!((&result["completed"], &result["failed"]), (&json!(0), &json!(4)));
    assert_eq!(classes(&result).collect::<Vec<_>>(), [(class.to_owned(), 4)]);
    assert!(errors(&result).all(|error| error.starts_with(words)), "{}", result["errors"]);
    assert_eq!(errors(&result).count(), 4);
    for key in ["mean_ttft_ms", "median_tpot_ms", "std_e2el_ms", "p99_ttft_ms"] {
        assert_eq!(result[key], Value::Null, "{key}");
    }
    for record in result["servegauge"]["records"].as_array().unwrap() {
        assert_eq!(record["failure_class"], class);
    }
}

/// The failures of a result: class and count.
fn classes(result: &Value) -> impl Iterator<Item = (String, u64)> {
    result["servegauge"]["metrics"]["failures"].as_array().unwrap().iter().map(|failure| {
        (failure["class"].as_str().unwrap_or_default().to_owned(), failure["count"].as_u64().unwrap())
    })
}

fn errors(result: &Value) -> impl Iterator<Item = &str> {
    result["errors"].as_array().unwrap().iter().map(|error| error.as_str().unwrap())
}
