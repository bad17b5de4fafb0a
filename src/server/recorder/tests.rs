use super::*;
use crate::server::page::Page;

/// Samples a second apart; `None` is no answer.
fn record(pages: &[Option<&str>]) -> ServerSide {
    let mut recorder = Recorder::new(["http://a/metrics".to_owned()], Duration::from_secs(1));
    for (second, page) in (0..).zip(pages) {
        let at = Timestamp::from_second(1_000 + second).unwrap();
        recorder.push(at, vec![page.map(|page| Reading::of(&Page::parse(page)))]);
    }
    recorder.finish(Timestamp::from_second(1_000).unwrap())
}

#[test]
fn gauges_are_levels_and_counters_increases() {
    let server = record(&[
        Some("vllm:num_requests_running 1\nvllm:num_preemptions_total 5\n"),
        Some("vllm:num_requests_running 3\nvllm:num_preemptions_total 5\n"),
        Some("vllm:num_requests_running 2\nvllm:num_preemptions_total 7\n"),
    ]);
    assert_eq!(server.at_s, [0.0, 1.0, 2.0]);
    let replica = &server.replicas[0];
    assert_eq!(replica.engine.as_deref(), Some("vLLM"));
    assert_eq!(replica.gauges[&Signal::Running], [Some(1.0), Some(3.0), Some(2.0)]);
    assert_eq!(replica.counters[&Signal::Preemptions], [None, Some(0.0), Some(2.0)]);
    assert_eq!(server.counted(Signal::Preemptions), Some(2.0));
}

#[test]
fn what_is_missing_is_missing_and_nothing_is_lost() {
    let page = |count: u32| format!("vllm:prompt_tokens_total {count}\n");
    let server = record(&[Some(&page(10)), None, Some(&page(30)), Some("")]);
    assert_eq!(server.missed(), 1);
    assert_eq!(server.replicas[0].counters[&Signal::PromptTokens], [None, None, Some(20.0), None]);
}

#[test]
fn a_restart_is_noticed_and_what_came_after_counts() {
    let page = |start: u32, count: u32, sum: f64| {
        format!(
            "process_start_time_seconds {start}\nvllm:generation_tokens_total {count}\n\
             vllm:time_to_first_token_seconds_sum {sum}\nvllm:time_to_first_token_seconds_count {count}\n"
        )
    };
    let server = record(&[Some(&page(7, 100, 9.0)), Some(&page(7, 110, 10.0)), Some(&page(9, 4, 2.0))]);
    assert_eq!(server.restarts().collect::<Vec<_>>(), [2.0]);
    assert_eq!(server.counted(Signal::GenerationTokens), Some(14.0));
    let ttft = server.times(Signal::Ttft).unwrap();
    assert_eq!((ttft.count, ttft.sum), (14.0, 3.0));
    assert_eq!(server.replicas[0].means_s[&Signal::Ttft], [None, Some(0.1), Some(0.5)]);
    assert!(!server.replicas[0].gauges.contains_key(&Signal::ProcessStart));
}

#[test]
fn a_counter_that_falls_is_a_restart_too() {
    let server = record(&[Some("vllm:prompt_tokens_total 8\n"), Some("vllm:prompt_tokens_total 3\n")]);
    assert_eq!(server.restarts().count(), 1);
    assert_eq!(server.counted(Signal::PromptTokens), Some(3.0));
}

#[test]
fn parts_are_what_was_counted_of_each() {
    let page = |stop: u32, length: &str| {
        format!("vllm:request_success_total{{finished_reason=\"stop\"}} {stop}\n{length}")
    };
    let length = "vllm:request_success_total{finished_reason=\"length\"} 2\n";
    let server = record(&[Some(&page(10, "")), Some(&page(13, length))]);
    let expected = [("length".to_owned(), 2.0), ("stop".to_owned(), 3.0)];
    assert_eq!(server.parts(Signal::Finished), expected, "V0 has a reason only after its first use");
    assert_eq!(server.counted(Signal::Finished), Some(5.0));
}

#[test]
fn a_course_survives_its_json() {
    let server = record(&[
        Some(
            "vllm:num_requests_running 1\nvllm:cache_config_info{block_size=\"16\"} 1\nvllm:num_preemptions_total 5",
        ),
        None,
        Some("vllm:num_requests_running 3\nvllm:num_preemptions_total 6"),
    ]);
    let json = serde_json::to_string(&server).unwrap();
    assert_eq!(serde_json::from_str::<ServerSide>(&json).unwrap(), server);
}
