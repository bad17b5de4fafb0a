//! Outputs that vLLM's users process further: its console block, files of several runs, plots, PyTorch's format.

use std::fs;
use std::path::Path;

use serde_json::Value;
use servegauge::Run;
use servegauge::sim::{FaultInjection, FaultKind, SimSpec};

use crate::support::{Ended, Program, Simulator, quick};

const SMALL: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --num-prompts 8";

/// The output of `vllm bench serve`; see the README beside it.
const VLLM_CHAT: &str = include_str!("../../fixtures/vllm/py-chat.txt");
const VLLM_OVERLOAD: &str = include_str!("../../fixtures/vllm/py-overload.txt");

/// A block whose numbers are masked: labels, order and widths remain.
fn shape(report: &str) -> Vec<String> {
    let lines = report.lines().skip_while(|line| !line.starts_with("=====")).map(|line| {
        let (label, value) = line.split_at_checked(41).unwrap_or((line, ""));
        if value.trim_end().parse::<f64>().is_ok() { format!("{label}{:<10}", "#") } else { line.to_owned() }
    });
    let shape: Vec<_> = lines.collect();
    assert!(shape.iter().all(|line| line.len() == 50 || line.len() == 51), "{shape:#?}");
    shape
}

#[test]
fn the_console_block_of_a_paced_and_capped_run_is_vllms() {
    let words = "--backend openai-chat --request-rate 40 --burstiness 0.5 --max-concurrency 8 --report vllm \
                 --percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,99 --goodput ttft:200 tpot:20";
    let ended = Simulator::start(quick()).run(SMALL).words(words).end().well();
    assert_eq!(shape(&ended.stdout), shape(VLLM_CHAT));
}

#[test]
fn the_console_block_of_a_run_with_failures_is_vllms() {
    let spec = SimSpec { faults: FaultInjection { rate: 0.5, kinds: vec![FaultKind::Error500] }, ..quick() };
    let words = "--report vllm --percentile-metrics ttft,tpot,itl";
    let ended = Simulator::start(spec).run(SMALL).words(words).end().well();
    assert_eq!(shape(&ended.stdout), shape(VLLM_OVERLOAD));
    let head: Vec<_> = ended.stdout.lines().take(2).collect();
    assert_eq!(head[0], VLLM_OVERLOAD.lines().next().unwrap());
    assert!(head[1].starts_with("Error 0: HTTP 500 "), "{}", head[1]);
}

#[test]
fn a_result_that_a_run_will_replace_is_noted_before_it() {
    const OLD: &str = "{\"an\": \"older result\"}\n";
    const NOTE: &str = "note: a.json exists; this run will replace it\n";
    let simulator = Simulator::start(quick());
    let run = |words: &str| simulator.run(SMALL).words("--result-filename a.json").words(words);
    let ended = run("").file("a.json", OLD).end().well();
    let order = ["note: ", "saved a.json"].map(|line| ended.stderr.find(line));
    assert!(ended.stderr.contains(NOTE) && order.is_sorted(), "{}", ended.stderr);
    assert_eq!(
        (ended.result()["completed"].as_u64(), ended.read("a.json").contains("older")),
        (Some(8), false)
    );
    let appended = run("--append-result").file("a.json", OLD).end().well();
    assert!(
        appended.read("a.json").starts_with(OLD) && !appended.stderr.contains(NOTE),
        "{}",
        appended.stderr
    );
    for other in ["--repeats 2", "--max-concurrency 1,2"] {
        let several = run(other).file("a.json", OLD).end().well();
        assert!(
            several.read("a.json") == OLD && !several.stderr.contains(NOTE),
            "{other}: {}",
            several.stderr
        );
    }
    let first = run("").end().well();
    assert!(!first.stderr.contains(NOTE), "{}", first.stderr);
}

