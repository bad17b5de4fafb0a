use proptest::prelude::*;

use super::*;
use crate::model::arrival::{Schedule, rate_changes, schedule};
use crate::model::rng::RunRng;
use crate::model::run_spec::{Load, RampBy, RateSchedule};
use crate::testing::queue::open_load;

const SECOND: Duration = Duration::from_secs(1);

fn ramp(strategy: RampStrategy, start: f64, end: f64) -> Ramp {
    Ramp { strategy, by: RampBy::Time, start, end }
}

fn stages(stages: &[(u64, f64)]) -> Vec<RateStep> {
    stages.iter().map(|&(length, rate)| RateStep { length: SECOND * length as u32, rate }).collect()
}

fn load(pace: RateSchedule) -> Load {
    Load { pace, normalize_arrivals: true, ..open_load(f64::INFINITY) }
}

fn offsets(load: &Load, n: usize, seed: u64) -> Vec<Duration> {
    match schedule(load, n, &mut RunRng::native(seed)).unwrap() {
        Schedule::Open(offsets) => offsets.iter().collect(),
        other => panic!("an open loop was asked for, not {other:?}"),
    }
}

fn between(offsets: &[Duration], from: u64, to: u64) -> usize {
    offsets.iter().filter(|at| (SECOND * from as u32..SECOND * to as u32).contains(at)).count()
}

/// The Kolmogorov–Smirnov distance between gaps and the exponential distribution of mean 1.
fn distance(mut gaps: Vec<f64>) -> f64 {
    gaps.sort_by(f64::total_cmp);
    let n = gaps.len() as f64;
    let cdf = |x: f64| 1.0 - (-x).exp();
    let gap = |(i, &x): (usize, &f64)| (cdf(x) - i as f64 / n).max((i + 1) as f64 / n - cdf(x));
    gaps.iter().enumerate().map(gap).fold(0.0, f64::max)
}

#[test]
fn a_ramp_takes_as_long_as_its_requests_need() {
    // 1 to 9 in 20 s are 100 requests; half of the time has a quarter of the rise's requests and half of the start's.
    let linear = RateProfile::from_ramp(ramp(RampStrategy::Linear, 1.0, 9.0), 100, None);
    assert_eq!(linear.time_of_count(100.0), 20 * SECOND);
    assert_eq!(linear.time_of_count(30.0), 10 * SECOND);
    assert_eq!(linear.time_of_rate(5.0), Some(10 * SECOND));
    // 1 to e³ in 3 s: e³ − 1 requests.
    let exponential =
        RateProfile::from_timed_ramp(ramp(RampStrategy::Exponential, 1.0, 3f64.exp()), 3 * SECOND);
    assert!((exponential.expected_count(3 * SECOND) - 3f64.exp_m1()).abs() < 1e-9);
    assert!(exponential.time_of_count(1f64.exp_m1()).abs_diff(SECOND) < Duration::from_nanos(10));
    assert!(exponential.time_of_rate(1f64.exp()).unwrap().abs_diff(SECOND) < Duration::from_nanos(10));
}

#[test]
fn a_linear_ramp_may_begin_at_nothing() {
    let load = load(RateSchedule::Ramp(ramp(RampStrategy::Linear, 0.0, 20.0)));
    let offsets = offsets(&load, 1000, 3);
    assert_eq!(*offsets.last().unwrap(), 100 * SECOND);
    // A quarter of a triangle's area lies in its first half.
    let half = between(&offsets, 0, 50);
    assert!((200..300).contains(&half), "{half}");
}

#[test]
fn the_integral_and_its_inverse_undo_each_other() {
    let along = [
        RateProfile::from_ramp(ramp(RampStrategy::Linear, 0.0, 7.0), 500, None),
        RateProfile::from_ramp(ramp(RampStrategy::Linear, 9.0, 0.5), 500, None),
        RateProfile::from_ramp(ramp(RampStrategy::Exponential, 0.1, 90.0), 500, None),
        RateProfile::from_ramp(ramp(RampStrategy::Exponential, 5.0, 5.0), 500, None),
        RateProfile::from_steps(&stages(&[(10, 30.0), (5, 0.0), (40, 5.0)])),
    ];
    for intensity in along {
        for count in [0.25, 1.0, 77.7, 299.0, 499.0] {
            let back = intensity.expected_count(intensity.time_of_count(count));
            assert!((back - count).abs() < 1e-6, "{intensity:?}: {count} {back}");
        }
    }
}

#[test]
fn each_stage_has_the_arrivals_of_its_rate() {
    let load =
        load(RateSchedule::Stages { stages: stages(&[(10, 5.0), (60, 20.0), (10, 0.0), (10, 100.0)]) });
    let n = load.requests_within(90 * SECOND).unwrap();
    assert_eq!(n, 2250);
    for seed in 0..5 {
        let offsets = offsets(&load, n, seed);
        let counts = [(0, 10), (10, 70), (70, 80), (80, 90)].map(|(from, to)| between(&offsets, from, to));
        for (count, expected) in counts.into_iter().zip([50.0, 1200.0, 0.0, 1000.0_f64]) {
            assert!((count as f64 - expected).abs() <= 4.0 * expected.sqrt(), "seed {seed}: {counts:?}");
        }
        assert_eq!(*offsets.last().unwrap(), 90 * SECOND, "scaled to end with the last stage");
    }
}

