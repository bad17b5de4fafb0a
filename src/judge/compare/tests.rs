use super::*;
use crate::core::metrics::Metrics;
use crate::core::run::sample;
use crate::core::simulated::Queue;
use crate::core::stats::Tally;

/// A run of 800 requests through a queue, with its requests or without.
fn run(seed: u64, slower: f64, detailed: bool) -> Run {
    let queue = Queue {
        seed,
        service: Queue::default().service.mul_f64(slower),
        prefill: Queue::default().prefill.mul_f64(slower),
        ..Queue::default()
    };
    let records = queue.open(800, 8.0);
    sample::of_records(sample::spec(), records, vec![50.0, 90.0, 95.0, 99.0], detailed)
}

fn side(name: &str, runs: Vec<Run>) -> Side {
    Side { name: name.into(), runs }
}

fn compared(base: Vec<Run>, candidate: Vec<Run>) -> Comparison {
    Comparison::of_known(
        &side("base", base),
        &[side("candidate", candidate)],
        &figures(),
        Settings::default(),
    )
}

#[track_caller]
fn row<'a>(comparison: &'a Comparison, name: &str) -> &'a Row {
    comparison.rows().find(|row| row.figure.to_string() == name).unwrap()
}

#[test]
fn a_server_half_as_fast_again_is_worse_and_the_other_way_round_better() {
    for detailed in [true, false] {
        let (fast, slow) = (run(1, 1.0, detailed), run(2, 1.5, detailed));
        let method = if detailed { Method::Records } else { Method::Stated };
        let worse = compared(vec![fast.clone()], vec![slow.clone()]);
        let better = compared(vec![slow], vec![fast]);
        for name in ["e2el.mean", "e2el.p50", "e2el.p90"] {
            assert_eq!(row(&worse, name).call, Call::Worse, "{name} {:?}", row(&worse, name).difference);
            assert_eq!(row(&better, name).call, Call::Better, "{name}");
            assert_eq!(row(&worse, name).difference.method, Some(method));
        }
        assert_eq!(row(&worse, "failure_rate").call, Call::Same, "nothing failed on either side");
    }
}

#[test]
fn throughput_is_better_when_higher() {
    let base = run(1, 1.0, true);
    let mut less = run(2, 1.0, true);
    less.records.as_mut().unwrap().retain(|record| record.ordinal % 2 == 0);
    less.metrics = Metrics::of(less.records.as_deref().unwrap(), &Tally::default(), &less.spec.slo, &[]);
    let comparison = compared(vec![base], vec![less]);
    assert_eq!(row(&comparison, "request_throughput").call, Call::Worse);
}

#[test]
fn equal_servers_are_never_better_or_worse() {
    let comparison = compared(vec![run(3, 1.0, true)], vec![run(4, 1.0, true)]);
    for row in comparison.rows() {
        assert!(!matches!(row.call, Call::Better | Call::Worse), "{} {:?}", row.figure, row.difference);
    }
}

#[test]
fn nobody_can_tell_from_thirty_requests_and_the_row_says_how_many_it_needs() {
    let short = |seed| {
        let mut run = run(seed, 1.0, true);
        run.records.as_mut().unwrap().truncate(30);
        run.metrics = Metrics::of(run.records.as_deref().unwrap(), &Tally::default(), &run.spec.slo, &[99.0]);
        run
    };
    let comparison = compared(vec![short(1)], vec![short(2)]);
    for name in ["e2el.mean", "e2el.p50", "e2el.p99"] {
        let Call::CannotTell { needs: Some(Needs { count, of: Counted::Requests }) } =
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
        let mut run = sample::run(false);
        run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_secs_f64(value / 1e3);
        run
    };
    let runs = |values: [f64; 5]| values.map(with).to_vec();
    let apart = compared(runs([100.0, 101.0, 99.0, 100.5, 99.5]), runs([120.0, 121.0, 119.0, 120.5, 119.5]));
    let ttft = row(&apart, "ttft.mean");
    assert_eq!((ttft.call, ttft.difference.method), (Call::Worse, Some(Method::Repeats)));
    assert!((ttft.difference.relative.unwrap() - 0.2).abs() < 1e-6);
    assert!((ttft.difference.rank_p.unwrap() - 2.0 / 252.0).abs() < 1e-9);
    let wild = compared(runs([100.0, 60.0, 150.0, 90.0, 130.0]), runs([120.0, 80.0, 170.0, 100.0, 150.0]));
    let Call::CannotTell { needs: Some(Needs { count, of: Counted::Runs }) } = row(&wild, "ttft.mean").call
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

/// A run of 50 requests of which so many met the SLO.
fn with_goodput(good: usize) -> Run {
    let mut run = sample::run(false);
    run.metrics.completed = 50;
    run.metrics.failed = 0;
    run.metrics.good = Some(good);
    run
}

#[test]
fn shares_that_tie_between_two_repeats_are_no_certainty() {
    let figure: Figure = "goodput_ratio".parse().unwrap();
    let (base, candidate) = (side("b", vec![with_goodput(50); 2]), side("c", vec![with_goodput(49); 2]));
    let comparison = Comparison::of_figures(&base, &[candidate], &[figure], Settings::default());
    let row = comparison.rows().next().unwrap();
    // Fisher's exact test of 100 of 100 against 98 of 100: p = 0.497.
    assert!(row.difference.p.unwrap() > 0.2, "{:?}", row.difference);
    assert!(matches!(row.call, Call::CannotTell { .. }), "{:?}", row.call);
}

#[test]
fn a_few_values_that_tie_say_nothing_of_their_spread() {
    let with = |ms: u64| {
        let mut run = sample::run(false);
        run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_millis(ms);
        run
    };
    let figure = ["ttft.mean".parse().unwrap()];
    let (base, candidate) = (side("b", vec![with(100); 2]), side("c", vec![with(120); 2]));
    let comparison = Comparison::of_figures(&base, &[candidate], &figure, Settings::default());
    let row = comparison.rows().next().unwrap();
    assert_eq!((row.difference.p, row.call), (None, Call::CannotTell { needs: None }));
}

#[test]
fn a_difference_within_the_margin_is_the_same_until_the_margin_shrinks() {
    let with = |value: f64| {
        let mut run = sample::run(false);
        run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_secs_f64(value / 1e3);
        run
    };
    let runs = |values: [f64; 5]| values.map(with).to_vec();
    let (base, candidate) =
        (runs([100.0, 100.1, 99.9, 100.05, 99.95]), runs([102.0, 102.1, 101.9, 102.05, 101.95]));
    let figure = ["ttft.mean".parse().unwrap()];
    let call = |margin: f64| {
        let settings = Settings { margin, ..Settings::default() };
        let sides = [side("c", candidate.clone())];
        Comparison::of_figures(&side("b", base.clone()), &sides, &figure, settings)
            .rows()
            .next()
            .unwrap()
            .call
    };
    assert_eq!((call(0.05), call(0.01)), (Call::Same, Call::Worse));
}

#[test]
fn a_multiple_of_the_baseline_is_what_a_rule_asks_about() {
    let (base, slow) = (run(1, 1.0, true), run(2, 1.5, true));
    let figure = "e2el.mean".parse().unwrap();
    let [base, slow] = [base, slow].map(|run| Sample::of(&[run], figure).unwrap());
    let beyond = |factor: f64| Difference::from_multiple(&base, &slow, factor).at_most(0.0).unwrap();
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
