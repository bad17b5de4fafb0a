//! Command lines that must work as they are written, and what they print when nobody is watching.

use serde_json::json;

use crate::support::{Ended, Program, Simulator, quick};

#[test]
fn the_documentations_command_line_works_word_for_word() {
    let simulator = Simulator::start(quick());
    // Fewer prompts and another port; every other word is the documentation's. The variable is for a busy machine.
    let line = format!(
        "run --backend openai --base-url http://localhost:{} --model meta-llama/Llama-3-8B-Instruct \
         --dataset ShareGPT_V3_unfiltered_cleaned_split.json --num-prompts 30 --request-rate 20",
        simulator.port()
    );
    let program = Program::new(&line).file("ShareGPT_V3_unfiltered_cleaned_split.json", conversations(40));
    let ended = program.env("SERVEGAUGE_ALLOW_INVALID", "1").end().well();
    assert_eq!(ended.line("Successful requests"), "30");
    assert_eq!(ended.stderr, "");
    let truth = simulator.truth();
    assert_eq!(truth.len(), 30);
    let generated: u64 = truth.iter().map(|story| story.output_tokens).sum();
    assert_eq!(ended.line("Total generated tokens"), generated.to_string());
}

#[test]
fn flags_may_be_written_with_underscores() {
    let simulator = Simulator::start(quick());
    let words = "--dataset_name random --random_input_len=8 --random_output_len 6 --ignore_eos --num_prompts 4 \
                 --max_concurrency 2 --save_result --disable_tqdm";
    let result = simulator.run(words).end().well().result();
    assert_eq!((&result["completed"], &result["max_concurrency"]), (&4.into(), &2.into()));
    assert_eq!(result["total_output_tokens"], 24);
}

#[test]
fn into_pipes_goes_plain_text_only() {
    let simulator = Simulator::start(quick());
    for words in ["", "--disable-tqdm"] {
        let ended =
            simulator.run("--num-prompts 6 --random-input-len 8 --random-output-len 6").words(words).end();
        let Ended { stdout, stderr, .. } = ended.well();
        assert_eq!(stderr, "", "a short run has no progress to tell of");
        let plain = |c: char| c == '\n' || !c.is_control();
        assert!(stdout.chars().all(plain) && stdout.ends_with('\n'), "{stdout:?}");
    }
}

#[test]
fn the_embedded_simulator_needs_nothing_but_its_flag() {
    let ended =
        Program::new("run --sim --allow-invalid --num-prompts 8 --request-rate inf --save-result --seed 3")
            .end()
            .well();
    let result = ended.result();
    let spec = &result["servegauge"]["spec"];
    assert_eq!(spec["workload"]["dataset"], json!({"name": "sharegpt", "path": null, "output_len": null}));
    assert_eq!(result["servegauge"]["inputs"]["dataset"]["path"], "bundled conversations");
    assert_eq!((&result["completed"], &result["model_id"]), (&8.into(), &"servegauge-sim".into()));
}

#[test]
fn the_model_is_asked_from_the_server_unless_it_is_named() {
    let simulator = Simulator::start(quick());
    let words =
        "--dataset-name random --random-input-len 8 --random-output-len 6 --num-prompts 2 --save-result";
    let ended =
        Program::new("run --allow-invalid --base-url").arg(simulator.base_url()).words(words).end().well();
    assert_eq!(ended.result()["model_id"], "servegauge-sim");
}

#[test]
fn host_and_port_are_another_way_to_name_the_server() {
    let simulator = Simulator::start(quick());
    let words = format!(
        "run --allow-invalid --host 127.0.0.1 --port {} --num-prompts 2 --random-input-len 8",
        simulator.port()
    );
    Program::new(&words).end().well();
    assert_eq!(simulator.truth().len(), 2);
}

/// A ShareGPT file of as many small conversations, as the original writes them.
fn conversations(count: usize) -> String {
    let turn = |from: &str, value: String| json!({"from": from, "value": value});
    let conversation = |n: usize| {
        let question = format!("What is the square of the number {n}, and how do you know?");
        let answer = format!("The square of {n} is {}, because {n} times {n} is that.", n * n);
        json!({"id": format!("c{n}_0"), "conversations": [turn("human", question), turn("gpt", answer)]})
    };
    json!((0..count).map(conversation).collect::<Vec<_>>()).to_string()
}
