//! `servegauge ab` as a user runs it.

use std::time::Duration;

use serde_json::Value;
use servegauge::sim::{FaultInjection, FaultKind, FixedTiming, SimSpec};

use crate::support::{Ended, Port, Program, Simulator, quick, steps};

/// A simulator whose streams have exactly this gap between tokens, however many streams it serves.
fn steady(gap: u64) -> SimSpec {
    let gap = Duration::from_millis(gap);
    let rhythm = FixedTiming { ttft: gap, gap, lockstep: false, events_per_write: 1 };
    SimSpec { fixed_timing: Some(rhythm), ..quick() }
}

/// Small requests. Whether the machine is too busy for them is about something else.
const RUN: &str = "-- --model some-model --skip-tokenizer-init --dataset-name random --rng native --random-input-len 8 \
                   --random-output-len 8 --ignore-eos --request-rate 40 --disable-tqdm --allow-invalid";

fn ab(a: &str, b: &str, words: &str) -> Program {
    Program::new("ab --a").arg(a).arg("--b").arg(b).words(words).words(RUN)
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The call of each row.
fn calls(table: &Value) -> Vec<&str> {
    let rows = table["candidates"][0]["rows"].as_array().unwrap();
    rows.iter().map(|row| row["call"].as_str().unwrap()).collect()
}

#[test]
fn equal_servers_get_the_same_requests_and_are_neither_better_nor_worse() {
    let [a, b, c, slower] = [steady(10), steady(10), steady(10), steady(20)].map(Simulator::start);
    // A margin that the noise of a busy machine does not leave, and a server of half the speed does.
    let words = "--blocks 4 --block 500ms --format json --figures tpot.p50,failure_rate --margin 40%";
    let against_slower = ab(&c.base_url(), &slower.base_url(), words).end();
    assert_ne!(calls(&json(&against_slower))[0], "same", "{}", against_slower.stdout);
    let saved = format!("{words} --save saved");
    let ended = ab(&a.base_url(), &b.base_url(), &saved).end().well();
    let comparison = json(&ended);
    // None of 80 failed on either side, which does not bound a failure rate to a percentage point.
    assert_eq!(calls(&comparison), ["same", "cannot_tell"], "{}", ended.stdout);
    assert_eq!(comparison["candidates"][0]["scope"], "these_starts");
    assert_eq!(
        (comparison["pairs"].as_array().unwrap().len(), &comparison["caveats"]),
        (4, &Value::Array(Vec::new()))
    );
    let firsts: Vec<&Value> =
        comparison["pairs"].as_array().unwrap().iter().map(|pair| &pair["first"]).collect();
    assert!(firsts[0] != firsts[1] && firsts[2] != firsts[3], "{firsts:?}");

    let run = |name: &str| serde_json::from_str::<Value>(&ended.read(name)).unwrap()["servegauge"].take();
    let prompts = |name: &str| run(name)["inputs"]["prompts"].clone();
    assert_eq!(prompts("saved/a/001.json"), prompts("saved/b/001.json"));
    assert_ne!(prompts("saved/a/001.json"), prompts("saved/a/002.json"), "each pair has its own");
    assert_eq!(run("saved/b/003.json")["settings"]["seed"], 2);
    let lengths = |simulator: Simulator| {
        let mut lengths: Vec<u64> = simulator.truth().iter().map(|story| story.prompt_tokens).collect();
        lengths.sort_unstable();
        lengths
    };
    assert_eq!(lengths(a), lengths(b));
}

#[test]
fn a_server_slower_by_30_percent_is_worse_and_the_text_says_how_it_knows() {
    // In steps: a simulator that is held up writes no tokens faster afterwards.
    let in_steps = |ms| SimSpec { timing: steps(Duration::from_millis(ms)), ..quick() };
    let [a, b] = [in_steps(20), in_steps(26)].map(Simulator::start);
    // The blocks are long enough that a short pause of the machine does not change the median of a block.
    let words = "--blocks 6 --block 1500ms --figures tpot.p50";
    let ended = ab(&a.base_url(), &b.base_url(), words).end().well();
    let row = ended.stdout.lines().find(|line| line.starts_with("TPOT P50")).unwrap();
    assert!(row.ends_with(" worse"), "{}", ended.stdout);
    for expected in [&format!("A: {}", a.base_url()), "6 of 6 count", "Wilcoxon", "B − A, in pairs"] {
        assert!(ended.stdout.contains(expected), "{expected}\n{}", ended.stdout);
    }
}

/// A command that starts a simulator.
fn command(words: &str) -> String {
    format!("{} sim --served-model-name some-model {words}", env!("CARGO_BIN_EXE_servegauge"))
}

#[test]
fn two_commands_run_one_at_a_time_and_leave_nothing() {
    // Both have one port, which only one can have.
    let port = Port::take().base_url().rsplit(':').next().unwrap().to_owned();
    let server = command(&format!("--port {port} --ttft 5ms --gap 5ms"));
    let words = "--blocks 2 --block 200ms --format json --figures tpot.p50 --save saved";
    let ended = ab(&server, &server, words).end().well();
    assert_eq!(json(&ended)["servers"][0], server.as_str());
    let starts = ended.stderr.lines().filter(|line| line.starts_with("starting ")).count();
    assert_eq!(starts, 4, "every block has a start of its own: {}", ended.stderr);
    assert!(ended.read("saved/a.log").contains("listening on"));
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err(), "nobody listens any more");
}

