use std::time::Duration;

use super::*;
use crate::model::server::{ReplicaMetrics, ScrapedHistogram};
use crate::model::validity::Check;
use crate::testing::sample_run;

const GOLDEN: &str = "\
─── Server ────────────────────────────
Sampled: 3 times, every 1s, vLLM (answers missing: 1)
Requests running: mean 25, peak 40
Requests waiting: mean 6.50, peak 13
KV cache usage: mean 45.0 %, peak 90.0 %
Preemptions: 3
Prefix cache hit rate: 25.0 %
Draft tokens accepted: 50.0 % of 300, 2.50 tokens a step (by position: 80.0 %, 70.0 %)
Mean TTFT by the server: 95 ms, 5.00 ms less than at the client (network, gateway, client)
Mean TPOT by the server: 45 ms
Mean E2E by the server: 190 ms
Other clients were active: the server finished 12 requests, 2 of them from this run
Mean time at the server: queue 5.00 ms, prefill 90 ms, decode 95 ms
RESTARTED: the server's counters were reset, noticed at 2.00 s
";

fn column(values: [f64; 2]) -> Vec<Option<f64>> {
    vec![Some(values[0]), None, Some(values[1])]
}

fn times(count: f64, mean: f64) -> ScrapedHistogram {
    ScrapedHistogram { buckets: Vec::new(), sum: count * mean, count }
}

fn replica() -> ReplicaMetrics {
    let counted = |count: f64| vec![None, None, Some(count)];
    let positions = [("0".to_owned(), 80.0), ("1".to_owned(), 70.0)];
    ReplicaMetrics {
        url: "http://a/metrics".into(),
        engine: Some("vLLM".into()),
        missed: 1,
        restarts: vec![2],
        gauges: [
            (ServerSignal::Running, column([10.0, 40.0])),
            (ServerSignal::Waiting, column([0.0, 13.0])),
            (ServerSignal::Swapped, column([0.0, 0.0])),
            (ServerSignal::KvUsage, column([0.0, 0.9])),
        ]
        .into(),
        counters: [
            (ServerSignal::Preemptions, counted(3.0)),
            (ServerSignal::PrefixQueries, counted(100.0)),
            (ServerSignal::PrefixHits, counted(25.0)),
            (ServerSignal::Finished, counted(12.0)),
            (ServerSignal::SpecDrafts, counted(100.0)),
            (ServerSignal::SpecDraftTokens, counted(300.0)),
            (ServerSignal::SpecAcceptedTokens, counted(150.0)),
        ]
        .into(),
        parts: [(ServerSignal::SpecAcceptedByPosition, positions.into())].into(),
        times: [
            (ServerSignal::Ttft, times(2.0, 0.095)),
            (ServerSignal::Itl, times(9.0, 0.03)),
            (ServerSignal::Tpot, times(2.0, 0.045)),
            (ServerSignal::E2e, times(2.0, 0.19)),
            (ServerSignal::QueueTime, times(2.0, 0.005)),
            (ServerSignal::PrefillTime, times(2.0, 0.09)),
            (ServerSignal::DecodeTime, times(2.0, 0.095)),
        ]
        .into(),
        ..ReplicaMetrics::default()
    }
}

fn run(replicas: Vec<ReplicaMetrics>) -> Run {
    let interval = Duration::from_secs(1);
    let server = ServerMetrics { interval, at_s: vec![0.0, 1.0, 2.0], replicas, ..ServerMetrics::default() };
    Run { server: Some(server), ..sample_run::run(false) }
}

