use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use super::*;

fn near(got: RateInterval, low: f64, high: f64, within: f64) {
    assert!((got.low - low).abs() < within && (got.high - high).abs() < within, "{got:?}, not {low} {high}");
}

#[test]
fn intervals_are_those_of_the_textbooks() {
    // Student's 97.5 % quantile for 4 degrees of freedom is 2.776.
    near(ConfidenceDistribution::from_student(10.0, 1.0, 4.0).interval(0.05), 7.224, 12.776, 0.07);
    near(
        ConfidenceDistribution::from_interval(5.0, RateInterval { low: 4.0, high: 8.0 }).interval(0.05),
        4.0,
        8.0,
        0.05,
    );
    // Clopper and Pearson's interval of 4 in 40 is [0.0279, 0.2366].
    let mut each = [(0.0, 1.0); 40];
    [3, 17, 22, 39].into_iter().for_each(|i| each[i].0 = 1.0);
    let share = ConfidenceDistribution::from_share(each.into_iter()).unwrap().interval(0.05);
    assert!(share.low <= 0.0280 && share.high >= 0.2365 && share.high < 0.32, "{share:?}");
    near(ConfidenceDistribution::from_count(0.1, 40.0).interval(0.05), 0.0279, 0.2366, 0.003);
    near(
        ConfidenceDistribution::from_mean(&[1.0, 2.0, 3.0]).unwrap().interval(0.05),
        2.0 - 2.484,
        2.0 + 2.484,
        0.07,
    );
}

/// Whole degrees of freedom are remembered, others are not; the largest that are remembered is 63.
#[test]
fn student_laws_have_statrs_quantiles_at_every_degree_of_freedom() {
    for freedom in [1.0, 2.0, 2.0, 2.5, 8.0, 62.0, 63.0, 64.0, 1000.0] {
        let law = ConfidenceDistribution::from_student(10.0, 2.0, freedom);
        let exact = StudentsT::new(10.0, 2.0, freedom).unwrap();
        for (point, place) in law.low_points().iter().zip(QUANTILE_POINTS.iter()) {
            let expected = exact.inverse_cdf(place.chance);
            let off = (point.value - expected).abs() / (expected - 10.0).abs();
            assert!(off < 1e-6, "{freedom} at {}: {}, not {expected}", place.chance, point.value);
        }
    }
}

#[test]
fn a_mean_is_at_most_a_little_less_certain_than_its_bootstrap_interval() {
    let values: Vec<f64> = Exp1.sample_iter(StdRng::seed_from_u64(1)).take(800).collect();
    let pairs = || values.iter().map(|&value| (value, 1.0));
    let (low, high) = RatioSeries::from_pairs(pairs()).interval().unwrap();
    let ours = ConfidenceDistribution::from_ratio(pairs()).unwrap().interval(0.05);
    assert!(ours.low <= low + 0.003 && high - 0.003 <= ours.high, "{ours:?} {low} {high}");
    assert!(ours.high - ours.low < 1.4 * (high - low), "{ours:?} {low} {high}");
}

#[test]
fn a_percentile_beyond_the_sample_has_no_upper_end() {
    let values: Vec<Duration> = (0..100).map(|i| Duration::from_millis(1 + i * 37 % 100)).collect();
    let of = |p| ConfidenceDistribution::from_percentile(values.chunks(1), p).unwrap().0.interval(0.05);
    let p99 = of(99.0);
    assert!(p99.high.is_infinite() && (0.09..0.1).contains(&p99.low), "{p99:?}");
    assert!(of(50.0).high.is_finite());
}

#[test]
fn gaps_that_stick_together_are_worth_little() {
    let together: Vec<Vec<Duration>> =
        (0..100).map(|i| vec![Duration::from_millis(10 + i * 37 % 100); 50]).collect();
    let (_, worth) =
        ConfidenceDistribution::from_percentile(together.iter().map(Vec::as_slice), 50.0).unwrap();
    assert!(worth <= 100, "{worth}");
    let gaps = Exp1.sample_iter(StdRng::seed_from_u64(1)).map(Duration::from_secs_f64);
    let apart: Vec<Duration> = gaps.take(5000).collect();
    let (_, worth) = ConfidenceDistribution::from_percentile(apart.chunks(50), 50.0).unwrap();
    assert!(worth > 1000, "{worth}");
}

