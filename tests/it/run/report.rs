//! The report's exact layout. What depends on the clock is masked as `#`; the rest is compared letter by letter.
//!
//! `GOLDEN=write cargo test --test it run::report` rewrites the files.

use std::path::Path;
use std::time::Duration;

use servegauge::sim::{FaultInjection, FaultKind, SimSpec};

use crate::support::{Simulator, fault, quick, steps};

const SMALL: &str = "--dataset-name random --random-input-len 8 --random-output-len 3 --ignore-eos";

/// Answers of half a second: no lag of a busy machine is a visible part of that.
fn slow() -> SimSpec {
    SimSpec { timing: steps(Duration::from_millis(200)), ..quick() }
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
    let spec = SimSpec { faults: FaultInjection { rate: 0.5, kinds: vec![FaultKind::Error500] }, ..slow() };
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
    let simulator = Simulator::start(SimSpec { timing: steps(Duration::from_millis(100)), ..quick() });
    let words = "--dataset-name random --random-input-len 8 --random-output-len 5 --ignore-eos --num-prompts 8 \
                 --request-rate 10 --burstiness inf --max-concurrency 1 --save-result";
    let ended = simulator.run(words).end().well();
    golden("from-due", &ended.stdout);
    let result = ended.result();
    let latencies = &result["servegauge"]["metrics"]["latencies"];
    let mean = |latency: &str| latencies[latency]["mean_s"].as_f64().unwrap();
    // A step is never shorter than its time; the upper bounds leave room for a busy machine.
    assert!((0.5..1.2).contains(&mean("e2el")), "{}", mean("e2el"));
    assert!((1.89..6.0).contains(&mean("e2el_from_due")), "{}", mean("e2el_from_due"));
    assert_eq!(result["max_concurrent_requests"], 1);
}

#[test]
fn percentiles_of_the_table_are_always_computed_and_vllms_keys_are_those_asked_for() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 2 --metric-percentiles 25,99.9 --save-result";
    let result = simulator.run(SMALL).words(words).end().well().result();
    let listed = result["servegauge"]["metrics"]["latencies"]["ttft"]["percentiles"].as_array().unwrap();
    let listed: Vec<f64> = listed.iter().map(|percentile| percentile["p"].as_f64().unwrap()).collect();
    assert_eq!(listed, [25.0, 99.9, 50.0, 90.0, 95.0, 99.0]);
    let keys = result.as_object().unwrap().keys().filter_map(|key| key.strip_suffix("_ttft_ms"));
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable();
    assert_eq!(keys, ["mean", "median", "p25", "p99.9", "std"]);
}

#[test]
fn the_short_report_is_the_header_and_the_table() {
    let report = measure(slow(), "--num-prompts 2 --report short");
    let lines: Vec<_> = report.lines().filter(|line| !line.starts_with("  ")).collect();
    assert!(lines[0].starts_with("http://127.0.0.1:"), "{report}");
    assert!(lines[1].starts_with("VALID: ") || lines[1].starts_with("INVALID: "), "{report}");
    assert!(lines[2].starts_with("─── Latencies, ms ─"), "{report}");
    let row = |name: &str| report.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace();
    assert_eq!(row("TTFT").count(), 7, "six values and the name: {report}");
    assert_eq!(report.lines().filter(|line| line.starts_with("───")).count(), 1, "one section: {report}");
    assert!(!report.contains("Successful requests"), "{report}");
}

#[test]
fn a_report_in_a_pipe_has_no_color() {
    let spec = SimSpec { faults: FaultInjection { rate: 0.5, kinds: vec![FaultKind::Error500] }, ..quick() };
    let simulator = Simulator::start(spec);
    let words = "--num-prompts 6 --max-concurrency 1";
    let ended = simulator.run(SMALL).words(words).env("CLICOLOR_FORCE", "1").end();
    assert!(ended.stdout.contains("\nINVALID: ") && !ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
}

/// The name of before `full`, which saved settings have.
#[test]
fn the_former_name_of_the_full_report_is_understood() {
    let report = measure(quick(), "--num-prompts 2 --report servegauge");
    assert!(report.contains("\nSuccessful requests: 2\n") && report.contains("─── Arrivals"), "{report}");
}

fn measure(spec: SimSpec, words: &str) -> String {
    timely(&Simulator::start(spec).run(SMALL).words(words).end().well().stdout)
}

/// The report without what it says of lag. A busy machine lets requests leave late, and the report must say so.
fn timely(report: &str) -> String {
    let is_of_lag = |line: &str| {
        ["TTFT from due ", "E2E from due ", "lag ", "From due: "].iter().any(|start| line.starts_with(start))
            || line.contains(" lag (sent − due): ")
    };
    report.lines().filter(|line| !is_of_lag(line)).map(|line| line.to_owned() + "\n").collect()
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

/// The lines that do not depend on how busy the machine was: of warnings, server and steady state only the titles, and not how
/// many independent requests the requests are worth.
fn skeleton(report: &str) -> impl Iterator<Item = &str> {
    let mut section = "";
    report.lines().filter(move |line| {
        if let Some(title) = line.strip_prefix("─── ") {
            section = title.split(" ─").next().unwrap_or_default();
            return true;
        }
        let is_of_the_machine = ["Warnings", "Server", "Steady state"].contains(&section);
        !is_of_the_machine && (!line.starts_with("No interval: ") || line.contains("throughput"))
    })
}

/// Replaces values that depend on the clock by `#`: numbers with a unit, requests in flight, the values of the table.
fn mask(line: &str) -> String {
    const ROWS: [&str; 6] = ["TTFT ", "TPOT ", "E2E ", "ITL ", "lag ", "   "];
    if line.starts_with("VALID: ") || line.starts_with("INVALID: ") {
        return "(verdict)".to_owned();
    }
    if line.contains(" · ") || line.ends_with(" ·") {
        return masked_header(line);
    }
    if let Some(address) = line.strip_prefix("Asked: ") {
        return format!("Asked: {}", masked_address(address));
    }
    if ROWS.iter().any(|row| line.starts_with(row)) {
        return masked_row(line);
    }
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

/// The simulator's port is any.
fn masked_address(text: &str) -> String {
    let Some((before, after)) = text.split_once("127.0.0.1:") else { return text.to_owned() };
    format!("{before}127.0.0.1:#{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// The line of what was measured, without port, date, time and time zone.
fn masked_header(line: &str) -> String {
    let is_time = |word: &str| {
        let is_of_digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        let mut parts = word.trim_start_matches(['+', '-']).split(['-', ':']);
        word.contains(['-', ':']) && parts.all(is_of_digits)
    };
    let address = masked_address(line);
    let words = address.split(' ').map(|word| if is_time(word) { "#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// A row of the table with a `#` for each value, whether or not it has an interval; that a value is printed above and the
/// number of samples stay.
fn masked_row(line: &str) -> String {
    let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let is_value = |cell: &str| cell.split(' ').next().is_some_and(|word| word.parse::<f64>().is_ok());
    let show = |(at, cell): (usize, &&str)| match *cell {
        cell if at == 0 || at + 1 == cells.len() => cell.to_owned(),
        cell if cell.starts_with('[') => "-".to_owned(),
        cell if is_value(cell) => "#".to_owned(),
        cell => cell.to_owned(),
    };
    cells.iter().enumerate().map(show).collect::<Vec<_>>().join("  ")
}
