//! Rates that change, and probes beside the load.

use crate::support::{Ended, Program, Simulator, quick};

const SMALL: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --save-detailed";

fn dues(ended: &Ended) -> Vec<f64> {
    let result = ended.result();
    let records = result["servegauge"]["records"].as_array().unwrap();
    records.iter().map(|record| record["due_s"].as_f64().unwrap()).collect()
}

#[test]
fn a_ramp_is_linear_in_time_and_has_vllms_keys_and_file_name() {
    let simulator = Simulator::start(quick());
    let words =
        "--num-prompts 100 --ramp-up-strategy linear --ramp-up-start-rps 0 --ramp-up-end-rps 100 --label up";
    let ended = simulator.run(SMALL).words(words).end().well();
    let dues = dues(&ended);
    assert!((dues[99] - 2.0).abs() < 1e-6, "100 requests up to 100 a second take two seconds");
    let first_half = dues.iter().filter(|due| **due < 1.0).count();
    assert!((10..40).contains(&first_half), "a quarter of them comes in the first half: {first_half}");
    let (name, result) = ended.saved();
    assert!(name.starts_with("up-ramp-up-linear-0qps-100qps-some-model-"), "{name}");
    assert_eq!((&result["ramp_up_start_rps"], &result["ramp_up_end_rps"]), (&0.into(), &100.into()));
    assert_eq!((&result["ramp_up_strategy"], &result["request_rate"]), (&"linear".into(), &"inf".into()));
    let changes = result["rps_change_events"].as_array().unwrap();
    assert_eq!((changes.len(), &changes[100]["rps"]), (101, &100.into()));
    assert!(changes[0]["timestamp"].as_str().unwrap().contains('T'));
    let why = "the rate of arrivals went through a ramp or stages";
    assert!(ended.stdout.contains(why), "{}", ended.stdout);
}

#[test]
fn stages_follow_each_other_and_say_how_long_the_run_is() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(SMALL).words("--stages 500ms:20,200ms:0,500ms:100").end().well();
    let dues = dues(&ended);
    assert_eq!(dues.len(), 60, "10 and 50");
    assert!(dues.iter().all(|due| *due <= 0.5 || (0.7..=1.2).contains(due)), "{dues:?}");
    let first = dues.iter().filter(|due| **due <= 0.5).count();
    assert!((2..25).contains(&first), "{first}");
}

#[test]
fn probes_are_sent_beside_a_full_cap_and_counted_apart() {
    let simulator = Simulator::start(quick());
    let words =
        "--num-prompts 3 --max-concurrency 1 --ignore-eos --random-output-len 300 --probe-request-rate 20";
    let ended =
        simulator.run("--dataset-name random --random-input-len 8 --save-result").words(words).end().well();
    let result = ended.result();
    assert_eq!((&result["completed"], &result["probe_failed"]), (&3.into(), &0.into()));
    let probes = result["probe_completed"].as_u64().unwrap();
    assert!(probes >= 3, "{probes} in about a second");
    assert_eq!(ended.line("Probe requests completed"), probes.to_string());
    let [median, p99, max] =
        ["median", "p99", "max"].map(|it| result[format!("probe_{it}_e2el_ms")].as_f64().unwrap());
    assert!(0.0 < median && median <= p99 && p99 <= max);
    assert_eq!(result["max_concurrent_requests"], 1);
    let stories = simulator.truth();
    let small = stories.iter().filter(|story| story.output_tokens == 1).count() as u64;
    assert!(small >= probes && stories.len() as u64 == small + 3);
}

#[test]
fn what_excludes_itself_is_told() {
    for (words, part) in [
        ("--ramp-up-strategy linear", "--ramp-up-start-rps"),
        (
            "--ramp-up-strategy linear --ramp-up-start-rps 1 --ramp-up-end-rps 5 --request-rate 3",
            "--request-rate",
        ),
        ("--ramp-up-strategy linear --ramp-up-start-rps 1 --ramp-up-end-rps 0", "--ramp-up-end-rps"),
        ("--ramp-up-strategy exponential --ramp-up-start-rps 0 --ramp-up-end-rps 5", "--ramp-up-start-rps 0"),
        (
            "--ramp-up-strategy linear --ramp-up-by index --ramp-up-start-rps 0 --ramp-up-end-rps 5",
            "--ramp-up-by time",
        ),
        ("--ramp-up-start-rps 1", "--ramp-up-strategy"),
        ("--stages 10s:5 --duration 5s", "--duration"),
        ("--stages 10s", "TIME:RATE"),
        ("--stages 10s:0", "--stages sends nothing"),
        ("--probe-request-rate=-1", "--probe-request-rate"),
    ] {
        let ended = Program::new("run --dry-run --model x").words(words).end().with_code(2);
        assert!(ended.stderr.contains(part), "{words}: {}", ended.stderr);
    }
}
