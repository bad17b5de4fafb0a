use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::dataset::prepare;
use crate::dataset::tests::words;
use crate::model::request::Content;
use crate::model::run_spec::{self, Dataset, DatasetSampling, RngKind};

fn file(folder: &TempDir, content: &[u8]) -> PathBuf {
    let path = folder.path().join("data.jsonl");
    std::fs::write(&path, content).unwrap();
    path
}

fn wanted(path: PathBuf, output_len: Option<u32>, num_prompts: usize) -> run_spec::WorkloadSpec {
    run_spec::WorkloadSpec::new(Dataset::Custom { path, output_len }, num_prompts)
}

fn made(wanted: &run_spec::WorkloadSpec, rng: RngKind) -> Result<PreparedWorkload, DatasetError> {
    prepare(wanted, &mut RunRng::new(rng, 1), &words(), &|_| {})
}

fn lines(n: usize) -> String {
    (0..n)
        .map(|i| format!("{{\"prompt\": \"a b {i}\", \"output_tokens\": {i}.9, \"more\": [1]}}\n"))
        .collect()
}

#[test]
fn a_line_gives_prompt_and_output_length_and_a_flag_overrides_it() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, b"{\"prompt\": \"one two three\", \"output_tokens\": 7}\n\n");
    for (output_len, max_tokens) in [(None, 7), (Some(3), 3)] {
        let workload = made(&wanted(path.clone(), output_len, 1), RngKind::Python).unwrap();
        assert_eq!(workload.requests.to_vec(), [Request::text("one two three", 3, max_tokens)]);
        assert_eq!((workload.provenance.candidates, workload.provenance.repeated), (1, 0));
    }
}

#[test]
fn only_the_front_of_the_shuffled_lines_is_taken() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, lines(1000).as_bytes());
    for rng in [RngKind::Python, RngKind::Native] {
        let few = made(&wanted(path.clone(), None, 10), rng).unwrap();
        let many = made(&wanted(path.clone(), None, 500), rng).unwrap();
        assert_eq!(few.requests.to_vec()[..], many.requests.to_vec()[..10]);
        assert_ne!(few.requests.to_vec()[0].content, Content::Text("a b 0".into()));
        assert_eq!(few.provenance.candidates, 1000);
    }
}

#[test]
fn without_shuffling_the_lines_keep_their_order() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, lines(5).as_bytes());
    for rng in [RngKind::Python, RngKind::Native] {
        let draw = DatasetSampling { shuffle: false, oversample: false };
        let wanted = run_spec::WorkloadSpec { draw, ..wanted(path.clone(), None, 9) };
        let lengths =
            made(&wanted, rng).unwrap().requests.to_vec().into_iter().map(|request| request.max_tokens);
        assert_eq!(lengths.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
}

/// Files that are not in the `custom` format, and the expected message for each.
const MALFORMED: &[(&str, &[u8], &str)] = &[
    ("an empty file", b"", "is empty; a custom dataset is {\"prompt\""),
    ("blank lines only", b"\n  \n", "is empty; a custom dataset is {\"prompt\""),
    ("no JSON", b"prompt,output\nhello,3\n", "line 1 column 1: not JSON"),
    ("a binary file", b"PAR1\x15\x04\x15\xff", "line 1 column 7: not UTF-8"),
    ("an array", b"[\"x\", 1]\n", "expected an object with `prompt`, found a string"),
    (
        "an array a line",
        b"{\"prompt\": \"x\", \"output_tokens\": 1}\n[\"x\", 1]\n",
        "line 2: expected an object with",
    ),
    ("a string", b"\"text\"\n", "found a string"),
    (
        "another column",
        b"{\"prompt\": \"x\", \"output_tokens\": 1}\n{\"text\": \"x\"}\n",
        "line 2: missing field `prompt`",
    ),
    (
        "a prompt that is a number",
        b"{\"prompt\": 5}\n",
        "line 1 column 12: expected a string, found a number",
    ),
    ("a prompt that is null", b"{\"prompt\": null}\n", "expected a string, found null"),
    ("no output length", b"{\"prompt\": \"x\"}\n", "line 1: no `output_tokens`"),
    (
        "an output length in words",
        b"{\"prompt\": \"x\", \"output_tokens\": \"many\"}\n",
        "`output_tokens` must be a number",
    ),
    (
        "a negative output length",
        b"{\"prompt\": \"x\", \"output_tokens\": -1}\n",
        "`output_tokens` must be a number of tokens, not below zero",
    ),
    (
        "a line cut off",
        b"{\"prompt\": \"x\", \"output_tokens\": 1}\n{\"prompt\": \"y",
        "line 2 column 13: the file ends",
    ),
    ("a line cut in the middle", b"{\"prompt\": \"x\n{\"prompt\": \"y\"}\n", "line 1 column 13: not JSON"),
    ("text in Latin-1", b"{\"prompt\": \"caf\xe9\"}\n", "line 1 column 15: not UTF-8"),
    ("text in UTF-16", b"\xff\xfe{\0\"\0", "line 1: not UTF-8"),
    ("gzip that breaks off", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "cannot be read"),
];

#[test]
fn malformed_files_get_one_line_that_names_file_place_and_cause() {
    let folder = TempDir::new().unwrap();
    for (kind, content, expected) in MALFORMED {
        let path = file(&folder, content);
        for rng in [RngKind::Python, RngKind::Native] {
            let wanted = run_spec::WorkloadSpec { strict: true, ..wanted(path.clone(), None, 3) };
            let text = made(&wanted, rng).expect_err(kind).to_string();
            assert!(text.starts_with(&format!("{}: ", path.display())), "{kind}: {text}");
            assert!(text.contains(expected), "{kind}: {text}");
            assert!(!text.contains('\n') && text.chars().count() < 500, "{kind}: {text}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_or_a_folder_is_told() {
    let folder = TempDir::new().unwrap();
    let told = |path: PathBuf| made(&wanted(path, None, 1), RngKind::Python).unwrap_err().to_string();
    assert!(told(folder.path().join("no.jsonl")).contains("no.jsonl: no such file; check `dataset.path`"));
    assert!(told(folder.path().into()).contains("is a folder; `dataset.path` must name a file"));
}

#[test]
fn a_line_that_does_not_end_is_told() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, &vec![b'x'; (32 << 20) + 1]);
    let text = made(&wanted(path, None, 1), RngKind::Python).unwrap_err().to_string();
    assert!(text.contains("line 1 ") && text.contains("longer than 32 MiB"), "{text}");
}

fn refused(content: &str) -> String {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, content.as_bytes());
    made(&wanted(path, Some(3), 1), RngKind::Python).unwrap_err().to_string()
}

#[test]
fn a_file_of_chats_points_to_the_dataset_that_reads_them() {
    for key in ["messages", "conversations"] {
        let content = format!("{{\"{key}\": [{{\"role\": \"user\", \"content\": \"hi\"}}]}}\n");
        let error = refused(&content);
        assert!(
            error.contains("no `prompt`, but the turns of a chat, which `dataset.name` sharegpt"),
            "{error}"
        );
    }
    assert!(refused("{\"text\": \"hi\"}\n").contains("missing field `prompt`"));
}
