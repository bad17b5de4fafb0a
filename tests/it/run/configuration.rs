//! Flags from files, from the environment and from saved runs.

use serde_json::{Value, json};

use crate::support::{Program, Simulator, Witness, quick};

const SMALL: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --num-prompts 4";

#[test]
fn the_command_line_goes_before_the_environment_before_the_file_before_the_default() {
    let simulator = Simulator::start(quick());
    let file = "num-prompts = 9\nseed = 9\nburstiness = 9\n\
                [output]\nlabel = \"file\"\nmetadata = [\"from=file\", \"more=file\"]\nsave-result = true\n";
    let program =
        simulator.run("--config bench.toml --num-prompts 4 --random-input-len 8 --random-output-len 6");
    let program =
        program.file("bench.toml", file).env("SERVEGAUGE_SEED", "8").env("SERVEGAUGE_NUM_PROMPTS", "8");
    let result = program.end().well().result();
    let (spec, settings) = (&result["servegauge"]["spec"], &result["servegauge"]["settings"]);
    assert_eq!(
        (&result["completed"], &spec["seed"], &result["burstiness"]),
        (&4.into(), &8.into(), &json!(9.0))
    );
    assert_eq!(
        (&result["label"], &result["from"], &result["more"]),
        (&"file".into(), &"file".into(), &"file".into())
    );
    assert_eq!(spec["target"]["timeout_s"], 600.0);
    assert_eq!((&settings["seed"], &settings["num-prompts"]), (&8.into(), &4.into()));
    assert_eq!(settings.get("timeout"), None, "a default was not asked for");
}

#[test]
fn a_config_may_be_yaml_as_vllms_are() {
    let simulator = Simulator::start(quick());
    let file = "dataset-name: random\nrandom-input-len: 8\nrandom_output_len: 6\nnum-prompts: 4\nsave-result: true\n\
                goodput: [\"e2el:60s\"]\nextra-body: {user: me}\n";
    let result = simulator.run("--config bench.yaml --seed 2").file("bench.yaml", file).end().well().result();
    let spec = &result["servegauge"]["spec"];
    assert_eq!((&result["completed"], &spec["sampling"]["extra_body"]["user"]), (&4.into(), &"me".into()));
    assert_eq!((&spec["seed"], &spec["slo"]["e2e_s"]), (&2.into(), &json!(60.0)));
}

#[test]
fn what_is_typed_drives_out_what_it_excludes() {
    let file = "base-url = \"http://127.0.0.1:1\"\nnum-prompts = 3\nrequest-rate = inf\nsave-result = true\n";
    let ended =
        Program::new("run --sim --allow-invalid --config bench.toml").file("bench.toml", file).end().well();
    assert_eq!(ended.result()["completed"], 3);
}

#[test]
fn a_mistake_in_a_file_or_a_variable_is_one_line_that_names_the_place() {
    let file = "seed = 1\nrequest_rat = 20\n";
    let ended = Program::new("run --config bench.toml").file("bench.toml", file).end().with_code(2);
    assert_eq!(
        ended.stderr,
        "error: bench.toml line 2: there is no flag `request_rat`; is it `request-rate`?\n"
    );
    let ended = Program::new("run --sim").env("SERVEGAUGE_REQUEST_RATE", "fast").end().with_code(2);
    assert!(
        ended.stderr.starts_with("error: environment variable SERVEGAUGE_REQUEST_RATE: invalid value 'fast'")
    );
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let ended = Program::new("run --sim --dump-config").env("SERVEGAUGE_REQEST_RATE", "2").end().well();
    let expected = "warning: environment variable SERVEGAUGE_REQEST_RATE is not a flag and is ignored; \
                    is it SERVEGAUGE_REQUEST_RATE?\n";
    assert_eq!(ended.stderr, expected);
    let own = ["SERVEGAUGE_KEEP", "SERVEGAUGE_SHARD_TOKEN", "SERVEGAUGE_SHARDS"];
    let program =
        own.iter().fold(Program::new("run --sim --dump-config"), |program, name| program.env(name, "2"));
    assert_eq!(program.end().well().stderr, "", "variables that are no flags");
}

