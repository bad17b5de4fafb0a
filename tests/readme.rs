//! The README is true: its definitions are the program's, and every command line in it runs.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use servebench::report::definitions::DEFINITIONS;

const README: &str = include_str!("../README.md");
const PROGRAM: &str = env!("CARGO_BIN_EXE_servebench");

/// Three conversations that survive vLLM's filter, in place of the real file.
const SHAREGPT: &str = r#"[
    {"id": "a", "conversations": [{"from": "human", "value": "Tell me how rain is made, please."}, {"from": "gpt", "value": "Warm air rises, cools, and lets go of its water."}]},
    {"id": "b", "conversations": [{"from": "human", "value": "What is the tallest tree in the world?"}, {"from": "gpt", "value": "A coast redwood, as far as anybody has measured."}]},
    {"id": "c", "conversations": [{"from": "human", "value": "How long do I boil an egg for a salad?"}, {"from": "gpt", "value": "Nine minutes, then put it into cold water."}]}
]"#;

/// A model's shape, in place of the reader's.
const MODEL: &str = include_str!("fixtures/models/llama-3-8b.json");

/// The command lines of the README's shell blocks, without comments.
fn command_lines() -> Vec<Vec<String>> {
    let mut shell = false;
    let mut lines = Vec::new();
    for line in README.lines() {
        match line.strip_prefix("```") {
            Some(language) => shell = language == "sh",
            None if shell => lines.push(words(line.split(" #").next().unwrap_or_default())),
            None => {}
        }
    }
    lines
}

fn words(line: &str) -> Vec<String> {
    shlex::split(line).unwrap()
}

/// The program's arguments in a command line, if it runs the program.
fn arguments(words: &[String]) -> Option<&[String]> {
    let skip = match words.first()?.as_str() {
        "servebench" => 1,
        "cargo" if words.get(1)? == "run" => words.iter().position(|word| word == "--")? + 1,
        _ => return None,
    };
    Some(&words[skip..])
}

/// What eight requests need: on a busy machine they are no sound measurement.
const LENIENT: [&str; 3] = ["--sharegpt-output-len", "16", "--allow-invalid"];

/// The same command, small: fewer requests, sooner, against the test's server.
fn smaller(arguments: &[String], base_url: &str) -> Vec<String> {
    let mut small = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let replacement = match word.replace('_', "-").as_str() {
            "--num-prompts" | "--num-warmups" => Some("8"),
            "--request-rate" => Some("100"),
            "--duration" | "--warmup" | "--for" => Some("1s"),
            "--repeats" => Some("2"),
            "--think-time" => Some("10ms"),
            "--trace-speed" => Some("1000x"),
            // The port may be somebody else's.
            "--metrics-listen" => Some("127.0.0.1:0"),
            "--base-url" => Some(base_url),
            "--blocks" => Some("2"),
            "--block" => Some("300ms"),
            _ => None,
        };
        small.push(word.clone());
        if let Some(value) = replacement {
            words.next().unwrap();
            small.push(value.to_owned());
        }
    }
    small
}

/// The same A/B, small.
fn short(arguments: &[String], base_url: &str) -> Vec<String> {
    let here = |word: String| match word.as_str() {
        "http://localhost:8000" | "http://localhost:8001" => base_url.to_owned(),
        _ => word,
    };
    let lenient = LENIENT.map(ToOwned::to_owned);
    smaller(arguments, base_url).into_iter().map(here).chain(lenient).collect()
}

/// The same run, small.
fn shrunk(arguments: &[String], base_url: &str) -> Vec<String> {
    let mut small = smaller(arguments, base_url);
    let names = |flag: &str| arguments.iter().any(|word| word == flag);
    if !names("--num-prompts") && !names("--duration") {
        small.extend(["--num-prompts".to_owned(), "8".to_owned()]);
    }
    if !names("--base-url") && !names("--sim") {
        small.extend(["--base-url".to_owned(), base_url.to_owned()]);
    }
    let is_trace = ["timed_trace", "azure", "burstgpt", "trace"].into_iter().any(names);
    if is_trace && !names("--trace-speed") {
        small.extend(["--trace-speed".to_owned(), "1000x".to_owned()]);
    }
    small.extend(LENIENT.map(ToOwned::to_owned));
    small
}

/// The same, whatever eight requests on a busy machine are worth.
fn lenient(mut arguments: Vec<String>) -> Vec<String> {
    let run = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let run = arguments.split_off(run);
    match arguments[0].as_str() {
        "gate" => arguments.push("--allow-invalid".to_owned()),
        "compare" => arguments.push("--anyway".to_owned()),
        _ => {}
    }
    if let Some((dashes, flags)) = run.split_first() {
        arguments.push(dashes.clone());
        arguments.extend(shrunk(flags, ""));
    }
    arguments
}

/// The same search in a few seconds.
fn hurried(arguments: &[String], base_url: &str) -> Vec<String> {
    let own = ["search", "--trial", "1s", "--time", "5s"].map(ToOwned::to_owned);
    let here = |word: &String| word.replace("http://localhost:8000", base_url);
    let mut words: Vec<String> = own.into_iter().chain(arguments[1..].iter().map(here)).collect();
    words.push("--allow-invalid".to_owned());
    words
}

/// The README's TOML file in which a line begins so.
fn file_with(line: &str) -> &'static str {
    let files = README.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    files.into_iter().find(|file| file.lines().any(|of_file| of_file.starts_with(line))).unwrap()
}

fn rows(row: impl Fn(usize) -> String) -> String {
    (1..=8).map(|n| row(n) + "\n").collect()
}

