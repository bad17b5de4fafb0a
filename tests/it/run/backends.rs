//! Every backend against a server that speaks its protocol.

use serde_json::{Value, json};
use servegauge::sim::{FaultKind, OutputSpec, SimSpec};

use crate::support::{Ended, Program, Simulator, Story, fault, quick};

const SMALL: &str = "--dataset-name random --random-input-len 12 --random-output-len 9 --random-range-ratio 0.5 \
                     --num-prompts 8 --max-concurrency 4 --save-detailed";

/// Those that write text, one way or the other, from a text.
const WRITERS: [&str; 9] = [
    "openai",
    "vllm",
    "openai-chat",
    "openai-responses",
    "sglang",
    "tgi",
    "tensorrt-llm",
    "llama.cpp",
    "ollama",
];

/// Those that make vectors of a text.
const POOLERS: [&str; 4] =
    ["openai-embeddings", "openai-embeddings-chat", "vllm-pooling", "infinity-embeddings"];

fn measure(spec: SimSpec, words: &str) -> (Ended, Vec<Story>) {
    let simulator = Simulator::start(spec);
    let ended = simulator.run(SMALL).words(words).end().well();
    (ended, simulator.truth())
}

fn total(truth: &[Story], tokens: fn(&Story) -> u64) -> u64 {
    truth.iter().map(tokens).sum()
}

fn sources<'a>(result: &'a Value, tokens: &str) -> &'a Value {
    &result["servegauge"]["metrics"][tokens]["requests_by_source"]
}

#[test]
fn every_backend_that_writes_is_streamed_and_counted_by_its_server() {
    for backend in WRITERS {
        let (ended, truth) = measure(quick(), &format!("--backend {backend}"));
        let result = ended.result();
        assert_eq!((&result["completed"], &result["backend"]), (&json!(8), &json!(backend)));
        assert_eq!(result["total_output_tokens"], total(&truth, |story| story.output_tokens), "{backend}");
        let records = result["servegauge"]["records"].as_array().unwrap();
        let seen: u64 = records.iter().map(|record| record["output_events"].as_u64().unwrap()).sum();
        let written: usize = truth.iter().map(|story| story.tokens_ns.len()).sum();
        assert_eq!(seen, written as u64, "{backend}: an event is an output event if it brings text");
        let ttft = &result["servegauge"]["metrics"]["latencies"]["ttft"]["n"];
        assert_eq!((ttft, &result["itls"][0].as_array().map(Vec::is_empty)), (&json!(8), &Some(false)));
        // Triton tells nothing of tokens.
        let counter = if backend == "tensorrt-llm" { "tokenizer" } else { "usage" };
        assert_eq!(sources(&result, "output_tokens"), &json!({ counter: 8 }), "{backend}");
        let finish = &records[0]["finish_reason"];
        let reason = if backend == "tensorrt-llm" { Value::Null } else { "length".into() };
        assert_eq!(finish, &reason, "{backend}");
    }
}

#[test]
fn reasoning_is_output_in_every_protocol_that_has_it() {
    for backend in ["openai-chat", "openai-responses", "ollama"] {
        let output = OutputSpec { reasoning: 4, ..quick().output };
        let (ended, truth) = measure(SimSpec { output, ..quick() }, &format!("--backend {backend}"));
        let records = ended.result()["servegauge"]["records"].take();
        let seen = records.as_array().unwrap().iter().map(|record| record["output_events"].as_u64().unwrap());
        let written: usize = truth.iter().map(|story| story.tokens_ns.len()).sum();
        assert_eq!(seen.sum::<u64>(), written as u64, "{backend}");
    }
}

#[test]
fn answers_in_one_piece_have_an_end_and_no_first_token() {
    // The simulator has no `/generate` that is TGI's.
    for backend in WRITERS.into_iter().filter(|backend| *backend != "tgi") {
        let (ended, truth) = measure(quick(), &format!("--backend {backend} --no-stream"));
        let result = ended.result();
        assert_eq!(result["completed"], 8, "{backend}");
        assert_eq!(result["total_output_tokens"], total(&truth, |story| story.output_tokens), "{backend}");
        let latencies = result["servegauge"]["metrics"]["latencies"].as_object().unwrap();
        let (by_server, measured): (Vec<&str>, Vec<&str>) =
            latencies.keys().map(String::as_str).partition(|key| key.starts_with("server_"));
        assert_eq!(measured, ["e2el", "e2el_from_due", "lag"], "{backend}");
        let reported: &[&str] = match backend {
            "llama.cpp" | "ollama" => &["server_decode", "server_prefill"],
            _ => &[],
        };
        assert_eq!(by_server, reported, "{backend}");
        assert_eq!(latencies["e2el"]["n"], 8);
        assert_eq!(
            (&result["mean_ttft_ms"], &result["max_output_tokens_per_s"]),
            (&Value::Null, &Value::Null)
        );
        for symbol in ["TTFT", "TPOT", "ITL"] {
            let line = format!("{symbol} does not apply: answers came in one piece");
            assert!(ended.stdout.contains(&line), "{}", ended.stdout);
        }
    }
}

