//! Requests to the server besides the measured load: emptying its cache, and the names of the requests.

use crate::support::{Simulator, Witness, quick};

const SMALL: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --num-prompts 4";

/// The paths asked for, in their order, but for those of getting to know the server.
fn paths(witness: &Witness) -> Vec<String> {
    let all = witness.all().into_iter().map(|heard| heard.path);
    all.filter(|path| !matches!(path.as_str(), "/version" | "/metrics" | "/v1/models")).collect()
}

#[test]
fn the_prefix_cache_is_emptied_before_the_run() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    witness.run(SMALL).words("--reset-prefix-cache").end().well();
    assert_eq!(paths(&witness)[0], "/reset_prefix_cache");
    assert_eq!(paths(&witness).len(), 5);
}

#[test]
fn a_prefix_cache_that_cannot_be_emptied_ends_the_run_before_it_begins() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before_without(&simulator, "/reset_prefix_cache");
    let error = witness.run(SMALL).words("--reset-prefix-cache").end().with_code(1).stderr;
    assert!(error.contains("HTTP 404") && error.contains("VLLM_SERVER_DEV_MODE=1"), "{error}");
    assert_eq!(simulator.truth().len(), 0);
}

#[test]
fn request_ids_are_vllms_prefix_and_number() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--request-id-prefix mine- --num-warmups 1 --save-detailed";
    let result = witness.run(SMALL).words(words).end().well().result();
    let mut ids: Vec<_> = witness
        .heard("/v1/completions")
        .iter()
        .map(|heard| heard.header("x-request-id").to_owned())
        .collect();
    ids.sort();
    assert_eq!(ids, ["mine-0", "mine-1", "mine-2", "mine-3", "mine-warmup-0"]);
    assert_eq!(result["servegauge"]["records"][2]["id"], "mine-2");
}

#[test]
fn without_a_prefix_each_request_has_a_uuid_of_its_run() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    for _ in 0..2 {
        witness
            .run("--num-prompts 2 --random-input-len 8 --random-output-len 2 --max-concurrency 1")
            .end()
            .well();
    }
    let ids: Vec<_> = witness
        .heard("/v1/completions")
        .iter()
        .map(|heard| heard.header("x-request-id").to_owned())
        .collect();
    let runs: Vec<_> = ids.iter().map(|id| id.rsplit_once('-').unwrap()).collect();
    assert_eq!(
        runs.iter().map(|(_, number)| *number).collect::<Vec<_>>(),
        ["000000000000", "000000000001", "000000000000", "000000000001",]
    );
    assert!(
        ids.iter().all(|id| uuid::Uuid::try_parse(id).is_ok_and(|id| id.get_version_num() == 4)),
        "{ids:?}"
    );
    assert!(runs[0].0 == runs[1].0 && runs[2].0 == runs[3].0 && runs[0].0 != runs[2].0, "{ids:?}");
}

#[test]
fn an_id_that_is_given_as_a_header_wins_and_none_is_none() {
    let simulator = Simulator::start(quick());
    for (words, expected) in [("--header X-Request-Id=mine", "mine"), ("--no-request-id", "")] {
        let witness = Witness::before(&simulator);
        let result = witness.run(SMALL).words(words).words("--save-detailed").end().well().result();
        let heard = witness.heard("/v1/completions");
        assert!(
            heard.len() == 4 && heard.iter().all(|it| it.header("x-request-id") == expected),
            "{heard:?}"
        );
        assert!(heard.iter().all(|it| it.headers.get_all("x-request-id").iter().count() < 2));
        assert!(result["servegauge"]["records"][0]["id"].is_null());
    }
}

#[test]
fn the_end_of_an_answer_is_ignored_unless_it_is_not_wanted() {
    let simulator = Simulator::start(quick());
    for (words, expected) in [("", Some(true)), ("--no-ignore-eos", None)] {
        let witness = Witness::before(&simulator);
        witness.run(SMALL).words(words).end().well();
        assert_eq!(witness.heard("/v1/completions")[0].body["ignore_eos"].as_bool(), expected);
    }
}

#[test]
fn a_prefix_that_no_header_can_hold_is_a_usage_error() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(SMALL).arg("--request-id-prefix").arg("a\nb: c").end().with_code(2);
    assert!(ended.stderr.starts_with("error: --request-id-prefix"), "{}", ended.stderr);
}

#[test]
fn flags_that_change_nothing_here_say_so() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(SMALL).words("--tokenizer-mode slow --trust-remote-code").end().well();
    let warnings: Vec<_> = ended.stderr.lines().collect();
    assert!(warnings[0].starts_with("warning: --tokenizer-mode slow changes nothing"), "{warnings:?}");
    assert!(warnings[1].starts_with("warning: --trust-remote-code changes nothing"), "{warnings:?}");
}

#[test]
fn without_a_tokenizer_the_server_counts() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let ended = witness.run(SMALL).words("--skip-tokenizer-init --save-result").end().well();
    assert!(witness.heard("/tokenize").len() > 1);
    assert!(ended.result()["tokenizer_id"].as_str().unwrap().ends_with("/tokenize"));
}

#[test]
fn a_steady_state_that_nobody_wants_is_not_looked_for() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(SMALL).words("--no-steady-state --save-result").end().well();
    assert!(!ended.stdout.contains("Steady state"), "{}", ended.stdout);
    assert_eq!(ended.result()["servegauge"]["steady"]["absent"]["reason"], "not_looked_for");
}
