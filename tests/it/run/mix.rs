//! A mixed workload.

use crate::support::{Program, Simulator, Witness, quick};

const MIX: &str = r#"
[[class]]
name = "chat"
weight = 3
dataset-name = "random"
random-input-len = 10
random-output-len = 4
temperature = 0.5
lora = "sql"
goodput = ["e2el:60s"]

[[class]]
name = "batch"
dataset-name = "random"
random-input-len = 30
random-output-len = 2
goodput = ["e2el:0.000001"]
"#;

#[test]
fn each_class_sends_its_own_and_is_held_to_its_own_limits() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let program = witness.run("--workload mix.toml --num-prompts 40 --save-detailed --temperature 0.9");
    let ended = program.file("mix.toml", MIX).end().well();
    let heard = witness.heard("/v1/completions");
    let is_chat = |body: &serde_json::Value| body["max_tokens"] == 4;
    let chats = heard.iter().filter(|heard| is_chat(&heard.body)).count();
    assert!(heard.len() == 40 && (20..40).contains(&chats), "{chats} of {}", heard.len());
    for heard in &heard {
        let expected = if is_chat(&heard.body) { ("sql", 0.5) } else { ("some-model", 0.9) };
        assert_eq!(
            (heard.body["model"].as_str().unwrap(), heard.body["temperature"].as_f64().unwrap()),
            expected
        );
    }
    let result = ended.result();
    let records = result["servegauge"]["records"].as_array().unwrap();
    let of_chat = records.iter().filter(|record| record["workload_class"] == "chat").count();
    assert_eq!((records.len(), of_chat), (40, chats));
    assert_eq!(result["servegauge"]["metrics"]["good"], chats, "no batch request is as fast as asked");
    assert!(ended.stdout.contains("Class chat: E2E ≤ 60000 ms"), "{}", ended.stdout);
}

#[test]
fn a_mistake_in_the_file_is_told_with_file_class_and_key() {
    for (content, parts) in [
        (
            "[[class]]\nname = \"chat\"\nrandom-input-len = \"x\"\n",
            ["mix.toml: class `chat`: `random-input-len`", "x"],
        ),
        (
            "[[class]]\nname = \"a\"\ndataset-path = \"nowhere.json\"\n",
            ["mix.toml: class `a`: nowhere.json", "no such file"],
        ),
        ("[[class]\n", ["mix.toml: line 1: not TOML", ""]),
        ("", ["mix.toml: no class", "[[class]]"]),
    ] {
        let program = Program::new("run --dry-run --model x --workload mix.toml").file("mix.toml", content);
        let stderr = program.end().with_code(2).stderr;
        assert!(parts.iter().all(|part| stderr.contains(part)), "{stderr}");
        assert!(stderr.lines().filter(|line| line.starts_with("error: ")).count() == 1, "{stderr}");
    }
    let program = Program::new("run --dry-run --model x --workload nowhere.toml");
    assert!(program.end().with_code(2).stderr.contains("--workload nowhere.toml"));
}

const TEMPLATED: &str = r#"
[[class]]
name = "questions"
dataset-name = "custom"
dataset-path = "q.jsonl"

[[class]]
name = "as-they-stand"
dataset-name = "custom"
dataset-path = "q.jsonl"
skip-chat-template = true
"#;

#[test]
fn a_class_goes_through_the_chat_template_where_its_dataset_would() {
    let simulator = Simulator::start(quick());
    let sent = |words: &str, template: Option<&str>| {
        let witness = Witness::before(&simulator);
        let program = witness
            .run("--workload mix.toml --num-prompts 12 --output-len 2")
            .words("--tokenizer .")
            .words(words);
        let program = program
            .file("mix.toml", TEMPLATED)
            .file("q.jsonl", "{\"prompt\": \"How deep is the sea?\"}\n")
            .file("tokenizer.json", servegauge::internals::bundled::tokenizer_json());
        let program = match template {
            Some(template) => program.file("tokenizer_config.json", template),
            None => program,
        };
        let stderr = program.end().well().stderr;
        let prompts = witness.heard("/v1/completions").into_iter().map(|heard| heard.body["prompt"].clone());
        (prompts.filter(|prompt| prompt == "<user> How deep is the sea?").count(), stderr)
    };
    let template =
        r#"{"chat_template": "{% for m in messages %}<{{ m.role }}> {{ m.content }}{% endfor %}"}"#;
    let (rendered, _) = sent("", Some(template));
    assert!((1..12).contains(&rendered), "one class of two: {rendered}");
    assert_eq!(sent("--skip-chat-template", Some(template)).0, 0, "the run's flag is for all classes");
    let (rendered, stderr) = sent("", None);
    assert!(rendered == 0 && stderr.contains("no chat template beside tokenizer"), "{stderr}");
}

#[test]
fn a_trace_in_a_mix_says_that_its_times_are_not_wanted() {
    let simulator = Simulator::start(quick());
    let class = "[[class]]\nname = \"a\"\ndataset-name = \"trace\"\ndataset-path = \"t.csv\"\n";
    let run = |line: &str| {
        let program =
            simulator.run("--workload mix.toml --num-prompts 3").file("mix.toml", format!("{class}{line}\n"));
        program.file("t.csv", "timestamp,input_length,output_length\n1,9,2\n2,9,2\n").end()
    };
    assert_eq!(run("no-self-timed = true").well().line("Total input tokens"), "27");
    let stderr = run("").with_code(2).stderr;
    assert!(
        stderr.contains("mix.toml: class `a`: trace has its own times")
            && stderr.contains("no-self-timed = true")
    );
}
