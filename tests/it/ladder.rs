//! A ladder: one command for several loads, one after the other.

use serde_json::Value;
use servegauge::sim::FaultKind;

use crate::support::{Ended, Program, Simulator, Witness, fault, quick};

const LOAD: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --disable-tqdm";

/// The cells of the table's rows, without its head.
fn rows(ended: &Ended) -> Vec<Vec<String>> {
    let (_, table) = ended.stdout.split_once("ms\n").unwrap_or_else(|| panic!("no table: {}", ended.stdout));
    let is_row = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    table
        .lines()
        .take_while(is_row)
        .map(|line| line.split_whitespace().map(ToOwned::to_owned).collect())
        .collect()
}

fn json(ended: &Ended, name: &str) -> Value {
    serde_json::from_str(&ended.read(name)).unwrap()
}

/// What servegauge saves beside vLLM's keys.
fn ours(ended: &Ended, name: &str) -> Value {
    json(ended, name)["servegauge"].clone()
}

#[test]
fn six_steps_are_a_table_with_files_an_index_and_a_page() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--max-concurrency 1,2,4,8,16,32 --num-prompts 40 --seed 4 --out c.json --html page.html";
    let ended = witness.run(LOAD).words(words).end().well();
    let loads = ["1", "2", "4", "8", "16", "32"];
    let rows = rows(&ended);
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), loads, "{}", ended.stdout);
    assert!(rows.iter().all(|row| row.len() == 11), "{}", ended.stdout);
    for (at, load) in loads.iter().enumerate() {
        let line = format!("step {} of 6: concurrency {load}\n", at + 1);
        assert!(ended.stderr.contains(&line), "{}", ended.stderr);
        let run = ours(&ended, &format!("c-concurrency{load}.json"));
        assert_eq!(run["spec"]["seed"], 4 + at, "each step has prompts of its own");
        assert_eq!(run["spec"]["load"]["num_warmups"], load.parse::<usize>().unwrap(), "each step is warmed");
    }
    assert_eq!(witness.heard("/reset_prefix_cache").len(), 5, "the cache is emptied between steps");

    let index = json(&ended, "c.ladder.json");
    assert_eq!(index["end"]["reason"], "complete");
    let steps = index["steps"].as_array().unwrap();
    let files = steps.iter().map(|step| step["file"].as_str().unwrap().to_owned());
    assert_eq!(files.collect::<Vec<_>>(), loads.map(|load| format!("c-concurrency{load}.json")));
    assert!(
        steps.iter().all(|step| step["metrics"]["ttft.p95"].is_f64() && step["completed"] == 40),
        "{index}"
    );
    let page = ended.read("page.html");
    assert!(page.contains("Load curve") && page.contains("concurrency 32"), "the page has the curve");
}

#[test]
fn rates_make_a_ladder_too_and_vllms_names_are_taken() {
    let simulator = Simulator::start(quick());
    let words = "--sweep-request-rate 50,100 --num-prompts 10 --warmup 100ms --save-result \
                 --sweep-summary-percentiles 90";
    let ended = simulator.run(LOAD).words(words).end().well();
    assert_eq!(rows(&ended).iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["50", "100"]);
    assert!(ended.stdout.starts_with("offered  achieved"), "{}", ended.stdout);
    assert!(ended.stdout.contains("P99   P90"), "{}", ended.stdout);
    let mut files = ended.files("");
    files.sort();
    let [fast, slow, index] = &files[..] else { panic!("{files:?}") };
    assert!(fast.starts_with("openai-100.0qps-") && slow.starts_with("openai-50.0qps-"), "{files:?}");
    assert_eq!(index.strip_suffix(".ladder.json"), slow.strip_suffix(".json"), "named after the first step");

    let words = "--sweep-max-concurrency 1,2 --sweep-num-prompts-factor 3 --num-prompts 1000 --out c.json";
    let ended = simulator.run(LOAD).words(words).end().well();
    let completed =
        ["c-concurrency1.json", "c-concurrency2.json"].map(|name| json(&ended, name)["completed"].clone());
    assert_eq!(completed, [3, 6].map(Value::from), "as in vLLM, the factor takes precedence");
    let one =
        simulator.run(LOAD).words("--sweep-max-concurrency 2 --sweep-num-prompts-factor 3 --out c.json");
    assert_eq!(one.end().well().result()["completed"], 6);
}

