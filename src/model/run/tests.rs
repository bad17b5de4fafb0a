use serde_json::json;

use std::fs;

use super::*;
use crate::model::units::{Rate, Secret};
use crate::testing::sample_run::run;

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.to_json()).unwrap()
}

#[test]
fn vllms_keys_have_vllms_types_and_units() {
    let file = json(&run(true));
    assert_eq!(file["date"], "20261122-094451");
    assert_eq!(file["backend"], "openai");
    assert_eq!(file["endpoint_type"], "openai");
    assert_eq!(file["label"], Value::Null);
    assert_eq!(file["model_id"], "meta-llama/Llama-3-8B-Instruct");
    assert_eq!(file["gpu"], "none");
    assert_eq!(file["request_rate"], 20.0);
    assert_eq!(file["max_concurrency"], 8);
    assert_eq!((&file["completed"], &file["failed"]), (&json!(1), &json!(1)));
    assert_eq!((&file["total_input_tokens"], &file["total_output_tokens"]), (&json!(9), &json!(3)));
    assert_eq!(file["mean_ttft_ms"], 100.0);
    assert_eq!(file["p99_tpot_ms"], 50.0);
    assert_eq!(file["median_e2el_ms"], 200.0);
    assert_eq!(file["mean_itl_ms"], 50.0);
    assert!(file["p99.9_itl_ms"].is_f64());
    assert_eq!(file["request_goodput"], Value::Null);
    assert_eq!(file["rtfx"], Value::Null);
    assert_eq!(file["input_lens"], json!([9, 9]));
    assert_eq!(file["output_lens"], json!([3, 0]));
    assert_eq!(file["itls"], json!([[0.04, 0.06], []]));
    assert_eq!(file["errors"], json!(["", "HTTP 503: busy"]));
    assert_eq!(file["latencies"], json!([0.2, 0.0]));
    assert_eq!(file["queue_times"], json!([0.002, 0.001]));
    assert_eq!(file["generated_texts"], json!(["Gut so.", ""]));
}

#[test]
fn a_result_of_pooling_has_vllms_keys_of_pooling() {
    let mut run = run(false);
    run.metrics.input_sequences = Some(4);
    let file = json(&run);
    assert_eq!(file["total_input_sequences"], 4);
    assert!(file["input_sequence_throughput"].is_f64());
    for key in ["total_output_tokens", "output_throughput", "max_output_tokens_per_s", "rtfx"] {
        assert!(file.get(key).is_none(), "{key}");
    }
    let generated = json(&self::run(false));
    assert!(generated.get("total_input_sequences").is_none());
    assert!(generated.get("input_sequence_throughput").is_none());
}

#[test]
fn recordings_give_a_result_their_factor() {
    let mut run = run(false);
    run.metrics.input_audio = Some(run.metrics.duration * 3);
    assert_eq!(json(&run)["rtfx"], 3.0);
}

/// pyyaml, which llmd-benchmark-report reads results with, refuses other characters.
#[test]
fn a_result_has_only_characters_that_readers_of_yaml_take() {
    let mut detailed = run(true);
    let text = "\u{7f}\u{80}\u{85}\u{9f}\u{fffe}\u{ffff} é 日 \u{1f600} \"\n";
    detailed.records.as_mut().unwrap()[0].text = Some(text.into());
    let mut written = Vec::new();
    detailed.write(&mut written).unwrap();
    let written = String::from_utf8(written).unwrap();
    let refused = |character: &char| !matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    assert_eq!(written.chars().find(refused), None);
    let file: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(file["generated_texts"][0], text);
}

#[test]
fn details_are_saved_only_when_asked_for() {
    let file = json(&run(false));
    for key in ["input_lens", "output_lens", "ttfts", "itls", "start_times", "generated_texts", "errors"] {
        assert!(file.get(key).is_none(), "{key}");
    }
    assert!(file["servegauge"].get("records").is_none());
    assert_eq!(file["latencies"], json!([0.2, 0.0]));
}

