use super::*;
use crate::model::metrics::Metrics;
use crate::model::record::ServerTimes;
use crate::stats::DurationSketch;
use crate::testing::queue::Queue;
use crate::testing::sample_run;

/// Makes a run of 800 requests through a queue, with or without its request records.
fn run(seed: u64, slower: f64, detailed: bool) -> Run {
    let queue = Queue {
        seed,
        service: Queue::default().service.mul_f64(slower),
        prefill: Queue::default().prefill.mul_f64(slower),
        ..Queue::default()
    };
    let records = queue.open(800, 8.0);
    sample_run::of_records(sample_run::spec(), records, vec![50.0, 90.0, 95.0, 99.0], detailed)
}

fn side(name: &str, runs: Vec<Run>) -> ComparisonSide {
    ComparisonSide { name: name.into(), runs }
}

fn compared(base: Vec<Run>, candidate: Vec<Run>) -> Comparison {
    Comparison::from_known_metrics(
        &side("base", base),
        &[side("candidate", candidate)],
        &all_metrics(),
        CompareConfig::default(),
    )
}

#[track_caller]
fn row<'a>(comparison: &'a Comparison, name: &str) -> &'a MetricComparison {
    comparison.rows().find(|row| row.figure.to_string() == name).unwrap()
}

#[test]
fn the_servers_own_times_are_compared_where_both_sides_have_them() {
    let with_times = |seed| {
        let mut records = run(seed, 1.0, true).records.unwrap().to_vec();
        let times =
            ServerTimes::new(Some(Duration::from_millis(40 + seed)), Some(Duration::from_millis(10)), None);
        records.iter_mut().for_each(|record| record.server_times = times.boxed());
        sample_run::of_records(sample_run::spec(), records, vec![50.0], true)
    };
    let sides = [vec![with_times(1)], vec![with_times(2)]];
    let both: Vec<String> =
        headline_metrics(&[&sides[0], &sides[1]]).iter().map(MetricId::to_string).collect();
    assert_eq!(both[7..], ["server_queue.mean", "server_prefill.mean"]);
    let one = headline_metrics(&[&sides[0], &[run(2, 1.0, true)]]);
    assert_eq!(one.len(), 7);
    let [base, candidate] = sides;
    let comparison = compared(base, candidate);
    assert_eq!(row(&comparison, "server_prefill.mean").call, DifferenceVerdict::Same);
    assert!(comparison.rows().all(|row| !row.figure.to_string().starts_with("server_decode")));
}

#[test]
fn a_server_half_as_fast_again_is_worse_and_the_other_way_round_better() {
    for detailed in [true, false] {
        let (fast, slow) = (run(1, 1.0, detailed), run(2, 1.5, detailed));
        let method = if detailed { SpreadMethod::Records } else { SpreadMethod::Stated };
        let worse = compared(vec![fast.clone()], vec![slow.clone()]);
        let better = compared(vec![slow], vec![fast]);
        for name in ["e2el.mean", "e2el.p50", "e2el.p90"] {
            assert_eq!(
                row(&worse, name).call,
                DifferenceVerdict::Worse,
                "{name} {:?}",
                row(&worse, name).difference
            );
            assert_eq!(row(&better, name).call, DifferenceVerdict::Better, "{name}");
            assert_eq!(row(&worse, name).difference.method, Some(method));
        }
        assert_eq!(
            row(&worse, "failure_rate").call,
            DifferenceVerdict::Same,
            "nothing failed on either side"
        );
    }
}

#[test]
fn throughput_is_better_when_higher() {
    let base = run(1, 1.0, true);
    let mut less = run(2, 1.0, true);
    less.records.as_mut().unwrap().retain(|record| record.ordinal % 2 == 0);
    less.metrics =
        Metrics::compute(less.records.as_deref().unwrap(), &DurationSketch::default(), &less.spec.slo, &[]);
    let comparison = compared(vec![base], vec![less]);
    assert_eq!(row(&comparison, "request_throughput").call, DifferenceVerdict::Worse);
}

#[test]
fn equal_servers_are_never_better_or_worse() {
    let comparison = compared(vec![run(3, 1.0, true)], vec![run(4, 1.0, true)]);
    for row in comparison.rows() {
        assert!(
            !matches!(row.call, DifferenceVerdict::Better | DifferenceVerdict::Worse),
            "{} {:?}",
            row.figure,
            row.difference
        );
    }
}

#[test]
fn nobody_can_tell_from_thirty_requests_and_the_row_says_how_many_it_needs() {
    let short = |seed| {
        let mut run = run(seed, 1.0, true);
        run.records.as_mut().unwrap().truncate(30);
        run.metrics = Metrics::compute(
            run.records.as_deref().unwrap(),
            &DurationSketch::default(),
            &run.spec.slo,
            &[99.0],
        );
        run
    };
    let comparison = compared(vec![short(1)], vec![short(2)]);
    for name in ["e2el.mean", "e2el.p50", "e2el.p99"] {
        let DifferenceVerdict::CannotTell { needs: Some(RequiredSample { count, of: SampleUnit::Requests }) } =
            row(&comparison, name).call
        else {
            panic!("{name}: {:?}", row(&comparison, name).call)
        };
        assert!((100..10_000_000).contains(&count), "{name}: {count}");
    }
}

