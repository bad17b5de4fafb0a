//! The effect of the verdict on a run of the whole program: the header, the warnings, the exit code, the JSON.

use std::process::{Command, Output};

use serde_json::Value;
use servegauge::sim::{FaultInjection, FaultKind, SimSpec, serve};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Thirty requests to a simulator that fails this share of them.
fn run(failing: f64, flags: &[&str]) -> Output {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let faults = FaultInjection { rate: failing, kinds: vec![FaultKind::Error500] };
    runtime.spawn(serve(listener, SimSpec { faults, ..SimSpec::default() }, std::future::pending()));
    let random = ["--dataset-name", "random", "--random-input-len", "8", "--random-output-len", "4"];
    Command::new(env!("CARGO_BIN_EXE_servegauge"))
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

/// The line of the verdict: the first one below the line that says what was measured, which may be wrapped.
fn verdict(report: &str) -> &str {
    report.lines().skip(1).find(|line| !line.starts_with("  ")).unwrap()
}

#[test]
fn an_invalid_run_says_so_in_its_header_and_what_to_do_below_and_ends_with_3() {
    let output = run(0.5, &[]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(3), "{report}");
    let verdict = verdict(&report);
    assert!(verdict.starts_with("INVALID: failed requests: "), "{report}");
    assert!(verdict.contains("(limit 1.0 %)"), "{report}");
    let warnings = report.split("─── ").find(|section| section.starts_with("Warnings ")).unwrap();
    assert!(warnings.contains("\nINVALID: failed requests: "), "{report}");
    assert!(warnings.contains("--max-failure-rate"), "{report}");
}

#[test]
fn allow_invalid_changes_the_exit_code_and_nothing_else() {
    let output = run(0.5, &["--allow-invalid"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(verdict(&report(&output)).starts_with("INVALID: "));
}

#[test]
fn the_failure_rate_that_is_too_much_is_the_users_choice() {
    let output = run(0.3, &["--max-failure-rate", "95%", "--result-filename", "-"]);
    let json: Value = serde_json::from_str(&report(&output)).unwrap();
    let validity = &json["servegauge"]["validity"];
    let failures =
        validity["checks"].as_array().unwrap().iter().find(|check| check["name"] == "failures").unwrap();
    assert_eq!((&failures["outcome"], &failures["bound"]["share"]), (&"passed".into(), &0.95.into()));
}

#[test]
fn a_valid_run_begins_with_what_was_measured_and_its_verdict() {
    // A loaded machine may well be late, in one run or another.
    let runs = (0..5).map(|_| run(0.0, &[]));
    let valid =
        runs.into_iter().find(|output| output.status.code() == Some(0)).expect("one run of five is valid");
    let report = report(&valid);
    assert!(report.starts_with("http://127.0.0.1:"), "{report}");
    assert!(verdict(&report).starts_with("VALID: "), "{report}");
    assert!(report.contains("\nSuccessful requests: 30\n"), "{report}");
    assert!(!report.contains("INVALID"), "{report}");
}
