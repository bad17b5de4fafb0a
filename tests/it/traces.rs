//! Traces replayed against the simulator: its truth log has the trace's times, lengths and shared prefixes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{Simulator, Story, quick};
use serde_json::Value;
use servegauge::sim::SimSpec;

/// A row of a trace as the tests read it.
struct Row {
    at: f64,
    input: u64,
    output: u64,
    hashes: Vec<u64>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces").join(name)
}

fn mooncake() -> Vec<Row> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        Row {
            at: row["timestamp"].as_f64().unwrap() / 1000.0,
            input: row["input_length"].as_u64().unwrap(),
            output: row["output_length"].as_u64().unwrap(),
            hashes: row["hash_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect(),
        }
    };
    std::fs::read_to_string(fixture("mooncake.jsonl")).unwrap().lines().map(row).collect()
}

/// A CSV file whose columns are these, and whose times are read by the caller.
fn csv(name: &str, [time, input, output]: [usize; 3], seconds: impl Fn(&str) -> f64) -> Vec<Row> {
    let text = std::fs::read_to_string(fixture(name)).unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |place: usize| fields[place].parse().unwrap();
        Row { at: seconds(fields[time]), input: number(input), output: number(output), hashes: Vec::new() }
    };
    text.lines().skip(1).map(row).collect()
}

/// The outcome of a replay: the records of the result, and the simulator's own log of each request.
struct Replay {
    records: Vec<Value>,
    stories: Vec<Story>,
}

fn replay(words: &str, name: &str) -> Replay {
    let simulator = Simulator::start(SimSpec { truth_prompts: 256, ..quick() });
    let program = simulator.run("--save-detailed").words(words).arg("--dataset-path").arg(fixture(name));
    let result = program.end().well().result();
    let records = result["servegauge"]["records"].as_array().unwrap().clone();
    let mut stories = simulator.truth();
    let of = |record: &Value| {
        let id = record["id"].as_str().unwrap();
        let place = stories.iter().position(|story| story.id == id).unwrap();
        stories.swap_remove(place)
    };
    let stories = records.iter().map(of).collect();
    Replay { records, stories }
}

impl Replay {
    /// Times to the nanosecond as planned, about as they came, and lengths to the token.
    #[track_caller]
    fn follows(&self, rows: &[Row], speed: f64) {
        assert_eq!(self.records.len(), rows.len());
        let mut off = Vec::new();
        for ((record, story), row) in self.records.iter().zip(&self.stories).zip(rows) {
            let due = (row.at - rows[0].at) / speed;
            assert!((record["due_s"].as_f64().unwrap() - due).abs() < 1e-6, "{record}");
            assert_eq!((story.prompt_tokens, story.output_tokens), (row.input, row.output));
            off.push(((story.read_ns - self.stories[0].read_ns) as f64 / 1e9 - due).abs());
        }
        off.sort_by(f64::total_cmp);
        // A busy machine is late now and then, but not half of the time.
        assert!(off[off.len() / 2] < 0.5, "{off:?}");
    }
}

#[test]
fn mooncake_has_its_times_its_lengths_and_its_shared_beginnings() {
    let rows = mooncake();
    let words = "--dataset-name timed_trace --timed-trace-sec-multiplier 0.001 --timed-trace-chunk-hash-size 512 \
                 --trace-speed 40x";
    let replay = replay(words, "mooncake.jsonl");
    replay.follows(&rows, 40.0);
    let mut cached = 0;
    for (later, row) in rows.iter().enumerate() {
        for (earlier, other) in rows[..later].iter().enumerate() {
            let hashes = row.hashes.iter().zip(&other.hashes).take_while(|(a, b)| a == b).count() as u64;
            let tokens = (hashes * 512).min(row.input).min(other.input);
            let (a, b) = (replay.stories[later].blocks(), replay.stories[earlier].blocks());
            let common = a.iter().zip(b).take_while(|(a, b)| a == b).count() as u64;
            assert_eq!(common, tokens / 16, "{earlier} {later}");
        }
        cached += replay.stories[later].cached_tokens;
    }
    assert!(cached > 512 * rows.len() as u64 / 2, "the server's cache found the shared beginnings: {cached}");
}

#[test]
fn azure_has_its_times_and_lengths() {
    let seconds = |time: &str| {
        let parts: Vec<f64> = time[11..].split(':').map(|part| part.parse().unwrap()).collect();
        parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
    };
    let rows = csv("azure-2023.csv", [0, 1, 2], seconds);
    replay("--dataset-name azure --trace-speed 20x", "azure-2023.csv").follows(&rows, 20.0);
}

#[test]
fn burstgpt_has_its_times_and_lengths() {
    let rows = csv("burstgpt.csv", [0, 2, 3], |time| time.parse().unwrap());
    replay("--dataset-name burstgpt --trace-speed 40x", "burstgpt.csv").follows(&rows, 40.0);
}

