//! `servegauge predict` as a user runs it, and what other commands say of its results.

use serde_json::Value;

use crate::support::{Ended, Program, Simulator, quick};

mod split;

const MODEL: &str = include_str!("../fixtures/predict/model.json");

/// A run of forty requests at twenty a second.
fn measured() -> String {
    let simulator = Simulator::start(quick());
    let load = "--dataset-name random --rng native --random-input-len 64 --random-output-len 40 --ignore-eos \
                --num-prompts 40 --request-rate 20 --disable-tqdm --save-detailed --result-filename run.json";
    simulator.run(load).end().well().read("run.json")
}

fn predict(words: &str, run: &str) -> Program {
    Program::new("predict model.json").words(words).file("model.json", MODEL).file("run.json", run)
}

/// The prediction of the run, saved as `p.json`.
fn predicted(run: &str) -> Ended {
    predict("--like run.json --members 8 -o p.json", run).end().well()
}

#[test]
fn a_prediction_says_so_and_begins_with_the_knee() {
    let ended = predicted(&measured());
    let place = |text: &str| ended.stdout.find(text).unwrap_or_else(|| panic!("{text}\n{}", ended.stdout));
    assert!(ended.stdout.starts_with("PREDICTED · "), "{}", ended.stdout);
    assert!(
        place("PREDICTED, not measured: predicted by model.json, calibrated on calibration.json")
            < place("Knee: ")
    );
    assert!(place("Knee: ") < place("Utilization ρ: ") && place("Utilization ρ: ") < place("TTFT mean"));
    assert!(ended.stdout.contains("90 % interval") && !ended.stdout.contains("VALID"), "{}", ended.stdout);
    assert!(ended.stdout.contains("num_gpu_blocks 4096"), "assumed facts are stated\n{}", ended.stdout);
}

#[test]
fn the_same_seed_predicts_the_same() {
    let run = measured();
    let answer = || predict("--like run.json --members 6 --json", &run).end().well().stdout;
    assert_eq!(answer(), answer());
}

#[test]
fn report_compare_and_gate_say_that_a_side_is_predicted() {
    let run = measured();
    let saved = predicted(&run).read("p.json");
    let result: Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(result["predicted"], true);
    let program = |words: &str| Program::new(words).file("p.json", &saved).file("run.json", &run);
    let report = program("report p.json").end().well().stdout;
    assert!(report.starts_with("PREDICTED · "), "{report}");
    let compared = program("compare run.json p.json --anyway").end().well().stdout;
    assert!(compared.contains("Candidate: p.json (predicted) ("), "{compared}");
    assert!(compared.contains("A side is predicted, not measured"), "{compared}");
    let gated = program("gate --candidate p.json --rule ttft.mean<10s").end().well().stdout;
    assert!(gated.contains("GATE PASSED (predicted, not measured)"), "{gated}");
    let vllm = program("report p.json --format vllm").end().well().stdout;
    assert!(vllm.contains("Predicted Serving Result"), "{vllm}");
    let audited = program("audit p.json").end().stdout;
    assert!(audited.contains(", predicted)"), "{audited}");
    let exported = program("report p.json --export llmd --out e.json").end();
    assert!(
        exported.code == Some(2) && exported.stderr.contains("takes measured runs"),
        "{}",
        exported.stderr
    );
}

#[test]
fn a_prediction_is_checked_against_a_measurement() {
    let ended = predict("--like run.json --members 6 --check run.json", &measured()).end().well();
    assert!(ended.stdout.contains("Check against run.json"), "{}", ended.stdout);
    assert!(ended.stdout.contains("measured values are inside their intervals"), "{}", ended.stdout);
}

#[test]
fn several_loads_have_a_row_each_and_a_larger_load_waits_longer() {
    let words = "--like run.json --members 4 --load x1,x4 --json";
    let answer: Value = serde_json::from_str(&predict(words, &measured()).end().well().stdout).unwrap();
    let loads = answer["loads"].as_array().unwrap();
    let point = |at: usize| loads[at]["prediction"]["metrics"]["tpot.mean"]["point"].as_f64().unwrap();
    assert!(loads[0]["load"] == "x1" && loads[1]["load"] == "x4" && point(0) < point(1), "{answer}");
}

