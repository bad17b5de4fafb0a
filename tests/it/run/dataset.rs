//! `servegauge dataset stats`.

use crate::support::Program;

#[test]
fn the_statistics_of_the_bundled_conversations() {
    let ended = Program::new("dataset stats").end().well();
    assert_eq!(ended.stdout, include_str!("../../golden/dataset-stats.txt"));
    // On a slow machine, stderr has progress lines as well.
    let is_progress = |line: &str| line.starts_with("reading: ");
    assert!(ended.stderr.lines().all(is_progress), "{}", ended.stderr);
}

#[test]
fn a_file_is_counted_with_what_would_be_dropped_and_why() {
    let pair = |question: &str, answer: &str| {
        format!(
            r#"{{"conversations": [{{"from": "human", "value": "{question}"}}, {{"from": "gpt", "value": "{answer}"}}]}}"#
        )
    };
    let data = [
        pair("How far is it from here to the next town?", "About ten miles, if you take the old road."),
        pair("Hi", "Hello, how can I help you with your work today?"),
        pair(&"word ".repeat(1200), "That was a long list of the same word."),
        r#"{"conversations": []}"#.to_owned(),
    ];
    let program = Program::new("dataset stats few.json").file("few.json", format!("[{}]", data.join(",\n")));
    let ended = program.end().well();
    assert_eq!((ended.line("Conversations"), ended.line("Usable")), ("4", "1 (25.0 %)"));
    for line in ["fewer than two turns: 1", "prompt too short: 1", "prompt too long: 1"] {
        assert!(ended.stdout.contains(&format!("\n  {line}\n")), "{line} is not in {}", ended.stdout);
    }
}

#[test]
fn a_file_that_is_no_dataset_is_told_in_one_line() {
    let ended = Program::new("dataset stats bad.json").file("bad.json", "{}").end().with_code(2);
    let expected =
        "error: bad.json: none of 1 entries can be used (dropped: 1 an entry without `conversations`";
    assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
    assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1));
}

/// One good row of each kind of file, and a bad one behind it.
const FILES: [(&str, &str, &str); 6] = [
    ("a.jsonl", "{\"prompt\": \"How is rain made?\"}\n{\"prompt\": null}\n", "expected a string, found null"),
    ("b.jsonl", "{\"turns\": [\"How is rain made?\"]}\n{\"turns\": 5}\n", "found a number"),
    (
        "c.csv",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n1,10,20\n2,,20\n",
        "`ContextTokens` must be a number of tokens",
    ),
    (
        "d.csv",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n1,GPT-4,10,20,30,x\n2,GPT-4,x,20,30,x\n",
        "`Request tokens` must be a number of tokens",
    ),
    (
        "e.jsonl",
        "{\"timestamp\": 0, \"input_length\": 9, \"output_length\": 5}\n{\"timestamp\": 1}\n",
        "no `input_length`",
    ),
    (
        "f.jsonl",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"How is rain made?\"}, {\"role\": \"assistant\", \"content\": \"Warm air \
         rises and cools.\"}]}\n{\"messages\": null}\n",
        "found null",
    ),
];

#[test]
fn every_dataset_is_counted_and_bad_rows_are_named() {
    for (name, content, fault) in FILES {
        let stats =
            |flags: &str| Program::new(&format!("dataset stats {name} {flags}")).file(name, content).end();
        let ended = stats("").well();
        let what = if name == "f.jsonl" { "Conversations" } else { "Entries" };
        assert_eq!((ended.line(what), ended.line("Dropped")), ("2", "1"), "{name}: {}", ended.stdout);
        assert!(ended.stdout.contains(fault), "{name}: {}", ended.stdout);
        let refused = stats("--strict").with_code(2);
        assert!(
            refused.stderr.contains("line ") && refused.stderr.contains(fault),
            "{name}: {}",
            refused.stderr
        );
    }
}

#[test]
fn a_run_says_which_rows_it_skipped_and_strict_refuses_them() {
    let (name, content, fault) = FILES[0];
    let words = format!(
        "--sim --dataset-name custom --dataset-path {name} --num-prompts 4 --custom-output-len 3 --allow-invalid"
    );
    let run = |flags: &str| Program::new("run").words(&words).words(flags).file(name, content).end();
    let ended = run("--save-result --result-filename r.json");
    assert!(ended.stderr.contains("warning: 1 of 2 rows of the dataset was skipped"), "{}", ended.stderr);
    assert!(ended.stdout.contains(fault) && ended.stdout.contains("Dataset"), "{}", ended.stdout);
    let refused = run("--strict").with_code(2);
    assert!(
        refused.stderr.contains("a.jsonl: line 2 column") && refused.stderr.contains(fault),
        "{}",
        refused.stderr
    );
}