#[test]
fn two_commands_that_are_kept_are_started_once() {
    let server = command("--port {port} --ttft 5ms --gap 5ms");
    let words = "--blocks 4 --block 200ms --keep --format csv --figures tpot.p50 --save saved";
    let ended = ab(&server, &server, words).end().well();
    let starts = ended.stderr.lines().filter(|line| line.starts_with("starting ")).count();
    assert_eq!(starts, 2, "{}", ended.stderr);
    assert!(ended.stdout.starts_with("candidate,figure"), "{}", ended.stdout);
}

#[test]
fn a_server_that_does_not_start_fails_with_its_last_words() {
    let a = Simulator::start(steady(5));
    let words = "--blocks 2 --block 200ms --save saved";
    let ended = ab(&a.base_url(), "sh -c 'echo no memory; exit 3'", words).end().with_code(1);
    for expected in
        ["error: B: the server ended before it was healthy", "exit status: 3", "no memory", "b.log"]
    {
        assert!(ended.stderr.contains(expected), "{expected}\n{}", ended.stderr);
    }
}

#[test]
fn a_run_without_any_answer_ends_it() {
    let a = Simulator::start(steady(5));
    let broken = FaultInjection { rate: 1.0, kinds: vec![FaultKind::Error500] };
    let b = Simulator::start(SimSpec { faults: broken, ..quick() });
    let ended = ab(&a.base_url(), &b.base_url(), "--blocks 2 --block 200ms").end().with_code(1);
    assert!(ended.stderr.contains("error: B in pair 1: all "), "{}", ended.stderr);
}

#[test]
fn too_many_invalid_blocks_exit_with_3_and_say_why() {
    let some = FaultInjection { rate: 0.4, kinds: vec![FaultKind::Error500] };
    let [a, b] = [quick(), SimSpec { faults: some, ..quick() }].map(Simulator::start);
    let run = RUN.replace(" --allow-invalid", "");
    let program =
        Program::new("ab --blocks 2 --block 500ms --a").arg(a.base_url()).arg("--b").arg(b.base_url());
    let ended = program.words(&run).end().with_code(3);
    for expected in ["CAVEAT: pair 1 is left out: ", "B is INVALID: ", "failed requests", "0 of 2 count"] {
        assert!(ended.stdout.contains(expected), "{expected}\n{}", ended.stdout);
    }
}

#[test]
fn an_interrupt_leaves_the_pairs_that_are_complete() {
    let [a, b] = [steady(5), steady(5)].map(Simulator::start);
    let running = ab(&a.base_url(), &b.base_url(), "--blocks 50 --block 500ms --figures tpot.p50").start();
    running.wait_for("pair 3 of 50");
    running.signal(rustix::process::Signal::TERM);
    let ended = running.end().with_code(130);
    assert!(ended.stdout.contains("CAVEAT: only 2 of 50 pairs are complete"), "{}", ended.stdout);
}

#[test]
fn mistakes_are_one_line_with_the_cure() {
    let cases = [
        ("ab --a localhost:1 --b http://b", "such as http://localhost:1"),
        ("ab --a http://a --b http://b --blocks 1", "--blocks must be at least 2"),
        ("ab --a http://a --b http://b -- --duration 5", "--duration is not for a block: --block sets"),
        ("ab --a http://a --b http://b -- --sim", "--a and --b name the servers"),
        ("ab --a http://a --b http://b -- --save-detailed", "give --out DIR"),
        ("ab --a http://a --b http://b -- --like last.json", "write them out"),
        ("ab --a http://a --b http://b -- --request-rate 0", "after `--`: "),
        ("ab --a http://a --b http://b --save full", "full/a is not empty"),
        ("ab --a http://127.0.0.1:1 --b http://127.0.0.1:1", "cannot ask the server for its model"),
    ];
    for (words, cure) in cases {
        let ended = Program::new(words).file("full/a/001.json", "{}").end();
        assert!(matches!(ended.code, Some(1 | 2)), "{words}: {:?}", ended.code);
        assert!(ended.stderr.contains(cure), "{words}\n{}", ended.stderr);
        assert_eq!(ended.stdout, "", "{words}");
    }
}
