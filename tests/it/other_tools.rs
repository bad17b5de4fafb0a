//! Results of other tools as a user reads them: `report`, `compare`, `gate`, `audit`, and the commands that refuse them.

use serde_json::Value;

use crate::support::{Program, Simulator, quick};

const AIPERF: &str = include_str!("../fixtures/foreign/aiperf.json");
const AIPERF_REQUESTS: &str = include_str!("../fixtures/foreign/aiperf.jsonl");
const GUIDELLM: &str = include_str!("../fixtures/foreign/guidellm.json");
const VLLM: &str = include_str!("../fixtures/foreign/vllm-py.json");
const OVERLOAD: &str = include_str!("../fixtures/foreign/vllm-py-overload.json");
const SHAREGPT: &str = include_str!("../fixtures/foreign/vllm-rs-sharegpt.json");
const SGLANG: &str = include_str!("../fixtures/foreign/sglang.jsonl");
const INFERENCE_PERF: &str = include_str!("../fixtures/foreign/inference-perf.json");

/// A command beside all fixtures.
fn program(words: &str) -> Program {
    Program::new(words)
        .file("aiperf.json", AIPERF)
        .file("aiperf.jsonl", AIPERF_REQUESTS)
        .file("guidellm.json", GUIDELLM)
        .file("vllm.json", VLLM)
        .file("overload.json", OVERLOAD)
        .file("sharegpt.json", SHAREGPT)
        .file("sglang.jsonl", SGLANG)
        .file("inference-perf.json", INFERENCE_PERF)
}

/// A saved run of ours.
fn saved() -> String {
    let load = "--num-prompts 12 --max-concurrency 4 --random-input-len 8 --random-output-len 6 --save-detailed \
                --result-filename run.json";
    Simulator::start(quick()).run(load).end().well().read("run.json")
}

#[test]
fn report_shows_what_a_tool_states_and_does_not_judge_it() {
    let text = program("report aiperf.json").end().well().stdout;
    assert_eq!(text, include_str!("../golden/other-tool.txt"));
    let text = program("report guidellm.json --format markdown").end().well().stdout;
    assert!(text.starts_with("**NOT JUDGED**: guidellm measured this"), "{text}");
    assert!(text.contains("| E2E | 70 |"), "seconds are milliseconds here: {text}");
}

#[test]
fn report_prints_every_format_of_every_tool() {
    let files = "aiperf.json aiperf.jsonl guidellm.json vllm.json sglang.jsonl inference-perf.json";
    let text = program(&format!("report {files}")).end().well().stdout;
    assert_eq!(text.matches("NOT JUDGED: ").count(), 7, "SGLang's file has two results: {text}");
    assert!(text.contains("## sglang.jsonl (result 2 of 2)"), "{text}");
    let csv = program(&format!("report {files} --format csv")).end().well().stdout;
    for line in [
        "aiperf.json,tpot.mean,ms,4.00916236,,,20,not judged: result of aiperf 0.13.0",
        "vllm.json,ttft.mean,ms,233.08212997500277,,,,not judged: result of vllm bench serve",
        "inference-perf.json,e2el.p99,ms,624,,,,not judged: result of inference-perf",
    ] {
        assert!(csv.lines().any(|found| found == line), "{line}\n{csv}");
    }
    let json = program(&format!("report {files} --json")).end().well().stdout;
    let results: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), 7);
    assert!(results.iter().all(|result| result["verdict"] == "not_judged"), "{json}");
    assert_eq!(results[0]["latencies"]["ttft"]["mean_ms"], 11.50829445);
    assert_eq!(results[1]["requests"].as_array().unwrap().len(), 20);
    assert_eq!(results[5]["load"]["request_rate"], "inf");
    let refused = program("report vllm.json --format vllm").end().with_code(2);
    assert!(refused.stderr.contains("vllm.json is a result of vllm bench serve"), "{}", refused.stderr);
}

