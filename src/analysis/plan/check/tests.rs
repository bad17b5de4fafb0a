use std::time::Duration;

use super::*;
use crate::analysis::plan::mix::{RequestLengths, RequestMix};
use crate::analysis::plan::pool::KvPool;
use crate::analysis::plan::{PlanInput, plan};
use crate::analysis::search::DEFAULT_HEADROOM;
use crate::model::server::{ReplicaMetrics, ServerMetrics, ServerSignal};
use crate::testing::sample_run;

/// The example of the operators' guide: 137 requests fit at the same stage, and about 165 at all stages.
fn guide_example() -> CapacityPlan {
    plan(&PlanInput {
        pool: KvPool::from_tokens(110_000, "the log"),
        mix: RequestMix::from_lengths([RequestLengths { prompt: 500, output: 300 }], "flags").unwrap(),
        headroom: DEFAULT_HEADROOM,
        speed: None,
        wanted: None,
        percent: 99.0,
        seed: 0,
    })
    .unwrap()
}

/// A server with these numbers of running requests, pool levels and preemptions in each of two seconds.
fn replica(running: [f64; 2], kv: [f64; 2], preempted: [f64; 2]) -> ReplicaMetrics {
    let column = |values: [f64; 2]| values.map(Some).to_vec();
    ReplicaMetrics {
        gauges: [(ServerSignal::Running, column(running)), (ServerSignal::KvUsage, column(kv))].into(),
        counters: [(ServerSignal::Preemptions, column(preempted))].into(),
        ..ReplicaMetrics::default()
    }
}

fn checked(replicas: Vec<ReplicaMetrics>) -> PlanCheck {
    let interval = Duration::from_secs(1);
    let server = ServerMetrics { interval, at_s: vec![0.0, 1.0], replicas, ..ServerMetrics::default() };
    check_plan(&guide_example(), &Run { server: Some(server), ..sample_run::run(false) })
}

fn said(check: &PlanCheck, part: &str) {
    assert!(check.findings.iter().any(|finding| finding.contains(part)), "{part}: {:?}", check.findings);
}

fn shown(check: &PlanCheck, what: &str) -> Option<f64> {
    check.rows.iter().find(|row| row.what == what).unwrap().shown
}

#[test]
fn a_run_that_preempts_where_it_was_planned_is_as_planned() {
    let check = checked(vec![replica([100.0, 150.0], [0.6, 0.99], [0.0, 7.0])]);
    said(&check, "7 preemptions, from 150 running on; the plan expects the first between 137 and ");
    assert!(!check.findings.iter().any(|it| it.contains("than planned")), "{:?}", check.findings);
    assert_eq!(shown(&check, "running when preemptions began"), Some(150.0));
    assert_eq!(shown(&check, "KV usage peak at the run's concurrency"), Some(99.0));
}

#[test]
fn preemptions_that_come_early_or_late_are_noticed() {
    said(&checked(vec![replica([80.0, 60.0], [0.9, 1.0], [0.0, 3.0])]), "from 80 running on");
    said(&checked(vec![replica([80.0, 60.0], [0.9, 1.0], [0.0, 3.0])]), "earlier than planned");
    said(&checked(vec![replica([250.0, 240.0], [0.9, 1.0], [0.0, 3.0])]), "later than planned");
    said(
        &checked(vec![replica([250.0, 240.0], [0.9, 1.0], [0.0, 0.0])]),
        "no preemption with 250 running, where",
    );
}

#[test]
fn a_run_without_preemptions_is_below_the_limit() {
    let check = checked(vec![replica([90.0, 96.0], [0.5, 0.6], [0.0, 0.0])]);
    said(&check, "no preemption with at most 96 running: the plan has room for 137 at least");
    let row = check.rows.iter().find(|row| row.what.starts_with("preemptions")).unwrap();
    assert_eq!((row.planned, row.shown), (Some(0.0), Some(0.0)));
}

#[test]
fn a_pool_that_is_fuller_or_emptier_than_planned_is_noticed() {
    said(
        &checked(vec![replica([50.0, 60.0], [0.5, 0.9], [0.0, 0.0])]),
        "90 % full at most, where the plan expects 3",
    );
    said(&checked(vec![replica([50.0, 60.0], [0.1, 0.2], [0.0, 0.0])]), "prompts share their beginnings");
}

#[test]
fn two_servers_have_two_pools() {
    let one = replica([100.0, 130.0], [0.6, 0.9], [0.0, 0.0]);
    let check = checked(vec![one.clone(), one]);
    said(&check, "no preemption with at most 260 running: the plan has room for 274 at least");
}

#[test]
fn a_server_that_says_nothing_adds_nothing() {
    let alone = check_plan(&guide_example(), &sample_run::run(false));
    assert_eq!(alone.rows.len(), 5);
    assert_eq!(checked(vec![ReplicaMetrics::default()]), alone);
}
