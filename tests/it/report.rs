//! `servegauge report` as a user runs it, and its page in a browser.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use servegauge::sim::{FaultInjection, FaultKind, SimSpec};

use crate::support::{Ended, Program, Simulator, quick};

/// A short load.
const LOAD: &str = "--dataset-name random --random-input-len 8 --random-output-len 16 --ignore-eos --num-prompts 60 \
                    --max-concurrency 10 --disable-tqdm --goodput ttft:500 tpot:50 --result-filename run.json";

/// The result of a short run with every request.
fn saved(words: &str) -> String {
    Simulator::start(quick()).run(LOAD).words("--save-detailed").words(words).end().well().read("run.json")
}

#[test]
fn a_saved_run_is_reported_in_every_format() {
    let run = saved("");
    let report =
        |words: &str| Program::new(&format!("report run.json {words}")).file("run.json", &run).end().well();
    let result: Value = serde_json::from_str(&run).unwrap();
    let text = report("").stdout;
    assert!(text.contains("Mean TTFT: ") && text.contains("─── Latencies, ms"), "{text}");
    assert!(report("--format vllm").stdout.starts_with("============ Serving Benchmark Result"));
    for words in ["--format json", "--json"] {
        let again: Value = serde_json::from_str(&report(words).stdout).unwrap();
        assert_eq!(again, result, "{words}");
    }
    let csv = report("--format csv").stdout;
    let line =
        csv.lines().find(|line| line.starts_with("run.json,ttft.mean,ms,")).expect("a line of the TTFT");
    let value: f64 = line.split(',').nth(3).unwrap().parse().unwrap();
    assert!((value - result["mean_ttft_ms"].as_f64().unwrap()).abs() < 1e-9, "{line}");
    let markdown = report("--format markdown").stdout;
    assert!(
        markdown.contains("\n| Latency | mean | P50 |") && markdown.contains("\n| TTFT | "),
        "{markdown}"
    );
}

#[test]
fn several_runs_have_their_names_and_stand_side_by_side() {
    let (one, other) = (saved(""), saved("--seed 1"));
    let report = |words: &str| {
        Program::new(&format!("report a.json b.json {words}"))
            .file("a.json", &one)
            .file("b.json", &other)
            .end()
    };
    let text = report("").well().stdout;
    assert!(text.starts_with("## a.json\n") && text.contains("\n\n## b.json\n"), "{text}");
    assert_eq!(report("--json").well().stdout.lines().count(), 2);
    let ended = report("--html both.html").well();
    assert_eq!(ended.stderr, "saved both.html\n");
    let page = ended.read("both.html");
    assert!(page.contains("<h1>2 runs side by side</h1>") && page.contains("<td>b.json</td>"), "{page}");
}

#[test]
fn a_run_writes_its_page_and_report_writes_the_same_from_the_file() {
    let run = Simulator::start(quick()).run(LOAD).words("--save-detailed --html out/run.html").end().well();
    assert!(run.stderr.contains("saved out/run.html"), "{}", run.stderr);
    let page = run.read("out/run.html");
    let again =
        Program::new("report run.json --html again.html").file("run.json", run.read("run.json")).end().well();
    assert!(page == again.read("again.html"), "the page depends on the saved run alone");
    let repeated = Simulator::start(quick()).run(LOAD).words("--repeats 2 --html page.html").end().well();
    assert!(
        repeated.files("").iter().filter(|file| file.starts_with("page")).count() == 2,
        "{:?}",
        repeated.files("")
    );
}

#[test]
fn a_kept_run_has_a_page_without_its_requests() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    Simulator::start(quick()).run(LOAD).env("HOME", home).end().well();
    let page = Program::new("report last --html last.html").env("HOME", home).end().well().read("last.html");
    assert!(page.contains("The file has no record of each request"), "{page}");
    assert!(page.contains("Time to First Token (TTFT)"), "{page}");
}