#[test]
fn an_answer_in_one_piece_without_usage_is_counted_in_its_text() {
    let output = OutputSpec { usage: false, ..quick().output };
    let (ended, truth) = measure(SimSpec { output, ..quick() }, "--no-stream");
    let result = ended.result();
    assert_eq!(result["total_output_tokens"], total(&truth, |story| story.output_tokens));
    assert_eq!(sources(&result, "output_tokens"), &json!({ "tokenizer": 8 }));
}

#[test]
fn what_pools_has_vllms_result_of_pooling() {
    for backend in POOLERS {
        let simulator = Simulator::start(quick());
        let ended =
            simulator.run(SMALL).words("--ready-check-timeout-sec 30").words(&format!("--backend {backend}"));
        let ended = ended.end().well();
        let result = ended.result();
        assert_eq!((&result["completed"], &result["failed"]), (&json!(8), &json!(0)), "{backend}");
        assert_eq!(result["total_input_sequences"], 8, "{backend}");
        assert!(result["input_sequence_throughput"].as_f64().unwrap() > 0.0);
        assert_eq!(sources(&result, "input_tokens"), &json!({ "usage": 8 }), "{backend}");
        assert!(result["total_input_tokens"].as_u64().unwrap() >= 8 * 6, "{backend}");
        for key in [
            "total_output_tokens",
            "output_throughput",
            "mean_ttft_ms",
            "p99_itl_ms",
            "max_output_tokens_per_s",
        ] {
            assert!(result.get(key).is_none(), "{backend}: {key}");
        }
        assert_eq!(result["servegauge"]["metrics"]["latencies"]["e2el"]["n"], 8, "{backend}");
        assert_eq!(ended.line("Total input sequences"), "8");
        assert!(ended.line("Input sequence throughput").ends_with(" inputs/s"));
        let unfit = ["TTFT", "generated", "Output token", "output token", "ITL"];
        let found: Vec<_> = unfit.into_iter().filter(|word| ended.stdout.contains(word)).collect();
        assert!(found.is_empty(), "{found:?} in:\n{}", ended.stdout);
    }
}

#[test]
fn vllms_names_for_pictures_are_aliases() {
    let (ended, _) = measure(quick(), "--backend openai-embeddings-clip");
    assert_eq!(ended.result()["backend"], "openai-embeddings-chat");
}

#[test]
fn what_goes_wrong_is_classed_in_every_protocol() {
    let faults = [
        (FaultKind::Error500, "status_500"),
        (FaultKind::ErrorEvent, "error_event"),
        (FaultKind::Malformed, "broken_stream"),
        (FaultKind::Disconnect, "broken_stream"),
        (FaultKind::Empty, "empty_stream"),
    ];
    for (kind, class) in faults {
        for backend in WRITERS.into_iter().skip(2) {
            let simulator = Simulator::start(fault(kind));
            let ended = simulator.run(SMALL).words(&format!("--backend {backend}")).end().with_code(1);
            let failures = &ended.result()["servegauge"]["metrics"]["failures"];
            assert_eq!(failures[0]["class"], class, "{backend}, {kind:?}: {failures}");
            assert_eq!(failures[0]["count"], 8, "{backend}, {kind:?}: {failures}");
        }
    }
}

#[test]
fn a_stream_without_its_end_is_broken_where_the_protocol_has_one() {
    for backend in WRITERS.into_iter().skip(2).filter(|backend| *backend != "tensorrt-llm") {
        let simulator = Simulator::start(fault(FaultKind::NoTerminal));
        let ended = simulator.run(SMALL).words(&format!("--backend {backend}")).end().with_code(1);
        let failures = &ended.result()["servegauge"]["metrics"]["failures"];
        assert_eq!(failures[0]["class"], "broken_stream", "{backend}: {failures}");
    }
}

#[test]
fn flags_that_a_backend_cannot_mean_are_usage_errors() {
    let cases = [
        ("--backend openai-audio", "cannot send"),
        ("--backend tgi --lora-modules sql", "the name of an adapter"),
        (
            "--backend openai-embeddings --temperature 0",
            "--temperature cannot be used: --backend openai-embeddings",
        ),
        ("--backend vllm-pooling --no-stream", "--no-stream cannot be used: --backend vllm-pooling"),
        ("--backend vllm-pooling --goodput ttft:5", "--goodput ttft: answers come in one piece"),
        ("--no-stream --goodput tpot:5", "--goodput tpot: answers come in one piece"),
    ];
    let simulator = Simulator::start(quick());
    for (words, part) in cases {
        let error = Program::measure(&simulator.base_url(), SMALL).words(words).end().with_code(2).stderr;
        assert!(error.contains(part), "{words}: {error}");
    }
}
