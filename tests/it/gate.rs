//! `servegauge gate` as a CI job runs it: exit codes, files, and output.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};
use servegauge::sim::SimSpec;

use crate::support::{Ended, Port, Program, Simulator, quick, steps};

/// Forty short requests, a hundred a second.
const LOAD: &str = "--model some-model --dataset-name random --rng native --random-input-len 8 --random-output-len 16 \
                    --ignore-eos --num-prompts 40 --request-rate 100 --skip-tokenizer-init";

const TPOT: &str = "tpot.mean <= baseline * 1.05 or <= baseline + 0.5ms";

/// A rule that a few requests cannot decide: its margin is a millionth.
const OPEN: &str = "ttft.p99 <= baseline * 1.000001";

fn slow() -> SimSpec {
    SimSpec { timing: steps(Duration::from_millis(30)), ..quick() }
}

/// A saved run that does not record its server start. Whether it is VALID depends on how busy the machine is,
/// so that is written into it.
fn measured(simulator: &Simulator) -> Value {
    let words = format!("run --allow-invalid {LOAD} --save-detailed --base-url {}", simulator.base_url());
    let mut run = Program::new(&words).end().well().result();
    let validity = &mut run["servegauge"]["validity"];
    validity["valid"] = json!(true);
    validity["checks"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|check| check["outcome"] = json!("passed"));
    run["servegauge"]["server"]["replicas"][0].as_object_mut().unwrap().remove("started").unwrap();
    run
}

/// The same as if it was measured on this server start, whose mean TPOT is a few per mille more or less.
fn on_start(run: &Value, start: i64) -> Value {
    let mut run = run.clone();
    run["servegauge"]["server"]["replicas"][0]["started"] = json!(1.7e9 + start as f64);
    let mean = &mut run["servegauge"]["metrics"]["latencies"]["tpot"]["mean_s"];
    *mean = json!(mean.as_f64().unwrap() * (1.0 + 0.003 * (start % 3) as f64));
    run
}

fn fast_run() -> &'static Value {
    static RUN: LazyLock<Value> = LazyLock::new(|| measured(&Simulator::start(quick())));
    &RUN
}

fn slow_run() -> &'static Value {
    static RUN: LazyLock<Value> = LazyLock::new(|| measured(&Simulator::start(slow())));
    &RUN
}

fn invalid(run: &Value) -> Value {
    let mut run = run.clone();
    run["servegauge"]["validity"]["valid"] = json!(false);
    run["servegauge"]["validity"]["checks"][0]["outcome"] = json!("invalid");
    run
}

/// The gate with these rules on two saved runs of one server start.
fn gate(baseline: &Value, candidate: &Value, rules: &[&str]) -> Program {
    gate_of_starts(baseline, candidate, rules).words("--same-start")
}

/// The gate with these rules on two saved runs that do not record the start of their server.
fn gate_of_starts(baseline: &Value, candidate: &Value, rules: &[&str]) -> Program {
    let program = Program::new("gate --baseline base.json --candidate cand.json")
        .file("base.json", baseline.to_string())
        .file("cand.json", candidate.to_string());
    rules.iter().fold(program, |program, rule| program.arg("--rule").arg(rule))
}

fn running(simulator: &Simulator, baseline: &Value, words: &str, rule: &str) -> Program {
    Program::new("gate --allow-invalid --same-start --baseline base.json --json out.json")
        .file("base.json", baseline.to_string())
        .words(words)
        .arg("--rule")
        .arg(rule)
        .words(&format!("-- run {LOAD} --base-url {}", simulator.base_url()))
}

fn last_line(ended: &Ended) -> &str {
    ended.stdout.lines().last().unwrap_or_default()
}

