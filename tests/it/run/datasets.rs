//! vLLM's datasets beside `random`, `sharegpt` and `custom`, as a user asks for them.

use serde_json::json;

use crate::support::{Port, Program, Simulator, quick};

const QUESTIONS: &str = "{\"category\": \"math\", \"turns\": [\"What is two and two, and why?\", \"Sure?\"]}\n\
                         {\"category\": \"travel\", \"turns\": [\"Where is it warm in winter, and dry?\"]}\n";
const CHAT: &str =
    r#"{"chat_template": "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"}"#;

/// A program that prepares a workload and sends nothing.
fn dry_run(words: &str) -> Program {
    Program::measure(&Port::take().base_url(), "--dry-run").words(words).file("q.jsonl", QUESTIONS)
}

/// The requests that a simulator has served.
fn served(words: &str) -> Vec<u64> {
    let simulator = Simulator::start(quick());
    let result = simulator.run(words).arg("--save-result").file("q.jsonl", QUESTIONS).end().well().result();
    assert_eq!(result["failed"].as_u64().unwrap_or(0), 0, "{words}");
    simulator.truth().iter().map(|story| story.prompt_tokens).collect()
}

#[test]
fn every_dataset_is_sent_to_the_backend_that_takes_it() {
    for (words, requests) in [
        ("--dataset-name sonnet --sonnet-output-len 3 --num-prompts 3", 3),
        ("--dataset-name spec_bench --dataset-path q.jsonl --spec-bench-output-len 3 --num-prompts 4", 4),
        (
            "--dataset-name spec-bench --dataset-path q.jsonl --output-len 3 --spec-bench-category math --num-prompts 2",
            2,
        ),
        ("--dataset-name speed_bench --dataset-path q.jsonl --speed-bench-output-len 3 --num-prompts 2", 2),
        ("--dataset-name hf --dataset-path q.jsonl --hf-output-len 3 --num-prompts 2", 2),
        (
            "--backend openai-chat --dataset-name random-mm --random-input-len 8 --random-output-len 3 --num-prompts 2",
            2,
        ),
        (
            "--backend openai-embeddings --dataset-name random --random-input-len 8 --random-batch-size 4 --num-prompts 8",
            2,
        ),
        (
            "--backend vllm-rerank --dataset-name random-rerank --random-input-len 32 --random-batch-size 3 --num-prompts 9",
            3,
        ),
    ] {
        assert_eq!(served(words).len(), requests, "{words}");
    }
}

