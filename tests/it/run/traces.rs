//! Traces as a user meets them: what they exclude, what a mistake says, and what of them is sent.

use crate::support::{Program, Simulator, quick};

const TRACE: &str = "t,in,out\n1000,8,3\n2000,9,3\n61000,10,3\n62000,11,3\n";
const MAPPED: &str = "--dataset-name trace --dataset-path trace.csv --trace-columns timestamp=t,input=in,output=out \
                      --timed-trace-sec-multiplier 0.001";

fn dry(words: &str) -> Program {
    Program::new("run --dry-run --model x --dataset-path trace.csv").words(words).file("trace.csv", TRACE)
}

#[test]
fn a_window_of_a_mapped_trace_is_sent_at_its_speed() {
    let simulator = Simulator::start(quick());
    let program = simulator.run(MAPPED).file("trace.csv", TRACE);
    let ended = program.words("--trace-window 1s..2m --trace-speed 100x --save-detailed").end().well();
    let result = ended.result();
    let records = result["servegauge"]["records"].as_array().unwrap();
    let dues: Vec<f64> = records.iter().map(|record| record["due_s"].as_f64().unwrap()).collect();
    assert_eq!(dues, [0.0, 0.59, 0.6]);
    assert_eq!((&result["num_prompts"], &result["request_rate"]), (&3.into(), &"inf".into()));
    assert_eq!(result["servegauge"]["spec"]["load"]["pace"]["kind"], "trace");
    let lengths: Vec<u64> = simulator.truth().iter().map(|story| story.prompt_tokens).collect();
    assert_eq!(lengths, [9, 10, 11]);
}

#[test]
fn without_its_times_a_trace_gives_lengths_to_any_rate() {
    let simulator = Simulator::start(quick());
    let program = simulator.run(MAPPED).file("trace.csv", TRACE);
    let ended =
        program.words("--no-self-timed --request-rate 200 --num-prompts 3 --save-result").end().well();
    assert_eq!((ended.line("Successful requests"), ended.line("Total input tokens")), ("3", "27"));
    assert_eq!(ended.result()["request_rate"], 200.0);
}

#[test]
fn a_warm_up_takes_rows_behind_the_measured_ones() {
    let simulator = Simulator::start(quick());
    let program = simulator.run(MAPPED).file("trace.csv", TRACE);
    let ended = program.words("--num-warmups 2 --trace-speed 1000x --save-result").end().well();
    assert_eq!((ended.line("Successful requests"), ended.line("Total input tokens")), ("2", "17"));
}

#[test]
fn what_a_trace_excludes_is_told_with_the_way_out() {
    for (words, parts) in [
        ("--dataset-name azure --request-rate 5", ["azure", "--no-self-timed"]),
        ("--dataset-name timed_trace --stages 10s:5", ["--stages", "--no-self-timed"]),
        ("--dataset-name random --self-timed", ["--self-timed", "time stamps"]),
        ("--dataset-name burstgpt --self-timed --request-rate 5", ["burstgpt", "--request-rate"]),
        ("--dataset-name azure --warmup 5s", ["--warmup", "--num-warmups"]),
        ("--dataset-name trace --trace-columns when=t", ["when=t", "timestamp, input"]),
        ("--dataset-name trace --think-time trace", ["--think-time", "--trace-columns session="]),
        (
            "--dataset-name sharegpt --multi-turn --think-time trace",
            ["--think-time trace needs a trace", "duration="],
        ),
        (
            "--dataset-name trace --trace-columns session=t --prompt-token-ids",
            ["--prompt-token-ids cannot send the session history", "--history none"],
        ),
        ("--dataset-name trace --trace-window 5m", ["--trace-window", "10m..20m"]),
        ("--dataset-name trace --trace-speed 0x", ["--trace-speed", "2x"]),
        ("--dataset-name trace", ["line 1: no column `input_length` among: t, in, out", "--trace-columns"]),
        ("--dataset-name azure", ["no column `ContextTokens`", "a Azure trace is a CSV"]),
        (
            "--dataset-name timed_trace",
            ["not JSON: expected ident (first: line 1 column 2)", "--timed-trace-label-"],
        ),
    ] {
        let ended = dry(words).end().with_code(2);
        assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{words}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    let ended = Program::new("run --dry-run --model x --dataset-name burstgpt").end().with_code(2);
    assert!(ended.stderr.contains("--dataset-path"), "{}", ended.stderr);
}

#[test]
fn a_dry_run_says_what_a_trace_would_send() {
    let words = MAPPED.replace("--dataset-path trace.csv ", "");
    let ended = dry(&words).end().well();
    assert_eq!(ended.line("Request rate"), "as in the trace");
    assert_eq!(ended.line("Rows"), "4, dropped: none");
    assert_eq!(ended.line("Span of the arrivals"), "1m 1s");
}

#[test]
fn a_trace_in_another_unit_is_refused_or_questioned_before_the_run() {
    let unix = |unit: &str| {
        let row = |second: u32| format!("{{\"t\": {}{unit}, \"i\": 5, \"o\": 5}}\n", 1_700_000_000 + second);
        (0..3).map(row).collect::<String>()
    };
    let words = "run --dry-run --model x --dataset-path trace.jsonl --dataset-name trace --trace-columns \
                 timestamp=t,input=i,output=o";
    let dry = |unit: &str, more: &str| Program::new(words).words(more).file("trace.jsonl", unix(unit));
    let ended = dry("000000000", "").end().with_code(2);
    for part in [
        "trace.jsonl: line 2",
        "`t` is 1700000000000000000 and 1700000001000000000 in the first two rows",
        "11574 days apart",
        "Unix times in nanoseconds, which --timed-trace-sec-multiplier 0.000000001 reads",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    let ended = dry("", "--timed-trace-sec-multiplier 0.001").end().well();
    assert!(ended.stderr.contains("warning: `t` is 1700000000 and 1700000001"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--timed-trace-sec-multiplier 1 reads"), "{}", ended.stderr);
    for (unit, factor) in [("", "1"), ("000", "0.001"), ("000000000", "0.000000001")] {
        let ended = dry(unit, &format!("--timed-trace-sec-multiplier {factor}")).end().well();
        assert!(!ended.stderr.contains("`t`"), "{}", ended.stderr);
        assert_eq!(ended.line("Span of the arrivals"), "2.00 s", "{}", ended.stdout);
    }
}
