//! Record logs that clients write to a folder while they measure.

use serde_json::Value;

use crate::support::{Program, Running, Simulator, quick, until};

const WORDS: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos";

/// The id of the run in what a client printed.
fn run_id(stderr: &str, url: &str) -> String {
    let line = stderr.lines().find_map(|line| line.strip_prefix(&format!("records are at {url}/")));
    line.unwrap_or_else(|| panic!("no place in: {stderr}")).to_owned()
}

fn merge(words: &str) -> Program {
    Program::new(&format!("merge {words} --allow-invalid --json"))
}

fn completed(stdout: &str) -> u64 {
    let result: Value = serde_json::from_str(stdout).unwrap();
    result["completed"].as_u64().unwrap()
}

#[test]
fn the_records_of_several_shards_make_the_result_again() {
    let simulator = Simulator::start(quick());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let words = format!("{WORDS} --num-prompts 30 --request-rate 60 --seed 3 --records-to {url}");
    let first = simulator.run(&format!("{words} --local-shards 3 --json")).end().with_code(0);
    let merged = merge(&url).end().with_code(0);
    assert_eq!((completed(&first.stdout), completed(&merged.stdout)), (30, 30));
    let whole: Value = serde_json::from_str(&first.stdout).unwrap();
    let again: Value = serde_json::from_str(&merged.stdout).unwrap();
    assert_eq!(again["servegauge"]["metrics"], whole["servegauge"]["metrics"], "the same result");

    // A run of one client writes there too; then one of two runs must be chosen.
    let alone = simulator.run(&words).end().with_code(0);
    let id = run_id(&alone.stderr, &url);
    let refused = merge(&url).end().with_code(2);
    assert!(
        refused.stderr.contains("records of 2 runs") && refused.stderr.contains(&id),
        "{}",
        refused.stderr
    );
    for chosen in [format!("{url} --run-id {id}"), format!("{url}/{id}")] {
        assert_eq!(completed(&merge(&chosen).end().with_code(0).stdout), 30);
    }
}

#[test]
fn a_killed_client_leaves_its_records_in_the_folder() {
    let simulator = Simulator::start(quick());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let words = format!("{WORDS} --num-prompts 4000 --request-rate 40 --records-to {url}");
    let mut client: Running = simulator.run(&words).start();
    let has_parts = || {
        let runs = std::fs::read_dir(folder.path()).unwrap();
        runs.map(|run| run.unwrap().path().join("shard-000/part-00002.reclog")).any(|part| part.exists())
    };
    until("two parts are written", has_parts);
    client.kill();
    let merged = merge(&url).end().with_code(0);
    assert!(merged.stderr.contains("the client was killed"), "{}", merged.stderr);
    assert!(completed(&merged.stdout) > 20, "{}", merged.stdout);
}

#[test]
fn each_of_several_runs_has_records_of_its_own() {
    let simulator = Simulator::start(quick());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let words = format!("{WORDS} --num-prompts 12 --repeats 2 --allow-invalid --records-to {url}");
    let ended = simulator.run(&words).end().with_code(0);
    let ids = ended.stderr.lines().filter_map(|line| line.strip_prefix(&format!("records are at {url}/")));
    let requests: Vec<u64> =
        ids.map(|id| completed(&merge(&format!("{url} --run-id {id}")).end().with_code(0).stdout)).collect();
    assert_eq!(requests, [12, 12], "{}", ended.stderr);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_the_load() {
    let simulator = Simulator::start(quick());
    for (url, why) in [
        ("nowhere", "not a URL"),
        ("ftp://host/a", "`ftp://` is none of"),
        ("file:///proc/records", "cannot write /proc/records"),
    ] {
        let refused = simulator.run(&format!("{WORDS} --records-to {url}")).end().with_code(2);
        assert!(refused.stderr.contains(&format!("--records-to {url}: ")), "{}", refused.stderr);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    let nothing = merge("file:///no/such/folder").end().with_code(2);
    assert!(nothing.stderr.contains("cannot read /no/such/folder"), "{}", nothing.stderr);
}
