//! Creates datasets as Specs describe them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::run_spec::{
    CustomMedia, Dataset, HfDataset, LengthBounds, MediaBucket, PrefixRepetition, PromptFormat, RandomBatch,
    RandomLengths, RandomMedia, RandomRerank, RandomTurns, SonnetDataset, SpecBench, SpeedBench, Trace,
    TraceColumns, TraceKind, TraceLengths, TurnCount, WorkloadClass,
};
use crate::model::wav;

/// Random prompts and answers of exactly these lengths.
pub(crate) fn random(input_len: u32, output_len: u32) -> RandomLengths {
    RandomLengths {
        input_len,
        output_len,
        prefix_len: 0,
        input_range_ratio: 0.0,
        output_range_ratio: 0.0,
        token_ids: false,
    }
}

/// A trace with only the columns that files of its kind have: times and lengths.
pub(crate) fn trace(kind: TraceKind, path: impl Into<PathBuf>) -> Trace {
    let names = match kind {
        TraceKind::Azure => ["TIMESTAMP", "ContextTokens", "GeneratedTokens"],
        TraceKind::Burstgpt => ["Timestamp", "Request tokens", "Response tokens"],
        TraceKind::TimedTrace | TraceKind::Trace => ["timestamp", "input_length", "output_length"],
    };
    let [timestamp, input, output] = names.map(str::to_owned);
    Trace {
        kind,
        path: path.into(),
        columns: TraceColumns {
            timestamp,
            input,
            output,
            hashes: None,
            session: None,
            duration: None,
            prefix: None,
        },
        unit_s: 1.0,
        block_tokens: None,
        timed: true,
        speed: 1.0,
        window: None,
        token_ids: false,
        whole_turns: false,
        lengths: None,
    }
}

/// A folder with a small file for each dataset that reads one.
pub(crate) struct DatasetFolder(TempDir);

