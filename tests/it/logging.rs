//! The log on stderr: empty by default, the phases of a run if it is enabled, and never anything on stdout.

use crate::support::{Ended, Program, Simulator, quick};

const SMALL: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --num-prompts 4 --disable-tqdm";

/// The log messages of a run at the start of each phase, in order.
const PHASES: [&str; 7] = [
    "the target is known",
    "the tokenizer is loaded",
    "the requests are prepared",
    "waiting for the server to answer a small request",
    "sending begins",
    "the measured phase begins",
    "the run is assembled",
];

fn run(words: &str) -> Ended {
    Simulator::start(quick()).run(SMALL).words(words).end().well()
}

/// A run with a filter in the environment.
fn filtered(filter: &str, words: &str) -> Ended {
    Simulator::start(quick()).run(SMALL).words(words).env("RUST_LOG", filter).end().well()
}

/// How many lines the log has.
fn lines(ended: &Ended) -> usize {
    let is_event = |line: &&str| [" INFO ", " DEBUG "].iter().any(|level| line.contains(level));
    ended.stderr.lines().filter(is_event).count()
}

#[test]
fn nothing_is_logged_by_default() {
    let ended = run("");
    assert_eq!(lines(&ended), 0, "{}", ended.stderr);
}

#[test]
fn v_logs_the_phases_of_a_run_in_their_order() {
    let ended = run("-v");
    let mut rest = ended.stderr.as_str();
    for phase in PHASES {
        let (_, after) = rest.split_once(phase).unwrap_or_else(|| panic!("{phase}: {}", ended.stderr));
        rest = after;
    }
    assert!(ended.stderr.contains(" INFO ") && !ended.stderr.contains(" DEBUG "), "{}", ended.stderr);
}

#[test]
fn vv_logs_connections_and_requests_that_are_not_measured_but_no_measured_request() {
    let few = run("-vv --max-concurrency 1");
    for part in [" DEBUG ", "connected address=127.0.0.1:", "answered url=\"http://127.0.0.1:", "/version"] {
        assert!(few.stderr.contains(part), "{part}: {}", few.stderr);
    }
    let many = run("-vv --max-concurrency 1 --num-prompts 40");
    // The scrapes of a longer run may be a few more.
    assert!(lines(&many) < lines(&few) + 20, "{} and {} lines", lines(&few), lines(&many));
}

#[test]
fn stdout_is_the_same_with_a_log() {
    let stdout = |words: &str| {
        let words =
            format!("run --dry-run --model m --base-url http://127.0.0.1:9 --skip-tokenizer-init {words}");
        Program::new(&words).words(SMALL).end().well().stdout
    };
    let quiet = stdout("");
    assert!(!quiet.is_empty());
    assert_eq!(stdout("-v"), quiet);
    assert_eq!(stdout("-vv"), quiet);
}

#[test]
fn rust_log_takes_a_filter_and_v_is_stronger() {
    for (filter, words) in [("servegauge=info", ""), ("off", "-v")] {
        let logged = filtered(filter, words);
        assert!(logged.stderr.contains(PHASES[0]), "{filter} {words}: {}", logged.stderr);
    }
    let wrong = filtered("servegauge=loud", "");
    assert!(wrong.stderr.contains("warning: RUST_LOG is not a filter"), "{}", wrong.stderr);
    assert_eq!(lines(&wrong), 0, "{}", wrong.stderr);
}

#[test]
fn every_command_takes_v() {
    for command in
        ["run", "compare", "gate", "search", "sweep", "ab", "plan", "watch", "logs", "diagnose", "sim"]
    {
        let help = Program::new(command).words("--help").end().well().stdout;
        assert!(help.contains("-v, --verbose"), "{command}");
    }
}

#[test]
fn the_log_is_no_setting_of_a_run() {
    let dumped = Program::new("run --sim -vv --dump-config").end().well().stdout;
    assert!(!dumped.contains("verbose"), "{dumped}");
}
