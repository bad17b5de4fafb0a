//! `servegauge logs` as a user runs it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use crate::support::Program;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

const OVERLOAD: &str = include_str!("../fixtures/logs/overload-v1.log");
const SWAPPING: &str = include_str!("../fixtures/logs/swapping-v0.log");
const REAL: &str = include_str!("../fixtures/logs/real-startup-and-idle.log");
const RUST_FRONTEND: &str = include_str!("../fixtures/logs/real-rust-frontend.log");

fn gzip(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

#[test]
fn the_report_of_an_overloaded_server() {
    let ended = Program::new("logs server.log").file("server.log", OVERLOAD).end().well();
    assert_eq!(ended.stdout, include_str!("../golden/logs-overload.txt"));
    assert_eq!(ended.stderr, "");
    assert!(!ended.stdout.contains("sk-not"), "a secret of the arguments is not repeated");
}

#[test]
fn the_report_of_an_old_server_that_swaps_over_new_year() {
    let ended = Program::new("logs old.log").file("old.log", SWAPPING).end().well();
    assert_eq!(ended.stdout, include_str!("../golden/logs-swapping.txt"));
}

#[test]
fn the_report_of_a_real_server() {
    let ended = Program::new("logs real.log").file("real.log", REAL).end().well();
    assert_eq!(ended.stdout, include_str!("../golden/logs-real.txt"));
}

#[test]
fn the_report_of_a_real_rust_frontend() {
    let ended = Program::new("logs real.log").file("real.log", RUST_FRONTEND).end().well();
    assert_eq!(ended.stdout, include_str!("../golden/logs-rust-frontend.txt"));
}

#[test]
fn json_has_the_alerts_with_start_and_duration() {
    let ended = Program::new("logs --json server.log").file("server.log", OVERLOAD).end().well();
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    let summary = &found["summary"];
    // The log has no year: the time has the latest in which the day has begun.
    let year = summary["start"].as_str().unwrap().split_once('-').unwrap().0;
    let time = |rest: &str| Value::from(format!("{year}-{rest}"));
    assert!(year.len() == 4 && year > "2025", "{year}");
    assert_eq!((&found["log"], &summary["start"]), (&"server.log".into(), &time("07-28T05:59:00")));
    assert_eq!(summary["engines"]["engine 0"]["waiting"]["max"], 71.0);
    assert_eq!(summary["start_up"]["kv_tokens"], 131_072);
    let alerts = summary["alerts"].as_array().unwrap();
    let waiting = alerts.iter().find(|alert| alert["rule"] == "waiting").unwrap();
    assert_eq!((&waiting["start"], &waiting["seconds"]), (&time("07-28T06:02:20"), &250.0.into()));
}

#[test]
fn the_exit_code_tells_of_alerts_if_asked() {
    let program = |words: &str| Program::new(words).file("bad.log", OVERLOAD).file("good.log", REAL);
    program("logs --fail-on-alert bad.log").end().with_code(1);
    program("logs bad.log").end().well();
    program("logs --fail-on-alert good.log").end().with_code(1);
    program("logs --fail-on-alert good.log --threshold errors=off --threshold refused=off").end().well();
    let off = ["kv", "waiting", "throughput", "preemptions", "oom", "errors", "5xx"]
        .map(|name| format!(" --threshold {name}=off"));
    program(&format!("logs --fail-on-alert bad.log {}", off.concat())).end().well();
}

/// SGLang's line of a server whose pool is full, with `end` behind its last value.
fn sglang_lines(end: &str) -> String {
    let line = |minute: u32| {
        format!(
            "[2025-03-14 02:{minute:02}:00 TP0] Decode batch. #running-req: 509, #token: 180776, token usage: 0.97, gen \
             throughput (token/s): 7897.87, #queue-req: 99{end}\n"
        )
    };
    (10..16).map(line).collect()
}

#[test]
fn a_line_that_ends_with_a_comma_and_a_blank_raises_its_alerts() {
    let program = |words: &str| Program::new(words).file("sglang.log", sglang_lines(", "));
    let ended = program("logs --fail-on-alert sglang.log").end().with_code(1);
    for alert in ["[kv] ", "[waiting] "] {
        assert!(ended.stdout.contains(alert), "{}", ended.stdout);
    }
    let ended = program("diagnose --log sglang.log").end().well();
    assert!(ended.stdout.contains("[kv-full]") && ended.stdout.contains("[queue]"), "{}", ended.stdout);
}

#[test]
fn a_log_of_damaged_lines_neither_passes_nor_counts_as_checked() {
    let damaged = sglang_lines("").replace("#queue-req: 99", "#que");
    let program = |words: &str| Program::new(words).file("cut.log", &damaged);
    let ended = program("logs --fail-on-alert cut.log").end().with_code(2);
    assert!(ended.stdout.contains("none in the readable lines; most are damaged"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("6 lines are damaged and 0 lines of statistics are readable"),
        "{}",
        ended.stderr
    );
    program("logs cut.log").end().well();
    let ended = program("diagnose --log cut.log").end().well();
    assert!(ended.stdout.contains("log cut.log (6 lines, 6 damaged)"), "{}", ended.stdout);
    let checked =
        ended.stdout.lines().find(|line| line.starts_with("Checked, not found")).unwrap_or_default();
    for rule in ["kv-full", "queue", "preemptions", "swapping", "throughput"] {
        assert!(!checked.contains(rule), "{rule}: {checked}");
        assert!(ended.stdout.contains(&format!("[{rule}] needs")), "{rule}\n{}", ended.stdout);
    }
}

#[test]
fn pieces_of_a_rotated_log_are_one_log_packed_or_not() {
    let middle = OVERLOAD.match_indices('\n').nth(30).unwrap().0 + 1;
    let (old, new) = OVERLOAD.split_at(middle);
    let pieces =
        Program::new("logs --json old.log.gz new.log").file("old.log.gz", gzip(old)).file("new.log", new);
    let whole = Program::new("logs --json all.log").file("all.log", OVERLOAD).end().well();
    let summary = |text: &str| serde_json::from_str::<Value>(text).unwrap()["summary"].clone();
    assert_eq!(summary(&pieces.end().well().stdout), summary(&whole.stdout));
}

#[test]
fn what_cannot_be_read_is_told_in_one_line() {
    let cases = [
        ("logs no.log", "no.log: cannot open the log"),
        ("logs .", ". is a folder"),
        ("logs empty.log", "none of its 0 lines is known"),
        (
            "logs other.log",
            "other.log: none of its 2 lines is known; is it the log of a vLLM, SGLang or TensorRT-LLM server",
        ),
        ("logs cut.log.gz", "cut.log.gz: cannot read the log any further"),
        ("logs --follow a.log b.log", "--follow takes one log"),
        ("logs --follow cut.log.gz", "does not grow"),
    ];
    let packed = gzip(OVERLOAD);
    for (words, message) in cases {
        let program = Program::new(words)
            .file("empty.log", "")
            .file("other.log", "one\ntwo\n")
            .file("cut.log.gz", &packed[..packed.len() / 2]);
        let ended = program.end().with_code(2);
        assert!(ended.stderr.contains(message), "{words}\n{}", ended.stderr);
        assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1), "{}", ended.stderr);
    }
}