impl DatasetFolder {
    /// Writes the files.
    pub(crate) fn new() -> Self {
        let folder = Self(TempDir::new().unwrap());
        let lines =
            |line: &dyn Fn(u32) -> String| (0..30).map(|index| line(index) + "\n").collect::<String>();
        let wav = folder.path("a.wav");
        let json_lines = |value: &dyn Fn(u32) -> Value| lines(&|index| value(index).to_string());
        let files = [
            (
                "custom.jsonl",
                json_lines(&|at| json!({ "prompt": format!("prompt {at}"), "output_tokens": 3 + at })),
            ),
            ("bench.jsonl", json_lines(&|at| json!({ "turns": [format!("question {at}"), "and?"] }))),
            ("speed.jsonl", json_lines(&|at| json!({ "messages": [{ "content": format!("task {at}") }] }))),
            ("audio.jsonl", json_lines(&|at| json!({ "prompt": format!("say {at}"), "audio": wav }))),
            (
                "image.jsonl",
                json_lines(&|at| json!({ "prompt": "see", "image_files": [format!("http://a/{at}")] })),
            ),
            ("chats.json", conversations(9)),
            // The rows are not in order of time.
            (
                "trace.csv",
                String::from("timestamp,input_length,output_length,session\n")
                    + &lines(&|row| {
                        format!("{}.5,{},{},s{}", (row * 7) % 30, 20 + 40 * (row / 5), 1 + row % 3, row % 11)
                    }),
            ),
        ];
        for (name, content) in files {
            std::fs::write(folder.path(name), content).unwrap();
        }
        std::fs::write(folder.path("a.wav"), wav::silence(Duration::from_millis(20))).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Datasets of every kind, sessions included.
    pub(crate) fn datasets(&self) -> Vec<Dataset> {
        let plain = random(20, 5);
        let media = |name| CustomMedia { path: self.path(name), output_len: Some(4), inline: false };
        let turns = TurnCount { min: 1, max: 4 };
        let sessions = |global_ratio, session_ratio| {
            Dataset::RandomTurns(RandomTurns {
                first: plain,
                input_len: 7,
                turns,
                global_ratio,
                session_ratio,
            })
        };
        let rerank = |is_reranker| {
            Dataset::RandomRerank(RandomRerank {
                input_len: 30,
                range_ratio: 0.1,
                batch_size: 3,
                is_reranker,
            })
        };
        let buckets = vec![MediaBucket { height: 8, width: 8, frames: 1, weight: 1.0 }];
        vec![
            Dataset::Sharegpt { path: None, output_len: None },
            Dataset::Custom { path: self.path("custom.jsonl"), output_len: None },
            Dataset::Random(RandomLengths { input_range_ratio: 0.5, output_range_ratio: 0.5, ..plain }),
            Dataset::Random(RandomLengths { prefix_len: 9, token_ids: true, ..plain }),
            Dataset::PrefixRepetition(PrefixRepetition {
                prefix_len: 9,
                suffix_len: 8,
                num_prefixes: 3,
                output_len: 2,
            }),
            Dataset::RandomBatch(RandomBatch { text: plain, batch_size: 3 }),
            rerank(true),
            rerank(false),
            Dataset::RandomMm(RandomMedia {
                text: plain,
                items: 1,
                items_range_ratio: 1.0,
                image_limit: 2,
                video_limit: 0,
                buckets,
            }),
            Dataset::Sonnet(SonnetDataset { path: None, input_len: 150, output_len: 3, prefix_len: 40 }),
            Dataset::SpecBench(SpecBench { path: self.path("bench.jsonl"), output_len: 6, category: None }),
            Dataset::SpeedBench(SpeedBench {
                path: self.path("speed.jsonl"),
                subset: "qualitative".into(),
                output_len: 6,
                category: None,
                max_input_len: None,
            }),
            Dataset::Hf(HfDataset {
                path: self.path("custom.jsonl"),
                subset: None,
                split: None,
                output_len: Some(3),
                name: None,
                text_column: None,
            }),
            Dataset::CustomImage(media("image.jsonl")),
            Dataset::CustomAudio(media("audio.jsonl")),
            Dataset::SharegptTurns {
                path: None,
                output_len: Some(5),
                turns: Some(TurnCount { min: 2, max: 3 }),
            },
            sessions(0.0, 0.0),
            sessions(0.3, 0.4),
            Dataset::Conversations { path: self.path("chats.json"), all: false },
            Dataset::Trace(trace(TraceKind::Trace, self.path("trace.csv"))),
            Dataset::Trace(trace(TraceKind::Burstgpt, fixture("burstgpt.csv"))),
            Dataset::Trace(Trace { timed: false, ..trace(TraceKind::Burstgpt, fixture("burstgpt.csv")) }),
            Dataset::Trace(self.session_trace()),
            self.mix(),
        ]
    }

    fn session_trace(&self) -> Trace {
        let trace = trace(TraceKind::Trace, self.path("trace.csv"));
        let columns = TraceColumns { session: Some("session".into()), ..trace.columns };
        Trace { columns, lengths: Some(TraceLengths::Turn), ..trace }
    }

    fn mix(&self) -> Dataset {
        let class = |name: &str, weight, dataset| WorkloadClass {
            name: name.into(),
            weight,
            dataset,
            body: serde_json::from_str(r#"{"temperature": 0.25}"#).unwrap(),
            adapter: Some(format!("{name}-adapter")),
            slo: None,
            form: PromptFormat::default(),
            bounds: LengthBounds::default(),
        };
        let custom = Dataset::Custom { path: self.path("custom.jsonl"), output_len: None };
        let classes = vec![class("short", 2.0, Dataset::Random(random(8, 2))), class("own", 1.0, custom)];
        Dataset::Mix { path: "mix.toml".into(), classes }
    }
}

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/traces", name].iter().collect()
}

/// A file of conversations of one to three turns.
fn conversations(count: usize) -> String {
    let message = |role: &str, text: String| json!({ "role": role, "content": text });
    let turn = |index: usize, turn: usize| {
        [message("user", format!("{index} asks {turn}")), message("assistant", format!("{turn} is said"))]
    };
    let entry = |index| {
        let messages: Vec<_> = (0..1 + index % 3).flat_map(|at| turn(index, at)).collect();
        json!({ "id": index.to_string(), "messages": messages })
    };
    serde_json::to_string(&(0..count).map(entry).collect::<Vec<_>>()).unwrap()
}
