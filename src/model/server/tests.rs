use super::*;

fn replica(running: [Option<f64>; 3], kv: [f64; 3]) -> ReplicaMetrics {
    ReplicaMetrics {
        gauges: [(ServerSignal::Running, running.to_vec()), (ServerSignal::KvUsage, kv.map(Some).to_vec())]
            .into(),
        ..ReplicaMetrics::default()
    }
}

fn server(replicas: Vec<ReplicaMetrics>) -> ServerMetrics {
    ServerMetrics {
        interval: Duration::from_secs(1),
        at_s: vec![0.0, 1.0, 2.0],
        replicas,
        ..ServerMetrics::default()
    }
}

#[test]
fn replicas_add_up_and_the_fullest_counts() {
    let server = server(vec![
        replica([Some(1.0), Some(2.0), None], [0.1, 0.2, 0.3]),
        replica([Some(3.0), Some(4.0), Some(5.0)], [0.5, 0.1, 0.1]),
    ]);
    assert_eq!(server.gauge_series(ServerSignal::Running), [Some(4.0), Some(6.0), Some(5.0)]);
    assert_eq!(server.gauge_summary(ServerSignal::Running), Some(GaugeSummary { mean: 5.0, peak: 6.0 }));
    assert_eq!(server.gauge_series(ServerSignal::KvUsage), [Some(0.5), Some(0.2), Some(0.3)]);
    assert_eq!(server.gauge_summary(ServerSignal::Waiting), None, "what nobody told of is no zero");
}

#[test]
fn counted_is_what_the_samples_counted() {
    let counting = |increases: Vec<Option<f64>>| ReplicaMetrics {
        counters: [(ServerSignal::Preemptions, increases)].into(),
        ..ReplicaMetrics::default()
    };
    let server =
        server(vec![counting(vec![None, Some(2.0), Some(0.0)]), counting(vec![None, None, Some(3.0)])]);
    assert_eq!(server.counter_total(ServerSignal::Preemptions), Some(5.0));
    assert_eq!(server.counter_total(ServerSignal::PromptTokens), None);
}

#[test]
fn the_level_at_which_something_began_is_the_higher_one_around_it() {
    let began_at = |increases: [f64; 3]| {
        let mut replica = replica([Some(9.0), Some(5.0), Some(2.0)], [0.0; 3]);
        replica.counters.insert(ServerSignal::Preemptions, increases.map(Some).to_vec());
        server(vec![replica]).gauge_at_first_increase(ServerSignal::Preemptions, ServerSignal::Running)
    };
    assert_eq!(began_at([0.0, 0.0, 3.0]), Some(5.0));
    assert_eq!(began_at([0.0, 1.0, 3.0]), Some(9.0));
    assert_eq!(began_at([0.0; 3]), None);
}

#[test]
fn levels_over_the_run_are_those_of_all_samples() {
    let exact = GaugeSummary { mean: 1.5, peak: 7.0 };
    let side = ServerMetrics {
        summary: [(ServerSignal::Running, exact)].into(),
        ..server(vec![replica([Some(3.0); 3], [0.5; 3])])
    };
    assert_eq!(side.gauge_summary(ServerSignal::Running), Some(exact));
    assert_eq!(
        side.gauge_summary(ServerSignal::KvUsage),
        Some(GaugeSummary { mean: 0.5, peak: 0.5 }),
        "of an older result"
    );
}

#[test]
fn a_hit_rate_is_of_the_run_where_hits_are_counted() {
    let mut replica = ReplicaMetrics::default();
    replica.gauges.insert(ServerSignal::PrefixHitRate, vec![Some(0.9), Some(0.8), None]);
    assert_eq!(server(vec![replica.clone()]).prefix_hit_rate(), Some(0.8), "the last that was told");
    replica.counters.insert(ServerSignal::PrefixQueries, vec![None, Some(60.0), Some(40.0)]);
    replica.counters.insert(ServerSignal::PrefixHits, vec![None, Some(25.0), Some(0.0)]);
    assert_eq!(server(vec![replica]).prefix_hit_rate(), Some(0.25));
}

#[test]
fn positions_of_drafts_are_in_their_order() {
    let mut replica = ReplicaMetrics::default();
    let count = |count: f64| vec![None, Some(count), Some(0.0)];
    replica.counters.insert(ServerSignal::SpecDrafts, count(100.0));
    replica.counters.insert(ServerSignal::SpecDraftTokens, count(300.0));
    replica.counters.insert(ServerSignal::SpecAcceptedTokens, count(150.0));
    let positions = [("10", 20.0), ("2", 50.0), ("0", 80.0)].map(|(part, count)| (part.to_owned(), count));
    replica.parts.insert(ServerSignal::SpecAcceptedByPosition, positions.into());
    let speculation = SpecDecodeStats::from_server(&server(vec![replica])).unwrap();
    assert_eq!(speculation.by_position, [0.8, 0.5, 0.2]);
    assert_eq!((speculation.acceptance_rate(), speculation.acceptance_length()), (0.5, Some(2.5)));
    assert_eq!(SpecDecodeStats::from_server(&server(Vec::new())), None);
}

#[test]
fn shares_above_one_are_named_and_not_computed() {
    let mut replica = ReplicaMetrics::default();
    let mut count = |signal, count: f64| replica.counters.insert(signal, vec![None, Some(count)]);
    count(ServerSignal::PrefixQueries, 100.0);
    count(ServerSignal::PrefixHits, 500.0);
    count(ServerSignal::SpecDraftTokens, 10.0);
    count(ServerSignal::SpecAcceptedTokens, 100.0);
    replica.impossible.insert(ServerSignal::KvUsage, 45.0);
    let side = server(vec![replica]);
    assert_eq!((side.prefix_hit_rate(), SpecDecodeStats::from_server(&side)), (None, None));
    let texts: Vec<String> = side.impossible_shares().iter().map(ToString::to_string).collect();
    let expected = [
        "KV cache usage: the reported value 45 exceeds 1, which is impossible for a share",
        "Prefix cache hit rate: Prefix cache hits 500 exceeds Prefix cache queries 100, which is impossible",
        "Draft acceptance rate: Accepted draft tokens 100 exceeds Draft tokens 10, which is impossible",
    ];
    assert_eq!(texts, expected);
}