#[test]
fn mistakes_are_told_with_code_2() {
    let run = saved("");
    let cases = [
        ("report", "<FILE>"),
        ("report gone.json", "cannot read gone.json"),
        ("report broken.json", "broken.json is not a servegauge result"),
        ("report run.json --html a.html --format csv", "cannot be used with"),
        ("report run.json --html taken/a.html", "cannot write taken/a.html"),
    ];
    for (words, expected) in cases {
        let program = Program::new(words).file("run.json", &run).file("broken.json", "{").file("taken", "");
        let ended = program.end().with_code(2);
        assert!(ended.stderr.contains(expected), "{words}\n{}", ended.stderr);
    }
}

/// The browser's name, where there is one.
fn browser() -> Option<&'static str> {
    let is_there = |name: &&str| {
        let version =
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there);
    if found.is_none() {
        // The harness captures what tests print, but not what they write here.
        let _ = writeln!(std::io::stderr().lock(), "SKIPPED: no Chromium opens the page of a report");
    }
    found
}

/// The page's document after its script ran, and what the browser logged.
fn opened(browser: &str, page: &Path) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--v=0", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .env("HOME", profile.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).into()
}

/// The page's document after its script ran. Checks that the browser finds no fault.
#[track_caller]
fn document_without_faults(browser: &str, page: &Path) -> String {
    let (document, log) = opened(browser, page);
    let faults: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(faults.is_empty(), "{faults:?}");
    assert!(document.contains(">Copy CSV</button>"), "the script did not run: {log}");
    document
}

/// Checks that the browser finds no fault, and that the numbers of the result are in the document.
#[track_caller]
fn check_in_browser(browser: &str, ended: &Ended, name: &str, result: &Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, ended.read(name)).unwrap();
    let document = document_without_faults(browser, &path);
    let shown = |metric: &str| {
        let end = format!("\" data-metric=\"{metric}\">");
        let (before, _) = document.split_once(&end)?;
        before.rsplit_once("value=\"")?.1.parse::<f64>().ok()
    };
    for (metric, key) in [
        ("completed", "completed"),
        ("request_throughput", "request_throughput"),
        ("ttft.mean", "mean_ttft_ms"),
        ("ttft.p99", "p99_ttft_ms"),
        ("tpot.mean", "mean_tpot_ms"),
        ("e2el.p99", "p99_e2el_ms"),
    ] {
        let expected = result[key].as_f64();
        let expected = expected
            .filter(|_| result["completed"] != 0 || key == "completed" || key == "request_throughput");
        assert_eq!(shown(metric), expected, "{metric}");
    }
    document
}

#[test]
fn a_browser_opens_the_page_without_a_fault_and_shows_the_numbers_of_the_result() {
    let Some(browser) = browser() else { return };
    let words =
        "--html page.html --save-detailed --percentile-metrics ttft,tpot,itl,e2el --model </script><b>\"'&";
    let ended = Simulator::start(quick()).run(LOAD).words(words).end().well();
    let result: Value = serde_json::from_str(&ended.read("run.json")).unwrap();
    let document = check_in_browser(browser, &ended, "page.html", &result);
    assert!(document.contains("<h1>&lt;/script&gt;&lt;b&gt;\"'&amp;</h1>"), "the name is text");

    let failing =
        SimSpec { faults: FaultInjection { rate: 1.0, kinds: vec![FaultKind::Error500] }, ..quick() };
    let ended = Simulator::start(failing).run(LOAD).words("--html page.html").end().with_code(1);
    let result: Value = serde_json::from_str(&ended.read("run.json")).unwrap();
    let document = check_in_browser(browser, &ended, "page.html", &result);
    assert!(document.contains("No request was answered") && document.contains("HTTP 500"), "{document}");
}