#[test]
fn the_median_of_a_sample_is_covered_in_about_95_percent() {
    let covers = |seed: u64| {
        let noise = StandardNormal.sample_iter(StdRng::seed_from_u64(seed));
        let values: Vec<Duration> =
            noise.take(200).map(|noise: f64| Duration::from_secs_f64(noise.exp())).collect();
        let found = ConfidenceDistribution::from_percentile(values.chunks(1), 50.0).unwrap().0.interval(0.05);
        (found.low..=found.high).contains(&1.0)
    };
    let held = (0..300).filter(|&seed| covers(seed)).count();
    assert!((270..=297).contains(&held), "{held} of 300");
}

#[test]
fn the_mean_of_three_runs_that_differ_much_has_an_interval_above_zero() {
    let runs = [20.0, 35.0, 116.0];
    let interval = ConfidenceDistribution::from_positive_mean(&runs).unwrap().interval(0.05);
    assert!(interval.low > 0.0 && interval.high > 150.0, "{interval:?}");
    let alike = [100.0, 101.0, 99.0];
    let students = ConfidenceDistribution::from_mean(&alike).unwrap().interval(0.05);
    near(
        ConfidenceDistribution::from_positive_mean(&alike).unwrap().interval(0.05),
        students.low,
        students.high,
        1e-6,
    );
}

#[test]
fn what_never_happened_has_an_interval_from_zero_and_what_always_did_one_up_to_1() {
    let of = |happened: f64| {
        ConfidenceDistribution::from_share([(happened, 1.0); 300].into_iter()).unwrap().interval(0.05)
    };
    let (never, always) = (of(0.0), of(1.0));
    // 1 − 0.025^(1/300)
    assert!(never.low == 0.0 && (never.high - 0.01222).abs() < 0.0005, "{never:?}");
    assert!(always.high == 1.0 && (always.low - 0.98778).abs() < 0.0005, "{always:?}");
}

/// The probability of `count` successes in `n` trials.
fn binomial(n: usize, count: usize, share: f64) -> f64 {
    use statrs::distribution::{Binomial, Discrete as _};
    Binomial::new(share, n as u64).unwrap().pmf(count as u64)
}

/// The exact probabilities that a share equal to the limit is reported as above it, and as below it, at a one-sided
/// level.
fn false_calls(n: usize, truth: f64, level: f64) -> [f64; 2] {
    let most = (n as f64 * truth + 12.0 * (n as f64 * truth).sqrt() + 12.0).min(n as f64) as usize;
    let mut chances = [0.0; 2];
    for count in 0..=most {
        // The positions within the run are arbitrary: here about every seventh.
        let mut each = vec![(0.0, 1.0); n];
        (0..count).for_each(|i| each[(i * 7919 + 13) % n].0 = 1.0);
        let against_zero = ConfidenceDistribution::from_share(each.into_iter())
            .unwrap()
            .minus(&ConfidenceDistribution::exact(0.0));
        let called = [against_zero.at_most(truth) <= level, against_zero.at_least(truth) <= level];
        for (chance, called) in chances.iter_mut().zip(called) {
            *chance += if called { binomial(n, count, truth) } else { 0.0 };
        }
    }
    chances
}

#[test]
fn a_share_at_its_limit_is_called_broken_or_kept_in_no_more_than_alpha() {
    for n in [101, 1409] {
        for expected in [0.05, 0.1, 0.15, 0.5, 1.0, 3.0] {
            for level in [0.05, 0.01] {
                let [more, less] = false_calls(n, expected / n as f64, level);
                assert!(more <= level && less <= level, "n {n}, n x limit {expected}: {more} {less}");
            }
        }
    }
}

#[test]
fn two_beliefs_of_one_value_rule_out_what_both_rule_out() {
    let narrow = ConfidenceDistribution::from_student(0.5, 0.01, 30.0);
    let wide = ConfidenceDistribution::from_count(0.5, 40.0);
    let (either, wide) = (narrow.envelope(&wide).interval(0.05), wide.interval(0.05));
    near(either, wide.low, wide.high, 0.002);
    let both = ConfidenceDistribution::exact(0.0)
        .envelope(&ConfidenceDistribution::from_student(1.0, 0.1, 30.0))
        .interval(0.05);
    assert!(both.low == 0.0 && both.high > 1.15, "{both:?}");
}

#[test]
fn too_little_is_no_belief() {
    assert_eq!(ConfidenceDistribution::from_ratio([(1.0, 1.0); 9].into_iter()), None);
    assert_eq!(ConfidenceDistribution::from_mean(&[1.0]), None);
    assert_eq!(ConfidenceDistribution::from_share([].into_iter()), None);
    assert_eq!(
        ConfidenceDistribution::from_percentile([].chunks(1) as std::slice::Chunks<'_, Duration>, 50.0),
        None
    );
    assert_eq!(
        ConfidenceDistribution::from_mean(&[2.0, 2.0]),
        None,
        "two equal values do not say that all are"
    );
}