#[test]
fn the_chat_template_goes_to_completions_and_not_to_chats() {
    let count = |words: &str| {
        let words =
            format!("--dataset-name spec_bench --dataset-path q.jsonl --num-prompts 1 --tokenizer . {words}");
        let program =
            Program::new("run --dry-run --model some-model --base-url http://127.0.0.1:1").words(&words);
        let program = program.file("q.jsonl", QUESTIONS).file("tokenizer_config.json", CHAT);
        let ended =
            program.file("tokenizer.json", servegauge::internals::bundled::tokenizer_json()).end().well();
        assert_eq!(ended.stderr, "");
        let prompt =
            ended.stdout.lines().find(|line| line.trim_start().starts_with("prompt")).unwrap().to_owned();
        prompt.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let plain = count("--skip-chat-template");
    assert!(count("") > plain, "the template adds to the prompt");
    assert_eq!(count("--backend openai-chat"), plain);
}

#[test]
fn a_tokenizer_without_a_chat_template_is_said_and_stored() {
    let simulator = Simulator::start(quick());
    let words = "--dataset-name spec_bench --dataset-path q.jsonl --spec-bench-output-len 2 --num-prompts 2";
    let ended = simulator.run(words).arg("--save-result").file("q.jsonl", QUESTIONS).end().well();
    assert!(ended.stderr.contains("no chat template beside tokenizer"), "{}", ended.stderr);
    assert_eq!(ended.result()["servegauge"]["spec"]["workload"]["form"], json!("text"));
    let quiet = simulator.run(words).arg("--skip-chat-template").file("q.jsonl", QUESTIONS).end().well();
    assert!(!quiet.stderr.contains("template"), "{}", quiet.stderr);
}

#[test]
fn length_bounds_are_flags_for_every_file() {
    let words = "--dataset-name spec_bench --dataset-path q.jsonl --num-prompts 2 --skip-chat-template";
    let all = dry_run(words).end().well().stdout;
    assert!(all.contains("Candidates: 2, dropped: none"), "{all}");
    let ended = dry_run(words).words("--max-prompt-len 2").end().with_code(2);
    assert!(
        ended.stderr.contains("none of 2 entries can be used (dropped: 2 prompt too long)"),
        "{}",
        ended.stderr
    );
    let ended = dry_run(words).words("--max-model-len 100").end().with_code(2);
    assert!(ended.stderr.contains("2 prompt and output too long together"), "{}", ended.stderr);
}

#[test]
fn what_a_dataset_needs_is_told() {
    for (words, expected) in [
        ("--dataset-name spec_bench", "--dataset-name spec_bench needs its data: --dataset-path"),
        ("--dataset-name hf", "needs its data: --dataset-path ORG/NAME"),
        ("--dataset-name hf --dataset-path org/name", "dataset org/name: "),
        ("--dataset-name custom_image", "needs its data: --dataset-path FILE.jsonl"),
        ("--dataset-name random-mm", "--backend openai cannot send the dataset's requests: chat messages"),
        ("--dataset-name random-mm --random-mm-bucket-config 5", "{(HEIGHT, WIDTH, 1): SHARE"),
        ("--dataset-name random-rerank --no-reranker", "--random-batch-size must be at least 2"),
        (
            "--dataset-name spec_bench --dataset-path q.jsonl --spec-bench-category x",
            "there are: math, travel",
        ),
    ] {
        let ended = dry_run(words).words("--num-prompts 2").end().with_code(2);
        assert!(ended.stderr.contains(expected), "{words}: {}", ended.stderr);
    }
}

#[test]
fn underscored_names_and_python_dicts_are_taken_as_vllm_takes_them() {
    let words = "--backend openai-chat --dataset_name random_mm --num_prompts 2 --random_input_len 8";
    let config = "{(16, 16, 1): 0.5, (8, 8, 1): 0.5}";
    let program = dry_run(words).arg("--random_mm_bucket_config").arg(config);
    let program = program.arg("--random-mm-limit-mm-per-prompt").arg(r#"{"image": 1, "video": 0}"#);
    program.arg("--enable-multimodal-chat").end().well();
}

#[test]
fn minus_one_prompts_are_all_of_a_file_each_once() {
    let words = "--dataset-name spec_bench --dataset-path q.jsonl --skip-chat-template --num-prompts -1";
    let all = dry_run(words).end().well().stdout;
    assert!(all.contains("Requests: 2, warm-up included") && !all.contains("Repeated"), "{all}");
    let warmed = dry_run(words).words("--num-warmups 1").end().well().stdout;
    assert!(warmed.contains("Requests: 3,") && warmed.contains("Repeated prompts: 1"), "{warmed}");
    let random = dry_run("--dataset-name random --num-prompts=-1").end().with_code(2).stderr;
    assert!(
        random.contains("--num-prompts -1 sends all that a file has, and random prompts have no end"),
        "{random}"
    );
    let none = dry_run("--dataset-name random --num-prompts 0").end().with_code(2).stderr;
    assert!(none.contains("from 1 to 1000000000, or -1"), "{none}");
}

#[test]
fn speed_bench_without_a_folder_and_without_a_network_names_the_ways_out() {
    let stderr = dry_run("--dataset-name speed-bench").end().with_code(2).stderr;
    assert!(stderr.contains("dataset nvidia/SPEED-Bench") && stderr.contains("--dataset-path"), "{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{stderr}");
}
