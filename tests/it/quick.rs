//! `servegauge quick` as a newcomer types it.

use serde_json::Value;

use crate::support::{Port, Program, Simulator, quick};

/// A few seconds are enough to see that it answers. On a busy machine the measurements may be INVALID.
const SHORT: &str =
    "--time 4s -- --random-input-len 8 --random-output-len 4 --skip-tokenizer-init --allow-invalid";

#[test]
fn the_answer_is_sentences_and_the_next_commands() {
    let simulator = Simulator::start(quick());
    let ended = Program::new("quick").arg(simulator.base_url()).words(SHORT).end().well();
    let (sentences, next) = ended.stdout.split_once("\nNext:\n").expect("commands below the sentences");
    let first = sentences.lines().next().unwrap();
    assert!(first.contains(&simulator.base_url()), "{first}");
    // Either it says how many users, or why it does not.
    assert!(first.contains(" users") || first.starts_with("No answer: "), "{first}");
    let commands: Vec<&str> = next.lines().map(str::trim).collect();
    assert_eq!(commands.len(), 3, "{next}");
    let target = format!("--base-url {}", simulator.base_url());
    for (command, name) in commands.iter().zip(["run", "search", "gate init"]) {
        assert!(
            command.starts_with(&format!("servegauge {name} ")) && command.contains(&target),
            "{command}"
        );
    }
}

#[test]
fn json_has_the_sentences_the_users_and_the_trials() {
    let simulator = Simulator::start(quick());
    let program = Program::new("quick --json").arg(simulator.base_url()).words(SHORT);
    let json: Value = serde_json::from_str(&program.end().well().stdout).unwrap();
    assert!(json["users"].is_u64() || json["users"].is_null(), "{json}");
    assert!(!json["sentences"].as_array().unwrap().is_empty());
    assert_eq!(json["question"]["over"], "concurrency");
    assert!(!json["trials"].as_array().unwrap().is_empty());
}

#[test]
fn a_server_that_is_not_there_is_code_1_and_flags_that_are_wrong_are_2() {
    let ended = Program::new("quick").arg(Port::take().base_url()).end().with_code(1);
    assert!(ended.stderr.contains("is the server running there?"), "{}", ended.stderr);
    assert!(ended.stdout.is_empty(), "no sentence without a measurement: {}", ended.stdout);
    let ended = Program::new("quick http://127.0.0.1:1 -- --no-such-flag").end().with_code(2);
    assert!(ended.stderr.contains("after `--`"), "{}", ended.stderr);
    Program::new("quick --sim http://127.0.0.1:1").end().with_code(2);
}

/// The usual ports may be taken by other programs of this machine, so only the words are checked.
#[test]
fn a_bare_run_without_a_server_says_how_to_try_it() {
    let ended = Program::new("run --num-prompts 1 --host 127.0.0.1 --port").arg("1").end().with_code(1);
    assert!(!ended.stderr.contains("--sim"), "a server was named: {}", ended.stderr);
    if std::net::TcpStream::connect(("127.0.0.1", 8000)).is_err() {
        let ended = Program::new("run --num-prompts 1").end().with_code(1);
        let hint =
            "to try servegauge without a server: `servegauge run --sim`; `servegauge quick` looks for one";
        assert!(ended.stderr.contains(hint), "{}", ended.stderr);
    }
}
