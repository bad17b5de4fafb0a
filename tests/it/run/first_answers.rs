//! A wrong set-up is one line within a moment, not a report of zeros after the whole load.

use axum::Router;
use axum::http::StatusCode;
use servegauge::sim::SimSpec;

use crate::support::{Ended, Port, Program, Server, Simulator, quick};

/// A load of ten minutes.
const LONG: &str = "--dataset-name random --random-input-len 8 --random-output-len 4 --num-prompts 6000 \
                    --request-rate 10 --result-filename result.json";

/// Answers everything alike.
fn always(status: StatusCode, body: &'static str) -> Server {
    Server::start(Port::take(), move |listener, over| {
        let router = Router::new().fallback(move || async move { (status, body) });
        let shutdown = async {
            let _ = over.await;
        };
        axum::serve(listener, router).with_graceful_shutdown(shutdown).into_future()
    })
}

/// One line on stderr, nothing on stdout, no file; the line.
#[track_caller]
fn one_line(ended: Ended) -> String {
    let ended = ended.with_code(1);
    assert_eq!(ended.stdout, "");
    assert!(ended.saved_nothing());
    let errors: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors[..] else { panic!("not one error: {}", ended.stderr) };
    error.to_owned()
}

#[test]
fn a_wrong_port_is_one_line_whatever_the_load() {
    let port = Port::take();
    for words in
        ["", "--workers 2", "--num-warmups 500", "--request-rate inf --max-concurrency 4", "--repeats 3"]
    {
        let error = one_line(Program::measure(&port.base_url(), LONG).words(words).end());
        assert!(error.contains("/v1/completions failed: connection refused"), "{words}: {error}");
        assert!(error.contains("is the server running on this port?"), "{words}: {error}");
        assert!(error.contains("--keep-going"), "{words}: {error}");
    }
}

#[test]
fn a_missing_key_is_named_and_a_wrong_one_told() {
    let server = always(StatusCode::UNAUTHORIZED, r#"{"error":"Unauthorized"}"#);
    let run = || Program::measure(&server.base_url(), LONG);
    let error = one_line(run().end());
    assert!(
        error.contains("HTTP 401: Unauthorized; the server needs an API key: set OPENAI_API_KEY"),
        "{error}"
    );
    let error = one_line(run().env("OPENAI_API_KEY", "sk-wrong").end());
    assert!(error.contains("the server rejected the key in OPENAI_API_KEY"), "{error}");
    assert!(!error.contains("sk-wrong"), "{error}");
}

#[test]
fn a_missing_key_is_named_by_every_question_to_a_server() {
    let server = always(StatusCode::UNAUTHORIZED, r#"{"error":"Unauthorized"}"#);
    let url = server.base_url();
    for program in [
        Program::new("run --base-url").arg(&url),
        Program::run_against(&url, "--ready-check-timeout-sec 600"),
        Program::new("watch --once").arg(&url),
    ] {
        let error = one_line(program.end());
        assert!(error.contains("set OPENAI_API_KEY"), "{error}");
    }
}

#[test]
fn an_unknown_model_or_path_is_said_with_the_url() {
    let simulator = Simulator::start(SimSpec { served_names: vec!["served".into()], ..quick() });
    let error = one_line(simulator.run(LONG).end());
    assert!(error.contains("some-model") && error.contains("check --model"), "{error}");
    let error = one_line(simulator.run(LONG).words("--endpoint /v1/completion").end());
    assert!(error.contains("/v1/completion failed: HTTP 404"), "{error}");
    assert!(error.contains("check --base-url, --endpoint"), "{error}");
}

#[test]
fn a_slow_load_does_not_wait_for_ten() {
    let port = Port::take();
    let words = "--request-rate 1 --burstiness inf";
    let error = one_line(Program::measure(&port.base_url(), LONG).words(words).end());
    assert!(error.contains("failed: connection refused") && !error.contains("all 10 requests"), "{error}");
}

#[test]
fn an_overload_from_the_first_request_on_is_a_result() {
    let server = always(StatusCode::SERVICE_UNAVAILABLE, "busy");
    let words = "--dataset-name random --random-input-len 8 --num-prompts 40 --max-concurrency 4";
    let ended = Program::measure(&server.base_url(), words).end().with_code(1);
    assert_eq!(ended.line("Failed requests"), "40 of 40 (100.0 %)");
}

#[test]
fn a_command_that_measures_several_runs_ends_with_the_same_line() {
    let port = Port::take();
    let url = port.base_url();
    let load = "--model m --dataset-name random --random-input-len 8 --request-rate 20 --num-prompts 2000";
    let search = "search --slo ttft.p99<=1s --time 5m -- --skip-tokenizer-init --base-url";
    let error = one_line(Program::new(search).arg(&url).words("--model m --dataset-name random").end());
    assert!(error.contains("connection refused"), "{error}");
    let gate = "gate --rule ttft.mean<=1s -- run --base-url";
    let error = one_line(Program::new(gate).arg(&url).words(load).end());
    assert!(error.contains("connection refused"), "{error}");
}

/// transformers serve 5.19 refuses `ignore_eos`: its own words.
#[test]
fn who_keeps_going_gets_the_same_advice_once_and_in_the_report() {
    let words = r#"{"detail":"Unexpected fields in the request: {'ignore_eos'}"}"#;
    let server = always(StatusCode::UNPROCESSABLE_ENTITY, words);
    let load = "--dataset-name random --random-input-len 8 --random-output-len 4 --num-prompts 12 --keep-going \
                --result-filename r.json";
    for report in ["full", "vllm"] {
        let run = Program::run_against(&server.base_url(), load).words("--skip-tokenizer-init --report");
        let ended = run.arg(report).end().with_code(1);
        assert_eq!(ended.stderr.matches("--no-ignore-eos").count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stdout.matches("--no-ignore-eos").count(), 1, "{}", ended.stdout);
        let failures = &ended.result()["servegauge"]["metrics"]["failures"];
        assert!(failures[0]["advice"].as_str().unwrap().contains("--no-ignore-eos"), "{failures}");
    }
    // An overload needs no advice.
    let server = always(StatusCode::SERVICE_UNAVAILABLE, "busy");
    let ended =
        Program::run_against(&server.base_url(), load).words("--skip-tokenizer-init").end().with_code(1);
    assert!(ended.result()["servegauge"]["metrics"]["failures"][0]["advice"].is_null());
}
