//! What the verdict does to a run of the whole program: the first line, the last section, the exit code, the JSON.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

use serde_json::Value;
use servebench::sim::{FaultKind, Faults, Spec, serve};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Thirty requests to a simulator that fails this share of them.
fn run(failing: f64, flags: &[&str]) -> Output {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let faults = Faults { rate: failing, kinds: vec![FaultKind::Error500] };
    runtime.spawn(serve(listener, Spec { faults, ..Spec::default() }, std::future::pending()));
    let random = ["--dataset-name", "random", "--random-input-len", "8", "--random-output-len", "4"];
    Command::new(env!("CARGO_BIN_EXE_servebench"))
        .args(["run", "--base-url", &url, "--num-prompts", "30", "--request-rate", "100", "--disable-tqdm"])
        .args(["--metric-percentiles", "50"])
        .args(random)
        .args(flags)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap()
}

fn report(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn an_invalid_run_says_so_first_and_last_and_ends_with_3() {
    let output = run(0.5, &[]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(3), "{report}");
    let first = report.lines().next().unwrap();
    assert!(first.starts_with("INVALID: failed requests: "), "{report}");
    assert!(first.ends_with("at most 1.0 % would do; see the last section"), "{report}");
    let last = report.split("─── ").last().unwrap();
    assert!(last.starts_with("Validity ") && last.contains("\nINVALID: "), "{report}");
    assert!(last.contains("--max-failure-rate"), "{report}");
}

#[test]
fn allow_invalid_changes_the_exit_code_and_nothing_else() {
    let output = run(0.5, &["--allow-invalid"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(report(&output).starts_with("INVALID: "));
}

#[test]
fn the_failure_rate_that_is_too_much_is_the_users_choice() {
    let output = run(0.3, &["--max-failure-rate", "95%", "--result-filename", "-"]);
    let json: Value = serde_json::from_str(&report(&output)).unwrap();
    let validity = &json["servebench"]["validity"];
    let failures =
        validity["checks"].as_array().unwrap().iter().find(|check| check["name"] == "failures").unwrap();
    assert_eq!((&failures["outcome"], &failures["bound"]["share"]), (&"passed".into(), &0.95.into()));
}

#[test]
fn a_valid_run_begins_with_its_numbers_and_ends_with_its_verdict() {
    // A loaded machine may well be late; the clock of this test is not what it is about.
    let output = run(0.0, &["--allow-invalid"]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(
        report.contains("\nSuccessful requests: 30\n") || report.starts_with("Successful requests: 30\n")
    );
    let last = report.split("─── ").last().unwrap();
    assert!(last.starts_with("Validity ") && last.contains("VALID: "), "{report}");
}
