//! Saved requests: the flat records of a result, those of older results, and `--save-records`.

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;
use servegauge::sim::{FaultInjection, FaultKind, SimSpec};

use crate::support::{Ended, Program, Simulator, quick};

const LOAD: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --disable-tqdm \
                    --allow-invalid";

/// A result that version 0.1.0 saved with schema 1: of 120 requests one failed, one broke off, and one was abandoned.
const SCHEMA_1: &str = include_str!("../fixtures/results/schema-1.json");

/// A server that fails three of ten requests.
fn failing() -> SimSpec {
    let faults = FaultInjection { rate: 0.3, kinds: vec![FaultKind::Error500] };
    SimSpec { faults, ..quick() }
}

/// The rows of a Parquet file.
fn rows(ended: &Ended, name: &str) -> Vec<Value> {
    let file = SerializedFileReader::new(bytes::Bytes::from(ended.bytes(name))).unwrap();
    file.get_row_iter(None).unwrap().map(|row| row.unwrap().to_json_value()).collect()
}

fn records(result: &Value) -> Vec<Value> {
    result["servegauge"]["records"].as_array().unwrap().clone()
}

/// The keys of all objects in a value.
fn keys(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(object) => {
            object.iter().flat_map(|(key, value)| [vec![key.as_str()], keys(value)].concat()).collect()
        }
        Value::Array(values) => values.iter().flat_map(keys).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_new_result_has_rows_of_plain_values_and_no_tags_of_rust() {
    let simulator = Simulator::start(failing());
    let words = "--num-prompts 30 --seed 2 --save-detailed --profile";
    let result = simulator.run(LOAD).words(words).end().well().result();
    assert!(!keys(&result).iter().any(|key| ["Ok", "Err"].contains(key)));
    let records = records(&result);
    let columns = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for record in &records {
        assert!(record.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array()));
        assert_eq!(columns(record), columns(&records[0]), "every row has every column");
    }
    let failed: Vec<&Value> = records.iter().filter(|record| record["success"] == false).collect();
    assert!(!failed.is_empty() && failed.len() < 30);
    assert!(failed.iter().all(|record| record["failure_class"] == "status_500"));
    let started = result["servegauge"]["started"].as_str().unwrap();
    assert!(!started.contains('[') && started.parse::<jiff::Timestamp>().is_ok(), "{started}");
}

#[test]
fn a_result_of_schema_1_loads_and_is_written_in_the_new_form() {
    let old: Value = serde_json::from_str(SCHEMA_1).unwrap();
    let ended = Program::new("report old.json --format json").file("old.json", SCHEMA_1).end().well();
    let new: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(!keys(&new).iter().any(|key| ["Ok", "Err"].contains(key)));
    assert_eq!(new["servegauge"]["schema"], 2);
    assert_eq!(new["servegauge"]["started"], "2026-12-01T02:41:54.006402946+01:00");
    assert_eq!(new["date"], old["date"]);
    assert_eq!(new["itls"], old["itls"]);
    assert_eq!(new["servegauge"]["steady"], old["servegauge"]["steady"]["Ok"]);
    assert_eq!(new["servegauge"]["metrics"], old["servegauge"]["metrics"]);
    for (new, old) in records(&new).iter().zip(&records(&old)) {
        for (column, field) in [
            ("sent_s", &old["times"]["sent"]),
            ("done_s", &old["times"]["done"]),
            ("output_tokens", &old["output_tokens"]["count"]),
            ("output_events", &old["events"]["count"]),
            ("failure_class", &old["outcome"]["Err"]["class"]),
            ("finish_reason", &old["outcome"]["Ok"]),
        ] {
            assert_eq!(&new[column], field, "{column} of {old}");
        }
    }
    let report = |name: &str, text: &str| {
        Program::new("report r.json --format text").file(name, text).end().well().stdout
    };
    assert_eq!(report("r.json", SCHEMA_1), report("r.json", &ended.stdout));
}

