//! A signal's names behind other programs, and which of its series count.

use super::*;

/// SGLang's ranks with data-parallel attention (sgl-project/sglang issue on `dp_rank` labels; one page as the
/// collector in `srt/metrics/collector.py` writes it): each `dp` rank has its own requests.
fn sglang(name: &str, values: &[(&str, f64)]) -> String {
    values
        .iter()
        .map(|(labels, value)| format!("sglang:{name}{{model_name=\"m\",{labels}}} {value}\n"))
        .collect()
}

/// The labels of a page's series with their values.
type Series<'a> = &'a [(&'a str, f64)];

#[test]
fn ranks_that_compute_together_count_once_and_ranks_of_data_parallelism_each() {
    let all_dp: Vec<_> = (0..8)
        .map(|rank| format!("dp_rank=\"{rank}\",tp_rank=\"{rank}\",pid=\"91{rank}\",pp_rank=\"0\""))
        .collect();
    let all_dp: Vec<_> = all_dp.iter().map(|labels| (labels.as_str(), 4.0)).collect();
    let cases: [(&str, Series<'_>, f64); 12] = [
        // ../shared/data/faults/B05-sglang-dp-attention.prom and B05-sglang-tp-only.prom.
        ("DP attention, eight ranks", &all_dp, 32.0),
        ("TP only", &[("tp_rank=\"0\"", 4.0), ("tp_rank=\"1\"", 4.0), ("tp_rank=\"2\"", 4.0)], 4.0),
        // Variants of K7 in the note on faults: DP 2 of TP 4 each, whose lowest rank is 4 in the second group.
        ("DP 2, TP 4", &[("dp_rank=\"0\",tp_rank=\"0\"", 6.0), ("dp_rank=\"1\",tp_rank=\"4\"", 9.0)], 15.0),
        (
            "DP 2, every TP rank reports",
            &[
                ("dp_rank=\"0\",tp_rank=\"0\"", 6.0),
                ("dp_rank=\"0\",tp_rank=\"1\"", 6.0),
                ("dp_rank=\"1\",tp_rank=\"2\"", 9.0),
                ("dp_rank=\"1\",tp_rank=\"3\"", 9.0),
            ],
            15.0,
        ),
        (
            "PP 2 in one page",
            &[("pp_rank=\"0\",tp_rank=\"0\"", 6.0), ("pp_rank=\"1\",tp_rank=\"0\"", 6.0)],
            6.0,
        ),
        ("the second stage only", &[("pp_rank=\"1\",tp_rank=\"0\"", 6.0)], 6.0),
        // Ranks of context parallelism repeat each other: sgl-project/sglang PR 38825.
        (
            "context parallel",
            &[
                ("dp_rank=\"0\",attn_cp_rank=\"0\",tp_rank=\"0\"", 5.0),
                ("dp_rank=\"0\",attn_cp_rank=\"1\",tp_rank=\"1\"", 5.0),
            ],
            5.0,
        ),
        (
            "expert parallel",
            &[("moe_ep_rank=\"0\",tp_rank=\"0\"", 5.0), ("moe_ep_rank=\"1\",tp_rank=\"1\"", 5.0)],
            5.0,
        ),
        ("tenth rank is not before the second", &[("tp_rank=\"10\"", 1.0), ("tp_rank=\"2\"", 7.0)], 7.0),
        // `_log_gauge_queue_count` in SGLang's collector: the total has an empty priority, and each priority has its
        // part.
        (
            "priorities are parts of the total",
            &[("priority=\"\"", 9.0), ("priority=\"0\"", 5.0), ("priority=\"1\"", 4.0)],
            9.0,
        ),
        // SMG joins the pages of its workers under `worker_addr`.
        (
            "two servers behind SMG",
            &[("worker_addr=\"a\",tp_rank=\"0\"", 5.0), ("worker_addr=\"b\",tp_rank=\"0\"", 6.0)],
            11.0,
        ),
        ("no ranks at all", &[("engine_type=\"unified\"", 3.0)], 3.0),
    ];
    for (name, values, expected) in cases {
        let page = sglang("num_running_reqs", values);
        assert_eq!(reading(&page).number(ServerSignal::Running), Some(expected), "{name}");
    }
}

#[test]
fn the_fullest_rank_of_data_parallelism_counts_and_times_come_from_one_rank_of_each() {
    let usage: Vec<_> = (0..8)
        .map(|rank| (format!("dp_rank=\"{rank}\",tp_rank=\"{rank}\""), 0.1 * f64::from(rank + 1)))
        .collect();
    let usage: Vec<_> = usage.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
    assert_eq!(reading(&sglang("token_usage", &usage)).number(ServerSignal::KvUsage), Some(0.8));
    let rank = |dp: u32, tp: u32| {
        let labels = format!("dp_rank=\"{dp}\",tp_rank=\"{tp}\"");
        let bucket = format!(
            "sglang:queue_time_seconds_bucket{{{labels},le=\"1\"}} 3\nsglang:queue_time_seconds_bucket{{{labels},le=\"+Inf\"}} 4\n"
        );
        format!(
            "{bucket}sglang:queue_time_seconds_count{{{labels}}} 4\nsglang:queue_time_seconds_sum{{{labels}}} 5\n"
        )
    };
    let page = [rank(0, 0), rank(0, 1), rank(1, 2), rank(1, 3)].concat();
    let times = reading(&page).histogram(ServerSignal::QueueTime).unwrap().clone();
    assert_eq!((times.count, times.sum, times.buckets), (8.0, 10.0, vec![(1.0, 6.0)]));
}

#[test]
fn engines_of_vllm_add_up_as_before() {
    let page = "vllm:num_requests_running{engine=\"0\"} 5\nvllm:num_requests_running{engine=\"1\"} 7\n\
                vllm:kv_cache_usage_perc{engine=\"0\"} 0.5\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.7\n";
    let reading = reading(page);
    assert_eq!(
        (reading.number(ServerSignal::Running), reading.number(ServerSignal::KvUsage)),
        (Some(12.0), Some(0.7))
    );
}

#[test]
fn a_name_is_known_behind_every_exporter() {
    use EngineFamily::{Dynamo, Sglang, TensorrtLlm, Vllm};
    let cases = [
        // ../shared/data/faults/B21-ray-colon.prom, B21-ray-underscore.prom, B23-smg-underscore.prom.
        ("ray_vllm:num_requests_running{engine=\"0\"}", Vllm, ServerSignal::Running),
        ("ray_vllm_num_requests_running{engine=\"0\"}", Vllm, ServerSignal::Running),
        ("ray_vllm:generation_tokens_total", Vllm, ServerSignal::GenerationTokens),
        ("ray_vllm_kv_cache_usage_perc", Vllm, ServerSignal::KvUsage),
        ("sglang_num_running_reqs{tp_rank=\"0\",worker_addr=\"grpc://a\"}", Sglang, ServerSignal::Running),
        ("sglang_token_usage", Sglang, ServerSignal::KvUsage),
        // DataDog/integrations-core, vllm/tests/fixtures/ray_vllm_metrics.txt: V0 behind Ray.
        ("ray_vllm:gpu_cache_usage_perc{Component=\"core_worker\"}", Vllm, ServerSignal::KvUsage),
        ("ray_vllm:num_requests_swapped{Component=\"core_worker\"}", Vllm, ServerSignal::Swapped),
        // Colons become underscores in alert rules and collectors (KEDA's and Grafana's examples for vLLM).
        ("vllm_num_requests_waiting", Vllm, ServerSignal::Waiting),
        ("vllm_prompt_tokens_total", Vllm, ServerSignal::PromptTokens),
        // OpenTelemetry's translation to Prometheus: a namespace before the name, `_ratio` after a gauge of unit 1.
        ("prod_vllm_num_requests_running", Vllm, ServerSignal::Running),
        ("vllm_kv_cache_usage_perc_ratio", Vllm, ServerSignal::KvUsage),
        ("{\"vllm.num_requests_running\",engine=\"0\"}", Vllm, ServerSignal::Running),
        ("openmetrics.vllm.vllm.prefix_cache_hits_total", Vllm, ServerSignal::PrefixHits),
        // OpenMetrics without `_total`, as the client of vLLM's simulators writes it.
        ("vllm:prefix_cache_queries", Vllm, ServerSignal::PrefixQueries),
        ("sglang_cached_tokens", Sglang, ServerSignal::CachedPromptTokens),
        // A gateway that republishes metrics (a metrics table in public documentation: gateway_vllm_…).
        ("gateway_vllm_num_requests_waiting{model_name=\"m\"}", Vllm, ServerSignal::Waiting),
        // TensorRT-LLM before its names had a prefix, and Dynamo's `trtllm_` prefix.
        ("trtllm_num_requests_running", TensorrtLlm, ServerSignal::Running),
        ("kv_cache_utilization{model_name=\"m\"}", TensorrtLlm, ServerSignal::KvUsage),
        (
            "dynamo_component_gpu_cache_usage_percent{dynamo_component=\"backend\"}",
            Dynamo,
            ServerSignal::KvUsage,
        ),
        ("dynamo_component_inflight_requests{dynamo_endpoint=\"generate\"}", Dynamo, ServerSignal::Running),
        ("dynamo_frontend_output_tokens_total{model=\"m\"}", Dynamo, ServerSignal::GenerationTokens),
    ];
    for (sample, engine, signal) in cases {
        let reading = reading(&format!("{sample} 0.25\n"));
        assert_eq!((reading.engine, reading.number(signal)), (Some(engine), Some(0.25)), "{sample}");
    }
}

#[test]
fn what_only_resembles_a_name_is_none() {
    let cases = [
        "vllm_router:current_qps{server=\"a\"} 2.5\n",
        "smg_router_requests_total 3\n",
        "kv_cache_utilization 0.5\n",
        "vllm_time_to_first_token_milliseconds_count 3\nvllm_time_to_first_token_milliseconds_sum 30\n",
        "dynamo_component_inflight_requests{dynamo_endpoint=\"clear_kv_blocks\"} 1\n",
        "myvllm_num_requests_running 3\n",
        "vllm:num_requests_running_created 1.7e9\n",
    ];
    for page in cases {
        assert!(reading(page).is_empty(), "{page}");
    }
}

#[test]
fn a_name_in_its_own_spelling_comes_before_a_copy_of_it() {
    let page = "ray_vllm_num_requests_running 3\nvllm:num_requests_running 4\n\
                dynamo_component_inflight_requests{dynamo_endpoint=\"generate\"} 9\n";
    let reading = reading(page);
    assert_eq!(
        (reading.engine, reading.number(ServerSignal::Running)),
        (Some(EngineFamily::Vllm), Some(4.0))
    );
}

#[test]
fn old_names_of_tensorrt_llm_have_their_times_and_parts() {
    let page = "e2e_request_latency_seconds_sum{engine_type=\"undefined\",model_name=\"undefined\"} 3.5\n\
                e2e_request_latency_seconds_bucket{engine_type=\"undefined\",le=\"0.3\",model_name=\"undefined\"} 0.0\n\
                e2e_request_latency_seconds_bucket{engine_type=\"undefined\",le=\"+Inf\",model_name=\"undefined\"} 2.0\n\
                e2e_request_latency_seconds_count{engine_type=\"undefined\",model_name=\"undefined\"} 2.0\n\
                request_success_total{engine_type=\"undefined\",finish_reason=\"stop\",model_name=\"undefined\"} 2.0\n";
    let reading = reading(page);
    assert_eq!(reading.engine, Some(EngineFamily::TensorrtLlm));
    assert_eq!(reading.histogram(ServerSignal::E2e).map(|times| (times.count, times.sum)), Some((2.0, 3.5)));
    assert_eq!(
        reading.get(ServerSignal::Finished),
        Some(&SignalValue::Parts([("stop".to_owned(), 2.0)].into()))
    );
}

#[test]
fn tensorrt_llms_json_tells_of_its_last_iteration() {
    let iteration = |text: &str| {
        let reading = MetricsSnapshot::parse(text);
        let number = |signal| reading.number(signal);
        (
            reading.engine,
            number(ServerSignal::Running),
            number(ServerSignal::Waiting),
            number(ServerSignal::KvUsage),
        )
    };
    let engine = Some(EngineFamily::TensorrtLlm);
    let cases = [
        // ../shared/data/faults/B20-trtllm-metrics-iterations.json and B20-trtllm-metrics.json.
        (
            r#"[{"gpuMemUsage":56401920000,"iter":1,"iterLatencyMS":16.5,"numActiveRequests":3,"numQueuedRequests":0,"kvCacheStats":{"usedNumBlocks":12,"maxNumBlocks":3000}}]"#,
            (engine, Some(3.0), Some(0.0), Some(0.004)),
        ),
        ("[]", (engine, None, None, None)),
        // TensorRT-LLM's documentation of trtllm-serve: no queue, free blocks beside used ones.
        (
            r#"[{"iter":154,"kvCacheStats":{"cacheHitRate":0.00128,"freeNumBlocks":101253,"maxNumBlocks":101256},"numActiveRequests":1}]"#,
            (engine, Some(1.0), None, Some(3.0 / 101_256.0)),
        ),
        // Several iterations: only the last one is current.
        (
            r#"[{"iter":1,"numActiveRequests":99},{"iter":2,"numActiveRequests":2,"numQueuedRequests":3}]"#,
            (engine, Some(2.0), Some(3.0), None),
        ),
        // Entries for ranks of attention data parallelism (executor/base_worker.py: `attentionDpRank`).
        (
            r#"[{"numActiveRequests":4,"attentionDpRank":0,"kvCacheStats":{"usedNumBlocks":4,"maxNumBlocks":10}},
                {"numActiveRequests":6,"attentionDpRank":1,"kvCacheStats":{"usedNumBlocks":6,"maxNumBlocks":20}}]"#,
            (engine, Some(10.0), None, Some(0.4)),
        ),
        // `kvCacheStats` is null if statistics of the cache are off.
        (r#"[{"iter":1,"numActiveRequests":2,"kvCacheStats":null}]"#, (engine, Some(2.0), None, None)),
        (r#"{"detail":"Not Found"}"#, (None, None, None, None)),
        (r#"[{"id":"model"}]"#, (None, None, None, None)),
    ];
    for (text, expected) in cases {
        assert_eq!(iteration(text), expected, "{text}");
    }
}