fn text(run: &Run) -> String {
    let mut text = Vec::new();
    render(run, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn the_section_is_this_to_the_letter() {
    assert_eq!(text(&run(vec![replica()])), GOLDEN);
}

#[test]
fn a_long_run_says_how_many_points_are_left_of_its_samples() {
    let mut run = run(vec![ReplicaMetrics::default()]);
    run.server.as_mut().unwrap().taken = 48;
    assert!(text(&run).contains("\nSampled: 48 times, every 1s, saved as 3 points\n"), "{}", text(&run));
}

#[test]
fn our_own_requests_beside_the_measured_ones_are_not_others() {
    let with = |edit: fn(&mut Run)| {
        let mut run = run(vec![replica()]);
        edit(&mut run);
        text(&run)
    };
    let own = "\nThese means include our warm-up, probes and abandoned requests: 10 of the 12 requests that ended there\n";
    for text in [
        with(|run| run.server.as_mut().unwrap().warmup = 10),
        with(|run| run.metrics.abandoned = 10),
        with(|run| {
            let request_rate = crate::model::units::Rate::per_second(2.0).unwrap();
            run.probes = Some(crate::model::probes::ProbeSummary {
                completed: 9,
                ..crate::model::probes::ProbeSummary::from_records(request_rate, &[])
            });
        }),
    ] {
        assert!(text.contains(own) && !text.contains("others"), "{text}");
    }
    let others = with(|run| run.server.as_mut().unwrap().warmup = 3);
    assert!(others.contains("\nOther clients were active: the server finished 12 requests"), "{others}");
}

#[test]
fn requests_that_a_lost_client_sent_are_not_those_of_others() {
    let mut run = run(vec![replica()]);
    let check = run.validity.checks[0].clone();
    run.validity.checks.push(Check { name: CheckName::ClientErrors, ..check });
    let text = text(&run);
    assert!(text.contains("\nThe server finished 12 requests, 2 of them in this result\n"), "{text}");
    assert!(!text.contains("Other clients"), "{text}");
}

#[test]
fn texts_of_a_batch_are_requests_of_ours_and_have_no_token_times() {
    let mut run = run(vec![replica()]);
    run.metrics.input_sequences = Some(12);
    run.metrics.failed = 0;
    let text = text(&run);
    assert!(!text.contains("others") && !text.contains("TTFT") && !text.contains("TPOT"), "{text}");
    assert!(text.contains("\nMean time at the server: queue 5.00 ms, prefill 90 ms\n"), "{text}");
    assert!(text.contains("Mean E2E by the server: "), "{text}");
}

#[test]
fn a_hole_in_the_samples_is_said() {
    let mut run = run(vec![ReplicaMetrics::default()]);
    run.server.as_mut().unwrap().longest_gap = Duration::from_millis(6_738);
    assert!(text(&run).contains("\nSampled: 3 times, every 1s, longest gap 6.74 s\n"), "{}", text(&run));
}

#[test]
fn what_the_server_does_not_tell_is_not_shown() {
    assert_eq!(text(&sample_run::run(false)), "");
    let text = text(&run(vec![ReplicaMetrics::default(), ReplicaMetrics::default()]));
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["Sampled: 3 times, every 1s, 2 replicas"]);
}

#[test]
fn an_older_server_has_itl_and_swaps() {
    let mut old = replica();
    old.times.remove(&ServerSignal::Tpot);
    old.gauges.insert(ServerSignal::Swapped, column([0.0, 2.0]));
    let text = text(&run(vec![old]));
    assert!(text.contains("\nMean ITL by the server: 30 ms\n"), "{text}");
    assert!(text.contains("\nRequests swapped: mean 1.00, peak 2\n"), "{text}");
}

#[test]
fn speculation_has_vllms_keys() {
    let json: serde_json::Value = serde_json::from_str(&run(vec![replica()]).to_json()).unwrap();
    assert_eq!(json["spec_decode_acceptance_rate"], 50.0);
    assert_eq!(json["spec_decode_acceptance_length"], 2.5);
    assert_eq!(json["spec_decode_num_drafts"], 100);
    assert_eq!(json["spec_decode_draft_tokens"], 300);
    assert_eq!(json["spec_decode_accepted_tokens"], 150);
    assert_eq!(json["spec_decode_per_position_acceptance_rates"], serde_json::json!([0.8, 0.7]));
    assert_eq!(json["servegauge"]["server"]["replicas"][0]["gauges"]["kv_usage"][2], 0.9);
    let plain: serde_json::Value = serde_json::from_str(&sample_run::run(false).to_json()).unwrap();
    assert!(plain.get("spec_decode_num_drafts").is_none() && plain["servegauge"].get("server").is_none());
}
