use super::*;
use crate::model::metrics::Latency;
use crate::testing::stated::{fixture, result};

/// The mean, the median and P99 of a latency.
fn figures(result: &StatedResult, latency: Latency) -> [Option<f64>; 3] {
    let stated = &result.latencies[&latency];
    [stated.mean_ms, stated.percentile(50.0), stated.percentile(99.0)]
}

fn close(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found - expected).abs() < 1e-6 * expected.abs())
}

#[test]
fn aiperf_states_milliseconds_and_its_inter_token_latency_is_tpot() {
    let result = result("aiperf.json");
    assert_eq!(result.origin(), "aiperf 0.13.0");
    assert_eq!(result.model.as_deref(), Some("servegauge-sim"));
    assert_eq!((result.completed, result.failed, result.load.max_concurrency), (Some(20), Some(0), Some(4)));
    assert_eq!(figures(&result, Latency::Tpot)[0], Some(4.00916236));
    assert_eq!(figures(&result, Latency::E2e)[0], Some(71.64572985));
    assert_eq!(result.latencies[&Latency::Itl].n, Some(300));
    assert!(close(result.duration_s, 0.408_276_736));
    assert_eq!((result.input_tokens.total, result.input_tokens.recount), (Some(1280), Some(1454)));
    assert_eq!(result.requests, None);
}

#[test]
fn aiperfs_units_are_read_and_an_unknown_one_is_an_error() {
    let text = std::fs::read_to_string(fixture("aiperf.json")).unwrap();
    let read = |text: String| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        stated_of(file.path())
    };
    let from = "\"time_to_first_token\":{\"unit\":\"ms\"";
    assert!(text.contains(from));
    let seconds = read(text.replace(from, "\"time_to_first_token\":{\"unit\":\"sec\"")).unwrap();
    assert!(close(seconds.latencies[&Latency::Ttft].mean_ms, 11_508.294_45));
    let error = read(text.replace(from, "\"time_to_first_token\":{\"unit\":\"furlongs\"")).unwrap_err();
    assert!(error.contains("result of aiperf, but field `time_to_first_token.unit`: `furlongs`"), "{error}");
}

fn stated_of(path: &std::path::Path) -> Result<StatedResult, String> {
    read(path).map(|mut results| results.pop().unwrap()).map_err(|error| error.to_string())
}

#[test]
fn the_lines_of_aiperf_are_requests_in_the_order_of_their_starts() {
    let result = result("aiperf.jsonl");
    let requests = result.requests.as_ref().unwrap();
    assert_eq!((requests.len(), result.completed, result.failed), (20, Some(20), Some(0)));
    assert_eq!(requests[0].start_s, Some(0.0));
    assert!(requests.windows(2).all(|pair| pair[0].start_s <= pair[1].start_s));
    assert!(requests.iter().all(|request| request.output_tokens == Some(16) && request.itl_ms.len() == 15));
    // Those of the summary are the same requests.
    let found = &result.distributions(&[99.0])[&Latency::Ttft];
    assert!(close(Some(found.mean.as_secs_f64() * 1e3), 11.508_294), "{found:?}");
}

#[test]
fn guidellm_states_seconds_for_e2e_and_latency_over_tokens_is_not_tpot() {
    let result = result("guidellm.json");
    assert_eq!(result.origin(), "guidellm 0.8.1");
    assert!(close(figures(&result, Latency::E2e)[0], 70.383_739), "{result:?}");
    assert!(
        close(figures(&result, Latency::Tpot)[0], 3.988_693_555),
        "not the 4.36 of time_per_output_token"
    );
    assert_eq!(result.latencies[&Latency::E2e].percentiles.len(), 11);
    assert_eq!(result.latencies[&Latency::Ttft].percentiles[0].p, 0.1);
    assert!(close(result.rates.get("request_throughput").copied(), 49.982_410_9));
    assert_eq!((result.distinct_prompts, result.requests.as_ref().map(Vec::len)), (Some(20), Some(20)));
    assert!(!result.latencies.contains_key(&Latency::Itl));
}

#[test]
fn the_clients_of_vllm_are_told_apart() {
    let (python, rust) = (result("vllm-py.json"), result("vllm-rs.json"));
    assert_eq!([python.tool, rust.tool], [Tool::VllmBench, Tool::VllmRsBench]);
    let expected = [233.082_129_975_002_77, 32.672_213_000_068_95, 1_840.482_279_340_001];
    assert_eq!(figures(&python, Latency::Ttft), expected.map(Some));
    assert_eq!(python.load.request_rate.map(|rate| rate.get()), Some(4.0));
    assert_eq!((rust.completed, rust.rates.contains_key("input_throughput")), (Some(900), true));
}

#[test]
fn failed_requests_of_vllm_have_no_latencies() {
    let result = result("vllm-py-overload.json");
    assert_eq!((result.completed, result.failed), (Some(48), Some(72)));
    assert!(!result.load.request_rate.unwrap().is_finite());
    assert_eq!(result.samples(Latency::Ttft).len(), 48);
    assert!(result.requests.unwrap().iter().filter(|request| request.failed).all(|r| r.ttft_ms.is_none()));
    assert!(!result.latencies.contains_key(&Latency::E2e), "it was not asked for");
}

#[test]
fn sglang_writes_a_bare_infinity_and_counts_no_failures() {
    let results = read(&fixture("sglang.jsonl")).unwrap();
    let [paced, closed] = &results[..] else { panic!("{results:?}") };
    assert_eq!(paced.part.as_deref(), Some("result 1 of 2"));
    assert!(!closed.load.request_rate.unwrap().is_finite());
    assert_eq!((closed.failed, closed.output_tokens.recount), (None, Some(1174)));
    assert_eq!(figures(closed, Latency::E2e)[2], Some(624.0));
}

#[test]
fn inference_perf_states_seconds() {
    let summary = result("inference-perf.json");
    assert_eq!(figures(&summary, Latency::Ttft), [Some(60.0), Some(60.0), Some(72.0)]);
    assert_eq!((summary.completed, summary.failed), (Some(49), Some(1)));
    let stage = result("inference-perf-stage.json");
    assert_eq!((stage.load.request_rate.map(|rate| rate.get()), stage.arrival_rate), (Some(2.5), Some(2.5)));
    let requests = result("inference-perf-requests.json");
    assert_eq!((requests.completed, requests.failed), (Some(12), Some(1)));
    let first = &requests.requests.unwrap()[0];
    assert!(close(first.ttft_ms, 60.0) && close(first.tpot_ms, 20.0) && first.itl_ms.len() == 7, "{first:?}");
}

#[test]
fn a_file_of_no_tool_is_refused_with_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("", "it is empty"),
        ("{", "it is not JSON"),
        ("[]", "it is empty"),
        ("3", "it is not an object"),
        ("{\"a\": 1, \"b\": 2}", "it is an object with the keys a, b; read are results of aiperf"),
        ("{\"servegauge\": {}}", "is a result of servegauge"),
    ];
    for (text, expected) in cases {
        let path = folder.path().join("file.json");
        std::fs::write(&path, text).unwrap();
        let error = stated_of(&path).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_broken_field_is_named() {
    let text = std::fs::read_to_string(fixture("vllm-py.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.json");
    std::fs::write(&path, text.replace("\"completed\":40", "\"completed\":-40")).unwrap();
    let error = stated_of(&path).unwrap_err();
    assert!(
        error.ends_with("is a result of vllm bench serve, but field `completed`: -40 is not a count"),
        "{error}"
    );
}
