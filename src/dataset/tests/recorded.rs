//! Compares our requests with those of vLLM's Python client at five seeds (tests/fixtures/python).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::dataset::{bundled, prepare};
use crate::model::arrival::{Schedule, schedule};
use crate::model::request::Content;
use crate::model::rng::RunRng;
use crate::model::run_spec::{
    Dataset, DatasetSampling, Load, LoraAdapters, LoraAssignment, PrefixRepetition, RandomLengths, RngKind,
    SonnetDataset, WorkloadSpec,
};
use crate::model::units::Rate;
use crate::testing::datasets::random;
use crate::testing::queue::open_load;
use crate::tokenizer::{LocalTokenizer, Tokenizer};

/// A recorded case, as written by scripts/python-fixtures.
#[derive(Deserialize)]
struct Case {
    tokenizer: String,
    seeds: BTreeMap<u64, Recorded>,
}

/// The requests that the client sent at one seed.
#[derive(Deserialize)]
struct Recorded {
    /// For each request: the prompt, its length in tokens, the requested output length, and the model.
    requests: Vec<(String, u32, u32, String)>,
    /// Send times in seconds, counted from the start.
    offsets: Vec<f64>,
    /// The tokens at the beginning of the prefix, if there is one, and of each prompt.
    ids: Vec<Vec<u32>>,
}

macro_rules! case {
    ($name:literal) => {{
        let bytes =
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/python/", $name, ".json.gz"));
        let case: Case = serde_json::from_reader(GzDecoder::new(&bytes[..])).unwrap();
        assert_eq!(case.seeds.len(), 5);
        case
    }};
}

impl Case {
    fn tokenizer(&self) -> Tokenizer {
        match self.tokenizer.as_str() {
            "bundled" => bundled::tokenizer(),
            "special" => with_leading_special(),
            "mapped" => {
                beside("special_tokens_map.json", &json!({"eos_token": "the", "bos_token": "<|endoftext|>"}))
            }
            "class" => beside(
                "tokenizer_config.json",
                &json!({"tokenizer_class": "GPT2Tokenizer", "pad_token": "the"}),
            ),
            "bytes" => super::single_bytes(),
            other => panic!("{other} is none of the recorded tokenizers"),
        }
    }

    /// Compares requests and arrivals for all seeds. The recorded lengths of generated prompts exclude special tokens.
    fn compare(&self, wanted: &WorkloadSpec, load: &Load) {
        let tokenizer = self.tokenizer();
        let plain = matches!(wanted.dataset, Dataset::Random(_) | Dataset::PrefixRepetition(_));
        let specials = if plain { tokenizer.special_token_count().unwrap() } else { 0 };
        for (seed, recorded) in &self.seeds {
            let mut dice = RunRng::new(RngKind::Python, *seed);
            let made = prepare(wanted, &mut dice, &tokenizer, &|_| {}).unwrap();
            let ours: Vec<_> = made
                .requests
                .to_vec()
                .iter()
                .map(|request| {
                    let model = request.own.as_ref().unwrap().model.clone().unwrap();
                    let text = request.content.as_text().unwrap().to_owned();
                    (text, request.prompt_tokens - specials, request.max_tokens, model)
                })
                .collect();
            assert_eq!(ours, recorded.requests.to_vec(), "seed {seed}");
            compare_offsets(load, &recorded.offsets, &mut dice);
        }
    }

    /// Compares the requests of a run that sends all of them at once.
    fn compare_requests(&self, wanted: &WorkloadSpec) {
        self.compare(wanted, &load(Rate::INFINITE, 1.0));
    }
}

fn compare_offsets(load: &Load, theirs: &[f64], dice: &mut RunRng) {
    let Schedule::Open(ours) = schedule(load, theirs.len(), dice).unwrap() else {
        panic!("the load has no cap")
    };
    for (ours, theirs) in ours.iter().zip(theirs) {
        let difference = ours.abs_diff(Duration::from_secs_f64(*theirs));
        assert!(difference <= Duration::from_nanos(1), "{ours:?} is not {theirs}");
    }
}

fn load(request_rate: Rate, burstiness: f64) -> Load {
    Load { request_rate, burstiness, normalize_arrivals: true, ..open_load(1.0) }
}

fn at(rate: f64, burstiness: f64) -> Load {
    load(Rate::per_second(rate).unwrap(), burstiness)
}

/// A workload with the LoRA adapters that every recorded run uses.
fn wanted(dataset: Dataset, num_prompts: usize) -> WorkloadSpec {
    let modules = ["red", "green", "blue"].map(String::from).into();
    let lora = Some(LoraAdapters { modules, assignment: LoraAssignment::Random });
    WorkloadSpec { lora, ..WorkloadSpec::new(dataset, num_prompts) }
}

