//! The server's profiler: when it runs, and what the report says about it.

use std::time::Duration;

use serde_json::Value;
use servegauge::sim::SimSpec;

use crate::support::{Ended, Simulator, Story, Witness, quick, steps};

const SMALL: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --save-result";

const LONG: &str = "--random-output-len 100";

fn with_profiler() -> SimSpec {
    SimSpec { profiler: true, ..quick() }
}

/// An answer of [`LONG`] tokens takes five seconds, so that the server is still busy when it is asked again, however busy
/// the machine is.
fn slow() -> SimSpec {
    SimSpec { timing: steps(Duration::from_millis(50)), ..with_profiler() }
}

fn profile(ended: &Ended) -> Value {
    ended.result()["servegauge"]["profile"].clone()
}

/// When the orders to start and to stop were read, and what happened to the requests.
fn truth(simulator: Simulator) -> (u64, u64, Vec<Story>) {
    let (stories, orders) = simulator.truth_with_orders();
    let [(start, started), (stop, stopped)] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!((start.as_str(), stop.as_str()), ("/start_profile", "/stop_profile"));
    (*started, *stopped, stories)
}

#[test]
fn the_profiler_runs_while_the_server_is_measured() {
    let simulator = Simulator::start(with_profiler());
    let ended = simulator.run(SMALL).words("--num-prompts 4 --profile").end().well();
    assert!(!ended.stderr.contains("profile"), "{}", ended.stderr);
    for line in ["Started", "Stopped"] {
        assert!(ended.line(line).ends_with(" with HTTP 200"), "{}", ended.stdout);
    }
    let profile = profile(&ended);
    assert_eq!(profile["trigger"], "begin");
    for order in ["start", "stop"] {
        assert_eq!(profile[order]["answer"], "HTTP 200", "{profile}");
    }
    let (started, stopped, stories) = truth(simulator);
    assert!(stories.iter().all(|story| started < story.read_ns && story.tokens_ns[5] < stopped));
}

/// No warm-up request is due after t0, and the profiler is ordered to start after t0. What the server reads first, the
/// order or the last warm-up request, which may go on into the run, is not for the client to decide.
#[test]
fn the_profiler_starts_at_t0_and_not_in_the_warm_up() {
    let simulator = Simulator::start(with_profiler());
    let words = "--warmup 750ms --num-prompts 20 --request-rate 10 --burstiness inf --random-output-len 60 --profile \
                 --request-id-prefix a-";
    let ended = simulator.run(SMALL).words(words).end().well();
    let result = ended.result();
    let t0 = |key: &str| i128::from(result["servegauge"]["t0"][key].as_u64().unwrap());
    let ordered: jiff::Timestamp = profile(&ended)["start"]["sent"].as_str().unwrap().parse().unwrap();
    let after = ordered.as_nanosecond() - t0("unix_ns");
    assert!(after >= -t0("doubt_ns"), "{after} ns after t0");
    let (_, stopped, stories) = truth(simulator);
    let (warm_ups, measured): (Vec<_>, Vec<_>) =
        stories.iter().partition(|story| story.id.contains("warmup"));
    assert!(!warm_ups.is_empty() && measured.len() == 20, "{} {}", warm_ups.len(), measured.len());
    assert!(measured.iter().all(|story| story.tokens_ns[59] < stopped));
}

#[test]
fn a_profile_in_the_middle_of_a_run_has_its_duration() {
    let simulator = Simulator::start(with_profiler());
    let words = "--num-prompts 60 --request-rate 20 --profile-after 0.3 --profile-duration 0.3";
    let ended = simulator.run(SMALL).words(words).end().well();
    let profile = profile(&ended);
    assert_eq!((&profile["trigger"]["after_s"], &profile["lasting_s"]), (&0.3.into(), &0.3.into()));
    let (started, stopped, stories) = truth(simulator);
    assert!(stopped - started >= 300_000_000);
    let first = stories.iter().map(|story| story.read_ns).min().unwrap();
    let last = stories.iter().map(|story| story.tokens_ns[5]).max().unwrap();
    assert!(first < started && stopped < last, "{first} {started} {stopped} {last}");
}

#[test]
fn the_profiler_waits_until_the_server_is_busy() {
    let simulator = Simulator::start(slow());
    let words = "--num-prompts 4 --profile --profile-when-running 4 --profile-duration 0.1";
    let ended = simulator.run(SMALL).words(words).words(LONG).end().well();
    assert!(!ended.stderr.contains("profile"), "{}", ended.stderr);
    let (started, _, stories) = truth(simulator);
    assert!(stories.iter().all(|story| story.read_ns < started), "all four were there");
}

#[test]
fn without_metrics_our_own_requests_are_counted() {
    let simulator = Simulator::start(slow());
    let witness = Witness::before_without(&simulator, "/metrics");
    let words = "--num-prompts 4 --profile-batch-threshold 4 --profile-duration 0.1";
    let ended = witness.run(SMALL).words(words).words(LONG).end().well();
    assert_eq!(profile(&ended)["trigger"]["running"], 4);
    assert_eq!(profile(&ended)["stop"]["answer"], "HTTP 200", "{}", ended.stderr);
}

#[test]
fn a_server_that_never_was_so_busy_was_not_profiled() {
    let simulator = Simulator::start(with_profiler());
    let ended = simulator.run(SMALL).words("--num-prompts 4 --profile-when-running 100").end().well();
    let trouble = "the server was not profiled: it never had 100 running requests";
    assert!(ended.stderr.contains(&format!("warning: {trouble}\n")), "{}", ended.stderr);
    assert_eq!(ended.line("Profiler error"), trouble);
    assert!(simulator.truth_with_orders().1.is_empty());
}

#[test]
fn a_server_without_a_profiler_is_told_in_one_line_and_measured() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(SMALL).words("--num-prompts 4 --profile").end().well();
    let warnings: Vec<_> = ended.stderr.lines().filter(|line| line.contains("profile")).collect();
    let [warning] = warnings[..] else { panic!("{warnings:?}") };
    for part in
        ["warning: the server was not profiled: http://", "/start_profile: HTTP 404", "--profiler-config"]
    {
        assert!(warning.contains(part), "{warning}");
    }
    assert_eq!(ended.line("Successful requests"), "4");
    assert!(profile(&ended)["stop"].is_null());
}

#[test]
fn two_moments_are_one_too_many() {
    let simulator = Simulator::start(quick());
    let words = "--profile-after 1 --profile-when-running 4";
    let ended = simulator.run(SMALL).words(words).end().with_code(2);
    assert!(ended.stderr.contains("--profile-after"), "{}", ended.stderr);
}