#[test]
fn an_invalid_step_hides_no_other_and_decides_the_exit_code() {
    let simulator = Simulator::start(fault(FaultKind::Error500));
    let words = format!(
        "run --model m --base-url {} {LOAD} --skip-tokenizer-init --keep-going",
        simulator.base_url()
    );
    let failed =
        Program::new(&words).words("--max-concurrency 1,2,4 --num-prompts 4 --out c.json").end().with_code(1);
    let index = json(&failed, "c.ladder.json");
    let verdicts = index["steps"].as_array().unwrap().iter().map(|step| step["verdict"].clone());
    assert_eq!(verdicts.collect::<Vec<_>>(), ["failed", "failed"], "two steps without answers end it");
    assert_eq!(
        (&index["end"]["reason"], &index["open"][0]["max_concurrency"]),
        (&"failed".into(), &4.into())
    );

    let spec = servegauge::sim::SimSpec {
        faults: servegauge::sim::FaultInjection { rate: 0.5, kinds: vec![FaultKind::Error500] },
        ..quick()
    };
    let simulator = Simulator::start(spec);
    let words = format!("run --model m --base-url {} {LOAD} --skip-tokenizer-init", simulator.base_url());
    let run = || Program::new(&words).words("--max-concurrency 1,2,4 --num-prompts 40");
    let ended = run().end().with_code(3);
    let verdicts = rows(&ended).into_iter().map(|row| row.last().unwrap().clone());
    assert_eq!(verdicts.collect::<Vec<_>>(), ["INVALID"; 3], "{}", ended.stdout);
    assert_eq!(
        ended.stdout.matches("INVALID: failed requests").count(),
        1,
        "each reason once: {}",
        ended.stdout
    );
    run().words("--allow-invalid").end().well();
}

#[test]
fn a_rule_ends_the_ladder_early_and_one_without_an_answer_is_said() {
    let simulator = Simulator::start(quick());
    let words = "--max-concurrency 1,2,4 --num-prompts 10 --until goodput_ratio<90% ttft.p95>1us --json";
    let ended = simulator.run(LOAD).words(words).end().well();
    let note =
        "note: concurrency 1 has no goodput_ratio, so --until 'goodput_ratio < 90%' has no answer there\n";
    assert!(ended.stderr.contains(note), "{}", ended.stderr);
    let index: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(index["end"]["reason"], "until");
    assert_eq!((index["steps"].as_array().unwrap().len(), index["open"].as_array().unwrap().len()), (1, 2));
    let line = "Ended after concurrency 1, because ttft.p95 > 0.001ms: 2 loads from concurrency 2 to concurrency 4 were \
                not measured\n";
    assert!(ended.stderr.contains(line), "the report is on stderr: {}", ended.stderr);
}

#[test]
fn what_makes_no_ladder_is_refused_with_what_to_do() {
    for (words, why) in [
        ("run --sim --max-concurrency 1,2 --request-rate 1,2", "give one of them a single value"),
        ("run --sim --max-concurrency 1,2 --repeats 2", "leave out --repeats"),
        ("run --sim --max-concurrency 1,,2", "an element of the list is empty"),
        ("run --sim --request-rate 1,2,1", "1 is in the list twice"),
        ("run --sim --until ttft.p95>2s", "give --max-concurrency or --request-rate a list"),
        ("run --sim --max-concurrency 1,2 --until ttft.p95", "has no comparison"),
        ("run --sim --preset 2k2k", "the presets are ladder, 1k1k, 1k8k, 8k1k"),
        ("search --slo ttft.p95<1s -- run --sim --request-rate 1,2", "only `servegauge run` measures"),
        ("ab --a http://a:1 --b http://b:1 -- run --max-concurrency 1,2", "only `servegauge run` measures"),
    ] {
        let ended = Program::new(words).end().with_code(2);
        assert!(ended.stderr.contains(why), "{words}: {}", ended.stderr);
    }
}

#[test]
fn a_gate_and_a_sweep_refuse_a_ladder() {
    let simulator = Simulator::start(quick());
    let baseline = simulator.run(LOAD).words("--num-prompts 4 --out b.json").end().well().read("b.json");
    let gate = Program::new("gate --allow-invalid --baseline b.json -- run --sim --max-concurrency 1,2")
        .file("b.json", baseline);
    let toml = "repeats = 1\n[[set]]\nname = \"a\"\nurl = \"http://localhost:1\"\n[[load]]\nname = \"l\"\n\
                flags = \"--max-concurrency 1,2\"\n";
    let sweep = Program::new("sweep s.toml --dry-run").file("s.toml", toml);
    for refused in [gate, sweep] {
        let ended = refused.end().with_code(2);
        assert!(ended.stderr.contains("only `servegauge run` measures"), "{}", ended.stderr);
    }
}

