//! What the server says of itself while it is measured.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Ended, Pages, Program, Simulator, Witness, quick, steps};

const SMALL: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --save-result";

fn server(ended: &Ended) -> Value {
    ended.result()["servebench"]["server"].clone()
}

fn sum(column: &Value) -> f64 {
    column.as_array().unwrap().iter().filter_map(Value::as_f64).sum()
}

#[test]
fn the_servers_counts_are_those_of_the_run() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 30 --max-concurrency 4 --metrics-interval 50ms";
    let ended = simulator.run(SMALL).words(words).end().well();
    let (result, replica) = (ended.result(), &server(&ended)["replicas"][0]);
    let counted = |signal: &str| sum(&replica["counters"][signal]);
    assert_eq!(counted("prompt_tokens"), result["total_input_tokens"].as_f64().unwrap());
    assert_eq!(counted("generation_tokens"), result["total_output_tokens"].as_f64().unwrap());
    assert_eq!(counted("finished"), 30.0);
    assert_eq!(replica["parts"]["finished"]["length"], 30.0);
    for times in ["ttft", "e2e", "tpot", "queue_time", "prefill_time", "decode_time"] {
        assert_eq!(replica["times"][times]["count"], 30.0, "{times}");
    }
    assert_eq!(replica["engine"], "vLLM");
    assert_eq!(replica["url"], format!("{}/metrics", simulator.base_url()));
    assert!(ended.stdout.contains("─── Server ───"), "{}", ended.stdout);
    let ttft = ended.line("Mean TTFT by the server");
    assert!(ttft.contains(" ms, by the client: "), "{ttft}");
    assert!(ttft.contains(", between them (network, gateway, client): "), "{ttft}");
    assert!(!ended.stdout.contains("Requests of others"), "{}", ended.stdout);
}