#[test]
fn what_dump_config_prints_is_a_config_that_does_the_same() {
    let simulator = Simulator::start(quick());
    let words = format!(
        "{SMALL} --goodput ttft:5000 e2el:9s --header x-team=hidden --request_rate 100 --dump-config"
    );
    let dumped = simulator.run(&words).env("SERVEGAUGE_SEED", "5").end().well();
    assert_eq!(dumped.stderr, "");
    assert!(!dumped.stdout.contains("hidden") && dumped.stdout.contains("masked"), "{}", dumped.stdout);
    let again = Program::new("run --allow-invalid --config bench.toml --save-result")
        .file("bench.toml", &dumped.stdout);
    let result = again.end().well().result();
    let spec = &result["servegauge"]["spec"];
    assert_eq!((&spec["seed"], &spec["slo"]["e2e_s"]), (&5.into(), &json!(9.0)));
    assert_eq!((&result["completed"], &result["request_rate"]), (&4.into(), &json!(100.0)));
    assert_eq!(simulator.truth().len(), 4, "--dump-config sends nothing");
}

#[test]
fn a_run_like_a_saved_one_sends_the_same_prompts() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--seed 3 --max-concurrency 2 --goodput ttft:5000 --label first --header x-team=hidden \
                 --result-filename first.json";
    let first = witness.run(SMALL).words(words).end().well();
    let saved = first.read("first.json");
    let again =
        || Program::new("run --allow-invalid --like first.json --save-result").file("first.json", &saved);
    let refused = again().end().with_code(2).stderr;
    let expected = "error: first.json: `header` has *** in place of a secret, which is stored nowhere; give \
                    --header again\n";
    assert_eq!(refused, expected);
    let again = again().words("--result-dir out --header x-team=again").end().well();
    assert!(!again.stderr.contains("note:"), "{}", again.stderr);
    let name = again.files("out").remove(0);
    assert!(!name.starts_with("first"), "where the first result went is not repeated: {name}");
    let [first, again]: [Value; 2] =
        [&saved, &again.read(&format!("out/{name}"))].map(|text| serde_json::from_str(text).unwrap());
    let of = |result: &Value, key: &str| result["servegauge"]["spec"][key].clone();
    for key in ["workload", "load", "sampling", "slo", "seed"] {
        assert_eq!(of(&first, key), of(&again, key), "{key}");
    }
    let prompts = |result: &Value| result["servegauge"]["inputs"]["prompts"].as_str().map(str::len);
    assert_eq!(prompts(&first), Some(64));
    assert_eq!(first["servegauge"]["inputs"], again["servegauge"]["inputs"]);
    let mut sent: Vec<_> =
        witness.heard("/v1/completions").iter().map(|heard| heard.body["prompt"].to_string()).collect();
    assert_eq!(sent.len(), 8);
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), 4, "each prompt was sent by both");
}

#[test]
fn flags_on_the_line_win_over_the_run_that_it_is_like_and_other_prompts_are_told() {
    let simulator = Simulator::start(quick());
    let first = simulator.run(SMALL).words("--seed 3 --result-filename first.json").end().well();
    let again = Program::new("run --allow-invalid --like first.json --seed 4 --result-filename again.json");
    let again = again.file("first.json", first.read("first.json")).end().well();
    assert!(again.stderr.contains("note: these are not the prompts of the saved run"), "{}", again.stderr);
    let result: Value = serde_json::from_str(&again.read("again.json")).unwrap();
    assert_eq!((&result["servegauge"]["spec"]["seed"], &result["completed"]), (&4.into(), &4.into()));
}

#[test]
fn a_result_that_does_not_hold_its_flags_is_not_taken_for_one_with_the_defaults() {
    let simulator = Simulator::start(quick());
    let first = simulator.run(SMALL).words("--result-filename first.json").end().well();
    let mut result: Value = serde_json::from_str(&first.read("first.json")).unwrap();
    result["servegauge"].as_object_mut().unwrap().remove("settings");
    let again =
        Program::new("run --like first.json").file("first.json", result.to_string()).end().with_code(2);
    assert!(
        again.stderr.starts_with("error: --like: first.json does not contain the flags"),
        "{}",
        again.stderr
    );
}

#[test]
fn what_is_no_result_cannot_be_done_again() {
    let ended = Program::new("run --like x.json").file("x.json", "{}").end().with_code(2);
    assert_eq!(
        ended.stderr,
        "error: --like: x.json is not a servegauge result: it has no key `servegauge`\n"
    );
    let ended = Program::new("run --like nowhere.json").end().with_code(2);
    assert!(ended.stderr.starts_with("error: --like: cannot read nowhere.json"), "{}", ended.stderr);
}
