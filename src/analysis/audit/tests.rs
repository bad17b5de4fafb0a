use super::*;
use crate::model::metrics::Latency;
use crate::model::stated::StatedLatency;
use crate::model::units::Rate;
use crate::testing::stated::result;

/// The findings at or above a level, as check and figure.
fn found(audit: &Audit, level: AuditLevel) -> Vec<(AuditCheck, &str)> {
    let findings = audit.findings.iter().filter(|finding| finding.level >= level);
    findings.map(|finding| (finding.check, finding.figure.as_str())).collect()
}

/// Checks that a result is believable, and that it no longer is with this change.
#[track_caller]
fn doctored(name: &str, change: impl Fn(&mut StatedResult), check: AuditCheck, level: AuditLevel) {
    let mut result = result(name);
    let good = Audit::of_stated(&result);
    assert!(good.findings.iter().all(|finding| finding.check != check || finding.level < level), "{good:?}");
    change(&mut result);
    let audit = Audit::of_stated(&result);
    let findings = found(&audit, level);
    assert!(findings.iter().any(|(found, _)| *found == check), "{name}: {check:?} not in {audit:?}");
    assert_eq!(audit.is_believable(), level == AuditLevel::Doubtful, "{audit:?}");
}

fn latency(result: &mut StatedResult, latency: Latency) -> &mut StatedLatency {
    result.latencies.get_mut(&latency).unwrap()
}

#[test]
fn results_as_the_tools_wrote_them_are_believable() {
    let good = [
        "aiperf.json",
        "aiperf.jsonl",
        "guidellm.json",
        "vllm-py.json",
        "vllm-rs.json",
        "vllm-rs-sharegpt.json",
        "sglang.jsonl",
        "inference-perf.json",
        "inference-perf-stage.json",
        "inference-perf-requests.json",
    ];
    for name in good {
        let audit = Audit::of_stated(&result(name));
        assert!(audit.is_believable(), "{name}: {audit:?}");
        assert!(audit.passed.len() >= 5, "{name}: {audit:?}");
    }
}

#[test]
fn a_result_of_an_overloaded_server_is_not_believable() {
    let audit = Audit::of_stated(&result("vllm-py-overload.json"));
    assert_eq!(found(&audit, AuditLevel::Unbelievable), [(AuditCheck::Failures, "failure rate")]);
    assert!(audit.findings[0].reason.contains("72 of 120 requests"), "{audit:?}");
}

#[test]
fn a_p99_of_twenty_requests_is_the_largest_value() {
    let audit = Audit::of_stated(&result("aiperf.json"));
    let finding =
        audit.findings.iter().find(|finding| finding.check == AuditCheck::PercentileSamples).unwrap();
    assert_eq!((finding.level, finding.figure.as_str()), (AuditLevel::Doubtful, "P99 of TTFT, TPOT, E2E"));
    assert_eq!(finding.measure, Some(AuditMeasure::at_least(20.0, 100.0, "requests")));
}

#[test]
fn statistics_that_no_sample_has_are_found() {
    use AuditLevel::Impossible;
    let check = AuditCheck::Statistics;
    // P50 above P99.
    let swap = |result: &mut StatedResult| {
        let percentiles = &mut latency(result, Latency::Ttft).percentiles;
        let last = percentiles.len() - 1;
        let (low, high) = (percentiles[0].value_ms, percentiles[last].value_ms);
        (percentiles[0].value_ms, percentiles[last].value_ms) = (high, low);
    };
    doctored("vllm-rs.json", swap, check, Impossible);
    doctored("aiperf.json", |r| latency(r, Latency::E2e).mean_ms = Some(100.0), check, Impossible);
    doctored("aiperf.json", |r| latency(r, Latency::E2e).mean_ms = Some(60.0), check, Impossible);
    doctored("aiperf.json", |r| latency(r, Latency::Tpot).std_ms = Some(4.0), check, Impossible);
    doctored("sglang.jsonl", |r| latency(r, Latency::Itl).std_ms = Some(-1.0), check, Impossible);
    // A mean that the requests above P90 alone exceed.
    let tail = |r: &mut StatedResult| latency(r, Latency::Ttft).mean_ms = Some(20.0);
    doctored("vllm-rs.json", tail, check, Impossible);
}