#[test]
fn samples_are_taken_during_the_run_and_columns_are_whole() {
    let simulator =
        Simulator::start(servebench::sim::Spec { timing: steps(Duration::from_millis(30)), ..quick() });
    let ended = simulator.run(SMALL).words("--num-prompts 8 --metrics-interval 20ms").end().well();
    let server = server(&ended);
    let at: Vec<f64> = server["at_s"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert!(at.len() >= 3 && at[0] <= 0.0 && at.is_sorted(), "{at:?}");
    let replica = &server["replicas"][0];
    for kind in ["gauges", "counters", "means_s"] {
        for (signal, column) in replica[kind].as_object().unwrap() {
            assert_eq!(column.as_array().unwrap().len(), at.len(), "{signal}");
        }
    }
    let running = replica["gauges"]["running"].as_array().unwrap();
    assert!(running.iter().any(|level| level.as_f64() > Some(0.0)), "{running:?}");
}

/// Before t0 was told apart from the begin of the warm-up, the first sample was at 2 s and the last at 3 s.
#[test]
fn samples_after_a_warm_up_are_on_the_runs_clock() {
    let simulator =
        Simulator::start(servebench::sim::Spec { timing: steps(Duration::from_millis(5)), ..quick() });
    for load in ["--max-concurrency 2", "--request-rate 40"] {
        let words = format!("{load} --warmup 2s --duration 1s --metrics-interval 100ms");
        let ended = simulator.run(SMALL).words(&words).end().well();
        let at: Vec<f64> =
            server(&ended)["at_s"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        let duration = ended.result()["duration"].as_f64().unwrap();
        assert!(at[0].abs() < 1.0, "{load}: {at:?}");
        assert!(*at.last().unwrap() <= duration + 1.0, "{load}: {at:?}");
    }
}

#[test]
fn warm_ups_are_not_in_the_servers_figures() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 40 --num-warmups 20 --request-rate 40 --max-concurrency 4";
    let ended = simulator.run(SMALL).words(words).end().well();
    let replica = &server(&ended)["replicas"][0];
    let finished = sum(&replica["counters"]["finished"]);
    // The begin is noticed at the first event, after which a few may have ended already.
    assert!((20.0..=42.0).contains(&finished), "{finished}");
}

fn v0(count: u32, kv: f64) -> String {
    format!(
        "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{model_name=\"m\"}} {count}.0\n\
         vllm:num_requests_swapped{{model_name=\"m\"}} 2.0\nvllm:gpu_cache_usage_perc{{model_name=\"m\"}} {kv}\n\
         vllm:gpu_prefix_cache_hit_rate{{model_name=\"m\"}} 0.25\n\
         vllm:num_preemptions_total{{model_name=\"m\"}} {count}.0\n\
         vllm:spec_decode_num_draft_tokens_total{{model_name=\"m\"}} {count}00.0\n\
         vllm:spec_decode_num_accepted_tokens_total{{model_name=\"m\"}} {count}0.0\n\
         vllm:time_per_output_token_seconds_sum{{model_name=\"m\"}} {count}.0\n\
         vllm:time_per_output_token_seconds_count{{model_name=\"m\"}} {count}00\n"
    )
}

#[test]
fn names_of_older_versions_are_understood() {
    let simulator = Simulator::start(quick());
    let pages = Pages::start(vec![v0(5, 0.5), v0(9, 0.75)]);
    let words = "--num-prompts 4 --metrics-interval 1h --header authorization=key --metrics-url";
    let ended = simulator.run(SMALL).words(words).arg(pages.base_url()).end().well();
    assert_eq!(pages.asked(), 2, "before and after");
    for line in [
        "Requests running: mean 7.00, peak 9",
        "Requests swapped: mean 2.00, peak 2",
        "KV cache usage: mean 62.5 %, peak 75.0 %",
        "Preemptions: 4",
        "Prefix cache hit rate: 25.0 %",
        "Draft tokens accepted: 10.0 % of 400",
        "Mean ITL by the server: 10 ms, by the client: ",
    ] {
        assert!(ended.stdout.contains(&format!("\n{line}")), "{line}:\n{}", ended.stdout);
    }
    let result = ended.result();
    assert_eq!(
        (&result["spec_decode_draft_tokens"], &result["spec_decode_num_drafts"]),
        (&400.into(), &Value::Null)
    );
}

#[test]
fn replicas_add_up_and_one_that_is_silent_is_named() {
    let simulator = Simulator::start(quick());
    let page =
        |count: u32| format!("vllm:num_requests_running {count}\nvllm:num_preemptions_total {count}\n");
    let pages = [Pages::start(vec![page(1), page(3)]), Pages::start(vec![page(2), page(7)])];
    let ended = simulator
        .run(SMALL)
        .words("--num-prompts 4 --metrics-interval 1h --metrics-url http://127.0.0.1:1")
        .arg(pages[0].url())
        .arg(pages[1].url())
        .end()
        .well();
    assert!(ended.stdout.contains("\nRequests running: mean 6.50, peak 10\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\nPreemptions: 7\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains(", 3 replicas (answers missing: 2)\n"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("no metrics that we know at http://127.0.0.1:1/metrics"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_restart_of_the_server_is_told() {
    let simulator = Simulator::start(quick());
    let page = |start: u32, count: u32| {
        format!("process_start_time_seconds {start}\nvllm:num_preemptions_total {count}\n")
    };
    let pages = Pages::start(vec![page(1_000, 50), page(2_000, 3)]);
    let words = "--num-prompts 4 --metrics-interval 1h --metrics-url";
    let ended = simulator.run(SMALL).words(words).arg(pages.url()).end().well();
    assert!(ended.stdout.contains("\nRESTARTED: "), "{}", ended.stdout);
    assert_eq!(ended.line("Preemptions"), "3");
}

#[test]
fn who_wants_no_metrics_gets_none() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(SMALL).words("--num-prompts 4 --no-server-metrics").end().well();
    assert!(server(&ended).is_null());
    assert!(!ended.stdout.contains("─── Server"), "{}", ended.stdout);
}

#[test]
fn a_server_without_metrics_is_measured_without_a_word() {
    let simulator = Simulator::start(quick());
    let pages = Pages::start(vec!["<html>Not here.</html>".into()]);
    let witness = Witness::before(&simulator);
    // Of a page that is not ours nothing is made.
    let ended = witness.run(SMALL).words("--num-prompts 4 --metrics-url").arg(pages.url()).end().well();
    assert!(server(&ended).is_null());
    assert_eq!(pages.asked(), 1, "it is asked once");
}

#[test]
fn a_metrics_url_that_is_none_is_a_usage_error() {
    let ended = Program::run_against("http://127.0.0.1:1", "--metrics-url localhost:8000").end().with_code(2);
    assert!(ended.stderr.contains("http://"), "{}", ended.stderr);
}