#[test]
fn compare_gate_and_search_write_a_page_too() {
    let (one, other) = (saved(""), saved("--seed 1"));
    let words = "compare a.json b.json --anyway --html page.html";
    let ended = Program::new(words).file("a.json", &one).file("b.json", &other).end().well();
    assert!(ended.stdout.contains("Verdicts: "), "{}", ended.stdout);
    let page = ended.read("page.html");
    assert!(
        page.contains("<h1>b.json against a.json</h1>") && page.contains("data-metric=\"tpot.mean\""),
        "{page}"
    );

    let words = "gate --candidate a.json --allow-invalid --rule ttft.mean<1000s --html page.html";
    let page = Program::new(words).file("a.json", &one).end().well().read("page.html");
    assert!(page.contains("<td>PASS</td>") && page.contains("ttft.mean"), "{page}");

    let simulator = Simulator::start(quick());
    let words = format!(
        "search --slo ttft.p95<1000s --over concurrency --max 4 --trial 300ms --time 2s --html page.html -- --base-url {} \
         --allow-invalid --model some-model --skip-tokenizer-init --dataset-name random --random-input-len 8 \
         --random-output-len 4",
        simulator.base_url()
    );
    let page = Program::new(&words).end().read("page.html");
    assert!(page.contains("<h2>Answer</h2>") && page.contains("TTFT P95 against load"), "{page}");
}

/// Opens a page in the browser, where there is one, and checks that it finds no fault.
#[track_caller]
fn check_for_faults(page: &str) {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    std::fs::write(&path, page).unwrap();
    document_without_faults(browser, &path);
}

#[test]
fn ab_writes_a_page_too() {
    let [a, b] = [quick(), quick()].map(Simulator::start);
    let words = format!(
        "ab --a {} --b {} --blocks 2 --block 400ms --html page.html -- run --model </script><b>\"'& --allow-invalid \
         --skip-tokenizer-init --dataset-name random --random-input-len 8 --random-output-len 8 --request-rate 40",
        a.base_url(),
        b.base_url()
    );
    let ended = Program::new(&words).end();
    assert!(ended.stderr.contains("saved page.html"), "{}", ended.stderr);
    let page = ended.read("page.html");
    assert!(page.contains("<h3>Differences of B</h3>") && page.contains("TTFT mean by pair"), "{page}");
    check_for_faults(&page);
}

#[test]
fn sweep_writes_a_page_too() {
    let [a, b] = [quick(), quick()].map(Simulator::start);
    let set = |name: &str, url: String| format!("[[set]]\nname = \"{name}\"\nurl = \"{url}\"\n");
    let load = |cap: usize| {
        format!("[[load]]\nname = \"c{cap}\"\nflags = \"--num-prompts 20 --max-concurrency {cap}\"\n")
    };
    let toml = [
        "repeats = 2\nslo = [\"ttft.p95 < 10s\"]\n[base]\nflags = \"--dataset-name random --random-input-len 8 \
         --random-output-len 8 --skip-tokenizer-init --model some-model --allow-invalid\"\n",
        &set("a<b>&", a.base_url()),
        &set("b", b.base_url()),
        &load(1),
        &load(4),
    ];
    let words = "sweep s.toml --out out --html page.html";
    let ended = Program::new(words).file("s.toml", toml.concat()).end().well();
    let page = ended.read("page.html");
    let result: Value = serde_json::from_str(&ended.read("out/sweep.json")).unwrap();
    let throughput = &result["ranking"]["standings"][0]["figures"][0];
    let (value, metric) = (&throughput["value"], throughput["figure"].as_str().unwrap());
    let data = format!("<data value=\"{value}\" data-metric=\"{metric}\">");
    assert!(page.contains(&data), "{data}");
    assert!(page.contains("Throughput per GPU against speed per user") && page.contains("8 cells"), "{page}");
    check_for_faults(&page);
}

#[test]
fn plan_writes_a_page_of_its_check() {
    let words = "plan --kv-tokens 20000 --prompt-tokens 8 --output-tokens 16 --tpot 10ms --html plan.html";
    let run = saved("");
    let plan = |more: &str| Program::new(&format!("{words} {more}")).file("a.json", &run).end();
    let page = plan("--check a.json").well().read("plan.html");
    assert!(page.contains("<h2>Plan and run</h2>") && page.contains("run, % of the plan"), "{page}");
    check_for_faults(&page);
    assert!(plan("").with_code(2).stderr.contains("--check"), "a page needs a run to check");
}