#[test]
fn a_kept_rule_is_0_and_a_broken_one_1() {
    let ended = gate(fast_run(), fast_run(), &["tpot.mean < 1s"]).end().with_code(0);
    assert_eq!(last_line(&ended), "GATE PASSED: 1 passed, 0 failed, 0 undecided");
    let ended = gate(fast_run(), slow_run(), &[TPOT, "tpot.mean < 1s"]).end().with_code(1);
    assert_eq!(last_line(&ended), "GATE FAILED: 1 passed, 1 failed, 0 undecided");
    assert!(ended.stdout.contains(&format!("FAIL       {TPOT}")), "{}", ended.stdout);
}

#[test]
fn without_rules_the_usual_ones_are_asked() {
    let ended = gate(fast_run(), slow_run(), &[]).end().with_code(1);
    assert!(ended.stdout.contains(&format!("FAIL       {TPOT}")), "{}", ended.stdout);
    assert!(ended.stdout.contains("failure_rate <= baseline + 1%"), "{}", ended.stdout);
}

#[test]
fn a_broken_rule_that_only_warns_is_0() {
    let ended =
        gate(fast_run(), slow_run(), &["tpot.mean < 1s"]).arg("--warn-rule").arg(TPOT).end().with_code(0);
    assert_eq!(last_line(&ended), "GATE PASSED with warnings: 1 passed, 1 failed, 0 undecided");
}

