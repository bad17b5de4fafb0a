//! `servegauge calibrate` as a user runs it: on saved runs, and with a probe of a server.

use serde_json::{Value, json};
use servegauge::sim::SimSpec;

use crate::support::{Program, Simulator, quick};

const LLAMA4: &str = include_str!("../fixtures/calibration/llama4-scout-vllm.csv");

/// The measured requests of a rate as a detailed result of `vllm bench serve`.
fn vllm_result(rate: u32, model: &str) -> String {
    let cells = |line: &str| -> Vec<f64> { line.split(',').filter_map(|cell| cell.parse().ok()).collect() };
    let rows: Vec<Vec<f64>> =
        LLAMA4.lines().map(cells).filter(|row| row.len() == 6 && row[0] == f64::from(rate)).collect();
    let column = |at: usize| rows.iter().map(|row| row[at]).collect::<Vec<_>>();
    let tokens = |at: usize| column(at).into_iter().map(|tokens| tokens as u64).collect::<Vec<_>>();
    let seconds = |at: usize| column(at).into_iter().map(|ms| ms / 1e3).collect::<Vec<_>>();
    let ends = rows.iter().map(|row| (row[1] + row[4] + row[5]) / 1e3);
    let result = json!({
        "date": "20250501-000000", "endpoint_type": "openai", "backend": "vllm", "label": null,
        "model_id": model, "tokenizer_id": model, "num_prompts": rows.len(), "request_rate": rate,
        "burstiness": 1.0, "max_concurrency": null, "duration": ends.fold(0.0, f64::max),
        "completed": rows.len(), "failed": 0, "request_throughput": 1.0,
        "total_input_tokens": tokens(2).iter().sum::<u64>(), "total_output_tokens": tokens(3).iter().sum::<u64>(),
        "input_lens": tokens(2), "output_lens": tokens(3), "ttfts": seconds(4),
        "itls": seconds(5).iter().map(|decode| [decode]).collect::<Vec<_>>(),
        "start_times": seconds(1), "generated_texts": vec![""; rows.len()], "errors": vec![""; rows.len()],
    });
    result.to_string()
}

/// `servegauge calibrate` beside runs at several rates.
fn calibrate(words: &str) -> Program {
    Program::new("calibrate")
        .words(words)
        .file("8.json", vllm_result(8, "llama"))
        .file("16.json", vllm_result(16, "llama"))
        .file("24.json", vllm_result(24, "llama"))
        .file("other.json", vllm_result(16, "qwen"))
        .file("bad.json", "{\"a\": 1}")
        .file("means.json", include_str!("../fixtures/foreign/aiperf.json"))
}

const FACTS: &str = "--max-num-seqs 1024 --max-num-batched-tokens 8192 --num-gpu-blocks 100000";

