use flate2::read::GzDecoder;
use serde::Deserialize;

use super::*;
use crate::model::run_spec::RngKind;
use crate::model::units::Rate;
use crate::testing::queue::open_load;

fn load(rate: f64, burstiness: f64) -> Load {
    Load { burstiness, ..open_load(rate) }
}

fn offsets(load: &Load, n: usize, seed: u64) -> Vec<Duration> {
    from_dice(load, n, &mut RunRng::native(seed))
}

fn from_dice(load: &Load, n: usize, dice: &mut RunRng) -> Vec<Duration> {
    match schedule(load, n, dice).unwrap() {
        Schedule::Open(offsets) => offsets.iter().collect(),
        other => panic!("an open loop was asked for, not {other:?}"),
    }
}

fn gaps(offsets: &[Duration]) -> Vec<f64> {
    let mut before = Duration::ZERO;
    offsets.iter().map(|&at| (at - std::mem::replace(&mut before, at)).as_secs_f64()).collect()
}

/// The Kolmogorov–Smirnov distance between a sample and a distribution.
fn ks_distance(mut sample: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let gap = |(i, x): (usize, &f64)| (cdf(*x) - i as f64 / n).max((i + 1) as f64 / n - cdf(*x));
    sample.iter().enumerate().map(gap).fold(0.0, f64::max)
}

/// The distance that 1 sample in 1,000 of the true distribution exceeds.
fn ks_critical(n: usize) -> f64 {
    1.95 / (n as f64).sqrt()
}

const N: usize = 20_000;

#[test]
fn poisson_gaps_follow_the_exponential_law() {
    for seed in 0..5 {
        let gaps = gaps(&offsets(&load(20.0, 1.0), N, seed));
        let distance = ks_distance(gaps, |x| 1.0 - (-20.0 * x).exp());
        assert!(distance < ks_critical(N), "seed {seed}: {distance}");
    }
}

#[test]
fn burstier_gaps_follow_the_gamma_law() {
    for seed in 0..5 {
        // Shape 2 has the closed form 1 − e^(−x/θ)(1 + x/θ); θ = 1 / (rate · 2).
        let even = gaps(&offsets(&load(10.0, 2.0), N, seed));
        let distance = ks_distance(even, |x| 1.0 - (-20.0 * x).exp() * (1.0 + 20.0 * x));
        assert!(distance < ks_critical(N), "seed {seed}: {distance}");
    }
}

#[test]
fn the_exponential_law_is_rejected_where_it_does_not_hold() {
    let bursty = gaps(&offsets(&load(20.0, 0.5), N, 0));
    assert!(ks_distance(bursty, |x| 1.0 - (-20.0 * x).exp()) > 3.0 * ks_critical(N));
}

#[test]
fn the_coefficient_of_variation_is_one_over_root_burstiness() {
    for burstiness in [0.25, 1.0, 4.0] {
        let gaps = gaps(&offsets(&load(50.0, burstiness), N, 1));
        let mean = gaps.iter().sum::<f64>() / N as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / N as f64;
        let ratio = variance.sqrt() / mean * burstiness.sqrt();
        assert!((ratio - 1.0).abs() < 0.05, "burstiness {burstiness}: {ratio}");
    }
}

#[test]
fn the_same_seed_gives_the_same_arrivals() {
    let load = load(20.0, 1.0);
    assert_eq!(offsets(&load, 100, 7), offsets(&load, 100, 7));
    assert_ne!(offsets(&load, 100, 7), offsets(&load, 100, 8));
}

#[test]
fn more_requests_do_not_change_the_first_ones() {
    let load = load(20.0, 1.0);
    assert_eq!(offsets(&load, 100, 7)[..50], offsets(&load, 50, 7)[..]);
}

#[test]
fn prompts_for_a_time_last_until_its_end_however_bursty_the_arrivals() {
    let minute = Duration::from_secs(60);
    for (rate, burstiness) in [(10.0, 0.05), (0.5, 0.05), (10.0, 0.2), (10.0, 1.0), (0.5, 1.0)] {
        let load = Load { normalize_arrivals: false, ..load(rate, burstiness) };
        let count = load.requests_within(minute).unwrap();
        let runs =
            (0..300).filter(|seed| offsets(&load, count, *seed).last().is_some_and(|last| *last < minute));
        assert_eq!(runs.count(), 0, "{count} requests at {rate} req/s with a shape of {burstiness}");
    }
}

#[test]
fn infinite_burstiness_is_a_metronome() {
    let metronome = offsets(&load(20.0, f64::INFINITY), 4, 0);
    assert_eq!(metronome, [50, 100, 150, 200].map(Duration::from_millis));
}

#[test]
fn an_infinite_rate_sends_everything_at_once() {
    for normalize_arrivals in [false, true] {
        let load = Load { normalize_arrivals, ..load(f64::INFINITY, 1.0) };
        assert_eq!(offsets(&load, 3, 0), [Duration::ZERO; 3]);
    }
}

#[test]
fn normalised_arrivals_end_at_n_over_rate() {
    let load = Load { normalize_arrivals: true, ..load(20.0, 1.0) };
    for seed in 0..5 {
        let last = *offsets(&load, 1000, seed).last().unwrap();
        assert!((last.as_secs_f64() - 50.0).abs() < 1e-6, "{last:?}");
    }
}

#[test]
fn no_requests_have_no_arrivals() {
    assert!(offsets(&load(20.0, 1.0), 0, 0).is_empty());
}

#[test]
fn a_cap_without_a_rate_is_a_closed_loop() {
    let capped = Load { max_concurrency: std::num::NonZeroUsize::new(4), ..load(f64::INFINITY, 1.0) };
    assert_eq!(schedule(&capped, 3, &mut RunRng::native(0)).unwrap(), Schedule::Closed);
    let paced = Load { request_rate: Rate::per_second(1.0).unwrap(), ..capped };
    assert!(matches!(schedule(&paced, 3, &mut RunRng::native(0)).unwrap(), Schedule::Open(_)));
}

/// Arrivals of vLLM's Python client.
#[derive(Deserialize)]
struct Recorded {
    rate: f64,
    burstiness: String,
    seed: u64,
    offsets: Vec<f64>,
}

#[test]
fn python_arrivals_are_those_of_vllms_client_to_the_nanosecond() {
    let bytes = include_bytes!("../../../tests/fixtures/python/arrivals.json.gz");
    let recorded: Vec<Recorded> = serde_json::from_reader(GzDecoder::new(&bytes[..])).unwrap();
    assert_eq!(recorded.len(), 120);
    for Recorded { rate, burstiness, seed, offsets: theirs } in recorded {
        let load = load(rate, burstiness.parse().unwrap());
        let load = Load { normalize_arrivals: true, ..load };
        let ours = from_dice(&load, theirs.len(), &mut RunRng::new(RngKind::Python, seed));
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            let difference = ours.abs_diff(Duration::from_secs_f64(theirs));
            assert!(difference <= Duration::from_nanos(1), "{rate} {burstiness} {seed}: {ours:?} {theirs}");
        }
    }
}

#[test]
fn a_rate_that_no_clock_reaches_is_no_panic() {
    let load = load(f64::MIN_POSITIVE, 1.0);
    for rng in [RngKind::Native, RngKind::Python] {
        assert_eq!(from_dice(&load, 2, &mut RunRng::new(rng, 1))[1], Duration::MAX);
    }
}