#[test]
fn a_result_that_was_changed_by_hand_is_refused_with_the_place() {
    let simulator = Simulator::start(quick());
    let saved = simulator.run(LOAD).words("--num-prompts 3 --save-detailed").end().well().result();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut changed = saved.clone();
        change(&mut changed["servegauge"]);
        let ended = Program::new("report r.json").file("r.json", changed.to_string()).end().with_code(2);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        ended.stderr
    };
    let why = refused(&|ours| ours["records"][1]["prompt_tokens"] = Value::Null);
    assert!(why.contains("r.json") && why.contains("its `records`: invalid type: null"), "{why}");
    let why = refused(&|ours| ours["records"][2]["success"] = false.into());
    assert!(why.contains("request 2 has neither `success` nor a `failure_class`"), "{why}");
    let why = refused(&|ours| ours["events_by_second"] = Value::Array(Vec::new()));
    assert!(why.contains("it has 3 `records`, and `events_by_second` of 0 requests"), "{why}");
    let why = refused(&|ours| ours["schema"] = 3.into());
    assert!(why.contains("its schema is 3, this program reads 1 to 2"), "{why}");
}

#[test]
fn save_records_writes_a_row_for_each_request_with_the_columns_of_the_result() {
    let simulator = Simulator::start(failing());
    let words = "--num-prompts 30 --seed 2 --save-detailed --out run.json --save-records new/r.parquet";
    let ended = simulator.run(LOAD).words(words).end().well();
    assert!(ended.stderr.contains("saved new/r.parquet\n"), "{}", ended.stderr);
    let result: Value = serde_json::from_str(&ended.read("run.json")).unwrap();
    let mut rows = rows(&ended, "new/r.parquet");
    for (at, row) in rows.iter_mut().enumerate() {
        let row = row.as_object_mut().unwrap();
        assert_eq!(row.remove("generated_text").unwrap(), result["generated_texts"][at]);
        assert_eq!(row.remove("itl_s").unwrap(), result["itls"][at]);
    }
    assert_eq!(rows, records(&result));
    let again = Program::new("report run.json --save-records again.parquet")
        .file("run.json", ended.read("run.json"))
        .end()
        .well();
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("", "saved again.parquet\n"));
    assert_eq!(
        again.bytes("again.parquet"),
        ended.bytes("new/r.parquet"),
        "the file depends on the run alone"
    );
}

#[test]
fn save_records_needs_no_saved_result_and_leaves_no_log() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(LOAD).words("--num-prompts 5 --save-records r.parquet").end().well();
    assert_eq!(ended.files(""), ["r.parquet"]);
    let rows = rows(&ended, "r.parquet");
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row["ttft_s"].is_f64() && row.get("itl_s").is_none()), "{rows:?}");
}

#[test]
fn each_of_several_runs_has_a_file_of_records() {
    let simulator = Simulator::start(quick());
    let files = |words: &str| {
        let ended = simulator.run(LOAD).words("--save-records r.parquet").words(words).end().well();
        let mut files = ended.files("");
        files.sort();
        assert!(files.iter().all(|file| rows(&ended, file).len() == 4), "{files:?}");
        files
    };
    assert_eq!(files("--num-prompts 4 --repeats 2"), ["r-r1.parquet", "r-r2.parquet"]);
    let ladder = files("--num-prompts 4 --max-concurrency 1,2");
    assert_eq!(ladder, ["r-concurrency1.parquet", "r-concurrency2.parquet"]);
}

#[test]
fn a_killed_runs_log_becomes_a_file_of_records_too() {
    let simulator = Simulator::start(quick());
    let run = simulator.run(LOAD).words("--num-prompts 6 --record-log r.reclog").end().well();
    let ended = Program::new("run --recover r.reclog --save-records r.parquet --allow-invalid")
        .file("r.reclog", run.bytes("r.reclog"))
        .end()
        .well();
    assert_eq!(rows(&ended, "r.parquet").len(), 6);
}

#[test]
fn mistakes_with_records_name_the_cure() {
    let simulator = Simulator::start(quick());
    let plain = simulator.run(LOAD).words("--num-prompts 2 --out r.json").end().well().read("r.json");
    for (words, expected) in [
        ("run --sim --save-records r.csv", "let its name end in `.parquet`"),
        ("run --sim --save-records r.json/r.parquet", "cannot write r.json/r.parquet"),
        ("report r.json --save-records r.parquet", "save the run with --save-detailed"),
        ("report r.json r.json --save-records r.parquet", "takes one run, and these are 2"),
        ("gate --allow-invalid --baseline r.json -- run --sim --save-records r.parquet", "--save-records"),
        ("search --slo ttft.p95<1s -- run --sim --save-records r.parquet", "--save-records"),
    ] {
        let ended = Program::new(words).file("r.json", &plain).end().with_code(2);
        assert!(ended.stderr.contains(expected), "{words}\n{}", ended.stderr);
    }
}
