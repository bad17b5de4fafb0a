//! Which tokens count, and the source of each count.

use serde_json::{Value, json};
use servegauge::sim::{LineEnding, OutputSpec, ReasoningField, SimSpec};

use crate::support::{Ended, Program, Simulator, Story, Witness, quick};

const SMALL: &str = "--dataset-name random --random-input-len 12 --random-output-len 9 --random-range-ratio 0.5 \
                     --ignore-eos --num-prompts 8 --max-concurrency 4 --save-detailed";

#[test]
fn completions_and_chats_are_counted_by_the_servers_usage() {
    for backend in ["openai", "vllm", "openai-chat"] {
        let (result, truth) = measure(quick(), &format!("--backend {backend}"));
        agree(&result, &truth);
        for tokens in ["input_tokens", "output_tokens"] {
            assert_eq!(sources(&result, tokens), &json!({"usage": 8}), "{backend}");
        }
    }
}

#[test]
fn reasoning_is_output_under_either_of_its_names() {
    for reasoning_field in [ReasoningField::Reasoning, ReasoningField::ReasoningContent] {
        let output = OutputSpec { reasoning: 4, reasoning_field, ..quick().output };
        let (result, truth) = measure(SimSpec { output, ..quick() }, "--backend openai-chat");
        agree(&result, &truth);
        // The client counts every event, including the first ones, which are reasoning.
        let seen = result["servegauge"]["records"].as_array().unwrap().iter().map(|it| &it["output_events"]);
        let written: usize = truth.iter().map(|story| story.tokens_ns.len()).sum();
        assert_eq!(seen.map(|count| count.as_u64().unwrap()).sum::<u64>(), written as u64);
    }
}

#[test]
fn a_server_without_usage_is_counted_by_the_tokenizer() {
    for words in ["", "--backend openai-chat"] {
        let output = OutputSpec { usage: false, ..quick().output };
        let (result, truth) = measure(SimSpec { output, ..quick() }, words);
        assert_eq!(sources(&result, "output_tokens"), &json!({"tokenizer": 8}));
        assert_eq!(result["total_output_tokens"], total(&truth, |story| story.output_tokens));
        assert_eq!(sources(&result, "input_tokens"), &json!({"tokenizer": 8}));
        if words.is_empty() {
            // Only the server knows its chat template, so the totals of chat differ without usage.
            assert_eq!(result["total_input_tokens"], total(&truth, |story| story.prompt_tokens));
        }
    }
}

#[test]
fn several_tokens_in_an_event_are_counted_as_several() {
    let output = OutputSpec { tokens_per_event: 4, ..quick().output };
    let (result, truth) = measure(SimSpec { output, ..quick() }, "");
    agree(&result, &truth);
    let events: usize = truth.iter().map(|story| story.tokens_ns.len()).sum();
    assert!((events as u64) < total(&truth, |story| story.output_tokens) / 2);
    assert_peak_is_above_average(&result);
}

/// Chunks of four tokens, the time between which would be divided by too many tokens if the first chunk were one token.
#[test]
fn tpot_is_over_the_tokens_after_the_first_event_whoever_counts_those_in_it() {
    let output = OutputSpec { tokens_per_event: 4, ..quick().output };
    let simulator = Simulator::start(SimSpec { output, ..quick() });
    let words = "--dataset-name random --random-input-len 12 --random-output-len 22 --ignore-eos --num-prompts 8 \
                 --max-concurrency 4 --save-detailed";
    let continuous = r#"{"stream_options": {"include_usage": true, "continuous_usage_stats": true}}"#;
    let counted = ["tokenizer", "usage"].map(|source| {
        let program = simulator.run(words);
        let program = if source == "usage" { program.words("--extra-body").arg(continuous) } else { program };
        let ended = program.end().well();
        assert_eq!(ended.line("First-event tokens counted by").replace("server ", ""), source);
        (source, ended)
    });
    for (source, ended) in counted {
        let result = ended.result();
        let records = result["servegauge"]["records"].as_array().unwrap();
        for record in records {
            assert_eq!(record["first_event_tokens"], 4, "{record}");
            assert_eq!(record["first_event_tokens_source"], source, "{record}");
        }
        let mean = |tokens: f64| {
            let at = |record: &Value, step: &str| record[format!("{step}_s")].as_f64().unwrap();
            let span = |record| at(record, "last_token") - at(record, "first_token");
            1e3 * records.iter().map(span).sum::<f64>() / records.len() as f64 / tokens
        };
        let ours = result["servegauge"]["metrics"]["latencies"]["tpot"]["mean_s"].as_f64().unwrap();
        let vllms = result["mean_tpot_ms"].as_f64().unwrap();
        assert!((1e3 * ours / mean(18.0) - 1.0).abs() < 1e-3, "{ours}");
        assert!((vllms / mean(21.0) - 1.0).abs() < 1e-3, "{vllms}");
        assert!(
            ended.line("Mean TPOT as vLLM computes it").ends_with("(it counts the first event as one token)")
        );
    }
}

#[test]
fn answers_in_one_event_have_no_tpot_and_are_not_good() {
    let output = OutputSpec { tokens_per_event: 50, ..quick().output };
    let simulator = Simulator::start(SimSpec { output, ..quick() });
    let ended = simulator.run(SMALL).words("--goodput tpot:10000").end().well();
    assert_eq!(ended.line("Mean TPOT"), "n/a");
    assert_eq!(ended.line("No TPOT"), "8 of 8 answers came in one event, so their tokens cannot be timed");
    assert!(ended.line("Good requests").starts_with("0 of 8 (0.0 %)"), "{}", ended.line("Good requests"));
    assert!(ended.line("Not measured").starts_with("8 of 8 lack a latency that has a limit"));
    assert_eq!(ended.result()["mean_tpot_ms"], 0.0, "vLLM's key keeps vLLM's arithmetic");
}

