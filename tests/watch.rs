//! `servebench watch`, as a user meets it.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

#[allow(dead_code, unused_imports, reason = "shared with the tests of `run`")]
mod support;

use serde_json::Value;
use support::{Pages, Program, Simulator, quick};

#[test]
fn an_idle_server_is_fine() {
    let simulator = Simulator::start(quick());
    let ended = Program::new("watch --once --interval 50ms").arg(simulator.base_url()).end().well();
    assert!(ended.stdout.contains("KV cache usage") && ended.stdout.contains("ok"), "{}", ended.stdout);
}

#[test]
fn an_alert_is_exit_code_1_and_in_the_json() {
    let pages = Pages::start(vec!["vllm:num_requests_waiting 11\n".into()]);
    let ended = Program::new("watch --once --json --interval 50ms").arg(pages.url()).end().with_code(1);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["state"], &json["signals"][0]["state"]), (&"alert".into(), &"alert".into()));
}

#[test]
fn a_page_that_is_not_ours_is_told() {
    let pages = Pages::start(vec!["<html>hello</html>".into()]);
    let ended = Program::new("watch --once").arg(pages.url()).end().with_code(1);
    assert!(ended.stderr.contains("none of the metrics"), "{}", ended.stderr);
    let ended = Program::new("watch --once http://127.0.0.1:1").end().with_code(1);
    assert!(ended.stderr.contains("is the server running?"), "{}", ended.stderr);
}