#[test]
fn phases_that_do_not_add_up_to_e2e_are_found() {
    let late = |r: &mut StatedResult| {
        latency(r, Latency::Ttft).percentiles.iter_mut().for_each(|at| at.value_ms *= 20.0);
    };
    doctored("guidellm.json", late, AuditCheck::TtftWithinE2e, AuditLevel::Impossible);
    let slow = |r: &mut StatedResult| {
        r.requests = None;
        latency(r, Latency::Tpot).mean_ms = Some(4.9);
    };
    doctored("aiperf.json", slow, AuditCheck::DecodeTime, AuditLevel::Impossible);
    let long = |r: &mut StatedResult| {
        r.requests.as_mut().unwrap().iter_mut().for_each(|request| request.e2e_ms = Some(5000.0));
        r.duration_s = Some(60.0);
    };
    doctored("inference-perf-requests.json", long, AuditCheck::DecodeTime, AuditLevel::Impossible);
}

#[test]
fn statistics_of_other_requests_are_found() {
    let other = |r: &mut StatedResult| {
        latency(r, Latency::Ttft).mean_ms = Some(50.0);
        latency(r, Latency::Ttft).std_ms = None;
    };
    doctored("vllm-rs-sharegpt.json", other, AuditCheck::StatedAgainstRequests, AuditLevel::Impossible);
}

#[test]
fn totals_that_do_not_fit_are_found() {
    let check = AuditCheck::Totals;
    let more = |r: &mut StatedResult| r.rates.extend([("output_throughput", 9000.0)]);
    doctored("vllm-rs.json", more, check, AuditLevel::Impossible);
    let shorter = |r: &mut StatedResult| r.duration_s = Some(2.0);
    doctored("vllm-py.json", shorter, check, AuditLevel::Impossible);
    doctored("vllm-py.json", shorter, AuditCheck::LongestRequest, AuditLevel::Impossible);
}

#[test]
fn more_in_flight_than_the_cap_is_found() {
    let cap = |r: &mut StatedResult| r.load.max_concurrency = Some(2);
    doctored("aiperf.json", cap, AuditCheck::LittlesLaw, AuditLevel::Impossible);
    let mean = |r: &mut StatedResult| r.mean_in_flight = Some(1.9);
    doctored("sglang.jsonl", mean, AuditCheck::LittlesLaw, AuditLevel::Unbelievable);
    let idle = |r: &mut StatedResult| {
        r.mean_in_flight = None;
        r.load.max_concurrency = Some(8);
    };
    doctored("sglang.jsonl", idle, AuditCheck::ConcurrencyKept, AuditLevel::Unbelievable);
}

#[test]
fn another_load_than_the_one_asked_for_is_found() {
    let faster = |r: &mut StatedResult| r.load.request_rate = Rate::per_second(30.0);
    doctored("vllm-rs.json", faster, AuditCheck::ArrivalRate, AuditLevel::Unbelievable);
    let stage = |r: &mut StatedResult| r.arrival_rate = Some(0.5);
    doctored("inference-perf-stage.json", stage, AuditCheck::ArrivalRate, AuditLevel::Doubtful);
}

#[test]
fn empty_answers_and_repeated_prompts_are_found() {
    let empty = |r: &mut StatedResult| {
        let requests = r.requests.as_mut().unwrap();
        requests.iter_mut().take(3).for_each(|request| {
            *request = crate::model::stated::StatedRequest { output_tokens: Some(0), ..Default::default() };
        });
        r.latencies.clear();
    };
    doctored("guidellm.json", empty, AuditCheck::ZeroTokens, AuditLevel::Unbelievable);
    let same = |r: &mut StatedResult| r.distinct_prompts = Some(1);
    doctored("guidellm.json", same, AuditCheck::RepeatedPrompts, AuditLevel::Unbelievable);
    let some = |r: &mut StatedResult| r.distinct_prompts = Some(15);
    doctored("guidellm.json", some, AuditCheck::RepeatedPrompts, AuditLevel::Doubtful);
}

#[test]
fn tokens_that_the_server_counts_otherwise_are_found() {
    let less = |r: &mut StatedResult| r.output_tokens.recount = Some(200);
    doctored("aiperf.json", less, AuditCheck::TokenCounts, AuditLevel::Unbelievable);
    let template = Audit::of_stated(&result("aiperf.json"));
    assert!(found(&template, AuditLevel::Doubtful).contains(&(AuditCheck::TokenCounts, "input tokens")));
}

#[test]
fn what_the_file_lacks_is_named_and_never_assumed() {
    let audit = Audit::of_stated(&StatedResult::new(crate::model::stated::Tool::Aiperf));
    assert_eq!((audit.findings.len(), audit.passed.len(), audit.not_checked.len()), (0, 0, CHECKS.len()));
    assert!(audit.not_checked.iter().all(|item| !item.missing.is_empty()));
}

#[test]
fn an_invalid_run_of_this_program_is_not_believable() {
    let audit = Audit::of_run(&crate::testing::sample_run::run(false));
    assert!(!audit.is_believable());
    assert!(audit.findings.iter().any(|finding| finding.check == AuditCheck::OwnVerdict), "{audit:?}");
}