#[test]
fn a_page_has_results_of_all_tools_side_by_side() {
    let words = "report run.json guidellm.json vllm.json --html page.html";
    let page = program(words).file("run.json", saved()).end().well().read("page.html");
    assert!(page.contains("<h1>3 results side by side</h1>") && page.contains("2 not judged"), "{page}");
    assert!(page.contains("<td>not judged</td>") && page.contains("as stated"), "{page}");
    let page = program("report aiperf.json --html page.html").end().well().read("page.html");
    assert!(page.contains("As stated by other tools") && page.contains("aiperf 0.13.0"), "{page}");
}

#[test]
fn names_in_a_tools_file_are_shown_as_text() {
    let hostile = AIPERF.replace("servegauge-sim", "</script><b>\\u001b[31m");
    let ended = Program::new("report a.json --html page.html").file("a.json", &hostile).end().well();
    let page = ended.read("page.html");
    assert!(!page.contains("</script><b>") && page.contains("script&gt;&lt;b&gt;"), "{page}");
    let text = Program::new("report a.json").file("a.json", &hostile).end().well().stdout;
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn compare_tests_what_has_requests_and_does_not_judge_the_rest() {
    let stated = program("compare aiperf.json guidellm.json --anyway").end().well().stdout;
    assert!(
        stated.contains("not judged (stated without an interval)") && stated.contains("aiperf 0.13.0"),
        "{stated}"
    );
    let tested =
        program("compare aiperf.jsonl guidellm.json --figures ttft.mean,tpot.mean,e2el.mean --anyway");
    let tested = tested.end().well().stdout;
    assert!(!tested.contains("not judged (stated"), "{tested}");
    assert!(tested.contains("Verdicts: ") && tested.contains("by the definitions of guidellm"), "{tested}");
    let ours =
        program("compare run.json guidellm.json --anyway --json").file("run.json", saved()).end().well();
    let comparison: Value = serde_json::from_str(&ours.stdout).unwrap();
    let rows = comparison["candidates"][0]["rows"].as_array().unwrap();
    let call = |figure: &str| rows.iter().find(|row| row["figure"] == figure).unwrap()["call"].clone();
    assert_eq!(call("output_throughput"), "not_judged");
    assert_ne!(call("ttft.mean"), "not_judged", "both sides have their requests");
}

#[test]
fn compare_refuses_other_settings() {
    let ended = program("compare vllm.json overload.json").end().with_code(2);
    assert!(
        ended.stderr.contains("request rate is 4.00 in the baseline, inf in the candidate"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_gate_decides_fixed_limits_by_the_stated_figure() {
    let gate = |words: &str| program(&format!("gate --candidate vllm.json {words}"));
    let passed = gate("--rule ttft.mean<500ms").end().well().stdout;
    assert!(passed.contains("PASS") && passed.contains("not judged by servegauge"), "{passed}");
    let failed = gate("--rule ttft.p99<500ms").end().with_code(1).stdout;
    assert!(failed.contains("FAIL") && failed.contains("TTFT P99 1840 "), "{failed}");
    let absent = gate("--rule ttft.p95<500ms").end().with_code(2).stderr;
    assert!(absent.contains("does not state the metric of `ttft.p95 < 500ms`"), "{absent}");
}

#[test]
fn a_gate_does_not_pass_what_it_cannot_test() {
    let ended = program("gate --baseline vllm.json --candidate vllm.json").end().with_code(2);
    assert!(ended.stderr.contains("cannot be tested") && ended.stderr.contains("--rule"), "{}", ended.stderr);
    // With all requests the rule is tested. Against itself a result is neither certainly better nor worse.
    let words = "gate --baseline guidellm.json --candidate guidellm.json --same-start --rule";
    let ended = program(words).arg("tpot.mean <= baseline * 2").end().well();
    assert!(ended.stdout.contains("PASS"), "{}", ended.stdout);
}

#[test]
fn other_commands_name_the_tool_of_a_file() {
    for words in [
        "diagnose aiperf.json",
        "plan --kv-tokens 1000 --prompt-tokens 10 --output-tokens 10 --check aiperf.json",
        "run --like aiperf.json",
    ] {
        let ended = program(words).end().with_code(2);
        assert!(ended.stderr.contains("it is a result of aiperf"), "{words}\n{}", ended.stderr);
    }
    let ended = program("diagnose sglang.jsonl").end().with_code(2);
    assert!(ended.stderr.contains("it is a result of SGLang bench_serving"), "{}", ended.stderr);
}

#[test]
fn a_file_of_no_tool_is_refused_with_the_kinds_that_are_read() {
    let ended = Program::new("report a.json").file("a.json", "{\"name\": \"x\"}").end().with_code(2);
    assert!(ended.stderr.contains("an object with the keys name"), "{}", ended.stderr);
    assert!(ended.stderr.contains("guidellm (JSON), vllm bench serve"), "{}", ended.stderr);
    let ended = Program::new("audit /dev/zero").end().with_code(2);
    assert!(ended.stderr.contains("/dev/zero"), "{}", ended.stderr);
}

#[test]
fn audit_says_what_contradicts_and_what_it_could_not_check() {
    let good = program("audit aiperf.json vllm.json").end().well().stdout;
    assert_eq!(good.matches("\nBELIEVABLE: ").count(), 2, "{good}");
    assert!(good.contains("DOUBTFUL  P99 of TTFT, TPOT, E2E: 20 requests, at least 100 requests"), "{good}");
    assert!(good.contains("  repeated prompts: the prompts"), "{good}");
    let doctored = VLLM.replace("\"p99_ttft_ms\":1840.482279340001", "\"p99_ttft_ms\":18.0");
    assert_ne!(doctored, VLLM);
    let ended = Program::new("audit a.json").file("a.json", &doctored).end().with_code(1);
    assert!(ended.stdout.contains("\nNOT BELIEVABLE: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("IMPOSSIBLE  TTFT P90: 886.8 ms, at most 18 ms"), "{}", ended.stdout);
    let ended = program("audit overload.json --json").end().with_code(1);
    let audit: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&audit["believable"], &audit["findings"][0]["check"]), (&false.into(), &"failures".into()));
    assert_eq!(audit["findings"][0]["value"], 60.0);
}

#[test]
fn a_run_of_ours_is_audited_and_exported_too() {
    let run = saved();
    let ended = Program::new("audit run.json --json").file("run.json", &run).end();
    let audit: Value = serde_json::from_str(&ended.stdout).unwrap();
    let impossible = |finding: &Value| finding["level"] == "impossible";
    assert!(!audit["findings"].as_array().unwrap().iter().any(impossible), "{}", ended.stdout);
    let export = |name: &str| {
        let words = format!("report run.json --export llmd --out {name}");
        Program::new(&words).file("run.json", &run).end().well().read(name)
    };
    let report: Value = serde_json::from_str(&export("report.json")).unwrap();
    let ours: Value = serde_json::from_str(&run).unwrap();
    let aggregate = &report["results"]["request_performance"]["aggregate"];
    assert_eq!((&report["version"], &aggregate["requests"]["total"]), (&"0.2".into(), &12.into()));
    let ttft = &aggregate["latency"]["time_to_first_token"];
    assert_eq!(ttft["units"], "ms");
    let mean = (ttft["mean"].as_f64().unwrap(), ours["mean_ttft_ms"].as_f64().unwrap());
    assert!((mean.0 - mean.1).abs() < 1e-9, "{mean:?}");
    let yaml = export("report.yaml");
    assert!(yaml.contains("\nrun:\n") && yaml.contains("time_to_first_token:"), "{yaml}");
    let refused = Program::new("report run.json --export llmd --out report.txt").file("run.json", &run).end();
    assert!(refused.with_code(2).stderr.contains(".json, .yaml or .yml"));
}