#[test]
fn a_rule_without_an_answer_is_what_it_is_said_to_be() {
    for (policy, code) in [("pass", 0), ("warn", 0), ("fail", 1)] {
        let ended =
            gate(fast_run(), fast_run(), &[OPEN]).words("--on-unsettled").arg(policy).end().with_code(code);
        assert!(ended.stdout.contains("UNDECIDED  ttft.p99"), "{}", ended.stdout);
        assert!(
            ended.stdout.contains("on each side") || ended.stdout.contains("too small"),
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn an_invalid_candidate_never_passes_and_an_invalid_baseline_is_none() {
    let ended = gate(fast_run(), &invalid(fast_run()), &["tpot.mean < 1s"]).end().with_code(3);
    assert!(last_line(&ended).starts_with("GATE INVALID: "), "{}", ended.stdout);
    gate(fast_run(), &invalid(slow_run()), &[TPOT]).end().with_code(3);
    gate(fast_run(), &invalid(fast_run()), &["tpot.mean < 1s"]).words("--allow-invalid").end().with_code(0);
    let ended = gate(&invalid(fast_run()), fast_run(), &[TPOT]).end().with_code(2);
    assert!(ended.stderr.contains("the baseline base.json is INVALID"), "{}", ended.stderr);
}

#[test]
fn rules_are_read_from_a_file() {
    let file = format!(
        "[[rule]]\nrule = \"{TPOT}\"\nseverity = \"warn\"\n\n[[rule]]\nrule = \"failure_rate < 50%\"\n"
    );
    let with =
        |file: &str| gate(fast_run(), slow_run(), &[]).file("rules.toml", file).words("--rules rules.toml");
    with(&file).end().with_code(0);
    with(&file.replace("warn", "fail")).end().with_code(1);
    let ended = with("[[rule]]\nrule = \"ttft.p95\"\n").end().with_code(2);
    assert!(ended.stderr.contains("rules.toml: line 2: "), "{}", ended.stderr);
}

#[test]
fn what_makes_no_sense_is_2_with_a_cure() {
    let both = || gate(fast_run(), slow_run(), &[]);
    let alone = || Program::new("gate --candidate cand.json").file("cand.json", fast_run().to_string());
    for (program, expected) in [
        (both().arg("--rule").arg("ttft.p95"), "has no comparison"),
        (both().arg("--rule").arg("goodput_ratio >= baseline - 1%"), "--goodput"),
        (both().arg("--rule").arg("goodput_ratio >= 99%"), "--goodput"),
        (both().words("--alpha 0"), "5% or 0.05"),
        (both().words("--extend 10s"), "--extend needs `-- run"),
        (both().words("--save runs"), "--out needs `-- run"),
        (both().words("-- run --sim"), "cannot be used with"),
        (alone(), "give a --baseline"),
        (alone().arg("--rule").arg(TPOT), "needs a --baseline"),
        (Program::new("gate --baseline nowhere.json --candidate b.json"), "cannot read nowhere.json"),
        (Program::new("gate --baseline ."), "--candidate"),
        (alone().words("--rules nowhere.toml"), "--rules nowhere.toml: "),
        (both().words("--junit cand.json/out.xml"), "cannot write cand.json/out.xml"),
    ] {
        let ended = program.end().with_code(2);
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn unlike_runs_are_held_against_each_other_only_if_it_is_said() {
    let mut other = fast_run().clone();
    other["servegauge"]["spec"]["load"]["request_rate"] = json!(50.0);
    let ended = gate(fast_run(), &other, &["tpot.mean < 1s"]).end().with_code(2);
    assert!(
        ended.stderr.contains("load.request_rate") && ended.stderr.contains("--anyway"),
        "{}",
        ended.stderr
    );
    gate(fast_run(), &other, &["tpot.mean < 1s"]).words("--anyway").end().with_code(0);
}

#[test]
fn a_folder_is_a_side_of_repeats() {
    let program = Program::new("gate --baseline base --candidate cand --json -")
        .arg("--rule")
        .arg(TPOT)
        .file("base/1.json", on_start(fast_run(), 1).to_string())
        .file("base/2.json", on_start(fast_run(), 2).to_string())
        .file("base/3.json", on_start(fast_run(), 3).to_string())
        .file("cand/1.json", on_start(slow_run(), 4).to_string());
    let ended = program.end().with_code(1);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["outcome"], &json["baseline"]["starts"]), (&json!("fail"), &json!(3)));
    assert_eq!(json["scope"], "servers");
    assert!(ended.stderr.contains("GATE FAILED"), "the table went to stderr: {}", ended.stderr);
}

#[test]
fn single_starts_do_not_tell_of_servers_and_say_what_would() {
    let (base, candidate) = (on_start(fast_run(), 1), on_start(slow_run(), 2));
    let of = |words: &str| gate_of_starts(&base, &candidate, &[TPOT, "tpot.mean < 1s"]).words(words);
    let ended = of("").end().with_code(0);
    assert!(ended.stdout.contains(&format!("UNDECIDED  {TPOT}")), "{}", ended.stdout);
    assert!(ended.stdout.contains("PASS       tpot.mean < 1000ms"), "{}", ended.stdout);
    for advice in ["at least 3 server starts", "--same-start"] {
        assert!(ended.stdout.contains(advice), "{advice}: {}", ended.stdout);
    }
    of("--on-undecided fail").end().with_code(1);
    let ended = of("--same-start").end().with_code(2);
    assert!(ended.stderr.contains("from 2 server starts"), "{}", ended.stderr);
    let same = gate_of_starts(&base, &on_start(slow_run(), 1), &[TPOT]).end().with_code(1);
    assert!(same.stdout.contains("apply to that start only"), "{}", same.stdout);
}

#[test]
fn files_for_machines_say_the_same() {
    let program = gate(fast_run(), slow_run(), &[TPOT, "tpot.mean < 1s", OPEN])
        .words("--junit new/gate.xml --json gate.json --github")
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", "summary.md")
        .file("summary.md", "before\n");
    let ended = program.end().with_code(1);
    let xml = ended.read("new/gate.xml");
    assert!(xml.contains("<failure message=\"TPOT mean ") && xml.contains("tests=\"4\""), "{xml}");
    let json: Value = serde_json::from_str(&ended.read("gate.json")).unwrap();
    assert_eq!(json["findings"][0]["answer"], "fail");
    let summary = ended.read("summary.md");
    assert!(summary.starts_with("before\n### ❌ GATE FAILED"), "{summary}");
    let annotation = ended.stdout.lines().find(|line| line.starts_with("::error title=")).unwrap();
    assert!(annotation.contains("::TPOT mean "), "{annotation}");
    let plain = gate(fast_run(), slow_run(), &[TPOT]).words("--github").end().with_code(1);
    assert!(!plain.stdout.contains("::error") && plain.stderr.contains("GITHUB_ACTIONS"), "{}", plain.stderr);
}

#[test]
fn a_candidate_is_measured_and_judged() {
    let simulator = Simulator::start(slow());
    running(&simulator, fast_run(), "", TPOT).end().with_code(1);
    let ended = running(&simulator, slow_run(), "--save runs", "tpot.mean < 1s").end().with_code(0);
    assert_eq!(ended.files("runs").len(), 1);
    let saved: Value =
        serde_json::from_str(&ended.read(&format!("runs/{}", ended.files("runs")[0]))).unwrap();
    assert_eq!(saved["servegauge"]["records"].as_array().unwrap().len(), 40, "with its requests");
}

#[test]
fn another_load_than_the_baselines_is_refused_before_anything_is_sent() {
    let simulator = Simulator::start(quick());
    let ended = running(&simulator, fast_run(), "", TPOT).words("--request-rate 50").end().with_code(2);
    assert!(ended.stderr.contains("load.request_rate: 100.0 in the baseline, 50.0"), "{}", ended.stderr);
    for (flag, expected) in [("--dry-run", "--dry-run cannot be used"), ("--nonsense", "after `--`: ")] {
        let ended = running(&simulator, fast_run(), "", TPOT).words(flag).end().with_code(2);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    assert!(simulator.truth().is_empty(), "requests were sent");
}

#[test]
fn a_gate_is_extended_until_the_time_is_up() {
    let simulator = Simulator::start(quick());
    let ended = running(&simulator, fast_run(), "--extend 4s --save runs", OPEN).end().with_code(0);
    let json: Value = serde_json::from_str(&ended.read("out.json")).unwrap();
    let runs = json["candidate"]["runs"].as_u64().unwrap();
    assert!(runs >= 2, "{runs} blocks\n{}", ended.stderr);
    assert_eq!(ended.files("runs").len() as u64, runs);
    assert!(json["looks"][0].as_u64().unwrap() >= 2 && json["findings"][0]["look"].as_u64().unwrap() >= 2);
    assert!(ended.stderr.contains("extending: 1 of 1 rules are undecided"), "{}", ended.stderr);
}

#[test]
fn a_gate_is_extended_no_longer_than_it_needs() {
    let simulator = Simulator::start(slow());
    let ended = running(&simulator, fast_run(), "--extend 10m", TPOT).end().with_code(1);
    let json: Value = serde_json::from_str(&ended.read("out.json")).unwrap();
    assert_eq!(json["candidate"]["runs"], 1);
}

#[test]
fn an_interrupt_ends_without_a_finding() {
    let simulator = Simulator::start(slow());
    let program = Program::new("gate --rule").arg("tpot.mean < 1s").words(&format!(
        "-- {LOAD} --max-concurrency 1 --random-output-len 100 --base-url {}",
        simulator.base_url()
    ));
    let running = program.start();
    crate::support::until("requests are sent", || simulator_is_busy(&simulator));
    running.interrupt();
    let ended = running.end().with_code(130);
    assert!(ended.stderr.contains("no verdict"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_signal_between_two_blocks_ends_the_gate_with_what_it_has() {
    let simulator = Simulator::start(quick());
    let running = running(&simulator, fast_run(), "--extend 10m --update-baseline", OPEN).start();
    running.wait_for("extending: ");
    running.signal(rustix::process::Signal::TERM);
    let ended = running.end().with_code(130);
    let ruling: Value = serde_json::from_str(&ended.read("out.json")).unwrap();
    assert!(ruling["candidate"]["runs"].as_u64().unwrap() >= 1, "{ruling}");
    assert!(ended.stderr.contains("interrupted: the verdict covers "), "{}", ended.stderr);
    assert!(ended.stdout.contains("GATE "), "{}", ended.stdout);
    let baseline: Value = serde_json::from_str(&ended.read("base.json")).unwrap();
    assert!(baseline["servegauge"]["promotion"].is_null(), "an interrupted gate promotes nothing");
}

fn simulator_is_busy(simulator: &Simulator) -> bool {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", simulator.port())).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let line = page.lines().find(|line| line.starts_with("vllm:generation_tokens_total")).unwrap();
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 0.0
}

#[test]
fn a_passing_candidate_becomes_the_baseline_and_says_whom_it_replaced() {
    let ended =
        gate(fast_run(), slow_run(), &["tpot.mean < 1s"]).words("--update-baseline").end().with_code(0);
    let new: Value = serde_json::from_str(&ended.read("base.json")).unwrap();
    let promotion = &new["servegauge"]["promotion"];
    assert_eq!(new["servegauge"]["started"], slow_run()["servegauge"]["started"]);
    assert_eq!(promotion["replaced"][0]["started"], fast_run()["servegauge"]["started"]);
    assert_eq!(promotion["rules"], json!([{"rule": "tpot.mean < 1000ms", "answer": "pass"}]));
    assert_eq!((&promotion["outcome"], &promotion["forced"]), (&json!("pass"), &json!(false)));
    let at = promotion["at"].as_str().unwrap();
    assert!(!at.contains('[') && at.parse::<jiff::Timestamp>().is_ok(), "{at}");
}

#[test]
fn output_trouble_is_2_and_keeps_neither_the_baseline_nor_the_other_files() {
    let program = || {
        let gate = gate(fast_run(), slow_run(), &["tpot.mean < 1s"]);
        gate.words("--update-baseline --json new/gate.json")
    };
    let promoted = |ended: &Ended| {
        let baseline: Value = serde_json::from_str(&ended.read("base.json")).unwrap();
        let ruling: Value = serde_json::from_str(&ended.read("new/gate.json")).unwrap();
        assert_eq!(ruling["outcome"], "pass");
        assert!(baseline["servegauge"]["promotion"].is_object(), "{}", ended.stderr);
    };
    let ended = program().with_full_stdout().end().with_code(2);
    assert!(ended.stderr.contains("cannot write to stdout: "), "{}", ended.stderr);
    promoted(&ended);
    let ended = program().with_closed_stdout().end().well();
    assert!(!ended.stderr.contains("error"), "{}", ended.stderr);
    promoted(&ended);
    let broken = gate(fast_run(), slow_run(), &[TPOT]);
    broken.with_closed_stdout().end().with_code(1);
    let ended = program().words("--github").env("GITHUB_STEP_SUMMARY", "/dev/full").end().with_code(2);
    assert!(ended.stderr.contains("error: cannot write /dev/full: "), "{}", ended.stderr);
    assert!(ended.stdout.contains("GATE PASSED"), "{}", ended.stdout);
    promoted(&ended);
}

#[test]
fn a_failing_candidate_becomes_the_baseline_by_force_only() {
    let started = |ended: &Ended| {
        let file: Value = serde_json::from_str(&ended.read("base.json")).unwrap();
        file["servegauge"]["started"].clone()
    };
    let program = || gate(fast_run(), slow_run(), &[TPOT]).words("--update-baseline");
    let ended = program().end().with_code(1);
    assert_eq!(started(&ended), fast_run()["servegauge"]["started"]);
    assert!(ended.stderr.contains("the baseline is unchanged"), "{}", ended.stderr);
    let ended = program().words("--force").end().with_code(1);
    assert_eq!(started(&ended), slow_run()["servegauge"]["started"]);
}

#[test]
fn a_folder_of_baselines_is_replaced_as_a_whole() {
    let program = Program::new("gate --baseline base --candidate cand.json --update-baseline --rule")
        .arg("tpot.mean < 1s")
        .file("base/1.json", fast_run().to_string())
        .file("base/2.json", fast_run().to_string())
        .file("base/notes.json", "{}")
        .file("cand.json", slow_run().to_string());
    let ended = program.end().with_code(0);
    let mut files = ended.files("base");
    files.retain(|name| name != "notes.json");
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn the_action_gives_flags_that_there_are() {
    let help = Program::new("gate --help").end().well().stdout;
    let action = include_str!("../../scripts/gate-action.sh");
    let script = action.split("words=(gate").nth(1).unwrap().split("said=").next().unwrap();
    let flags: Vec<&str> = script
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2 && *word != "--raw-output")
        .collect();
    assert!(flags.len() >= 8, "{flags:?}");
    for flag in flags {
        assert!(help.contains(flag), "{flag} is not in --help");
    }
}

/// Inputs of the action, by the names of their variables.
type Inputs = Vec<(&'static str, &'static str)>;

/// Runs what the action runs, with these inputs, in a folder with `base.json` and `cand.json`. Returns the exit code and
/// the folder.
fn run_action(inputs: &[(&str, &str)]) -> (Option<i32>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("base.json"), fast_run().to_string()).unwrap();
    std::fs::write(at("cand.json"), slow_run().to_string()).unwrap();
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_servegauge")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut script =
        std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/gate-action.sh"));
    for name in ["BASELINE", "CANDIDATE", "RUN_FLAGS", "RULES", "EXTEND", "MORE_FLAGS"] {
        script.env(name, "");
    }
    script.env("ON_UNSETTLED", "warn").env("JUNIT", "gate.xml").envs(inputs.iter().copied());
    script.env("RUNNER_TEMP", ".").env("GITHUB_OUTPUT", "outputs").env("GITHUB_STEP_SUMMARY", "summary.md");
    script.env("GITHUB_ACTIONS", "true").env("PATH", path).env("HOME", ".").current_dir(&folder);
    let printed = script.output().unwrap();
    std::fs::write(at("stdout"), &printed.stdout).unwrap();
    std::fs::write(at("stderr"), &printed.stderr).unwrap();
    (printed.status.code(), folder)
}

#[test]
fn the_action_leaves_its_outcome_in_every_file_however_it_ends() {
    let files =
        [("BASELINE", "base.json"), ("CANDIDATE", "cand.json"), ("MORE_FLAGS", "--rule 'tpot.mean < 0.1ms'")];
    let measured = |run: &'static str| [("BASELINE", "base.json"), ("RUN_FLAGS", run)];
    let cases: [(&str, Inputs, i32, &str, &str); 5] = [
        ("a violated rule", files.to_vec(), 1, "fail", "TPOT mean"),
        (
            "an unbalanced quote",
            [&files[..2], &[("MORE_FLAGS", "--rule 'tpot.mean < 1s")]].concat(),
            2,
            "error",
            "unbalanced quote: --rule 'tpot.mean < 1s",
        ),
        (
            "an unbalanced quote in run",
            measured("--base-url http://127.0.0.1:9 --model \"x").to_vec(),
            2,
            "error",
            "the input run has an unbalanced quote",
        ),
        ("an unknown flag", measured("--no-such-flag").to_vec(), 2, "error", "no-such-flag"),
        (
            "a dead server",
            vec![
                ("MORE_FLAGS", "--rule 'tpot.mean < 1s'"),
                ("RUN_FLAGS", "--base-url http://127.0.0.1:9 --model x"),
            ],
            1,
            "error",
            "refused",
        ),
    ];
    for (case, inputs, code, outcome, why) in cases {
        let (ended, folder) = run_action(&inputs);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert_eq!(ended, Some(code), "{case}: {}", read("stderr"));
        let json: Value = serde_json::from_str(&read("servegauge-gate.json")).unwrap();
        assert_eq!(json["outcome"], outcome, "{case}");
        let outputs = read("outputs");
        assert!(outputs.contains(&format!("outcome={outcome}\n")), "{case}: {outputs}");
        assert!(outputs.contains("json=./servegauge-gate.json\n"), "{case}: {outputs}");
        let stdout = read("stdout");
        let annotation = stdout.lines().find(|line| line.starts_with("::error ")).unwrap_or_default();
        let xml = read("gate.xml");
        assert!(xml.contains("errors=\"1\"") || outcome == "fail", "{case}: {xml}");
        let decoded = xml.replace("&apos;", "'").replace("&quot;", "\"").replace("&lt;", "<");
        for (name, text) in [("annotation", annotation), ("JUnit", &decoded)] {
            let unquoted = why.replace('"', "");
            assert!(text.contains(&unquoted), "{case}: {name}: {text}");
        }
        assert!(read("summary.md").contains("### "), "{case}");
        assert!(is_well_formed(&xml), "{case}: {xml}");
    }
}

/// Whether a text is XML.
fn is_well_formed(xml: &str) -> bool {
    let mut reader = quick_xml::Reader::from_str(xml);
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// The flags of a baseline's runs. Whether they are VALID depends on how busy the machine is.
fn initial(simulator: &Simulator, words: &str) -> Program {
    let run = format!("-- run --allow-invalid {LOAD} --base-url {}", simulator.base_url());
    Program::new("gate init").words(words).words(&run)
}

#[test]
fn init_measures_a_baseline_and_writes_rules_that_the_gate_takes() {
    let simulator = Simulator::start(quick());
    let ended = initial(&simulator, "--repeats 2").end().well();
    let mut runs = ended.files("baseline");
    runs.sort();
    assert_eq!(runs, ["run-001.json", "run-002.json"]);
    let rules = ended.read("gate.toml");
    assert!(rules.contains("[[rule]]\nrule = \"failure_rate <= baseline + 1%\"\n"), "{rules}");
    assert!(ended.stderr.contains("from 1 server start,"), "{}", ended.stderr);
    let next = ended.stdout.lines().last().unwrap().trim();
    assert!(
        next.starts_with("servegauge gate --baseline baseline --rules gate.toml --same-start -- run "),
        "{next}"
    );
    // The command that it names works on what it wrote.
    let gate = Program::new("gate --allow-invalid")
        .words(next.strip_prefix("servegauge gate").unwrap())
        .file("gate.toml", &rules)
        .file("baseline/run-001.json", ended.read("baseline/run-001.json"))
        .file("baseline/run-002.json", ended.read("baseline/run-002.json"));
    let judged = gate.end();
    assert!(matches!(judged.code, Some(0 | 1)), "{}{}", judged.stdout, judged.stderr);
    assert!(last_line(&judged).starts_with("GATE "), "{}", judged.stdout);
}

#[test]
fn init_adds_runs_of_the_same_settings_and_replaces_no_file_that_it_did_not_write() {
    let simulator = Simulator::start(quick());
    let first = initial(&simulator, "--repeats 1").end().well();
    let run = first.read("baseline/run-001.json");
    let again =
        initial(&simulator, "--repeats 1").file("baseline/run-001.json", &run).file("gate.toml", "# mine\n");
    let again = again.end().well();
    assert!(again.read("gate.toml").contains("from 2 runs in baseline"), "{}", again.read("gate.toml"));
    let other =
        initial(&simulator, "--repeats 1").file("baseline/run-001.json", &run).words("--request-rate 50");
    let other = other.end().with_code(2).stderr;
    assert!(other.contains("the runs in baseline had other settings ("), "{other}");
    let refused = initial(&simulator, "--repeats 1").file("gate.toml", "# mine\n").end().with_code(2);
    assert!(refused.stderr.contains("gate.toml exists: --force replaces it"), "{}", refused.stderr);
    let forced = initial(&simulator, "--repeats 1 --force").file("gate.toml", "# mine\n").end().well();
    assert!(forced.read("gate.toml").contains("[[rule]]"));
}

#[test]
fn init_needs_a_run_and_a_server() {
    let bare = Program::new("gate init").end().with_code(2).stderr;
    assert!(bare.contains("RUN'S FLAGS"), "{bare}");
    let gone = Port::take().base_url();
    let ended = Program::new(&format!("gate init -- run {LOAD} --base-url {gone}")).end().with_code(1);
    assert!(!ended.files("").contains(&"gate.toml".to_owned()), "no rules without a baseline");
}