#[test]
fn the_peak_is_never_below_the_average() {
    assert_peak_is_above_average(&measure(quick(), "").0);
}

#[test]
fn crlf_line_ends_change_nothing() {
    let output = OutputSpec { line_ending: LineEnding::Crlf, ..quick().output };
    for words in ["", "--backend openai-chat"] {
        let (result, truth) = measure(SimSpec { output: output.clone(), ..quick() }, words);
        agree(&result, &truth);
    }
}

#[test]
fn an_answer_may_stop_before_the_token_limit() {
    let output = OutputSpec { eos_mean: Some(4.0), ..quick().output };
    let simulator = Simulator::start(SimSpec { output, ..quick() });
    let words = "--dataset-name sharegpt --num-prompts 12 --max-concurrency 4 --save-detailed";
    let ended = simulator.run(words).end().well();
    let asked = |answer: &Value| answer["finish_reason"] == "stop";
    assert!(ended.result()["servegauge"]["records"].as_array().unwrap().iter().any(asked));
    agree(&ended.result(), &simulator.truth());
}

#[test]
fn answers_to_random_prompts_have_the_length_that_was_asked_for() {
    let output = OutputSpec { eos_mean: Some(4.0), ..quick().output };
    let simulator = Simulator::start(SimSpec { output, ..quick() });
    let words =
        "--dataset-name random --random-input-len 8 --random-output-len 30 --num-prompts 8 --save-detailed";
    let result = simulator.run(words).end().well().result();
    assert_eq!(result["total_output_tokens"], 8 * 30);
}

#[test]
fn without_a_tokenizer_of_its_own_the_servers_is_asked_for_the_served_name() {
    let simulator = Simulator::start(SimSpec { served_names: vec!["tiny".into()], ..quick() });
    let witness = Witness::before(&simulator);
    let ended = without_tokenizer(&witness, "--served-model-name tiny");
    assert_eq!(ended.stderr.lines().count(), 1, "nothing to warn of: {}", ended.stderr);
    let asked = witness.heard("/tokenize");
    assert!(!asked.is_empty() && asked.iter().all(|heard| heard.body["model"] == "tiny"));
    let result = ended.result();
    let tokenizer = &result["servegauge"]["inputs"]["tokenizer"];
    assert_eq!(tokenizer["origin"], format!("{}/tokenize", witness.base_url()));
    assert_eq!(tokenizer["source"], "tokenizer");
    assert_eq!(result["tokenizer_id"], tokenizer["origin"]);
    agree(&result, &simulator.truth());
}

#[test]
fn without_any_tokenizer_an_estimate_is_announced_and_marked() {
    let output = OutputSpec { usage: false, ..quick().output };
    let simulator = Simulator::start(SimSpec { output, ..quick() });
    let witness = Witness::before_without(&simulator, "/tokenize");
    let ended = without_tokenizer(&witness, "");
    assert!(ended.stderr.starts_with("warning: prompt lengths are ESTIMATED"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("--tokenizer PATH") && ended.stderr.contains("HTTP 404"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.line("Input tokens counted by"), "estimate (no tokenizer was found: do not compare)");
    assert!(ended.line("Output tokens counted by").starts_with("events (WRONG"));
    let result = ended.result();
    assert_eq!(result["servegauge"]["inputs"]["tokenizer"]["source"], "estimate");
    assert_eq!(result["tokenizer_id"], "estimate");
    assert_eq!(sources(&result, "input_tokens"), &json!({"estimate": 8}));
    assert_eq!(sources(&result, "output_tokens"), &json!({"events": 8}));
}

fn measure(spec: SimSpec, words: &str) -> (Value, Vec<Story>) {
    let simulator = Simulator::start(spec);
    let ended = simulator.run(SMALL).words(words).end().well();
    (ended.result(), simulator.truth())
}

fn without_tokenizer(witness: &Witness, words: &str) -> Ended {
    Program::run_against(&witness.base_url(), SMALL).words(words).end().well()
}

/// Both totals are the truth's, and nothing failed.
#[track_caller]
fn agree(result: &Value, truth: &[Story]) {
    assert_eq!((&result["completed"], &result["failed"]), (&truth.len().into(), &0.into()));
    assert_eq!(result["total_input_tokens"], total(truth, |story| story.prompt_tokens));
    assert_eq!(result["total_output_tokens"], total(truth, |story| story.output_tokens));
}

#[track_caller]
fn assert_peak_is_above_average(result: &Value) {
    let number = |key: &str| result[key].as_f64().unwrap();
    let (peak, average) = (number("max_output_tokens_per_s"), number("output_throughput"));
    assert!(peak >= average, "a peak of {peak} tok/s, and {average} on average");
}

fn total(truth: &[Story], tokens: fn(&Story) -> u64) -> u64 {
    truth.iter().map(tokens).sum()
}

/// The number of requests by the source of their token count.
fn sources<'a>(result: &'a Value, tokens: &str) -> &'a Value {
    &result["servegauge"]["metrics"][tokens]["requests_by_source"]
}