#[test]
fn repeats_are_compared_by_what_varies_between_them() {
    let with = |value: f64| {
        let mut run = sample_run::run(false);
        run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_secs_f64(value / 1e3);
        run
    };
    let runs = |values: [f64; 5]| values.map(with).to_vec();
    let apart = compared(runs([100.0, 101.0, 99.0, 100.5, 99.5]), runs([120.0, 121.0, 119.0, 120.5, 119.5]));
    let ttft = row(&apart, "ttft.mean");
    assert_eq!((ttft.call, ttft.difference.method), (DifferenceVerdict::Worse, Some(SpreadMethod::Repeats)));
    assert!((ttft.difference.relative.unwrap() - 0.2).abs() < 1e-6);
    assert!((ttft.difference.rank_p.unwrap() - 2.0 / 252.0).abs() < 1e-9);
    let wild = compared(runs([100.0, 60.0, 150.0, 90.0, 130.0]), runs([120.0, 80.0, 170.0, 100.0, 150.0]));
    let DifferenceVerdict::CannotTell { needs: Some(RequiredSample { count, of: SampleUnit::Runs }) } =
        row(&wild, "ttft.mean").call
    else {
        panic!("{:?}", row(&wild, "ttft.mean").call)
    };
    assert!(count > 20, "{count}");
}

#[test]
fn a_single_run_against_repeats_is_taken_to_vary_as_they_do() {
    let with = |value: f64| {
        let mut run = run(1, 1.0, true);
        run.metrics.latencies.get_mut(&Latency::E2e).unwrap().mean = Duration::from_secs_f64(value / 1e3);
        run
    };
    let repeats = [400.0, 500.0, 600.0, 450.0].map(with).to_vec();
    let comparison = compared(repeats, vec![with(700.0)]);
    let e2e = row(&comparison, "e2el.mean");
    let interval = e2e.difference.interval.unwrap();
    // 212.5 ± 3.18 · 85.4 · √(1 + 1/4)
    assert!((interval.low + 91.0).abs() < 10.0 && (interval.high - 516.0).abs() < 10.0, "{interval:?}");
}

/// Makes a run of 50 requests, `good` of them within the SLO.
fn with_goodput(good: usize) -> Run {
    let mut run = sample_run::run(false);
    run.metrics.completed = 50;
    run.metrics.failed = 0;
    run.metrics.good = Some(good);
    run
}

#[test]
fn shares_that_tie_between_two_repeats_are_no_certainty() {
    let figure: MetricId = "goodput_ratio".parse().unwrap();
    let (base, candidate) = (side("b", vec![with_goodput(50); 2]), side("c", vec![with_goodput(49); 2]));
    let comparison = Comparison::from_metrics(&base, &[candidate], &[figure], CompareConfig::default());
    let row = comparison.rows().next().unwrap();
    // Fisher's exact test of 100 of 100 against 98 of 100: p = 0.497.
    assert!(row.difference.p.unwrap() > 0.2, "{:?}", row.difference);
    assert!(matches!(row.call, DifferenceVerdict::CannotTell { .. }), "{:?}", row.call);
}

#[test]
fn a_few_values_that_tie_say_nothing_of_their_spread() {
    let with = |ms: u64| {
        let mut run = sample_run::run(false);
        run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_millis(ms);
        run
    };
    let figure = ["ttft.mean".parse().unwrap()];
    let (base, candidate) = (side("b", vec![with(100); 2]), side("c", vec![with(120); 2]));
    let comparison = Comparison::from_metrics(&base, &[candidate], &figure, CompareConfig::default());
    let row = comparison.rows().next().unwrap();
    assert_eq!((row.difference.p, row.call), (None, DifferenceVerdict::CannotTell { needs: None }));
}

#[test]
fn a_difference_within_the_margin_is_the_same_until_the_margin_shrinks() {
    let with = |value: f64| {
        let mut run = sample_run::run(false);
        run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_secs_f64(value / 1e3);
        run
    };
    let runs = |values: [f64; 5]| values.map(with).to_vec();
    let (base, candidate) =
        (runs([100.0, 100.1, 99.9, 100.05, 99.95]), runs([102.0, 102.1, 101.9, 102.05, 101.95]));
    let figure = ["ttft.mean".parse().unwrap()];
    let call = |margin: f64| {
        let settings = CompareConfig { margin, ..CompareConfig::default() };
        let sides = [side("c", candidate.clone())];
        Comparison::from_metrics(&side("b", base.clone()), &sides, &figure, settings)
            .rows()
            .next()
            .unwrap()
            .call
    };
    assert_eq!((call(0.05), call(0.01)), (DifferenceVerdict::Same, DifferenceVerdict::Worse));
}

#[test]
fn a_multiple_of_the_baseline_is_what_a_rule_asks_about() {
    let (base, slow) = (run(1, 1.0, true), run(2, 1.5, true));
    let figure = "e2el.mean".parse().unwrap();
    let [base, slow] = [base, slow].map(|run| MetricSample::from_runs(&[run], figure).unwrap());
    let beyond = |factor: f64| MetricDifference::from_multiple(&base, &slow, factor).at_most(0.0).unwrap();
    assert!(beyond(1.05) < 0.001 && beyond(2.0) > 0.99, "{} {}", beyond(1.05), beyond(2.0));
    assert!(slow.at_most(slow.value * 1.5).unwrap() > 0.99);
    assert!(slow.at_least(slow.value * 1.5).unwrap() < 0.01);
}

#[test]
fn the_table_has_what_both_have_and_serialises() {
    let comparison = compared(vec![run(1, 1.0, false)], vec![run(2, 1.0, true)]);
    let names: Vec<String> = comparison.rows().map(|row| row.figure.to_string()).collect();
    assert!(
        names.contains(&"ttft.mean".to_owned()) && !names.contains(&"goodput_ratio".to_owned()),
        "{names:?}"
    );
    let json = serde_json::to_value(&comparison).unwrap();
    assert_eq!(json["candidates"][0]["rows"][0]["figure"], "ttft.mean");
    assert!(json["candidates"][0]["rows"][0]["call"].is_string(), "{json}");
}
