//! The command lines of vLLM's documentation run against the simulator when only the program's name is changed.
//!
//! A test must change the server's address and the number of prompts. The rest comes from the environment, as a user
//! may set it: a local tokenizer, and no verdict, because a few prompts on a busy machine are not a sound measurement.

use std::time::Duration;

use serde_json::{Value, json};
use servegauge::internals::wav;
use servegauge::sim::SimSpec;

use crate::support::{Ended, Program, Simulator, quick};

const COMMANDS: &str = include_str!("../documented-commands.txt");

/// How many prompts are enough.
const FEW: usize = 6;

/// One documented command.
struct Documented<'a> {
    line: &'a str,
    /// The missing feature that the command needs, if it cannot run yet.
    waits_for: Option<&'a str>,
    /// Its words after the program's name, as a shell would cut them.
    words: Vec<String>,
}

fn documented() -> Vec<Documented<'static>> {
    let lines = COMMANDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts =
        lines.map(|line| match line.strip_prefix("waits for ").and_then(|rest| rest.split_once(" | ")) {
            Some((flag, line)) => (line, Some(flag)),
            None => (line, None),
        });
    parts.map(|(line, waits_for)| Documented { line, waits_for, words: words(line) }).collect()
}

fn words(line: &str) -> Vec<String> {
    let line = line
        .replace("<model-name>", "some-model")
        .replace("<model>", "some-model")
        .replace("<your data path>/", "")
        .replace("<YOUR_DOWNLOADED_PATH>/", "")
        .replace("<path-to-your-data-jsonl>", "data.jsonl")
        .replace("<path-to-your-image-data-jsonl>", "image_data.jsonl")
        .replace("/path/to/", "")
        .replace("~/", "");
    let rest = ["vllm bench serve ", "vllm-bench "].iter().find_map(|name| line.strip_prefix(name)).unwrap();
    shlex::split(rest).unwrap()
}

/// The command for this server, with few prompts.
fn program(words: &[String], simulator: &Simulator) -> Program {
    let mut program = Program::new("run");
    let mut has_place = false;
    let mut previous = "";
    for word in words {
        let replaced = match previous {
            "--base-url" => Some(simulator.base_url()),
            "--port" => Some(simulator.port().to_string()),
            // -1, all of a file, is few here.
            "--num-prompts" => word.parse().ok().map(|asked: usize| asked.min(FEW).to_string()),
            // The bundled one, which no hub has.
            "--tokenizer" => Some("tokenizer.json".to_owned()),
            _ => None,
        };
        has_place |= matches!(previous, "--base-url" | "--port");
        program = program.arg(replaced.as_ref().unwrap_or(word));
        previous = word;
    }
    if !has_place {
        program = program.arg("--port").arg(simulator.port().to_string());
    }
    furnished(program).env("SERVEGAUGE_ALLOW_INVALID", "1").env("SERVEGAUGE_NUM_PROMPTS", &FEW.to_string())
}

/// With the files that the commands read, and a tokenizer instead of the hub's.
fn furnished(program: Program) -> Program {
    let prompts = |n: usize| json!({ "prompt": format!("What is the capital of the country number {n}?") });
    let trace = |n: usize| {
        let hashes = [0, n + 1];
        json!({ "timestamp": n * 20, "input_length": 600, "output_length": 8, "hash_ids": hashes })
    };
    program
        .file("tokenizer.json", servegauge::internals::bundled::tokenizer_json())
        .env("SERVEGAUGE_TOKENIZER", "tokenizer.json")
        .file("ShareGPT_V3_unfiltered_cleaned_split.json", conversations())
        .file("ShareGPT_V3.json", conversations())
        .file("ShareGPT4V/sharegpt4v_instruct_gpt4-vision_cap100k.json", conversations())
        .file("ShareGPT4Video/llava_v1_5_mix665k_with_video_chatgpt72k_share4video28k.json", conversations())
        .file("data.jsonl", lines((0..FEW).map(prompts)))
        .file("conversation_trace.jsonl", lines((0..FEW).map(trace)))
        .file(
            "audio_data.jsonl",
            lines((0..FEW).map(|_| json!({ "prompt": "Write it down.", "audio": "a.wav" }))),
        )
        .file("a.wav", wav::silence(Duration::from_secs(2)))
        .file("image_data.jsonl", lines((0..FEW).map(image)))
        .file("a.jpg", [0xff, 0xd8, 0xff, 0xd9])
        .file("data/speed_bench/throughput_2k.jsonl", lines((0..FEW).map(question)))
        .file("nvidia/SPEED-Bench/qualitative.jsonl", lines((0..FEW).map(question)))
        // Datasets of the hub, as folders of the same names.
        .file("Aeala/ShareGPT_Vicuna_unfiltered/train.json", conversations())
        .file("allenai/WildChat-4.8M/train.jsonl", lines((0..FEW).map(prompts)))
        .file("THUDM/LongBench/narrativeqa/test.jsonl", lines((0..FEW).map(prompts)))
}

fn image(n: usize) -> Value {
    json!({ "prompt": format!("What is to be seen on picture {n}?"), "image_files": ["a.jpg"] })
}

fn question(n: usize) -> Value {
    json!({ "messages": [{ "content": format!("Which is the prime number {n}?") }], "category": "maths" })
}

fn lines(values: impl Iterator<Item = Value>) -> String {
    values.map(|value| format!("{value}\n")).collect()
}

/// A ShareGPT file.
fn conversations() -> String {
    let turn = |from: &str, value: String| json!({ "from": from, "value": value });
    let conversation = |n: usize| {
        let question = format!("What is the cube of the number {n}, and how do you know?");
        let answer = format!("The cube of {n} is {}, because {n} times {n} times {n} is that.", n * n * n);
        json!({ "id": format!("c{n}_0"), "conversations": [turn("human", question), turn("gpt", answer)] })
    };
    json!((0..20).map(conversation).collect::<Vec<_>>()).to_string()
}

#[test]
fn every_documented_command_line_runs_unchanged() {
    let simulator = Simulator::start(SimSpec { max_model_len: 32_768, ..quick() });
    let (simulator, all) = (&simulator, documented());
    // They mostly wait.
    let wrong = std::thread::scope(|scope| {
        let share = |some| scope.spawn(move || wrong(some, simulator));
        let shares: Vec<_> = all.chunks(all.len().div_ceil(4)).map(share).collect();
        shares.into_iter().flat_map(|share| share.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(wrong.is_empty(), "{} command lines:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs the commands, and returns a message for each one that fails.
fn wrong(commands: &[Documented<'_>], simulator: &Simulator) -> Vec<String> {
    let mut wrong = Vec::new();
    for Documented { line, waits_for, words } in commands {
        let Ended { code, stdout, stderr, .. } = program(words, simulator).end();
        match (code, waits_for) {
            (Some(0), None) if stdout.is_empty() => wrong.push(format!("{line}\n  printed nothing")),
            (Some(0), Some(flag)) => {
                wrong.push(format!("{line}\n  runs: it need not wait for {flag} any more"))
            }
            (Some(0), None) | (_, Some(_)) => {}
            (code, None) => wrong.push(format!("{line}\n  ended with {code:?}: {stderr}")),
        }
    }
    wrong
}

#[test]
fn at_least_25_command_lines_of_both_clients_are_tried() {
    let all = documented();
    assert!(all.len() >= 25, "{}", all.len());
    for client in ["vllm bench serve", "vllm-bench"] {
        assert!(
            all.iter().filter(|documented| documented.line.starts_with(client)).count() >= 10,
            "{client}"
        );
    }
}
