//! `servegauge sweep` as a user runs it: servers that are good, slow, broken or stuck, and no process left behind.

use std::fs;

use crate::support::{Ended, Program, Simulator, quick, until};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_servegauge");

/// The name of a copy of the program in its own folder.
const COPY: &str = "copy-of-servegauge";

/// A word that no other test's servers have on their command lines.
fn mark(test: &str) -> String {
    format!("sweep-{test}-{}", std::process::id())
}

/// Command lines of processes with this word in them, but for our own program's `sweep`.
fn left_over(mark: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(mark)).map(|line| line.replace('\0', " ")).collect()
}

fn simulator(mark: &str, flags: &str) -> String {
    format!("{PROGRAM} sim --port {{port}} --served-model-name {mark} --model {mark} --eos-mean 0 {flags}")
}

fn file(sets: &[(&str, String)], loads: &[(&str, &str)], top: &str) -> String {
    let sets =
        sets.iter().map(|(name, command)| format!("[[set]]\nname = \"{name}\"\ncommand = '''{command}'''\n"));
    let loads =
        loads.iter().map(|(name, flags)| format!("[[load]]\nname = \"{name}\"\nflags = \"{flags}\"\n"));
    let base = "[base]\nflags = \"--dataset-name random --random-input-len 8 --random-output-len 8 --ignore-eos \
                --skip-tokenizer-init --allow-invalid --no-server-metrics\"\n";
    format!("{top}\n{base}{}{}", sets.collect::<String>(), loads.collect::<String>())
}

fn sweep(words: &str, toml: &str) -> Program {
    Program::new("sweep").words(words).file("s.toml", toml)
}

fn json(ended: &Ended, name: &str) -> Value {
    serde_json::from_str(&ended.read(name)).unwrap()
}