/// The bundled tokenizer, changed to put `<|endoftext|>` before every prompt.
fn with_leading_special() -> Tokenizer {
    const NAME: &str = "<|endoftext|>";
    let mut json: Value = serde_json::from_slice(&bundled::tokenizer_json()).unwrap();
    let added = json["added_tokens"].as_array().unwrap();
    let id = added.iter().find(|token| token["content"] == NAME).unwrap()["id"].clone();
    let special = json!({"SpecialToken": {"id": NAME, "type_id": 0}});
    let [first, second] = ["A", "B"].map(|which| json!({"Sequence": {"id": which, "type_id": 0}}));
    json["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [special, first],
        "pair": [special, first, second],
        "special_tokens": {NAME: {"id": NAME, "ids": [id], "tokens": [NAME]}},
    });
    LocalTokenizer::from_bytes(json.to_string().as_bytes(), "special".into()).unwrap().into()
}

/// The bundled tokenizer with another file beside it.
fn beside(name: &str, content: &Value) -> Tokenizer {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, bundled::tokenizer_json()).unwrap();
    std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    LocalTokenizer::from_file(&path, name.to_owned()).unwrap().into()
}

/// Writes the first dozen of the bundled conversations to a file.
fn few(folder: &TempDir) -> std::path::PathBuf {
    let all: Vec<Value> = serde_json::from_reader(bundled::conversations()).unwrap();
    let path = folder.path().join("few.json");
    std::fs::write(&path, Value::from(all[..12].to_vec()).to_string()).unwrap();
    path
}

fn custom(output_len: Option<u32>) -> Dataset {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/python/custom.jsonl");
    Dataset::Custom { path: folder.into(), output_len }
}

#[test]
fn random_prompts_of_varying_length_behind_a_prefix() {
    let lengths =
        RandomLengths { prefix_len: 5, input_range_ratio: 0.5, output_range_ratio: 0.3, ..random(40, 20) };
    case!("random").compare(&wanted(Dataset::Random(lengths), 16), &at(7.0, 1.0));
}

#[test]
fn long_random_prompts() {
    case!("random-long").compare(&wanted(Dataset::Random(random(700, 30)), 3), &at(3.0, 0.4));
}

#[test]
fn random_prompts_for_a_tokenizer_that_adds_special_tokens() {
    let lengths = RandomLengths { input_range_ratio: 0.9, output_range_ratio: 0.9, ..random(30, 128) };
    case!("random-special").compare(&wanted(Dataset::Random(lengths), 8), &at(2.5, 3.0));
}

#[test]
fn random_prompts_that_never_reach_their_length() {
    let lengths =
        RandomLengths { prefix_len: 7, input_range_ratio: 0.2, output_range_ratio: 0.2, ..random(24, 128) };
    let case = case!("random-bytes");
    let exact = |prompt: &(String, u32, u32, String)| (7 + 19..=7 + 29).contains(&prompt.1);
    assert!(case.seeds.values().any(|recorded| !recorded.requests.to_vec().iter().all(exact)));
    case.compare(&wanted(Dataset::Random(lengths), 8), &at(11.0, f64::INFINITY));
}

#[test]
fn random_token_ids_are_those_that_the_client_begins_with() {
    let lengths =
        RandomLengths { prefix_len: 5, input_range_ratio: 0.5, output_range_ratio: 0.3, ..random(40, 20) };
    let lengths = RandomLengths { token_ids: true, ..lengths };
    let wanted = wanted(Dataset::Random(lengths), 16);
    for (seed, recorded) in &case!("random").seeds {
        let mut dice = RunRng::new(RngKind::Python, *seed);
        let made = prepare(&wanted, &mut dice, &bundled::tokenizer(), &|_| {}).unwrap();
        // The first recorded ids are those of the prefix.
        assert_eq!(made.requests.to_vec().len(), recorded.ids.len() - 1);
        for (request, ids) in made.requests.to_vec().iter().zip(&recorded.ids[1..]) {
            assert_eq!(request.content, Content::TokenIds(ids[..].into()), "seed {seed}");
            assert_eq!(request.prompt_tokens as usize, ids.len());
        }
        compare_offsets(&at(7.0, 1.0), &recorded.offsets, &mut dice);
    }
}

#[test]
fn random_prompts_without_the_special_tokens_of_a_map_or_a_class() {
    let lengths = RandomLengths { prefix_len: 4, ..random(20, 128) };
    let wanted = wanted(Dataset::Random(lengths), 6);
    case!("random-mapped").compare(&wanted, &at(5.0, 1.0));
    case!("random-class").compare(&wanted, &at(5.0, 1.0));
}

#[test]
fn conversations() {
    let dataset = Dataset::Sharegpt { path: None, output_len: None };
    case!("sharegpt").compare(&wanted(dataset, 16), &at(9.0, 1.0));
}

#[test]
fn conversations_in_their_order_with_a_forced_output_length() {
    let folder = TempDir::new().unwrap();
    let dataset = Dataset::Sharegpt { path: Some(few(&folder)), output_len: Some(3) };
    let draw = DatasetSampling { shuffle: false, oversample: true };
    case!("sharegpt-forced").compare_requests(&WorkloadSpec { draw, ..wanted(dataset, 10) });
}

