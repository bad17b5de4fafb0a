//! The server's own metrics during a run.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Ended, Pages, Program, Simulator, Witness, quick, steps};

const SMALL: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --save-result";

fn server(ended: &Ended) -> Value {
    ended.result()["servegauge"]["server"].clone()
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
    assert!(ttft.ends_with(" ms less than at the client (network, gateway, client)"), "{ttft}");
    assert!(!ended.stdout.contains("Other clients were active"), "{}", ended.stdout);
}

#[test]
fn samples_are_taken_during_the_run_and_columns_are_whole() {
    let simulator =
        Simulator::start(servegauge::sim::SimSpec { timing: steps(Duration::from_millis(30)), ..quick() });
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

/// The page stamps each question by the wall clock. A sample gets its time when the answer is there, and the next question
/// is asked later, so its time lies between the stamps of two questions. No sample is from before t0, and the last is from
/// after the last request.
#[test]
fn samples_after_a_warm_up_are_on_the_runs_clock() {
    let simulator = Simulator::start(quick());
    for load in ["--max-concurrency 2", "--request-rate 10 --burstiness inf"] {
        let pages = Pages::start(vec![v0(5, 0.5)]);
        let words = format!("{load} --warmup 750ms --duration 1s --metrics-interval 100ms --metrics-url");
        let ended = simulator.run(SMALL).words(&words).arg(pages.base_url()).end().well();
        let result = ended.result();
        let t0 = |key: &str| i128::from(result["servegauge"]["t0"][key].as_u64().unwrap());
        // The result has whole milliseconds.
        let slack = t0("doubt_ns") + 500_000;
        let ns = |seconds: &Value| (seconds.as_f64().unwrap() * 1e9).round() as i128;
        let at: Vec<i128> = server(&ended)["at_s"].as_array().unwrap().iter().map(ns).collect();
        assert!(at[0] >= -slack && *at.last().unwrap() >= ns(&result["duration"]) - slack, "{load}: {at:?}");
        // The first question, before the warm-up, is whether there is a page. The one before the last may have been broken
        // off, and then there is no sample of it.
        let asked: Vec<i128> = pages.asked_at().iter().map(|at| at - t0("unix_ns")).collect();
        let (last, earlier) = at.split_last().unwrap();
        assert!(earlier.len() > 3, "{load}: {at:?}");
        for (sample, questions) in earlier.iter().zip(asked[1..].windows(2)) {
            let is_between = questions[0] - slack <= *sample && *sample <= questions[1] + slack;
            assert!(is_between, "{load}: {sample} is not within {questions:?}");
        }
        assert!(asked.last().unwrap() - slack <= *last, "{load}: {last} {asked:?}");
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
        "Mean ITL by the server: 10 ms\n",
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
        ended.stderr.contains("warning: http://127.0.0.1:1/metrics: no metrics: cannot connect: connection refused; is the server running?"),
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

/// B22: a page that could not be parsed was taken for none, and `diagnose` then asked for a server with metrics.
#[test]
fn a_page_that_is_not_understood_is_told_by_run_report_result_and_diagnose() {
    let simulator = Simulator::start(quick());
    let router = "vllm_router:current_qps{server=\"a\"} 2.5\n".to_owned();
    let pages = Pages::start(vec![router]);
    let words = "--num-prompts 4 --result-filename run.json --metrics-url";
    let ended = simulator.run(SMALL).words(words).arg(pages.url()).end().well();
    let looks = "no metrics of an engine: it has vllm_router:current_qps: these look like a router's: vLLM's";
    assert!(ended.stderr.contains(&format!("warning: {}: {looks}", pages.url())), "{}", ended.stderr);
    assert!(ended.stdout.contains(&format!("\nMetrics that could not be parsed: {}: {looks}", pages.url())));
    let run = ended.read("run.json");
    let json: Value = serde_json::from_str(&run).unwrap();
    assert!(json["servegauge"]["unread_metrics"][0].as_str().unwrap().contains(looks), "{run}");
    let diagnosed = Program::new("diagnose run.json").file("run.json", run).end().well();
    assert!(diagnosed.stdout.contains(looks), "{}", diagnosed.stdout);
}

/// B20: TensorRT-LLM's own page is JSON, and empties itself.
#[test]
fn the_json_of_tensorrt_llm_is_read() {
    let simulator = Simulator::start(quick());
    let page = |active: u32, used: u32| {
        format!(
            "[{{\"iter\":1,\"numActiveRequests\":{active},\"numQueuedRequests\":0,\"kvCacheStats\":{{\"usedNumBlocks\":{used},\
             \"maxNumBlocks\":100}}}}]"
        )
    };
    let pages = Pages::start(vec![page(3, 10), page(5, 50)]);
    let words = "--num-prompts 4 --metrics-interval 1h --metrics-url";
    let ended = simulator.run(SMALL).words(words).arg(pages.url()).end().well();
    assert!(ended.stdout.contains("\nRequests running: mean 4.00, peak 5\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\nKV cache usage: mean 30.0 %, peak 50.0 %\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains(", TensorRT-LLM\n"), "{}", ended.stdout);
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