fn states(sweep: &Value, set: &str) -> Vec<String> {
    let cells = sweep["cells"].as_array().unwrap().iter().filter(|cell| cell["set"] == set);
    cells.map(|cell| cell["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn four_sets_of_which_one_crashes_and_one_hangs_have_the_right_winner_and_leave_nothing() {
    let mark = mark("four");
    let sets = [
        ("good", simulator(&mark, "--step-time 2ms")),
        ("slow", simulator(&mark, "--step-time 20ms")),
        ("crash", simulator(&mark, "--no-such-flag")),
        ("hang", format!("sh -c 'echo loading {mark}; sleep 300 & sleep 300'")),
    ];
    let loads = [("closed", "--num-prompts 24 --max-concurrency 4")];
    let toml = file(&sets, &loads, "repeats = 3\nslo = [\"tpot.mean < 10ms\"]\nhealth-timeout = \"2s\"");
    let ended = sweep("s.toml --out out", &toml).end().with_code(1);

    let found = json(&ended, "out/sweep.json");
    for (set, state) in [("good", "measured"), ("slow", "measured"), ("crash", "failed"), ("hang", "failed")]
    {
        assert_eq!(states(&found, set), [state; 3], "{set}: {}", ended.stderr);
    }
    let why = |set: &str| {
        let cells = found["cells"].as_array().unwrap();
        let whys = cells.iter().filter(|cell| cell["set"] == set).map(|cell| cell["why"].to_string());
        whys.collect::<Vec<_>>().join("\n")
    };
    assert!(
        why("crash").contains("exit status: 2") && why("crash").contains("--no-such-flag"),
        "{}",
        why("crash")
    );
    assert!(
        why("hang").contains("not healthy within 2s") && why("hang").contains("loading"),
        "{}",
        why("hang")
    );
    assert_eq!(why("hang").matches("not tried").count(), 2, "a set that does not start is tried once");

    for wins in ["Output token throughput: good wins", "TPOT mean: good wins", "E2E mean: good wins"] {
        assert!(ended.stdout.contains(wins), "{wins}:\n{}", ended.stdout);
    }
    assert!(ended.stdout.contains("tpot.mean < 10ms: good under closed serves most"), "{}", ended.stdout);
    let front: Vec<_> = found["ranking"]["efficiencies"].as_array().unwrap().iter().collect();
    assert_eq!((&front[0]["set"], &front[0]["on_front"]), (&"good".into(), &true.into()));
    assert_eq!(ended.read("out/sweep.csv").lines().count(), 1 + 6, "a line for each cell that was measured");
    let run = json(&ended, "out/good-closed-r1.json");
    assert_eq!((&run["completed"], &run["sweep_set"]), (&24.into(), &"good".into()));
    assert!(ended.read("out/good.log").contains("http://"), "the server's own words");
    assert_eq!(left_over(&mark), [""; 0], "processes are left");
}

#[test]
fn what_is_finished_is_not_measured_again_after_an_interrupt() {
    let mark = mark("resume");
    let sets = [("a", simulator(&mark, "--step-time 1ms"))];
    let loads = [("closed", "--num-prompts 8"), ("long", "--num-prompts 600 --request-rate 20")];
    let toml = file(&sets, &loads, "repeats = 1\norder = \"interleaved\"");
    let running = sweep("s.toml --out out", &toml).start();
    running.wait_for("[2/2] a under long");
    until("the long load has begun", || !left_over(&mark).is_empty());
    running.signal(rustix::process::Signal::TERM);
    let first = running.end().with_code(130);
    assert_eq!(left_over(&mark), [""; 0], "processes are left");
    assert!(first.stdout.contains("Interrupted: the same command continues"), "{}", first.stdout);
    let found = json(&first, "out/sweep.json");
    assert_eq!(found["cells"][0]["state"], "measured", "{}", first.stderr);
    assert_eq!(found["cells"][1]["state"], "open", "an interrupted run is no finished cell");

    let kept = first.read("out/a-closed-r1.json");
    let toml = toml.replace("--num-prompts 600 --request-rate 20", "--num-prompts 9");
    let again = sweep("s.toml --out out", &toml).file("out/a-closed-r1.json", &kept).end().well();
    assert!(again.stderr.contains("1 cell to measure (1 of 2 are measured already)"), "{}", again.stderr);
    assert_eq!(again.read("out/a-closed-r1.json"), kept);
    assert_eq!(states(&json(&again, "out/sweep.json"), "a"), ["measured"; 2]);

    let other = toml.replace("--num-prompts 8", "--num-prompts 7");
    let refused = sweep("s.toml --out out", &other).file("out/a-closed-r1.json", &kept).end().with_code(2);
    assert!(refused.stderr.contains("another --out"), "{}", refused.stderr);
}

/// A load that is a search over concurrency, whose trials are short.
fn searching(flags: &str) -> String {
    format!("[[load]]\nname = \"most\"\nsearch = \"--over concurrency --trial 1s --time 20s {flags}\"\n")
}

#[test]
fn a_load_may_be_a_search_and_the_set_that_bears_more_wins() {
    let mark = mark("search");
    let sets =
        [("slow", simulator(&mark, "--step-time 40ms")), ("quick", simulator(&mark, "--step-time 1ms"))];
    // Eight tokens take the one set 320 ms, the other 8.
    let toml = file(&sets, &[], "repeats = 1") + &searching("--max 2 --slo 'e2el.p95<200ms'");
    let ended = sweep("s.toml --out out", &toml).end().well();
    assert!(ended.stdout.contains("Boundary: quick wins"), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("never met, violated even at 1"), "{}", ended.stdout);
    assert!(ended.stdout.contains("never saturated, met even at 2 *"), "{}", ended.stdout);
    let found = json(&ended, "out/sweep.json");
    assert_eq!(found["capacities"][0]["ahead"], "quick");
    assert_eq!(found["capacities"][0]["sets"][0]["answers"][0]["finding"]["kind"], "never_good");
    let csv = ended.read("out/sweep.csv");
    assert!(csv.lines().any(|line| line.ends_with(",in flight,never_saturated,,2,")), "{csv}");
    let cell = json(&ended, "out/quick-most-r1.json");
    assert_eq!((&cell["sweep_set"], &cell["trials"][0]["load"]), (&"quick".into(), &1.0.into()));
    assert_eq!(left_over(&mark), [""; 0], "processes are left");

    let kept = cell.to_string();
    let again = sweep("s.toml --out out --dry-run", &toml).file("out/quick-most-r1.json", &kept).end().well();
    assert!(again.stdout.contains("1 cell to measure (1 of 2 are measured already)"), "{}", again.stdout);
    let other = toml.replace("--max 2", "--max 4");
    let refused = sweep("s.toml --out out", &other).file("out/quick-most-r1.json", &kept).end().with_code(2);
    assert!(refused.stderr.contains("another --out"), "{}", refused.stderr);
}

#[test]
fn an_interrupted_search_is_no_finished_cell() {
    let simulator = Simulator::start(quick());
    let toml = file(&[], &[], "repeats = 1") + &searching("--max 64 --slo 'e2el.p95<20s'");
    let toml = format!("{toml}[[set]]\nname = \"there\"\nurl = \"{}\"\n", simulator.base_url());
    let running = sweep("s.toml --out out", &toml).start();
    running.wait_for("trial 1: 1 in flight: ");
    running.interrupt();
    let ended = running.end().with_code(130);
    assert_eq!(states(&json(&ended, "out/sweep.json"), "there"), ["open"]);
    assert!(!ended.files("out").contains(&"there-most-r1.json".to_owned()));
}

#[test]
fn an_interrupt_while_a_server_starts_leaves_nothing() {
    let mark = mark("starting");
    let toml =
        file(&[("hang", format!("sh -c 'sleep 300 & echo {mark}; wait'"))], &[("l", "--num-prompts 1")], "");
    let running = sweep("s.toml --out out", &toml).start();
    until("the server runs", || !left_over(&mark).is_empty());
    running.interrupt();
    running.end().with_code(130);
    assert_eq!(left_over(&mark), [""; 0], "processes are left");
}

#[test]
fn servers_that_run_already_are_measured_where_they_are() {
    let simulator = Simulator::start(quick());
    let toml = file(&[], &[("l", "--num-prompts 4 --model m")], "repeats = 2");
    let toml = format!("{toml}[[set]]\nname = \"there\"\nurl = \"{}\"\n", simulator.base_url());
    let ended = sweep("s.toml", &toml).end().well();
    assert_eq!(states(&json(&ended, "s/sweep.json"), "there"), ["measured"; 2]);
    let seeds = ["s/there-l-r1.json", "s/there-l-r2.json"]
        .map(|name| json(&ended, name)["servegauge"]["spec"]["seed"].clone());
    assert_eq!(seeds, [Value::from(0), Value::from(1)]);
}

#[test]
fn a_dry_run_tells_the_plan_and_starts_nothing() {
    let toml = file(
        &[("a", "/no/such/program".into())],
        &[("l", "--num-prompts 100 --request-rate 10")],
        "repeats = 2",
    );
    let ended = sweep("s.toml --dry-run", &toml).end().well();
    assert!(
        ended.stdout.contains("2 cells to measure") && ended.stdout.contains("about 20s"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("a under l, seed 1 -> a-l-r2.json"), "{}", ended.stdout);
    assert_eq!(ended.files("").len(), 1, "only the plan is there");
}

#[test]
fn vllms_commands_and_params_make_a_sweep() {
    let mark = mark("vllm");
    let serve =
        simulator(&mark, "--max-num-seqs 1").replace("{port}", "0").replace("--port 0", "--port {port}");
    let bench = "vllm bench serve --dataset-name random --random-input-len 8 --random-output-len 4 --num-prompts 4 \
                 --max-concurrency 1 --skip-tokenizer-init --allow-invalid";
    let program = Program::new("sweep --num-runs 1 -o out -e exp --link-vars max_num_seqs=max_concurrency")
        .arg("--serve-cmd")
        .arg(serve)
        .arg("--bench-cmd")
        .arg(bench)
        .words("--serve-params serve.json --bench-params bench.json")
        .file("serve.json", r#"[{"max_num_seqs": 2}, {"max_num_seqs": 4}]"#)
        .file(
            "bench.json",
            r#"{"two": {"max_concurrency": 2}, "four": {"max_concurrency": 4, "num_prompts": 5}}"#,
        );
    let ended = program.end();
    // The name is no link: both sides have it only here.
    let ended = ended.well();
    let folders = ended.files("out/exp");
    for name in ["SERVE--max_num_seqs=2-BENCH--two", "SERVE--max_num_seqs=4-BENCH--four"] {
        assert!(folders.contains(&name.to_owned()), "{folders:?}\n{}", ended.stderr);
    }
    assert_eq!(json(&ended, "out/exp/SERVE--max_num_seqs=4-BENCH--four/run=0.json")["completed"], 5);
    assert_eq!(json(&ended, "out/exp/sweep.json")["cells"].as_array().unwrap().len(), 2, "linked pairs only");
    assert_eq!(left_over(&mark), [""; 0], "processes are left");
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    let cases = [
        (
            "[[set]]\nname = 'a'\ncommand = 'x'\n[[load]]\nname = 'l'\nflags = '--no-such'",
            "load `l`: unexpected argument",
        ),
        (
            "[[set]]\nname = 'a'\ncommand = 'x'\n[[load]]\nname = 'l'\nsearch = '--max 5'",
            "no service level is given",
        ),
        (
            "[base]\nflags = '--num-prompts 5'\n[[set]]\nname = 'a'\ncommand = 'x'\n[[load]]\nname = 'l'\nsearch = '--slo ttft.p95<1s'",
            "--num-prompts is set by the search",
        ),
        ("[[load]]\nname = 'l'\nflags = ''", "at least one set"),
        ("slo = ['x < 5']", "`x` is not a metric"),
    ];
    for (toml, expected) in cases {
        let ended = sweep("s.toml", toml).end().with_code(2);
        assert!(ended.stderr.contains(expected), "{toml}: {}", ended.stderr);
    }
    let ended = Program::new("sweep none.toml").end().with_code(2);
    assert!(ended.stderr.contains("none.toml"), "{}", ended.stderr);
}

#[test]
fn a_sweep_that_is_killed_leaves_no_server_and_no_half_file() {
    let mark = mark("killed");
    // The shell stays, so that the server is its child: both must go.
    let shell = format!("sh -c '{}; echo over'", simulator(&mark, ""));
    for command in [simulator(&mark, ""), shell] {
        let sets = [("a", command)];
        let toml = file(&sets, &[("long", "--num-prompts 600 --request-rate 20")], "repeats = 1");
        let mut running = sweep("s.toml --out out", &toml).start();
        running.wait_for("a under long");
        until("the server runs", || !left_over(&mark).is_empty());
        running.kill();
        until("nothing of it is left", || left_over(&mark).is_empty());
        let ended = running.end();
        assert_eq!(ended.code, None);
    }
}

#[test]
fn servers_end_with_a_killed_program_whose_file_is_gone() {
    let mark = mark("replaced");
    // As an upgrade or a build does while the program runs.
    let sets = [("a", format!("rm {COPY}")), ("b", simulator(&mark, ""))];
    let toml = file(&sets, &[("long", "--num-prompts 600 --request-rate 20")], "repeats = 1");
    let mut running = sweep("s.toml --out out", &toml).copied_as(COPY).start();
    running.wait_for("b under long");
    until("the server runs", || !left_over(&mark).is_empty());
    running.kill();
    until("nothing of it is left", || left_over(&mark).is_empty());
}

#[test]
fn a_server_ends_with_a_program_that_is_killed_while_it_starts_it() {
    let mark = mark("killed-at-once");
    let command = format!("sh -c 'kill -9 $PPID; exec {}'", simulator(&mark, ""));
    for _ in 0..3 {
        let toml = file(&[("a", command.clone())], &[("l", "--num-prompts 2")], "repeats = 1");
        let ended = sweep("s.toml --out out", &toml).end();
        assert_eq!(ended.code, None, "{}", ended.stderr);
        until("nothing of it is left", || left_over(&mark).is_empty());
    }
}

#[test]
fn servers_get_no_keys_unless_they_are_named() {
    let mark = mark("keys");
    let command = format!("sh -c 'env >> seen.txt; exec {}'", simulator(&mark, ""));
    let toml = file(&[("a", command.clone())], &[("l", "--num-prompts 2")], "repeats = 1");
    let keys = ["OPENAI_API_KEY", "HF_TOKEN", "SOME_SECRET", "AWS_SECRET_ACCESS_KEY"];
    let with_keys = |program: Program| {
        let program =
            keys.into_iter().fold(program, |program, name| program.env(name, &format!("of-{name}")));
        program.env("CUDA_VISIBLE_DEVICES", "0")
    };
    let sweep = with_keys(sweep("s.toml --out out --pass-env HF_TOKEN", &toml)).end().well();
    let ab = Program::new("ab --blocks 2 --block 300ms --save saved --pass-env HF_TOKEN --a").arg(&command);
    let run = "--dataset-name random --random-input-len 8 --random-output-len 4 --request-rate 20 \
               --skip-tokenizer-init --allow-invalid";
    let ab = with_keys(ab.arg("--b").arg(&command).arg("--").words(run)).end().well();
    for ended in [sweep, ab] {
        let seen = ended.read("seen.txt");
        assert!(
            seen.contains("HF_TOKEN=of-HF_TOKEN\n") && seen.contains("CUDA_VISIBLE_DEVICES=0\n"),
            "{seen}"
        );
        for name in keys.into_iter().filter(|name| *name != "HF_TOKEN") {
            assert!(!seen.contains(&format!("{name}=")), "{seen}");
        }
        let note =
            "servers are started without AWS_SECRET_ACCESS_KEY, OPENAI_API_KEY, SOME_SECRET; --pass-env NAME";
        assert!(ended.stderr.contains(note), "{}", ended.stderr);
    }
}
