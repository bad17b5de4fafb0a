//! Kept runs: every `servegauge run` is kept under a name that other commands take.

use serde_json::Value;

use crate::support::{Program, Simulator, Witness, quick};

/// A short load.
const LOAD: &str = "--dataset-name random --random-input-len 8 --random-output-len 4 --ignore-eos --num-prompts 20 \
                    --max-concurrency 10 --disable-tqdm";

/// A home folder of a user who runs the program several times.
struct Home {
    folder: tempfile::TempDir,
    simulator: Simulator,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), simulator: Simulator::start(quick()) }
    }

    fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn program(&self, words: &str) -> Program {
        Program::new(words).env("HOME", self.path())
    }

    fn run(&self, words: &str) -> Program {
        self.simulator.run(LOAD).words(words).env("HOME", self.path())
    }

    /// The kept runs, the newest first.
    fn listed(&self) -> Vec<Value> {
        let json = self.program("runs --json").end().well().stdout;
        serde_json::from_str(&json).unwrap()
    }
}

#[test]
fn every_command_that_reads_a_result_takes_the_names_of_kept_runs() {
    let home = Home::new();
    let first = home.run("").end().well();
    assert!(first.saved_nothing(), "{:?}", first.files(""));
    let line = first.stderr.lines().last().unwrap();
    let path = line.strip_prefix("kept as `last`: ").unwrap_or_else(|| panic!("{}", first.stderr));
    assert!(path.starts_with(&format!("{}/.cache/servegauge/runs/", home.path())), "{path}");
    home.run("--seed 1").end().well();

    let compared = home.program("compare last-1 last --anyway").end().well();
    assert!(compared.stdout.contains("Baseline: last-1 (20"), "{}", compared.stdout);
    for words in [
        "diagnose last",
        "plan --kv-tokens 10000 --result last last-1 --check last",
        "gate --baseline last-1 --candidate last --anyway --allow-invalid --same-start --rule ttft.mean<1000s",
        "run --like last --dump-config",
    ] {
        assert!(!home.program(words).end().well().stdout.is_empty(), "{words}");
    }
}

#[test]
fn kept_runs_are_listed_the_newest_first_and_say_what_they_are() {
    let home = Home::new();
    let empty = home.program("runs").end().well();
    assert!(empty.stdout.is_empty() && empty.stderr.starts_with("no run is kept in "), "{}", empty.stderr);
    home.run("").end().well();
    home.run("--max-concurrency 2 --repeats 2 --result-filename r.json").end().well();
    let runs = home.listed();
    assert_eq!(runs.iter().map(|run| &run["name"]).collect::<Vec<_>>(), ["last", "last-1", "last-2"]);
    let loads = ["closed loop, 2 in flight", "closed loop, 2 in flight", "closed loop, 10 in flight"];
    assert_eq!(runs.iter().map(|run| &run["load"]).collect::<Vec<_>>(), loads);
    let text = home.program("runs").end().well().stdout;
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.lines().nth(3).unwrap().starts_with("last-2"), "{text}");
}

#[test]
fn an_interrupted_run_is_kept_and_says_so() {
    let home = Home::new();
    let witness = Witness::before(&home.simulator);
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --num-prompts 5000 \
                 --request-rate 50";
    let running = witness.run(words).env("HOME", home.path()).start();
    witness.wait_for(3, "/v1/completions");
    running.interrupt();
    running.end().with_code(130);
    assert_eq!(home.listed()[0]["interrupted"], true);
}

#[test]
fn nothing_is_kept_without_a_home_or_where_the_user_says_so() {
    let home = Home::new();
    for (name, value) in [("SERVEGAUGE_KEEP", "0"), ("SERVEGAUGE_NO_KEEP", "1")] {
        let ended = home.run("").env(name, value).end().well();
        assert!(
            !ended.stderr.contains("kept") && !ended.stderr.contains("warning: environment"),
            "{}",
            ended.stderr
        );
    }
    home.run("--no-keep").end().well();
    assert!(home.listed().is_empty());
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "the home is untouched");

    let homeless = home.simulator.run(LOAD).end().well();
    assert!(homeless.saved_nothing() && !homeless.stderr.contains("kept"), "{}", homeless.stderr);
    let missing = Program::new("compare last-1 last").end().with_code(2);
    assert!(missing.stderr.contains("neither XDG_CACHE_HOME nor HOME"), "{}", missing.stderr);
}

#[test]
fn a_folder_that_cannot_be_written_costs_a_note_and_not_the_run() {
    let home = Home::new();
    std::fs::write(home.folder.path().join(".cache"), "a file in the way").unwrap();
    let ended = home.run("").end().well();
    let notes =
        ended.stderr.lines().filter(|line| line.starts_with("note: this run is not kept: cannot write"));
    assert_eq!(notes.count(), 1, "{}", ended.stderr);
    assert!(ended.stdout.contains("Successful requests: 20"), "{}", ended.stdout);
}

#[test]
fn a_name_that_no_run_has_says_which_there_are() {
    let home = Home::new();
    home.run("").end().well();
    let ended = home.program("compare last-1 last").end().with_code(2);
    assert!(ended.stderr.contains("no run is kept as `last-1`: only `last` is in "), "{}", ended.stderr);
    let own = home.program("compare last last").file("last", "a file of that name").end().with_code(2);
    assert!(own.stderr.contains("last is not a servegauge result"), "{}", own.stderr);
    let replaced = "gate --baseline last --candidate last --update-baseline --allow-invalid --same-start";
    let ended = home.program(replaced).end().with_code(2);
    assert!(ended.stderr.contains("does not replace the kept run"), "{}", ended.stderr);
}

#[test]
fn a_kept_run_has_no_secrets_and_no_texts() {
    let home = Home::new();
    let secret = "hunter2-very-secret";
    home.run("--save-detailed --result-filename -")
        .words(&format!("--header x-api-key={secret} --metadata api_key={secret}"))
        .env("OPENAI_API_KEY", secret)
        .end()
        .well();
    let path = home.listed()[0]["path"].as_str().unwrap().to_owned();
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains(secret) && !text.contains("generated_texts"), "{text}");
}