#[test]
fn runs_at_two_loads_make_a_model_that_is_checked_on_a_third() {
    let ended = calibrate(&format!("8.json 24.json --holdout 16.json -o model.json {FACTS}")).end().well();
    let row = |name: &str| ended.stdout.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(row("8.json").contains("fitted") && row("16.json").contains("held out"), "{}", ended.stdout);
    assert!(
        row("block_size").contains("ASSUMED") && row("max_num_seqs").contains("a flag"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("Model: model.json"), "{}", ended.stdout);
    let text = ended.read("model.json");
    let model: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((model["servegauge_model"].as_u64(), &model["served_model"]), (Some(1), &json!("llama")));
    assert_eq!(model["runs"].as_array().unwrap().len(), 2);
    assert_eq!(model["holdout"][0]["name"], "16.json");
    assert_eq!(model["holdout"][0]["sha256"].as_str().unwrap().len(), 64);

    let program = Program::new("predict model.json --like 16.json --members 2 --check 16.json");
    let predicted = program.file("model.json", text).file("16.json", vllm_result(16, "llama")).end().well();
    assert!(predicted.stdout.contains("Check against 16.json"), "{}", predicted.stdout);
    assert!(
        predicted.stdout.contains("ITL is not compared"),
        "one event has a whole answer: {}",
        predicted.stdout
    );
}

#[test]
fn what_cannot_be_calibrated_on_is_named() {
    for (words, part) in [
        ("bad.json -o m.json", "bad.json"),
        ("absent.json -o m.json", "absent.json"),
        ("8.json other.json -o m.json", "other.json is of the model qwen"),
        ("8.json --holdout other.json -o m.json", "other.json is of the model qwen"),
        ("8.json --holdout bad.json -o m.json", "bad.json"),
        ("8.json --holdout means.json -o m.json", "means.json"),
        ("8.json", "--output"),
        ("8.json -o m.json --num-gpu-blocks 20", "these engine facts"),
    ] {
        let ended = calibrate(words).end().with_code(2);
        assert!(ended.stderr.contains(part), "{words}: {}", ended.stderr);
        assert!(!ended.files("").contains(&"m.json".to_owned()), "{words}");
    }
}

/// A simulator that takes sequences of at most 512 tokens.
fn short_context() -> SimSpec {
    SimSpec { max_model_len: 512, served_names: vec!["m".into()], ..quick() }
}

#[test]
fn a_printed_probe_is_a_list_of_runs_that_fits_the_server() {
    let printed = Program::new("calibrate --print-probe").end().well().stdout;
    assert!(
        printed.starts_with("# a warm-up, which is not fitted\nservegauge run --base-url URL "),
        "{printed}"
    );
    assert!(printed.contains("--random-input-len 2048 "), "{printed}");
    assert!(!printed.lines().nth(1).unwrap().contains("--result-dir"), "{printed}");
    let simulator = Simulator::start(short_context());
    let program = Program::new("calibrate --print-probe --probe").arg(simulator.base_url());
    let printed = program.end().well().stdout;
    assert!(printed.contains(&format!("--base-url {} ", simulator.base_url())), "{printed}");
    assert!(
        !printed.contains("--random-input-len 512 ") && printed.contains("--random-input-len 272 "),
        "{printed}"
    );
}

#[test]
fn a_probe_fits_the_server_and_its_warm_up_is_not_fitted() {
    let simulator = Simulator::start(short_context());
    let program = Program::new("calibrate --probe-max 2 -o model.json --probe").arg(simulator.base_url());
    let ended = program.words("-- --disable-tqdm").with_tokenizer().end().well();
    assert!(ended.stderr.contains("probe 9 of 9: "), "{}", ended.stderr);
    let model: Value = serde_json::from_str(&ended.read("model.json")).unwrap();
    let runs = model["runs"].as_array().unwrap();
    let fitted: u64 = runs.iter().map(|run| run["requests"].as_u64().unwrap()).sum();
    assert_eq!((runs.len(), fitted), (9, 5 * 6 + 2 + 4 + 4 + 16));
    let stories = simulator.truth();
    let of_probe: Vec<_> = stories.iter().filter(|story| story.output_tokens > 1).collect();
    assert!(of_probe.len() as u64 >= fitted + 4, "the warm-up was sent too: {}", of_probe.len());
    assert!(stories.iter().all(|story| story.prompt_tokens + story.output_tokens <= 512));
    assert!(stories.iter().any(|story| story.prompt_tokens > 250), "nor are all of them short");
}

#[test]
fn a_refused_probe_says_which_part_of_it_and_what_to_do() {
    let simulator = Simulator::start(short_context());
    let program = Program::new("calibrate --probe-max 2 -o model.json --probe").arg(simulator.base_url());
    let ended =
        program.words("-- --disable-tqdm --random-prefix-len 600").with_tokenizer().end().with_code(1);
    assert!(ended.stderr.contains("the warm-up, with 68 prompt tokens"), "{}", ended.stderr);
    assert!(ended.stderr.contains("maximum context length is 512 tokens"), "{}", ended.stderr);
    assert!(ended.stderr.contains("give --probe-max-len"), "{}", ended.stderr);
}