#[test]
fn an_interrupt_ends_the_ladder_with_the_table_of_what_is_there() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--request-rate 100,5,200 --num-prompts 12 --num-warmups 0 --out c.json";
    let running = witness.run(LOAD).words(words).start();
    running.wait_for("step 2 of 3");
    witness.wait_for(14, "/v1/completions");
    running.interrupt();
    let ended = running.end().with_code(130);
    let verdicts: Vec<String> = rows(&ended).into_iter().map(|row| row.last().unwrap().clone()).collect();
    assert_eq!((verdicts.len(), verdicts[1].as_str()), (2, "interrupted"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("Interrupted at rate 5 req/s: rate 200 req/s was not measured"),
        "{}",
        ended.stdout
    );
    assert_eq!(ours(&ended, "c-5qps.json")["interrupted"], true);
    assert_eq!(json(&ended, "c.ladder.json")["end"]["reason"], "interrupted");
}

#[test]
fn the_settings_of_a_step_repeat_it_alone() {
    let simulator = Simulator::start(quick());
    let words = "--max-concurrency 2,4 --num-prompts-factor 5 --until failure_rate>99% --seed 7 --out c.json";
    let ended = simulator.run(LOAD).words(words).end().well();
    let step = ours(&ended, "c-concurrency4.json");
    for (name, value) in [("max-concurrency", 4), ("num-prompts", 20), ("num-warmups", 4), ("seed", 8)] {
        assert_eq!(step["settings"][name], value, "{name}");
    }
    assert_eq!((step["settings"].get("until"), step["settings"].get("num-prompts-factor")), (None, None));
    let like = Program::new("run --like c-concurrency4.json --out again.json")
        .file("c-concurrency4.json", ended.read("c-concurrency4.json"));
    let again = like.end().well();
    let again = ours(&again, "again.json");
    assert_eq!(again["inputs"]["prompts"], step["inputs"]["prompts"]);
    assert_eq!(again["spec"], step["spec"]);
}

#[test]
fn a_saved_ladder_is_reported_again_from_its_index() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(LOAD).words("--max-concurrency 1,2 --num-prompts 10 --out c.json").end().well();
    let report = |words: &str| {
        let files = ["c.ladder.json", "c-concurrency1.json", "c-concurrency2.json"];
        files.iter().fold(Program::new(words), |program, name| program.file(name, ended.read(name)))
    };
    assert_eq!(report("report c.ladder.json").end().well().stdout, ended.stdout);
    let csv = report("report c.ladder.json --format csv").end().well().stdout;
    assert!(csv.contains("concurrency 1,") && csv.contains("concurrency 2,"), "{csv}");
    let page = report("report c.ladder.json --html p.html").end().well();
    assert!(page.read("p.html").contains("concurrency 2"));
    let missing = Program::new("report c.ladder.json").file("c.ladder.json", ended.read("c.ladder.json"));
    assert!(missing.end().with_code(2).stderr.contains("c-concurrency1.json"));
}

#[test]
fn a_ladder_may_stand_in_a_file_and_a_preset_yields_to_flags() {
    let dump = |words: &str, toml: &str| {
        Program::new("run --dump-config --config c.toml")
            .words(words)
            .file("c.toml", toml)
            .end()
            .well()
            .stdout
    };
    let from_list = dump("", "max-concurrency = [1, 2, 4]\nuntil = [\"ttft.p95>2s\"]\n");
    assert!(from_list.contains("\nmax-concurrency = \"1,2,4\"\n"), "{from_list}");
    assert!(from_list.contains("\nuntil = [\"ttft.p95>2s\"]\n"), "{from_list}");
    let preset = dump("--preset ladder", "duration = 60\n");
    for line in ["max-concurrency = \"1,2,4,8,16,32,64\"", "duration = 60", "random-output-len = 1024"] {
        assert!(preset.contains(&format!("\n{line}\n")), "{line}: {preset}");
    }
    let shape = dump("--preset 8k/1k --random-output-len 5 --max-concurrency 3", "");
    for line in ["random-input-len = 8192", "random-output-len = 5", "max-concurrency = 3"] {
        assert!(shape.contains(&format!("\n{line}\n")), "{line}: {shape}");
    }
    let printed =
        Program::new("run --dump-config --config c.toml").file("c.toml", &preset).end().well().stdout;
    assert_eq!(printed, preset, "a printed preset is a file for --config");
}
