//! `servebench dataset stats`.

use crate::support::Program;

#[test]
fn the_statistics_of_the_bundled_conversations() {
    let ended = Program::new("dataset stats").end().well();
    assert_eq!(ended.stdout, include_str!("../golden/dataset-stats.txt"));
    assert_eq!(ended.stderr, "");
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
    assert!(ended.stderr.starts_with("error: bad.json: line 1 column "), "{}", ended.stderr);
    assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1));
}
