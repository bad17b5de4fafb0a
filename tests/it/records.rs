//! Saved requests: the flat records of a result, and those of older results.

use serde_json::Value;
use servegauge::sim::{FaultInjection, FaultKind, SimSpec};

use crate::support::{Program, Simulator, quick};

const LOAD: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --disable-tqdm \
                    --allow-invalid";

/// A result that version 0.1.0 saved with schema 1: of 120 requests one failed, one broke off, and one was abandoned.
const SCHEMA_1: &str = include_str!("../fixtures/results/schema-1.json");

/// A server that fails three of ten requests.
fn failing() -> SimSpec {
    let faults = FaultInjection { rate: 0.3, kinds: vec![FaultKind::Error500] };
    SimSpec { faults, ..quick() }
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