#[test]
fn a_threshold_that_means_nothing_is_refused_with_the_names_there_are() {
    let ended = Program::new("logs --threshold speed=3 x.log").end().with_code(2);
    assert!(ended.stderr.contains("no rule `speed`: swapped, kv, waiting"), "{}", ended.stderr);
}

#[test]
fn a_log_that_is_followed_tells_alerts_as_they_begin_also_after_a_rotation() {
    let half = OVERLOAD.find("07-28 06:03:30").unwrap();
    let begin = OVERLOAD[..half].rfind('\n').unwrap() + 1;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.log");
    fs::write(&path, &OVERLOAD[..half]).unwrap();
    let running = Program::new("logs --follow --fail-on-alert").arg(&path).start();
    running.wait_for_stdout("[waiting] requests pile up, engine 0: from 07-28 06:02:20");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&OVERLOAD.as_bytes()[half..]).unwrap();
    running.wait_for_stdout("[oom]");
    fs::rename(&path, folder.path().join("server.log.1")).unwrap();
    fs::write(&path, OVERLOAD[begin..].replace("07-28", "07-29")).unwrap();
    running.wait_for_stdout("[oom] out of memory, engine: from 07-29");
    running.signal(rustix::process::Signal::HUP);
    let ended = running.end().with_code(130);
    assert!(ended.stdout.contains("Span: 07-28 05:59:00 to 07-29 06:10:10"), "{}", ended.stdout);
}

#[test]
fn a_full_stdout_is_2_and_a_closed_one_no_error() {
    for words in ["logs server.log", "logs --fail-on-alert server.log"] {
        let program = || Program::new(words).file("server.log", OVERLOAD);
        let ended = program().with_full_stdout().end().with_code(2);
        assert!(ended.stderr.contains("cannot write to stdout: "), "{}", ended.stderr);
        let code = if words.contains("fail-on-alert") { 1 } else { 0 };
        assert_eq!(program().with_closed_stdout().end().with_code(code).stderr, "");
    }
}

#[test]
fn following_ends_when_nobody_reads() {
    let program = || Program::new("logs --follow server.log").file("server.log", OVERLOAD);
    assert_eq!(program().with_closed_stdout().end().well().stderr, "");
    let ended = program().with_full_stdout().end().with_code(2);
    assert!(ended.stderr.contains("cannot write to stdout: "), "{}", ended.stderr);
}