/// A folder in which the README's files are.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("bench.toml", file_with("request-rate"));
    write("mix.toml", file_with("[[class]]"));
    write("gate.toml", file_with("[[rule]]"));
    write("seqs.toml", &[file_with("[[set]]"), file_with("search = ")].concat());
    write("serve.json", r#"[{"max_num_seqs": 2}, {"max_num_seqs": 16}]"#);
    write("bench.json", r#"[{"max_concurrency": 2}, {"max_concurrency": 16}]"#);
    write("AzureLLMInferenceTrace_conv.csv", include_str!("fixtures/traces/azure-2023.csv"));
    write("BurstGPT_1.csv", include_str!("fixtures/traces/burstgpt.csv"));
    write(
        "conversation_trace.jsonl",
        &rows(|n| {
            format!(
                r#"{{"timestamp": {}, "input_length": 600, "output_length": 8, "hash_ids": [0, {n}]}}"#,
                100_000 * (n - 1)
            )
        }),
    );
    write("mine.csv", &("t,in,out,s,d\n".to_owned() + &rows(|n| format!("{n},{},8,{},0.5", 600 * n, n / 2))));
    fs::write(folder.path().join("ShareGPT_V3_unfiltered_cleaned_split.json"), SHAREGPT).unwrap();
    fs::write(folder.path().join("config.json"), MODEL).unwrap();
    folder
}

fn program(arguments: &[String], folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", folder);
    // Commands of ours that start a server start this program.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        Path::new(PROGRAM).parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).unwrap());
    command
}

fn run(arguments: &[String], folder: &Path) -> Output {
    program(arguments, folder).output().unwrap()
}

/// A simulator of the README's, on a free port; it ends with the test.
struct Simulator {
    child: Child,
    base_url: String,
}

impl Simulator {
    fn start(arguments: &[String], folder: &Path) -> Self {
        let mut arguments = arguments.to_vec();
        let port = arguments.iter().position(|word| word == "--port").unwrap() + 1;
        arguments[port] = "0".into();
        let mut child = program(&arguments, folder).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().expect("the simulator says where it listens").unwrap();
        let address = line.rsplit("http://").next().unwrap().trim();
        Self { child, base_url: format!("http://{address}") }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// How a command line hangs together with the others.
#[derive(PartialEq, Eq)]
enum Kind {
    /// It takes its seconds and no file of another.
    Alone,
    /// A run that leaves nothing behind.
    Traceless,
    /// It makes or takes a file.
    Together,
}

fn kind(arguments: &[String]) -> Kind {
    let leaves = |word: &String| {
        ["--save", "--result", "--append", "--repeats", "--like"].iter().any(|flag| word.starts_with(flag))
    };
    match arguments[0].as_str() {
        "ab" | "search" | "watch" => Kind::Alone,
        "run" if !arguments.iter().any(leaves) => Kind::Traceless,
        _ => Kind::Together,
    }
}

#[test]
fn every_command_line_runs() {
    assert!(run_lines(Kind::Together) >= 20);
}

#[test]
fn every_run_that_leaves_nothing_behind_runs() {
    assert!(run_lines(Kind::Traceless) >= 15);
}

#[test]
fn every_command_line_that_stands_alone_runs() {
    assert!(run_lines(Kind::Alone) >= 5);
}

/// Runs the README's lines of a kind, one after the other; returns how many there were.
fn run_lines(wanted: Kind) -> usize {
    let folder = folder();
    for name in ["server.log", "server.log.1"] {
        fs::write(folder.path().join(name), include_str!("fixtures/logs/overload-v1.log")).unwrap();
    }
    let lines = command_lines();
    let any_model = lines.iter().find(|line| line.contains(&"--served-model-name".to_owned())).unwrap();
    let server = Simulator::start(arguments(any_model).unwrap(), folder.path());
    let mut runs = 0;
    for line in &lines {
        let Some(arguments) = arguments(line) else {
            assert_eq!(line[0], "cargo", "a command that is not tested: {line:?}");
            continue;
        };
        if kind(arguments) != wanted {
            continue;
        }
        runs += 1;
        let words = match arguments[0].as_str() {
            "sim" => {
                drop(Simulator::start(arguments, folder.path()));
                continue;
            }
            "run" => shrunk(arguments, &server.base_url),
            "ab" => short(arguments, &server.base_url),
            "search" => hurried(arguments, &server.base_url),
            // Its servers are nowhere: what it would do must be right.
            "sweep" if arguments.iter().any(|word| word == "--dry-run") => arguments.to_vec(),
            "sweep" => [arguments, &["--dry-run".to_owned()]].concat(),
            _ => {
                let here = |word: &String| word.replace("http://localhost:8000", &server.base_url);
                lenient(arguments.iter().map(here).collect())
            }
        };
        let output = run(&words, folder.path());
        assert!(output.status.success(), "{line:?}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(arguments[0] != "run" || !output.stdout.is_empty(), "{line:?} printed nothing");
    }
    runs
}

#[test]
fn the_first_two_commands_are_the_main_job_and_the_tests() {
    let lines = command_lines();
    assert_eq!(lines[0].join(" "), "cargo run --release -- run --sim");
    assert_eq!(lines[1].join(" "), "cargo test");
}

#[test]
fn the_definitions_are_the_programs() {
    let help = run(&words("run --help"), Path::new("."));
    let help = String::from_utf8(help.stdout).unwrap();
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (word, meaning) in DEFINITIONS {
        assert!(README.contains(&format!("| {word} | {meaning} |")), "the README defines `{word}` otherwise");
        assert!(flat(&help).contains(&flat(meaning)), "--help defines `{word}` otherwise");
    }
}
