//! Tests that rows that would fill the memory are refused before they are parsed or tokenized.

use super::bad_rows::{burstgpt, conversations_file, custom, hf, made, sharegpt_file, spec_bench, turns};
use super::*;
use crate::model::run_spec::SonnetDataset;

fn sonnet_file(path: PathBuf) -> Dataset {
    Dataset::Sonnet(SonnetDataset { path: Some(path), input_len: 550, output_len: 150, prefix_len: 200 })
}

/// A dataset, a usable row, and a row with a text that is too long.
type LongTextCase = (fn(PathBuf) -> Dataset, String, String);

/// A tokenizer takes up to 170 bytes for each byte of a text: a prompt of 2 MB used to cost 330 MB.
#[test]
fn a_text_too_long_for_a_tokenizer_costs_the_row() {
    let files = Files::new();
    let long = "word ".repeat((1 << 20) / 5 + 1);
    let turn = |who: &str, text: &str| format!(r#"{{"from": "{who}", "value": "{text}"}}"#);
    let conversation = |prompt: &str, answer: &str| {
        format!(r#"{{"conversations": [{}, {}]}}"#, turn("human", prompt), turn("gpt", answer))
    };
    let (four, said) = ("one two three four", "five six seven eight");
    let session = |text: &str| {
        let turns = [turn("human", four), turn("gpt", said), turn("human", text), turn("gpt", said)];
        format!(r#"{{"conversations": [{}]}}"#, turns.join(", "))
    };
    let record = |text: &str| format!(r#"{{"prompt": "{text}", "output_tokens": 3, "turns": ["{text}"]}}"#);
    let chat = |text: &str| {
        let message = |role: &str, text: &str| format!(r#"{{"role": "{role}", "content": "{text}"}}"#);
        format!(r#"{{"messages": [{}, {}]}}"#, message("user", four), message("assistant", text))
    };
    let cases: [LongTextCase; 7] = [
        (sharegpt_file, conversation(four, said), conversation(&long, said)),
        (sharegpt_file, conversation(four, said), conversation(four, &long)),
        (turns, session(four), session(&long)),
        (custom, record(four), record(&long)),
        (spec_bench, record(four), record(&long)),
        (hf, record(four), record(&long)),
        (conversations_file, chat(four), chat(&long)),
    ];
    for (number, (dataset, good, bad)) in cases.into_iter().enumerate() {
        let path = files.file(&format!("{number}.json"), format!("[{good},\n{bad},\n{good}]"));
        let workload = made(dataset(path.clone()), false).unwrap_or_else(|error| panic!("{number}: {error}"));
        let told = workload.provenance.dropped.malformed.to_string();
        assert!(
            told.contains("1 a text of more than 1024 KiB") && told.contains("line 2"),
            "{number}: {told}"
        );
        assert!(told.contains("`workload.max_model_len`"), "{told}");
        assert_eq!(sessions::session_count(workload.requests.all()), 2, "{number}");
        assert!(made(dataset(path), true).is_err(), "{number}");
    }
    // A model with a longer sequence takes it.
    let path = files.file("long.json", format!("[{}]", record(&long)));
    let bounds = run_spec::LengthBounds { max_model_len: Some(1_000_000), ..Default::default() };
    let wanted = run_spec::WorkloadSpec { bounds, ..run_spec::WorkloadSpec::new(custom(path), 1) };
    let made = prepare(&wanted, &mut RunRng::native(0), &Tokenizer::Estimate, &|_| {}).unwrap();
    assert_eq!(made.requests.to_vec()[0].prompt_tokens, long.len().div_ceil(4) as u32);
    let poem = files.file("poem.txt", format!("a line\n{long}\n"));
    let error = made_error(sonnet_file(poem));
    assert!(error.contains("poem.txt: line 2: a text of more than 1024 KiB"), "{error}");
}

fn made_error(dataset: Dataset) -> String {
    made(dataset, false).map(|_| ()).unwrap_err().to_string()
}

/// 8 MB of commas used to cost 359 MB. A parsed value takes 64 bytes, so 30 MB of `1,` would take a gigabyte.
#[test]
fn a_row_of_too_many_columns_or_values_is_refused_before_it_fills_the_memory() {
    let files = Files::new();
    let good = "5,GPT-4,10,20,30,Conversation log\n";
    let header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
    let commas = ",".repeat(900_000);
    let error = made_error(burstgpt(files.file("wide.csv", format!("{commas}\n{good}"))));
    assert!(error.contains("line 1: 900001 fields, of at most 1000"), "{error}");
    let error = made_error(burstgpt(files.file("endless.csv", ",".repeat(8 << 20))));
    assert!(error.contains("line 1: the line is longer than 1 MiB"), "{error}");
    let rows = files.file("rows.csv", format!("{header}{good}{commas}\n{good}"));
    let told = made(burstgpt(rows), false).unwrap().provenance.dropped.malformed.to_string();
    assert!(told.contains("1 900001 fields, of at most 1000"), "{told}");
    let values = format!(r#"{{"prompt": "a", "output_tokens": 1, "x": [{}0]}}"#, "0,".repeat(500_001));
    let record = r#"{"prompt": "a", "output_tokens": 1}"#;
    for (name, text) in
        [("x.jsonl", format!("{record}\n{values}\n")), ("x.json", format!("[{record},\n{values}]"))]
    {
        let told =
            made(custom(files.file(name, text)), false).unwrap().provenance.dropped.malformed.to_string();
        assert!(told.contains("1 a record of more than 500000 values") && told.contains("line 2"), "{told}");
    }
}