#[test]
fn an_invalid_run_says_so_beside_vllms_block_and_ends_with_3() {
    let spec = SimSpec { faults: FaultInjection { rate: 0.5, kinds: vec![FaultKind::Error500] }, ..quick() };
    let simulator = Simulator::start(spec);
    let program = Program::new("run --model some-model --report vllm --base-url").arg(simulator.base_url());
    let ended = program.words(SMALL).end().with_code(3);
    assert!(!ended.stdout.contains("INVALID"), "{}", ended.stdout);
    assert!(ended.stderr.contains("\nINVALID: failed requests: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("--max-failure-rate"), "{}", ended.stderr);
}

#[test]
fn appended_results_are_one_a_line_and_the_last_is_read() {
    let simulator = Simulator::start(quick());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.jsonl");
    for label in ["first", "second"] {
        let program = simulator.run(SMALL).words("--append-result --label").arg(label);
        program.arg("--result-filename").arg(&path).end().well();
    }
    let lines = fs::read_to_string(&path).unwrap();
    let labels = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["label"].clone());
    assert_eq!(labels.collect::<Vec<_>>(), ["first", "second"]);
    let last: Value = serde_json::from_str(&Run::load(&path).unwrap().to_json()).unwrap();
    assert_eq!(last["servegauge"]["notes"]["label"], "second");
}

#[test]
fn the_format_of_pytorch_needs_a_variable_and_no_file_name() {
    let simulator = Simulator::start(quick());
    let program = simulator.run(SMALL).words("--save-result --header x-team=hidden");
    let ended = program.env("SAVE_TO_PYTORCH_BENCHMARK_FORMAT", "1").end().well();
    let text = ended.read(&named(&ended, ".pytorch.json"));
    let records: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(records[0]["metric"]["name"], "median_ttft_ms");
    assert!(records[0]["metric"]["benchmark_values"][0].is_f64());
    assert_eq!(records[0]["benchmark"]["extra_info"]["args"]["header"], "***");
    assert!(!text.contains("hidden"));
    let without = simulator.run(SMALL).words("--save-result").end().well();
    assert_eq!(without.files("").len(), 1);
}

#[test]
fn plots_are_written_without_a_result_too() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(SMALL).words("--plot-timeline --plot-dataset-stats --label night").end().well();
    assert_eq!(ended.files("").len(), 2, "{:?}", ended.files(""));
    let page = ended.read(&named(&ended, ".timeline.html"));
    assert!(page.contains("ITL ≥ 50 ms") && page.contains("\"rows\":[["), "{page}");
    let picture = ended.read(&named(&ended, ".dataset_stats.svg"));
    assert!(picture.contains("Prompt tokens: mean 8, ") && picture.contains("Output tokens: mean 6, "));
}

#[test]
fn plots_stand_beside_the_result_and_put_nothing_into_it() {
    let simulator = Simulator::start(quick());
    let words = "--result-filename out/mine.json --plot-timeline --timeline-itl-thresholds 5";
    let ended = simulator.run(SMALL).words(words).end().well();
    let mut files = ended.files("out");
    files.sort_unstable();
    assert_eq!(files, ["mine.json", "mine.timeline.html"]);
    assert!(ended.read("out/mine.timeline.html").contains("ITL &lt; 5.00 ms"));
    let result: Value = serde_json::from_str(&ended.read("out/mine.json")).unwrap();
    assert!(result.get("itls").is_none() && result["servegauge"].get("records").is_none());
}

#[test]
fn a_run_in_which_everything_failed_has_its_plots() {
    let spec = SimSpec { faults: FaultInjection { rate: 1.0, kinds: vec![FaultKind::Error500] }, ..quick() };
    let words = "--plot-timeline --plot-dataset-stats --report vllm";
    let ended = Simulator::start(spec).run(SMALL).words(words).end().with_code(1);
    assert_eq!(ended.files("").len(), 2, "{:?}", ended.files(""));
    assert!(ended.stdout.contains("\nMean TTFT (ms):                          nan       \n"));
}

#[track_caller]
fn named(ended: &Ended, end: &str) -> String {
    let files = ended.files("");
    let found = files.iter().find(|name| Path::new(name).to_string_lossy().ends_with(end));
    found.unwrap_or_else(|| panic!("no {end} in {files:?}")).clone()
}

#[test]
fn a_full_stdout_is_2_and_costs_no_file() {
    let simulator = Simulator::start(quick());
    let words = "--save-detailed --plot-timeline --result-filename run.json";
    let ended = simulator.run(SMALL).words(words).with_full_stdout().end().with_code(2);
    assert!(ended.stderr.contains("error: cannot write to stdout: "), "{}", ended.stderr);
    let saved: Value = serde_json::from_str(&ended.read("run.json")).unwrap();
    assert_eq!(saved["completed"], 8);
    assert!(ended.read("run.timeline.html").contains("</html>"), "{:?}", ended.files(""));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(SMALL).words("--result-filename run.json").with_closed_stdout().end().well();
    assert!(!ended.stderr.contains("error"), "{}", ended.stderr);
    let saved: Value = serde_json::from_str(&ended.read("run.json")).unwrap();
    assert_eq!(saved["completed"], 8);
}

#[test]
fn each_of_several_runs_is_saved_although_nobody_reads() {
    let simulator = Simulator::start(quick());
    let words = "--repeats 2 --result-filename run.json";
    let ended = simulator.run(SMALL).words(words).with_closed_stdout().end().well();
    let mut files = ended.files("");
    files.sort_unstable();
    assert_eq!(files, ["run-r1.json", "run-r2.json"]);
}
