mod bad_rows;
mod limits;
mod recorded;

use std::fs;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::conversations::Conversation;
use super::source::DatasetSource;
use super::*;
use crate::model::dataset::DropCounts;
use crate::model::digest::Digest;
use crate::model::record::TokenSource;
use crate::model::request::Request;
use crate::tokenizer::LocalTokenizer;

/// A tokenizer that gives each word one token.
pub(super) fn words() -> Tokenizer {
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"},
    });
    LocalTokenizer::from_bytes(json.to_string().as_bytes(), "words".into()).unwrap().into()
}

fn say(tokens: usize) -> String {
    vec!["word"; tokens].join(" ")
}

fn entry(prompt: &str, answer: &str) -> Value {
    json!({"id": "x", "conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": answer}]})
}

/// `n` different conversations; one in `valid` is within bounds.
fn conversations(n: usize, valid: usize) -> Value {
    (0..n)
        .map(|i| entry(&format!("prompt number {i} it is"), &say(if i % valid == 0 { 10 } else { 1 })))
        .collect()
}

/// A byte-level tokenizer that knows single bytes only. Texts of its ids are mostly not UTF-8.
pub(super) fn single_bytes() -> Tokenizer {
    let mut alphabet: Vec<char> =
        tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let vocab: serde_json::Map<_, _> =
        alphabet.iter().enumerate().map(|(id, c)| (c.to_string(), id.into())).collect();
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    LocalTokenizer::from_bytes(json.to_string().as_bytes(), "bytes".into()).unwrap().into()
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn sample(path: PathBuf, num_prompts: usize, seed: u64) -> Result<PreparedWorkload, DatasetError> {
    let dataset = Dataset::Sharegpt { path: Some(path), output_len: None };
    let spec = run_spec::WorkloadSpec { strict: true, ..run_spec::WorkloadSpec::new(dataset, num_prompts) };
    prepare(&spec, &mut RunRng::native(seed), &words(), &|_| {})
}

fn sharegpt(path: Option<PathBuf>) -> Dataset {
    Dataset::Sharegpt { path, output_len: None }
}

fn read(bytes: impl Read) -> Result<Vec<Conversation>, DatasetError> {
    let mut all = Vec::new();
    let reading = ReadOptions { strict: true, ..ReadOptions::plain(&|_| {}) };
    let source =
        DatasetSource::from_reader("data.json".into(), bytes, None, conversations::SHAREGPT, reading)?;
    super::conversations::read(source, &mut |conversation| {
        all.push(conversation);
        Ok(())
    })?;
    Ok(all)
}

#[test]
fn the_first_two_turns_are_prompt_and_output() {
    let files = Files::new();
    let three = json!([{"conversations": [
        {"value": "a b c d", "from": "gpt", "more": [1, {"x": null}]},
        {"from": "human", "value": "1 2 3 4 5"},
        {"from": "gpt", "value": "no part of it"},
    ], "other": {"conversations": 3}}]);
    let workload = sample(files.file("x.json", three.to_string()), 1, 0).unwrap();
    assert_eq!(workload.requests.to_vec(), [Request::text("a b c d", 4, 5)]);
}

#[test]
fn a_forced_output_length_is_asked_for_whatever_the_answer_was() {
    let files = Files::new();
    let path = files.file("x.json", json!([entry("a b c d", "short")]).to_string());
    let dataset = Dataset::Sharegpt { path: Some(path), output_len: Some(2) };
    let spec = run_spec::WorkloadSpec::new(dataset, 1);
    let workload = prepare(&spec, &mut RunRng::native(0), &words(), &|_| {}).unwrap();
    assert_eq!(workload.requests.kept()[0].max_tokens, 2);
}

#[test]
fn the_same_seed_gives_the_same_requests_and_another_seed_others() {
    let files = Files::new();
    let path = files.file("x.json", conversations(1000, 1).to_string());
    let [first, again, other] = [1, 1, 2].map(|seed| sample(path.clone(), 100, seed).unwrap());
    assert_eq!(first, again);
    assert_ne!(first.requests.to_vec(), other.requests.to_vec());
    let distinct: std::collections::HashSet<_> =
        first.requests.kept().iter().map(|r| r.content.as_text()).collect();
    assert_eq!(distinct.len(), 100);
}

#[test]
fn asking_for_more_keeps_the_first_ones() {
    let files = Files::new();
    let path = files.file("x.json", conversations(2000, 2).to_string());
    let few = sample(path.clone(), 50, 7).unwrap();
    let many = sample(path, 900, 7).unwrap();
    assert_eq!(few.requests.to_vec()[..], many.requests.to_vec()[..50]);
}

#[test]
fn the_file_is_read_again_when_the_kept_part_is_not_enough() {
    let files = Files::new();
    let path = files.file("x.json", conversations(3000, 25).to_string());
    let starts = Mutex::new(0);
    let dataset = Dataset::Sharegpt { path: Some(path.clone()), output_len: None };
    let spec = run_spec::WorkloadSpec::new(dataset, 60);
    let count_starts = |progress| {
        if matches!(progress, PrepareProgress::Reading { bytes: 2, .. }) {
            *starts.lock().unwrap() += 1;
        }
    };
    let workload = prepare(&spec, &mut RunRng::native(3), &words(), &count_starts).unwrap();
    assert_eq!(*starts.lock().unwrap(), 2);
    assert_eq!((workload.requests.to_vec().len(), workload.provenance.repeated), (60, 0));
    let all = sample(path, 121, 3).unwrap();
    assert_eq!(workload.requests.kept()[..], all.requests.to_vec()[..60]);
    assert_eq!(all.provenance.repeated, 1);
    assert_eq!((all.provenance.candidates, all.provenance.dropped.short_output), (3000, 2880));
}

#[test]
fn too_few_conversations_are_drawn_again_and_counted() {
    let files = Files::new();
    let path = files.file("x.json", conversations(10, 1).to_string());
    let workload = sample(path.clone(), 25, 0).unwrap();
    assert_eq!((workload.requests.to_vec().len(), workload.provenance.repeated), (25, 15));
    assert!(
        workload.requests.kept()[10..].iter().all(|request| workload.requests.kept()[..10].contains(request))
    );
    assert_eq!(workload, sample(path, 25, 0).unwrap());
}

#[test]
fn each_reason_for_dropping_is_counted_and_told() {
    let files = Files::new();
    let data = json!([
        {"conversations": []},
        {"conversations": [{"value": say(10)}]},
        entry(&say(3), &say(10)),
        entry(&say(10), &say(3)),
        entry(&say(1025), &say(10)),
        entry(&say(1000), &say(1049)),
    ]);
    let error = sample(files.file("x.json", data.to_string()), 5, 0).unwrap_err();
    let DatasetError::Unusable { candidates, dropped, .. } = &error else { panic!("{error}") };
    assert_eq!((*candidates, dropped.few_turns, dropped.total()), (6, 2, 6));
    let text = error.to_string();
    let rare = ["too few user turns with an answer", "no prompt or no output", "no text"];
    for (reason, count) in dropped.reasons().into_iter().filter(|(reason, _)| !rare.contains(reason)) {
        assert!(count > 0 && text.contains(&format!("{count} {reason}")), "{text}");
    }
}

#[test]
fn the_bounds_hold_at_their_edges() {
    for (prompt, output, forced, valid) in [
        (3, 10, false, false),
        (4, 10, false, true),
        (10, 3, false, false),
        (10, 4, false, true),
        (10, 1, true, true),
        (1024, 1024, false, true),
        (1025, 10, false, false),
        (1024, 1025, false, false),
        (1000, 1048, true, true),
        (1000, 1049, true, false),
        (10, u32::MAX, true, false),
    ] {
        let mut dropped = DropCounts::default();
        let lengths = super::sharegpt::PairLengths { prompt, output };
        assert_eq!(lengths.is_accepted(forced, super::sharegpt::BOUNDS, &mut dropped), valid, "{lengths:?}");
        assert_eq!(dropped.total(), usize::from(!valid));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_pipe_is_read_once_and_whole() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let files = Files::new();
    let path = files.0.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let content = conversations(3000, 25).to_string();
    let expected = sample(files.file("x.json", &content), 60, 3).unwrap();
    let (pipe, (sender, result)) = (path.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || fs::write(&pipe, content));
    std::thread::spawn(move || drop(sender.send(sample(path, 60, 3).ok())));
    // If the pipe were opened a second time, it would block, because it has no writer.
    let workload =
        result.recv_timeout(std::time::Duration::from_secs(60)).expect("it is opened once").unwrap();
    assert_eq!(workload.requests.to_vec(), expected.requests.to_vec());
}

#[test]
fn a_gzip_file_and_a_byte_order_mark_are_seen_through() {
    let plain = conversations(20, 1).to_string();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(plain.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let files = Files::new();
    let expected = sample(files.file("x.json", &plain), 10, 0).unwrap();
    let marked = sample(files.file("y.json", format!("\u{feff}{plain}")), 10, 0).unwrap();
    let unpacked = sample(files.file("z.json.gz", &packed), 10, 0).unwrap();
    assert_eq!(marked.requests.to_vec(), expected.requests.to_vec());
    assert_eq!(unpacked.requests.to_vec(), expected.requests.to_vec());
    assert_eq!(unpacked.provenance.sha256, Some(Digest::from_bytes(&packed)));
    assert_eq!(expected.provenance.sha256, Some(Digest::from_bytes(plain.as_bytes())));
}

/// A reader that delivers one byte at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(1);
        self.0.read(&mut buffer[..n])
    }
}

#[test]
fn the_size_of_reads_does_not_matter() {
    let text = json!([entry("é\u{1F600}\n\"\\", "你好"), entry("b", "c")]).to_string();
    let whole = read(text.as_bytes()).unwrap();
    assert_eq!(read(Drip(text.as_bytes())).unwrap(), whole);
    assert_eq!(whole[0].prompt, "é\u{1F600}\n\"\\");
    assert_eq!(whole.len(), 2);
}

#[test]
fn a_broken_pipe_of_data_is_an_error_of_reading() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let error = read(br#"[{"conversations": ["#.chain(Fails)).unwrap_err();
    assert_eq!(error.to_string(), "data.json: cannot be read: the disk is gone");
}

/// Files that are not ShareGPT files, and the expected message for each.
const MALFORMED: &[(&str, &[u8], &str)] = &[
    ("an empty file", b"", "is empty"),
    ("white space only", b" \n\n", "none of 0 entries can be used"),
    ("no JSON", b"id,prompt\n1,hello", "line 1 column 1: not JSON: expected value"),
    ("a binary file", b"PAR1\x15\x04\x15\xff", "line 1 column 7: not UTF-8"),
    (
        "a number",
        b"5\n",
        "line 1 column 1: expected an entry: an object with `conversations`, found a number",
    ),
    (
        "an object of another kind",
        b"{\"id\": 1}\n",
        "line 1 column 9: an entry without `conversations`, which has `id`",
    ),
    ("a string", b"\"text\"\n", "an entry: an object with `conversations`, found a string"),
    ("null", b"null\n", "an entry: an object with `conversations`, found null"),
    (
        "an array cut in a string",
        br#"[{"conversations": [{"value": "abc"#,
        "entry 1, line 1 column 34: the file ends in",
    ),
    (
        "an array cut between entries",
        br#"[{"conversations": []},"#,
        "entry 2, line 1 column 23: the file ends in",
    ),
    (
        "a line that is cut",
        b"{\"conversations\": []}\n{\"conv",
        "line 2 column 6: the file ends in the middle",
    ),
    (
        "an entry that is a number",
        b"[\n{\"conversations\": []},\n5]",
        "entry 2, line 3 column 1: expected an entry",
    ),
    (
        "an entry that is an array",
        b"[[]]",
        "expected an entry: an object with `conversations`, found an array",
    ),
    ("conversations in an object", br#"[{"conversations": {}}]"#, "to be an array of turns, found an object"),
    ("conversations that are null", br#"[{"conversations": null}]"#, "to be an array of turns, found null"),
    (
        "a turn that is a string",
        br#"[{"conversations": ["hi"]}]"#,
        "entry 1, line 1: a turn that is a string, not an object",
    ),
    (
        "a turn without a text",
        b"[\n{\n\"conversations\": [{\"from\": \"gpt\"}]}]",
        "entry 1, line 2: a turn without `value` or `content`",
    ),
    (
        "a turn whose text is null",
        br#"[{"conversations": [{"value": null}]}]"#,
        "`value` is null, not a string",
    ),
    ("a turn whose text is a number", br#"[{"conversations": [{"value": 1.5}]}]"#, "`value` is a number"),
    ("text in Latin-1", b"[{\"conversations\": [{\"value\": \"caf\xe9\"}]}]", "entry 1, line 1 column"),
    ("text in UTF-16", b"\xff\xfe[\0{\0", "not UTF-8"),
    ("something behind the array", b"[] []", "line 1 column 4: not JSON: trailing characters"),
    (
        "a missing comma",
        br#"[{"conversations": []} {"conversations": []}]"#,
        "entry 2, line 1 column 24: not JSON",
    ),
    ("an unescaped line break", b"[{\"conversations\": [{\"value\": \"a\nb\"}]}]", "entry 1, line 2"),
    ("an empty array", b"[]", "none of 0 entries can be used"),
    ("gzip that breaks off", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "cannot be read"),
    ("gzip of nothing known", b"\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff\xff", "cannot be read"),
];

#[test]
fn malformed_files_get_one_line_that_names_file_place_and_cause() {
    let files = Files::new();
    for (kind, content, expected) in MALFORMED {
        let path = files.file("data.json", content);
        let text = sample(path.clone(), 3, 0).expect_err(kind).to_string();
        assert!(text.starts_with(&format!("{}: ", path.display())), "{kind}: {text}");
        assert!(text.contains(expected), "{kind}: {text}");
        assert!(!text.contains('\n') && text.chars().count() < 500, "{kind}: {text}");
    }
}

#[test]
fn a_file_that_is_not_there_or_a_folder_is_told() {
    let files = Files::new();
    let missing = sample(files.0.path().join("no.json"), 1, 0).unwrap_err().to_string();
    assert!(missing.contains("no.json: no such file"), "{missing}");
    let folder = sample(files.0.path().into(), 1, 0).unwrap_err().to_string();
    assert!(folder.contains("is a folder"), "{folder}");
}

#[test]
fn a_tokenizer_that_fails_ends_the_preparation() {
    let files = Files::new();
    let path = files.file("x.json", conversations(3, 1).to_string());
    let dataset = Dataset::Sharegpt { path: Some(path), output_len: None };
    let spec = run_spec::WorkloadSpec::new(dataset, 1);
    let refuses = Tokenizer::remote("http://x/tokenize", Arc::new(|_, _| Err("HTTP 500".into())));
    let error = prepare(&spec, &mut RunRng::native(0), &refuses, &|_| {}).unwrap_err().to_string();
    assert!(error.starts_with("http://x/tokenize: HTTP 500"), "{error}");
}

#[test]
fn the_statistics_of_a_file_count_turns_lengths_and_drops() {
    let files = Files::new();
    let mut data: Vec<Value> = (1..=100).map(|n| entry(&say(n), &say(2 * n))).collect();
    data.push(json!({"conversations": [{"value": "alone"}]}));
    let path = files.file("x.json", Value::from(data).to_string());
    let stats = dataset_stats::stats(&sharegpt(Some(path.clone())), false, &words(), &|_| {}).unwrap();
    assert_eq!((stats.conversations, stats.usable), (101, 97));
    assert_eq!(stats.dropped, DropCounts { few_turns: 1, short_prompt: 3, ..DropCounts::default() });
    assert_eq!(stats.turns, [(1, 1), (2, 100)].into());
    let prompt = stats.prompt.unwrap();
    assert_eq!((prompt.n, prompt.min, prompt.max), (100, 1, 100));
    assert_eq!((prompt.p50, prompt.mean), (50.5, 50.5));
    assert!((prompt.p99 - 99.01).abs() < 1e-9 && (prompt.p10 - 10.9).abs() < 1e-9, "{prompt:?}");
    assert_eq!(stats.counted_by, TokenSource::Tokenizer);
}

#[test]
fn a_file_without_conversations_has_statistics_without_lengths() {
    let files = Files::new();
    let path = files.file("x.json", "[]");
    let stats = dataset_stats::stats(&sharegpt(Some(path.clone())), false, &words(), &|_| {}).unwrap();
    assert_eq!((stats.conversations, stats.prompt, stats.answer), (0, None, None));
}

#[test]
fn the_bundled_conversations_fill_a_run_of_a_thousand() {
    let tokenizer = bundled::tokenizer();
    let stats = dataset_stats::stats(&sharegpt(None), false, &tokenizer, &|_| {}).unwrap();
    assert!(stats.usable >= 1000, "{stats:?}");
    let dataset = Dataset::Sharegpt { path: None, output_len: None };
    let spec = run_spec::WorkloadSpec::new(dataset, 1000);
    let workload = prepare(&spec, &mut RunRng::native(0), &tokenizer, &|_| {}).unwrap();
    assert_eq!((workload.requests.to_vec().len(), workload.provenance.repeated), (1000, 0));
    for request in &workload.requests.kept()[..20] {
        assert_eq!(request.prompt_tokens, tokenizer.count(request.content.as_text().unwrap()).unwrap());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_the_loader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes[..]);
    }

    #[test]
    fn a_damaged_file_is_read_or_refused_in_one_line(
        damage in proptest::collection::vec((0usize..1000, any::<u8>()), 0..4),
        end in 0usize..1000,
    ) {
        let mut bytes = json!([entry("a \u{1F600}", "b"), entry("c", "d"), entry("e", "f")]).to_string().into_bytes();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(end);
        if let Err(error) = read(&bytes[..]) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
