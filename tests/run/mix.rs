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
    let records = result["servebench"]["records"].as_array().unwrap();
    let of_chat = records.iter().filter(|record| record["facets"]["class"] == "chat").count();
    assert_eq!((records.len(), of_chat), (40, chats));
    assert_eq!(result["servebench"]["metrics"]["good"], chats, "no batch request is as fast as asked");
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
