//! The folder in which the commands of a page run.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::page::Page;

const PROGRAM: &str = env!("CARGO_BIN_EXE_servegauge");

/// Three conversations that survive vLLM's filter, in place of the real file.
const SHAREGPT: &str = r#"[
    {"id": "a", "conversations": [{"from": "human", "value": "Tell me how rain is made, please."}, {"from": "gpt", "value": "Warm air rises, cools, and lets go of its water."}]},
    {"id": "b", "conversations": [{"from": "human", "value": "What is the tallest tree in the world?"}, {"from": "gpt", "value": "A coast redwood, as far as anybody has measured."}]},
    {"id": "c", "conversations": [{"from": "human", "value": "How long do I boil an egg for a salad?"}, {"from": "gpt", "value": "Nine minutes, then put it into cold water."}]}
]"#;

/// A folder with the files that pages name and do not show.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    /// Datasets, traces, a model's shape, a server's log, and a saved run, in place of the reader's.
    pub(super) fn with_fixtures() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let log = include_str!("../../fixtures/logs/overload-v1.log");
        for (name, text) in [
            ("ShareGPT_V3_unfiltered_cleaned_split.json", SHAREGPT),
            ("config.json", include_str!("../../fixtures/models/llama-3-8b.json")),
            ("AzureLLMInferenceTrace_conv.csv", include_str!("../../fixtures/traces/azure-2023.csv")),
            ("BurstGPT_1.csv", include_str!("../../fixtures/traces/burstgpt.csv")),
            ("model.json", include_str!("../../fixtures/predict/model.json")),
            ("server.log", log),
            ("server.log.1", log),
            ("vllm.json", include_str!("../../fixtures/foreign/vllm-py.json")),
            ("benchmarks.json", include_str!("../../fixtures/foreign/guidellm.json")),
            ("profile_export_aiperf.json", include_str!("../../fixtures/foreign/aiperf.json")),
            ("serve.json", r#"[{"max_num_seqs": 2}, {"max_num_seqs": 16}]"#),
            ("bench.json", r#"[{"max_concurrency": 2}, {"max_concurrency": 16}]"#),
        ] {
            folder.write(name, text);
        }
        let hashes = |n: usize| {
            let time = 100_000 * (n - 1);
            format!(
                r#"{{"timestamp": {time}, "input_length": 600, "output_length": 8, "hash_ids": [0, {n}]}}"#
            )
        };
        folder.write("conversation_trace.jsonl", &rows(hashes));
        folder.write(
            "mine.csv",
            &format!("t,in,out,s,d\n{}", rows(|n| format!("{n},{},8,{},0.5", 600 * n, n / 2))),
        );
        let flags = "run --sim --num-prompts 8 --sharegpt-output-len 16 --allow-invalid --save-detailed \
                     --result-filename results/last.json";
        let flags: Vec<String> = flags.split_whitespace().map(ToOwned::to_owned).collect();
        let output = program(&flags, folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder
    }

    /// The same with the files that a page shows.
    pub(super) fn copy_for(&self, page: &Page) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        copy_files(self.path(), folder.path());
        let mut shown = std::collections::BTreeMap::<String, String>::new();
        for block in page.blocks() {
            if let Some(file) = block.file {
                *shown.entry(file).or_default() += &block.text;
            }
        }
        for (name, text) in shown {
            folder.write(&name, &text);
        }
        folder
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Starts a simulator, which ends when it is dropped.
    pub(super) fn simulator(&self, arguments: &[&str]) -> Simulator {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut child = program(&arguments, self.path()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().expect("the simulator says where it listens").unwrap();
        let address = line.rsplit("http://").next().unwrap().trim();
        Simulator { child, base_url: format!("http://{address}") }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// A running `servegauge sim`.
pub(super) struct Simulator {
    child: Child,
    pub base_url: String,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The program in a folder, without a hub, a cache or a terminal.
pub(super) fn program(arguments: &[String], folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", folder).env("XDG_CACHE_HOME", folder.join(".cache"));
    // Commands of ours that start a server start this program.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        Path::new(PROGRAM).parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).unwrap());
    command
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_files(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn rows(row: impl Fn(usize) -> String) -> String {
    (1..=8).map(|n| row(n) + "\n").collect()
}
