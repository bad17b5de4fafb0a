//! The report's exact layout. What depends on the clock is masked as `#`; the rest is compared letter by letter.
//!
//! `GOLDEN=write cargo test --test run report` writes the files anew.

use std::path::Path;
use std::time::Duration;

use servebench::sim::{FaultKind, Faults, Spec};

use crate::support::{Simulator, fault, quick, steps};

const SMALL: &str = "--dataset-name random --random-input-len 8 --random-output-len 3 --ignore-eos";

/// Answers of half a second: no lag of a busy machine is a visible part of that.
fn slow() -> Spec {
    Spec { timing: steps(Duration::from_millis(200)), ..quick() }
}

#[test]
fn a_plain_run() {
    golden("plain", &measure(slow(), "--num-prompts 4 --request-rate 20"));
}

#[test]
fn a_run_with_service_levels() {
    golden("goodput", &measure(slow(), "--num-prompts 2 --goodput tpot:9000 ttft:1 e2el:9s"));
}

#[test]
fn a_run_with_failures() {
    let spec = Spec { faults: Faults { rate: 0.5, kinds: vec![FaultKind::Error500] }, ..slow() };
    golden("failures", &measure(spec, "--num-prompts 6 --max-concurrency 1"));
}

#[test]
fn a_run_in_which_everything_failed() {
    let simulator = Simulator::start(fault(FaultKind::ErrorEvent));
    let ended = simulator.run(SMALL).words("--num-prompts 3 --max-concurrency 1").end().with_code(1);
    golden("all-failed", &timely(&ended.stdout));
}

#[test]
fn a_run_with_chosen_latencies_and_percentiles() {
    let words = "--num-prompts 2 --percentile-metrics itl,ttft --metric-percentiles 25,90,99.9";
    golden("percentiles", &measure(slow(), words));
}

/// Eight requests at ten a second, one at a time, each half a second: the last waits for seven others. By arithmetic the
/// k-th is done 0.5·k seconds after the first was due, which was 0.1·(k−1) before its own time: 1.9 s on average, while
/// each took half a second from when it was sent.
#[test]
fn requests_that_leave_late_show_what_a_user_felt() {
    let simulator = Simulator::start(Spec { timing: steps(Duration::from_millis(100)), ..quick() });
    let words = "--dataset-name random --random-input-len 8 --random-output-len 5 --ignore-eos --num-prompts 8 \
                 --request-rate 10 --burstiness inf --max-concurrency 1 --save-result";
    let ended = simulator.run(words).end().well();
    golden("from-due", &ended.stdout);
    let result = ended.result();
    let latencies = &result["servebench"]["metrics"]["latencies"];
    let mean = |latency: &str| latencies[latency]["mean_s"].as_f64().unwrap();
    // A step is never shorter than its time; the upper bounds leave room for a busy machine.
    assert!((0.5..1.2).contains(&mean("e2el")), "{}", mean("e2el"));
    assert!((1.89..6.0).contains(&mean("e2el_from_due")), "{}", mean("e2el_from_due"));
    assert_eq!(result["max_concurrent_requests"], 1);
}

fn measure(spec: Spec, words: &str) -> String {
    timely(&Simulator::start(spec).run(SMALL).words(words).end().well().stdout)
}

/// The report without the latencies from due. A busy machine lets requests leave late, and the report must say so.
#[track_caller]
fn timely(report: &str) -> String {
    const LATE: &str = "─── From due ──────────────────────────\n";
    let Some((before, late)) = report.split_once(LATE) else { return report.to_owned() };
    let lag = late.lines().find_map(|line| line.strip_prefix("Mean lag: ")?.strip_suffix(" ms"));
    assert!(
        lag.unwrap().parse::<f64>().unwrap() >= 10.0,
        "nothing was late, and the report says so:\n{report}"
    );
    let after = late.find("───").unwrap();
    format!("{before}{}", &late[after..])
}

/// Compares a report with the one that is checked in.
#[track_caller]
fn golden(name: &str, report: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("txt");
    let masked: String = skeleton(report).map(|line| mask(line) + "\n").collect();
    if std::env::var_os("GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::write(&path, &masked).unwrap();
    }
    assert_eq!(
        masked,
        std::fs::read_to_string(&path).unwrap_or_default(),
        "the report is not {}",
        path.display()
    );
}

/// The lines that do not depend on how busy the machine was: of the intervals, the steady state and the verdict only the
/// titles, and no first line that says INVALID.
fn skeleton(report: &str) -> impl Iterator<Item = &str> {
    let mut judged = false;
    report.lines().filter(move |line| {
        judged |= ["─── 95 % intervals ", "─── Steady state "].iter().any(|title| line.starts_with(title));
        !line.starts_with("INVALID: ") && (!judged || line.starts_with("───"))
    })
}

/// A number with a unit depends on the clock, and so does the number of requests that meet in flight.
fn mask(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let timed = |at: usize| {
        let unit = words.get(at + 1).map_or("", |next| next.trim_end_matches(','));
        ["ms", "s", "req/s", "tok/s"].contains(&unit) || line.starts_with("Peak requests in flight: ")
    };
    let show = |(at, word): (usize, &&str)| match word.parse::<f64>() {
        Ok(_) if timed(at) => "#".to_owned(),
        _ => (*word).to_owned(),
    };
    words.iter().enumerate().map(show).collect::<Vec<_>>().join(" ")
}
