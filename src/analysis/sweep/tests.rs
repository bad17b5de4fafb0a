use std::time::Duration;

use super::*;
use crate::testing::sample_run;

/// Makes a set whose runs have these TPOTs (ms) and output throughputs, from the small sample run.
fn point(set: &str, gpus: f64, runs: &[(f64, f64)]) -> SweepPoint {
    let run = |&(tpot, throughput): &(f64, f64)| {
        let mut run = sample_run::run(false);
        let latency = run.metrics.latencies.get_mut(&crate::model::metrics::Latency::Tpot).unwrap();
        latency.mean = Duration::from_secs_f64(tpot / 1e3);
        // The run has three output tokens, so this duration gives the throughput.
        run.metrics.duration = Duration::from_secs_f64(3.0 / throughput);
        run
    };
    SweepPoint { set: set.into(), load: "load".into(), gpus, runs: runs.iter().map(run).collect() }
}

fn lead<'a>(ranking: &'a SweepRanking, figure: &str) -> &'a LeaderComparison {
    let figure: MetricId = figure.parse().unwrap();
    ranking.leads.iter().find(|lead| lead.figure == figure).unwrap()
}

const FAST: [(f64, f64); 4] = [(10.0, 200.0), (10.1, 201.0), (9.9, 199.0), (10.0, 200.5)];
const SLOW: [(f64, f64); 4] = [(20.0, 100.0), (20.1, 101.0), (19.9, 99.0), (20.0, 100.5)];
const NOISY: [(f64, f64); 4] = [(8.0, 230.0), (14.0, 180.0), (9.0, 216.0), (13.0, 184.0)];

#[test]
fn a_set_wins_where_it_is_better_than_every_other() {
    let ranking = SweepRanking::rank(&[point("slow", 1.0, &SLOW), point("fast", 1.0, &FAST)], &[]);
    for figure in ["tpot.mean", "output_throughput"] {
        let lead = lead(&ranking, figure);
        assert!(lead.set == "fast" && lead.is_clear_winner(), "{lead:?}");
    }
    let even = lead(&ranking, "ttft.mean");
    assert!(!even.is_clear_winner(), "equal TTFTs: {even:?}");
}

#[test]
fn noise_is_no_winner() {
    let ranking = SweepRanking::rank(&[point("fast", 1.0, &FAST), point("noisy", 1.0, &NOISY)], &[]);
    let lead = lead(&ranking, "output_throughput");
    assert!(!lead.is_clear_winner() && lead.tied_contenders().count() == 1, "{lead:?}");
}

#[test]
fn what_one_figure_would_prove_may_be_chance_among_many() {
    // With two runs each, p is about 0.03 for either metric.
    let points =
        [point("a", 1.0, &[(10.0, 100.0), (14.0, 140.0)]), point("b", 1.0, &[(40.0, 20.0), (41.0, 21.0)])];
    let ranking = SweepRanking::rank(&points, &[]);
    for lead in &ranking.leads {
        assert!(lead.adjusted_p >= lead.p, "{lead:?}");
        assert!(!lead.is_clear_winner() || lead.adjusted_p.unwrap() <= 0.05);
    }
}

#[test]
fn a_set_alone_wins_nothing() {
    let ranking = SweepRanking::rank(&[point("only", 1.0, &FAST), point("broken", 1.0, &[])], &[]);
    assert!(!lead(&ranking, "tpot.mean").is_clear_winner());
    assert_eq!(ranking.standings.len(), 1, "a set without runs has no figures");
}

#[test]
fn the_front_has_what_nobody_beats_in_both() {
    let points = [
        point("fast", 1.0, &FAST),
        point("wide", 1.0, &[(40.0, 900.0)]),
        point("beaten", 1.0, &[(41.0, 800.0)]),
        point("two", 2.0, &[(39.0, 900.0)]),
    ];
    let ranking = SweepRanking::rank(&points, &[]);
    let front: Vec<_> =
        ranking.efficiencies.iter().filter(|point| point.on_front).map(|point| point.set.as_str()).collect();
    assert_eq!(front, ["fast", "two", "wide"], "two GPUs share their throughput: {:?}", ranking.efficiencies);
    assert!((ranking.efficiencies[0].per_user - 100.0).abs() < 0.1);
}

#[test]
fn the_best_within_an_slo_keeps_it_in_every_run() {
    let slo: Vec<MetricRule> =
        ["tpot.mean < 12ms", "failure_rate <= 50%"].map(|rule| rule.parse().unwrap()).into();
    let points = [point("fast", 1.0, &FAST), point("noisy", 1.0, &NOISY), point("slow", 1.0, &SLOW)];
    let ranking = SweepRanking::rank(&points, &slo);
    assert_eq!(ranking.best.len(), 3, "each rule, and both together");
    let both = &ranking.best[2];
    assert_eq!(both.kept.iter().map(|kept| kept.runs).collect::<Vec<_>>(), [4, 2, 0]);
    assert_eq!((both.best, both.as_good.len()), (Some(0), 0));
    let failures = &ranking.best[1];
    assert_eq!(failures.kept[failures.best.unwrap()].set, "noisy", "the highest mean");
    assert_eq!(failures.as_good, ["fast"], "but nobody can tell");
}

#[test]
fn an_slo_that_nobody_keeps_has_no_best() {
    let ranking = SweepRanking::rank(&[point("fast", 1.0, &FAST)], &["tpot.mean < 1ms".parse().unwrap()]);
    assert_eq!(ranking.best[0].best, None);
}