#[test]
fn token_ids_share_what_texts_share() {
    let words =
        "--dataset-name timed_trace --timed-trace-sec-multiplier 0.001 --trace-speed 100x --num-prompts 30";
    let texts = replay(words, "mooncake.jsonl");
    let ids = replay(&format!("{words} --prompt-token-ids"), "mooncake.jsonl");
    let shape = |replay: &Replay| -> Vec<(u64, bool)> {
        let first = replay.stories[0].blocks()[0].clone();
        let with_first = |story: &Story| (story.prompt_tokens, story.blocks()[0] == first);
        replay.stories.iter().map(with_first).collect()
    };
    assert_eq!(shape(&ids), shape(&texts));
}

/// Two sessions of three and two turns, and a row by itself; times and durations in seconds.
const SESSIONS: &str = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens\n\
                        50,ann,2,GPT-4,40,8\n\
                        53,bob,1,ChatGPT,30,6\n\
                        58,,3,ChatGPT,16,4\n\
                        62,ann,4,GPT-4,80,8\n\
                        66,bob,1,ChatGPT,60,6\n\
                        67,ann,1,GPT-4,120,8\n";

/// At ten times the speed: when each session comes, and how long its user thinks before each later turn.
const PLANNED: [(f64, &[f64]); 3] = [(0.0, &[1.0, 0.1]), (0.3, &[1.2]), (0.8, &[])];

#[test]
fn sessions_of_a_trace_come_at_its_times_and_think_as_it_says() {
    let simulator = Simulator::start(quick());
    let words =
        "--dataset-name burstgpt --dataset-path b.csv --trace-speed 10x --save-detailed --num-prompts -1";
    let columns = "session=Session ID,duration=Elapsed time";
    let program = simulator.run(words).arg("--trace-columns").arg(columns).file("b.csv", SESSIONS);
    let result = program.words("--think-time trace").end().well().result();
    let mut records = BTreeMap::<u64, Vec<&Value>>::new();
    for record in result["servegauge"]["records"].as_array().unwrap() {
        records.entry(record["session"].as_u64().unwrap()).or_default().push(record);
    }
    let time = |record: &Value, name: &str| record[format!("{name}_s")].as_f64().unwrap();
    assert_eq!(records.len(), PLANNED.len());
    for (turns, (due, thinks)) in records.values().zip(PLANNED) {
        assert!((time(turns[0], "due") - due).abs() < 1e-6, "{turns:?}");
        assert_eq!(turns.len(), thinks.len() + 1);
        for (pair, think) in turns.windows(2).zip(thinks) {
            assert!((time(pair[1], "due") - time(pair[0], "done") - think).abs() < 1e-6, "{pair:?}");
        }
    }
    let truth: BTreeMap<String, Story> =
        simulator.truth().into_iter().map(|story| (story.id.clone(), story)).collect();
    for (turns, (_, thinks)) in records.values().zip(PLANNED) {
        let stories: Vec<&Story> = turns.iter().map(|turn| &truth[turn["id"].as_str().unwrap()]).collect();
        assert!(stories.iter().all(|story| story.session.is_some() && story.session == stories[0].session));
        for (pair, think) in stories.windows(2).zip(thinks) {
            let gap = (pair[1].read_ns - pair[0].tokens_ns.last().unwrap()) as f64 / 1e9;
            assert!(gap >= think - 1e-3, "nobody is heard before the time to think is over: {gap} s");
        }
    }
    let lengths: Vec<u64> =
        records[&0].iter().map(|turn| truth[turn["id"].as_str().unwrap()].prompt_tokens).collect();
    // The blank line between an answer and the next question is not in the trace.
    assert!(
        lengths[0] == 40 && (80..83).contains(&lengths[1]) && (120..125).contains(&lengths[2]),
        "{lengths:?}"
    );
}

#[test]
fn sessions_of_a_trace_without_a_history_have_its_lengths_and_share_their_beginnings() {
    let simulator = Simulator::start(SimSpec { truth_prompts: 256, ..quick() });
    let words = "--dataset-name burstgpt --dataset-path b.csv --history none --think-time 1ms --request-rate inf \
                 --max-active-sessions 1 --prompt-token-ids";
    let columns = ["--trace-columns", "session=Session ID"];
    let program = columns.into_iter().fold(simulator.run(words), |program, word| program.arg(word));
    program.words("--num-prompts 2").file("b.csv", SESSIONS).end().well();
    let truth = simulator.truth();
    let lengths: Vec<u64> = truth.iter().map(|story| story.prompt_tokens).collect();
    assert_eq!(lengths, [40, 80, 120, 30, 60]);
    let whole = |story: usize| &truth[story].blocks()[..(lengths[story] / 16) as usize];
    assert!(
        whole(1).starts_with(whole(0)) && whole(2).starts_with(whole(1)) && !whole(4).starts_with(whole(0))
    );
}