#[test]
fn too_few_conversations() {
    let folder = TempDir::new().unwrap();
    let dataset = Dataset::Sharegpt { path: Some(few(&folder)), output_len: None };
    let wanted = wanted(dataset, 20);
    case!("sharegpt-few").compare(&wanted, &at(4.0, 1.0));
    let draw = DatasetSampling { shuffle: true, oversample: false };
    case!("sharegpt-no-oversample").compare_requests(&WorkloadSpec { draw, ..wanted });
}

#[test]
fn custom_prompts() {
    case!("custom").compare(&wanted(custom(Some(256)), 7), &at(5.0, 1.0));
    case!("custom-few").compare(&wanted(custom(None), 30), &at(5.0, 0.7));
    let draw = DatasetSampling { shuffle: false, oversample: true };
    case!("custom-in-order").compare_requests(&WorkloadSpec { draw, ..wanted(custom(Some(99)), 5) });
}

#[test]
fn repeated_prefixes() {
    let shape = PrefixRepetition { prefix_len: 12, suffix_len: 9, num_prefixes: 3, output_len: 17 };
    let case = case!("prefix-repetition");
    assert!(
        case.seeds.values().all(|recorded| recorded.requests.to_vec().len() == 9),
        "the remainder of 11 / 3"
    );
    case.compare(&wanted(Dataset::PrefixRepetition(shape), 11), &at(6.0, 2.5));
}

#[test]
fn repeated_prefixes_that_never_reach_their_length() {
    let shape = PrefixRepetition { prefix_len: 10, suffix_len: 10, num_prefixes: 2, output_len: 5 };
    let draw = DatasetSampling { shuffle: false, oversample: true };
    let wanted = WorkloadSpec { draw, ..wanted(Dataset::PrefixRepetition(shape), 6) };
    case!("prefix-repetition-bytes").compare(&wanted, &at(6.0, 0.5));
}

/// Covers every dataset that the Python-compatible RNG supports, with and without a warm-up.
#[test]
fn a_warm_up_changes_nothing_about_the_measured_requests() {
    let folder = TempDir::new().unwrap();
    let shape = PrefixRepetition { prefix_len: 12, suffix_len: 9, num_prefixes: 3, output_len: 17 };
    let datasets = [
        Dataset::Random(RandomLengths { prefix_len: 4, input_range_ratio: 0.5, ..random(20, 9) }),
        Dataset::Random(RandomLengths { token_ids: true, ..random(20, 9) }),
        Dataset::Sharegpt { path: Some(few(&folder)), output_len: None },
        custom(None),
        Dataset::PrefixRepetition(shape),
        samples::burstgpt(),
        Dataset::Sonnet(SonnetDataset { path: None, input_len: 200, output_len: 5, prefix_len: 50 }),
    ];
    for (dataset, oversample) in
        datasets.into_iter().flat_map(|dataset| [(dataset.clone(), true), (dataset, false)])
    {
        let draw = DatasetSampling { shuffle: true, oversample };
        let wanted = WorkloadSpec { draw, ..wanted(dataset, 10) };
        let made = |spare| {
            let mut dice = RunRng::new(RngKind::Python, 3);
            let wanted = WorkloadSpec { spare, lora: None, ..wanted.clone() };
            let requests =
                prepare(&wanted, &mut dice, &bundled::tokenizer(), &|_| {}).unwrap().requests.to_vec();
            (
                requests,
                schedule(&at(5.0, 2.0), 4, &mut dice).unwrap(),
                dice.python_mut().unwrap().random.below(1000),
            )
        };
        let (measured, arrivals, next) = made(0);
        let (all, arrivals_too, next_too) = made(6);
        assert_eq!(all[..measured.len()], measured[..], "{:?}", wanted.dataset);
        assert_eq!((all.len(), arrivals_too, next_too), (measured.len() + 6, arrivals, next));
    }
}

/// The length of a pipe is known only at its end, the length of a file before it is read.
#[test]
#[cfg(target_os = "linux")]
fn a_pipe_gives_what_the_file_gives() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("pipe.jsonl");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let Dataset::Custom { path, .. } = custom(None) else { panic!("it is custom") };
    let content = std::fs::read(path).unwrap();
    let writer = pipe.clone();
    let writing =
        std::thread::spawn(move || std::fs::File::options().write(true).open(writer)?.write_all(&content));
    let made = |dataset| {
        let mut dice = RunRng::new(RngKind::Python, 3);
        let made = prepare(&wanted(dataset, 5), &mut dice, &bundled::tokenizer(), &|_| {}).unwrap();
        (made.requests.to_vec(), made.provenance.sha256)
    };
    assert_eq!(made(Dataset::Custom { path: pipe, output_len: None }), made(custom(None)));
    writing.join().unwrap().unwrap();
}

mod samples;