#[test]
fn infinity_and_the_unmeasured_are_valid_json() {
    let mut run = run(false);
    run.spec.load.request_rate = Rate::INFINITE;
    run.metrics.latencies.clear();
    let file = json(&run);
    assert_eq!((&file["request_rate"], &file["burstiness"]), (&json!("inf"), &json!("inf")));
    assert_eq!((&file["mean_ttft_ms"], &file["p99_ttft_ms"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_file_name_is_vllms() {
    let mut run = run(false);
    assert_eq!(run.file_name(), "openai-20.0qps-concurrency8-Llama-3-8B-Instruct-20261122-094451.json");
    run.notes.label = Some("night".into());
    run.spec.load.request_rate = Rate::INFINITE;
    run.spec.load.max_concurrency = None;
    assert_eq!(run.file_name(), "night-infqps-Llama-3-8B-Instruct-20261122-094451.json");
}

#[test]
fn secrets_are_not_saved() {
    assert!(!run(true).to_json().contains("sk-secret"));
}

#[test]
fn a_saved_run_is_read_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/result.json");
    for detailed in [false, true] {
        let mut run = run(detailed);
        run.spec.target.headers[0].1 = Secret::new(Secret::MASK);
        run.save(&path).unwrap();
        assert_eq!(Run::load(&path).unwrap(), run);
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn what_is_no_result_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.json");
    let cases = [
        ("", "it is empty"),
        ("[]", "no key `servegauge`"),
        ("{\"completed\": 1}", "no key `servegauge`"),
        ("{\"servegauge\": {}}", "no `schema`"),
        ("{\"servegauge\": {\"schema\": 99}}", "its schema is 99"),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        let message = Run::load(&path).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("result.json"), "{message}");
    }
    let missing = Run::load(&folder.path().join("nowhere.json")).unwrap_err().to_string();
    assert!(missing.contains("nowhere.json"), "{missing}");
}

#[test]
fn of_several_runs_in_a_file_the_last_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.jsonl");
    let runs = ["first", "second"].map(|label| {
        let mut run = run(false);
        run.spec.target.headers[0].1 = Secret::new(Secret::MASK);
        run.notes.label = Some(label.into());
        run.append(&path).unwrap();
        run
    });
    assert_eq!(Run::load(&path).unwrap(), runs[1]);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2, "JSON lines");
}

#[test]
fn a_file_whose_last_line_is_cut_off_is_refused_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.jsonl");
    run(false).append(&path).unwrap();
    file::append(&path, |out| out.write_all(b"{\"date\": \"2026")).unwrap();
    let message = Run::load(&path).unwrap_err().to_string();
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn times_that_the_client_took_have_vllms_names_for_them() {
    let mut run = run(false);
    run.selection.latencies = vec![Latency::E2eFromDue, Latency::Lag];
    let file = json(&run);
    assert_eq!(file["mean_client_queue_time_ms"], 1.5, "also of a request that failed");
    assert_eq!(file["p99_e2el_including_client_queue_ms"], 202.0);
}

#[test]
fn a_result_from_before_there_was_a_choice_of_random_numbers_has_our_own() {
    let mut file = json(&run(false));
    let spec = file["servegauge"]["spec"].as_object_mut().unwrap();
    assert!(spec.remove("rng").is_some());
    let workload = spec["workload"].as_object_mut().unwrap();
    assert!(workload.remove("draw").is_some() && workload.remove("lora").is_some());
    let loaded: crate::model::run_spec::Spec =
        serde_json::from_value(file["servegauge"]["spec"].take()).unwrap();
    assert_eq!(loaded.rng, crate::model::run_spec::RngKind::Native);
    assert!(
        loaded.workload.draw.shuffle && loaded.workload.draw.oversample && loaded.workload.lora.is_none()
    );
}