#[test]
fn strictness_refuses_what_the_calibration_did_not_see() {
    let run = measured();
    predict("--like run.json --members 2 --strict --max-num-seqs 32 --max-num-batched-tokens 2048", &run)
        .end()
        .well();
    let ended = predict("--like run.json --members 2 --strict --max-concurrency 60 --load x1", &run).end();
    assert_eq!(ended.code, Some(2), "two loads exclude each other");
    let beyond = MODEL.replace("\"decode_seqs\": 32", "\"decode_seqs\": 2");
    let program = Program::new("predict model.json --like run.json --members 2 --strict");
    let ended = program.file("model.json", beyond).file("run.json", &run).end();
    assert!(
        ended.code == Some(1) && ended.stderr.contains("beyond 2 decoding sequences"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.is_empty(), "it refuses: {}", ended.stdout);
}

#[test]
fn the_knee_and_the_fleet_say_what_they_extrapolate_and_strictness_refuses_them() {
    let run = measured();
    let saturated = predict("--like run.json --members 2", &run).end().well().stdout;
    assert!(saturated.contains("EXTRAPOLATES at the knee: "), "{saturated}");
    let words = "--like run.json --members 2 --load x1,x2";
    let table = predict(words, &run).end().well().stdout;
    assert_eq!(table.matches("EXTRAPOLATES at the knee: ").count(), 1, "{table}");
    let refused = predict("--like run.json --members 2 --strict", &run).end().with_code(1);
    assert!(refused.stderr.contains("extrapolates at the knee, "), "{}", refused.stderr);

    let words = "--like run.json --members 2 --slo e2el.p50<30s --json";
    let answer: Value = serde_json::from_str(&predict(words, &run).end().well().stdout).unwrap();
    let prediction = &answer["loads"][0]["prediction"];
    for beyond in [&prediction["knee"]["extrapolations"][0], &prediction["saturated_extrapolations"][0]] {
        let is_sound =
            beyond["what"] == "decoding sequences" && beyond["seen"] == 32.0 && beyond["bound"] == "most";
        assert!(is_sound && beyond["share"].as_f64().unwrap() > 0.1, "{answer}");
    }

    let closed = "--like run.json --members 2 --max-concurrency 40 --max-num-seqs 64 --strict --slo e2el.p50<30s --fleet";
    let refused = predict(closed, &run).end().with_code(1);
    assert!(refused.stderr.contains("extrapolates"), "{}", refused.stderr);
}

#[test]
fn less_work_than_the_calibration_saw_is_said() {
    let model = MODEL.replace("\"decode_seqs\": 32,", "\"decode_seqs\": 32,\n  \"least_decode_seqs\": 30,");
    let model = model.replace("\"prompt_tokens\": [\n  10,", "\"prompt_tokens\": [\n  900,");
    let run = measured();
    let program = Program::new("predict model.json --like run.json --members 2");
    let said = program.file("model.json", model).file("run.json", &run).end().well().stdout;
    assert!(said.contains("of step time below 30 decoding sequences, the least seen (down to 1)"), "{said}");
    assert!(said.contains("100 % of prompts below 900 tokens, the least seen (down to "), "{said}");
}

#[test]
fn a_trace_needs_no_tokenizer_and_says_that_no_reuse_is_known() {
    let trace = include_str!("../fixtures/traces/azure-2023.csv");
    let words = "--members 3 --enable-prefix-caching -- --dataset-name azure --dataset-path trace.csv --num-prompts -1";
    let program = Program::new("predict model.json").words(words);
    let ended = program.file("model.json", MODEL).file("trace.csv", trace).end().well();
    assert!(ended.stdout.contains("no reuse known"), "{}", ended.stdout);
}

#[test]
fn a_fleet_is_sized_and_routers_are_compared() {
    let run = measured();
    let words = "--like run.json --members 4 --load x6 --max-num-seqs 8 --slo ttft.p95<2s --fleet --json";
    let answer: Value = serde_json::from_str(&predict(words, &run).end().well().stdout).unwrap();
    assert!(answer["fleet"]["replicas"][1].as_u64().unwrap() >= 1, "{answer}");
    let words = "--like run.json --members 4 --replicas 3 --router random,least-requests";
    let ended = predict(words, &run).end().well();
    assert!(ended.stdout.contains("least-requests against random"), "{}", ended.stdout);
}