#[test]
fn what_no_stage_has_room_for_is_due_after_the_end() {
    let load = Load {
        normalize_arrivals: false,
        ..load(RateSchedule::Stages { stages: stages(&[(2, 5.0), (3, 0.0)]) })
    };
    let offsets = offsets(&load, 100, 0);
    assert!(offsets[0] < 2 * SECOND);
    assert_eq!(*offsets.last().unwrap(), 5 * SECOND + Duration::from_nanos(1));
}

#[test]
fn arrivals_of_a_changing_rate_are_poisson_after_rescaling() {
    let paces = [
        RateSchedule::Ramp(ramp(RampStrategy::Linear, 0.0, 50.0)),
        RateSchedule::Ramp(ramp(RampStrategy::Exponential, 1.0, 200.0)),
        RateSchedule::Stages { stages: stages(&[(100, 20.0), (100, 150.0), (100, 30.0)]) },
    ];
    for (pace, seed) in paces.into_iter().zip(0..) {
        let n = 20_000;
        let load = Load { normalize_arrivals: false, ..load(pace) };
        let along = match &load.pace {
            RateSchedule::Ramp(ramp) => RateProfile::from_ramp(*ramp, n, None),
            RateSchedule::Stages { stages } => RateProfile::from_steps(stages),
            RateSchedule::Steady | RateSchedule::Trace => unreachable!("none of the three"),
        };
        let offsets: Vec<Duration> =
            offsets(&load, n, seed).into_iter().take_while(|at| *at < 300 * SECOND).collect();
        let mut before = 0.0;
        let gaps: Vec<f64> = offsets
            .iter()
            .map(|at| along.expected_count(*at))
            .map(|count| count - std::mem::replace(&mut before, count))
            .collect();
        let critical = 1.95 / (gaps.len() as f64).sqrt();
        let rescaled = distance(gaps);
        assert!(rescaled < critical, "{:?}: {rescaled}", load.pace);
        // The unscaled times would not pass for a Poisson process of their mean rate.
        let mean = offsets.last().unwrap().as_secs_f64() / offsets.len() as f64;
        let mut before = Duration::ZERO;
        let raw = offsets.iter().map(|&at| (at - std::mem::replace(&mut before, at)).as_secs_f64() / mean);
        assert!(distance(raw.collect()) > 1.5 * critical, "{:?}", load.pace);
    }
}

#[test]
fn a_ramp_by_index_is_vllms() {
    let by_index = |strategy, start, end| Ramp { by: RampBy::Index, ..ramp(strategy, start, end) };
    let metronome = |ramp| Load { burstiness: f64::INFINITY, ..load(RateSchedule::Ramp(ramp)) };
    // Gaps of 1/1, 1/2 and 1/3 s, never scaled.
    let linear = offsets(&metronome(by_index(RampStrategy::Linear, 1.0, 3.0)), 3, 0);
    let expected = [1.0, 1.5, 1.5 + 1.0 / 3.0].map(Duration::from_secs_f64);
    assert_eq!(linear, expected);
    let exponential = offsets(&metronome(by_index(RampStrategy::Exponential, 1.0, 4.0)), 3, 0);
    assert_eq!(exponential, [1.0, 1.5, 1.75].map(Duration::from_secs_f64));
}

#[test]
fn the_rates_that_a_ramp_reaches_are_told() {
    let time = load(RateSchedule::Ramp(ramp(RampStrategy::Linear, 1.0, 3.0)));
    assert_eq!(rate_changes(&time, 20), [(1, Duration::ZERO), (2, 5 * SECOND), (3, 10 * SECOND)]);
    let index = Ramp { by: RampBy::Index, ..ramp(RampStrategy::Linear, 1.0, 3.0) };
    let changes = rate_changes(&load(RateSchedule::Ramp(index)), 3);
    let expected = [(1, 0.0), (2, 1.5), (3, 1.5 + 1.0 / 3.0)];
    assert_eq!(changes, expected.map(|(rate, at)| (rate, Duration::from_secs_f64(at))));
    assert!(rate_changes(&load(RateSchedule::Steady), 3).is_empty());
}

proptest! {
    #[test]
    fn arrivals_never_go_back_whatever_the_pace(
        start in 0.0..100.0f64, end in 0.01..1000.0f64, n in 1usize..300, seed: u64, burstiness in 0.1..10.0f64,
        linear: bool, normalize_arrivals: bool,
        lengths in prop::collection::vec((1u64..50, 0.0..100.0f64), 1..6),
    ) {
        let start = if linear { start } else { start + 0.01 };
        let strategy = if linear { RampStrategy::Linear } else { RampStrategy::Exponential };
        let paces = [RateSchedule::Ramp(ramp(strategy, start, end)), RateSchedule::Stages { stages: stages(&lengths) }];
        for pace in paces {
            let load = Load { burstiness, normalize_arrivals, ..load(pace) };
            let offsets = offsets(&load, n, seed);
            prop_assert_eq!(offsets.len(), n);
            prop_assert!(offsets.is_sorted(), "{:?}", offsets);
        }
    }
}
