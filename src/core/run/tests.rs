use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::core::dataset::Drops;
use crate::core::record::{Events, Failure, FailureClass, Finish, Times, TokenCount, TokenSource};
use crate::core::simulated::{self, open_load};
use crate::core::spec::{Load, Slo};
use crate::core::stats::{Tally, TallyBySecond};
use crate::core::units::{Rate, Secret};
use crate::core::validity::Evidence;

fn spec() -> Spec {
    let load = open_load(20.0);
    let mut spec = simulated::spec(Load {
        burstiness: f64::INFINITY,
        normalize_arrivals: true,
        max_concurrency: NonZeroUsize::new(8),
        ..load
    });
    spec.target.model = "meta-llama/Llama-3-8B-Instruct".into();
    spec.target.headers = vec![("authorization".into(), Secret::new("Bearer sk-secret"))];
    spec.workload.num_prompts = 2;
    spec.seed = 7;
    spec
}

fn records() -> Vec<Record> {
    let ms = Duration::from_millis;
    let good = Record {
        ordinal: 0,
        id: Uuid::nil(),
        times: Times {
            due: ms(10),
            released: None,
            sent: Some(ms(12)),
            headers: Some(ms(20)),
            first_chunk: Some(ms(20)),
            first_token: Some(ms(112)),
            last_token: Some(ms(212)),
            done: Some(ms(213)),
            ..Times::default()
        },
        prompt_tokens: TokenCount { count: 9, source: TokenSource::Tokenizer },
        cached_tokens: None,
        output_tokens: TokenCount { count: 3, source: TokenSource::Usage },
        events: Events { count: 3, by_second: vec![(0, 3)], gaps: Some(vec![ms(40), ms(60)]) },
        outcome: Ok(Finish::Stop),
        facets: None,
        text: Some("Gut so.".into()),
    };
    let mut bad = good.clone();
    bad.ordinal = 1;
    bad.times = Times { due: ms(20), sent: Some(ms(21)), done: Some(ms(30)), ..Times::default() };
    bad.events = Events { gaps: Some(Vec::new()), ..Events::default() };
    bad.outcome = Err(Failure::new(FailureClass::Status(503), "busy"));
    bad.text = Some(String::new());
    vec![good, bad]
}

fn run(detailed: bool) -> Run {
    let records = records();
    let itl: Tally = records[0].events.gaps.iter().flatten().copied().collect();
    let percents = vec![50.0, 99.0, 99.9];
    let metrics = Metrics::of(&records, &itl, &Slo::default(), &percents);
    Run {
        schema: SCHEMA,
        version: "0.1.0".into(),
        started: "2026-11-22T09:44:51+01:00[Europe/Berlin]".parse().unwrap(),
        command: vec!["servebench".into(), "run".into()],
        interrupted: false,
        spec: spec(),
        notes: Notes { label: None, metadata: [("gpu".to_owned(), "none".to_owned())].into() },
        selection: Selection { latencies: Latency::SELECTABLE.to_vec(), percents: percents.clone() },
        inputs: Inputs {
            dataset: Provenance {
                dataset: "sharegpt".into(),
                path: Some("bundled".into()),
                sha256: Some(Digest::of(b"data")),
                candidates: 3,
                dropped: Drops { few_turns: 1, ..Drops::default() },
                repeated: 0,
                inexact: 0,
            },
            tokenizer: TokenizerOrigin {
                origin: "bundled".into(),
                sha256: None,
                source: TokenSource::Tokenizer,
            },
        },
        environment: Environment { host: "h".into(), system: "Linux".into(), cpus: 2, server_version: None },
        steady: Steady::of(&spec(), &records, &percents),
        series: Series::of(&records, &TallyBySecond::default()),
        validity: Verdict::of(&Evidence::default(), &spec(), &records, &metrics),
        metrics,
        histograms: [(Latency::Itl, itl.encode())].into(),
        always: records.iter().map(Always::of).collect(),
        records: detailed.then_some(records),
    }
}

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
fn details_are_saved_only_when_asked_for() {
    let file = json(&run(false));
    for key in ["input_lens", "output_lens", "ttfts", "itls", "start_times", "generated_texts", "errors"] {
        assert!(file.get(key).is_none(), "{key}");
    }
    assert!(file["servebench"].get("records").is_none());
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
        ("", "EOF while parsing"),
        ("[]", "no key `servebench`"),
        ("{\"completed\": 1}", "no key `servebench`"),
        ("{\"servebench\": {}}", "no `schema`"),
        ("{\"servebench\": {\"schema\": 99}}", "its schema is 99"),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        let message = Run::load(&path).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("result.json"), "{message}");
    }
    let missing = Run::load(&folder.path().join("nowhere.json")).unwrap_err().to_string();
    assert!(missing.contains("nowhere.json"), "{missing}");
}
