//! What a measurement lets one believe of a true value: its confidence distribution.
//!
//! A 95 % interval answers one question at one level. Whether two runs differ, by how much, and whether a bound holds at the
//! level that a whole table of questions leaves for one of them, are many questions at many levels; a distribution whose
//! quantiles are the ends of all one-sided intervals answers them all (Schweder and Hjort, *Confidence, Likelihood,
//! Probability*, 2016; Xie and Singh, *Confidence distribution, the frequentist distribution estimator of a parameter*,
//! 2013). Each kind of measurement has its own:
//!
//! | what | how |
//! |---|---|
//! | mean, rate | studentised moving-block bootstrap, as their intervals, its tails no lighter than Student's |
//! | percentile | order statistics, ranks by the binomial law for as many independent values as the sample is worth |
//! | share | beta law (Jeffreys; Brown, Cai and DasGupta 2001), counts shrunk to what the sample is worth |
//! | mean of several runs | Student's t |
//! | a stated interval | Student's t with a half for each side |
//!
//! How much neighbours in time depend on each other is known from some ten blocks of a run. Intervals at 95 % allow for
//! that; a table of thirty rows asks at 99.8 %, where a normal law would be far too sure. All that rests on blocks
//! therefore has the tails of Student's law with nine degrees of freedom.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hdrhistogram::Histogram;
use statrs::distribution::{Beta, ContinuousCDF as _, Normal, StudentsT};

use super::bootstrap::Ratio;
use super::contrast::Contrast;
use super::dependence::BLOCKS;
use super::interval::{RateInterval, above_zero};
use super::{Percent, percentile, ranks};

/// The normal law's 97.5 % quantile.
const Z: f64 = 1.959_964;

/// Points of a law that is known as a formula.
const POINTS: usize = 400;

/// The log odds at which such a law is cut off: one in 160,000 on each side.
const FARTHEST: f64 = 12.0;

/// The confidence distribution of a true value. Ends where nothing bounds the value are infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    points: Arc<[Point]>,
}

/// A place where the true value may be, and how likely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub value: f64,
    pub weight: f64,
}

/// A place of a law: the chance of lying lower.
struct Place {
    chance: f64,
    weight: f64,
    /// Student's quantile, for as many blocks as a run is cut into.
    student: f64,
    /// The chance by which a law that takes the blocks' word must be asked: the same at 95 %, farther out beyond.
    wary: f64,
}

/// Evenly spread in their log odds: few points, and the tails are there.
static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let (student, normal) = (of_blocks(), Normal::standard());
    let chance = |i: f64| 1.0 / (1.0 + (-FARTHEST * (2.0 * i / POINTS as f64 - 1.0)).exp());
    let whole = chance(POINTS as f64) - chance(0.0);
    let place = |i: usize| {
        let i = i as f64;
        let score = student.inverse_cdf(chance(i + 0.5));
        Place {
            chance: chance(i + 0.5),
            weight: (chance(i + 1.0) - chance(i)) / whole,
            student: score,
            wary: normal.cdf(Z * score / *STUDENT_95),
        }
    };
    (0..POINTS).map(place).collect()
});

/// Its 97.5 % quantile.
static STUDENT_95: LazyLock<f64> = LazyLock::new(|| of_blocks().inverse_cdf(0.975));

fn of_blocks() -> StudentsT {
    StudentsT::new(0.0, 1.0, (BLOCKS - 1) as f64).expect("the parameters are constants that fit")
}

impl Belief {
    /// There is no doubt about it.
    pub fn certain(value: f64) -> Self {
        Self { points: [Point { value, weight: 1.0 }].into() }
    }

    /// Of a mean or a rate, from (part of the numerator, part of the denominator) in the order of time. `None` with fewer
    /// than ten pairs. Neither part is negative, so the ratio is not either.
    pub fn of_ratio(pairs: impl ExactSizeIterator<Item = (f64, f64)>) -> Option<Self> {
        let ratio = Ratio::of(pairs);
        let (estimate, quantile) = (ratio.value()?, ratio.quantile()?);
        // The error is one of the population that the blocks are all of.
        let blocks = BLOCKS as f64;
        let scale = (blocks / (blocks - 1.0)).sqrt();
        Some(Self::of_law(|place| above_zero(estimate, quantile(place.chance, scale * place.student))))
    }

    /// Of the percentile of all values, which come in groups in the order of time: the gaps of each request, or one latency
    /// each. Also how many independent values they are worth. `None` without values.
    pub fn of_percentile<'a>(
        groups: impl ExactSizeIterator<Item = &'a [Duration]> + Clone,
        p: Percent,
    ) -> Option<(Self, u64)> {
        let mut sorted: Vec<Duration> = groups.clone().flatten().copied().collect();
        sorted.sort_unstable();
        let value = percentile(&sorted, p)?;
        let below = groups.map(|group| {
            let below = group.iter().filter(|&&found| found <= value).count();
            (below as f64, group.len() as f64)
        });
        let effective_n = (Ratio::of(below).effective_n() as u64).clamp(1, sorted.len() as u64);
        let last = (sorted.len() - 1) as f64;
        // The middle of the k-th of n equal parts is the k-th value.
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64 - 0.5).clamp(0.0, last);
            percentile(&sorted, 100.0 * rank / last.max(1.0)).unwrap_or(value).as_secs_f64()
        };
        Some((Self::among_ranks(effective_n, p, at), effective_n))
    }

    /// The same from a histogram of nanoseconds, for as many independent values as it is known to be worth; in seconds.
    pub fn of_histogram(histogram: &Histogram<u64>, p: Percent, effective_n: u64) -> Option<Self> {
        let at = |share: f64| histogram.value_at_quantile(share) as f64 / 1e9;
        (effective_n > 0 && !histogram.is_empty()).then(|| Self::among_ranks(effective_n, p, at))
    }

    /// Of a percentile: outside of the sample nothing bounds it but zero.
    fn among_ranks(n: u64, p: Percent, at: impl Fn(f64) -> f64) -> Self {
        let position = ranks::position(n, p);
        Self::of_law(|place| match position(place.wary) {
            rank if rank < 1.0 => 0.0,
            rank if rank >= n as f64 => f64::INFINITY,
            rank => at((rank - 0.5) / n as f64),
        })
    }

    /// Of a share, from (how many it happened to, of how many) in the order of time. `None` if there were none.
    pub fn of_share(pairs: impl ExactSizeIterator<Item = (f64, f64)>) -> Option<Self> {
        let ratio = Ratio::of(pairs);
        let (share, n) = (ratio.value()?, ratio.effective_n());
        let law = Beta::new(share * n + 0.5, (1.0 - share) * n + 0.5).ok()?;
        Some(Self::of_law(|place| law.inverse_cdf(place.wary)))
    }

    /// Of the mean behind independent values, such as those of several runs. `None` with fewer than two.
    pub fn of_mean(values: &[f64]) -> Option<Self> {
        let repeats = Repeats::of(values)?;
        Some(Self::student(repeats.mean, repeats.error(), repeats.freedom()))
    }

    /// The same of values that cannot be negative, such as latencies: no end lies below zero.
    pub fn of_positive_mean(values: &[f64]) -> Option<Self> {
        let mean = Repeats::of(values)?.mean;
        let law = Self::of_mean(values)?;
        let points = law.points.iter().map(|point| Point { value: above_zero(mean, point.value), ..*point });
        Some(Self { points: points.collect() })
    }

    /// By Student's law around an estimate with its standard error and degrees of freedom.
    pub fn student(estimate: f64, error: f64, freedom: f64) -> Self {
        match StudentsT::new(estimate, error, freedom) {
            Ok(law) => Self::of_law(|place| law.inverse_cdf(place.chance)),
            // No error at all.
            Err(_) => Self::certain(estimate),
        }
    }

    /// From a stated 95 % interval of a value that cannot be negative.
    pub fn of_interval(value: f64, interval: RateInterval) -> Self {
        let (below, above) = (value - interval.low, interval.high - value);
        Self::of_law(|place| {
            let score = place.student / *STUDENT_95;
            above_zero(value, value + score * if score < 0.0 { below } else { above })
        })
    }

    /// From a law's quantiles.
    fn of_law(quantile: impl Fn(&Place) -> f64) -> Self {
        let point = |place: &Place| Point { value: quantile(place), weight: place.weight };
        let mut points: Vec<Point> = PLACES.iter().map(point).collect();
        points.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
        Self { points: points.into() }
    }

    /// The same in another unit, of which there are so many in one of this.
    pub fn times(&self, factor: f64) -> Self {
        let scaled = self.points.iter().map(|point| Point { value: point.value * factor, ..*point });
        Self { points: if factor < 0.0 { scaled.rev().collect() } else { scaled.collect() } }
    }

    /// The interval that misses the true value with chance `alpha`, split evenly between its sides.
    pub fn interval(&self, alpha: f64) -> RateInterval {
        Contrast::new(self.clone(), Self::certain(0.0)).interval(alpha)
    }

    /// What it lets one believe of this value less another, which was measured independently.
    pub fn minus(&self, other: &Self) -> Contrast {
        Contrast::new(self.clone(), other.clone())
    }

    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }
}

/// Mean and spread of independent values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repeats {
    /// How many; at least two.
    pub n: f64,
    /// Their mean.
    pub mean: f64,
    /// Their variance, of the population that they are a sample of.
    pub variance: f64,
}

/// Student's quantile at a place, 0 to 1, for so many degrees of freedom; infinite for none.
pub fn student_quantile(place: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |law| law.inverse_cdf(place))
}

impl Repeats {
    /// `None` with fewer than two values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (values.len() > 1).then(|| Self { n, mean, variance: squares / (n - 1.0) })
    }

    /// The standard error of the mean.
    pub fn error(&self) -> f64 {
        (self.variance / self.n).sqrt()
    }

    /// Its degrees of freedom.
    pub fn freedom(&self) -> f64 {
        self.n - 1.0
    }

    /// Of this mean less another, spreads unequal (Welch 1947).
    pub fn minus(&self, other: &Self) -> Belief {
        let (a, b) = (self.variance / self.n, other.variance / other.n);
        let freedom = (a + b).powi(2) / (a * a / self.freedom() + b * b / other.freedom());
        Belief::student(self.mean - other.mean, (a + b).sqrt(), freedom)
    }

    /// Of this mean less the only value that is known of another population, taken to spread as this one does.
    pub fn minus_one(&self, other: f64) -> Belief {
        Belief::student(self.mean - other, (self.variance * (1.0 + 1.0 / self.n)).sqrt(), self.freedom())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution as _, Exp1, StandardNormal};

    use super::*;

    fn near(got: RateInterval, low: f64, high: f64, within: f64) {
        assert!(
            (got.low - low).abs() < within && (got.high - high).abs() < within,
            "{got:?}, not {low} {high}"
        );
    }

    #[test]
    fn intervals_are_those_of_the_textbooks() {
        // Student's 97.5 % quantile for 4 degrees of freedom is 2.776.
        near(Belief::student(10.0, 1.0, 4.0).interval(0.05), 7.224, 12.776, 0.07);
        near(Belief::of_interval(5.0, RateInterval { low: 4.0, high: 8.0 }).interval(0.05), 4.0, 8.0, 0.05);
        // Jeffreys' interval of 4 in 40: beta(4.5, 36.5) has its quantiles at 0.0340 and 0.2194.
        let mut each = [(0.0, 1.0); 40];
        [3, 17, 22, 39].into_iter().for_each(|i| each[i].0 = 1.0);
        let share = Belief::of_share(each.into_iter()).unwrap().interval(0.05);
        assert!(share.low <= 0.035 && share.high >= 0.218 && share.high < 0.32, "{share:?}");
        near(Belief::of_mean(&[1.0, 2.0, 3.0]).unwrap().interval(0.05), 2.0 - 2.484, 2.0 + 2.484, 0.07);
    }

    #[test]
    fn a_mean_is_at_most_a_little_less_certain_than_its_bootstrap_interval() {
        let values: Vec<f64> = Exp1.sample_iter(StdRng::seed_from_u64(1)).take(800).collect();
        let pairs = || values.iter().map(|&value| (value, 1.0));
        let (low, high) = Ratio::of(pairs()).interval().unwrap();
        let ours = Belief::of_ratio(pairs()).unwrap().interval(0.05);
        assert!(ours.low <= low + 0.003 && high - 0.003 <= ours.high, "{ours:?} {low} {high}");
        assert!(ours.high - ours.low < 1.4 * (high - low), "{ours:?} {low} {high}");
    }

    #[test]
    fn a_percentile_beyond_the_sample_has_no_upper_end() {
        let values: Vec<Duration> = (0..100).map(|i| Duration::from_millis(1 + i * 37 % 100)).collect();
        let of = |p| Belief::of_percentile(values.chunks(1), p).unwrap().0.interval(0.05);
        let p99 = of(99.0);
        assert!(p99.high.is_infinite() && (0.09..0.1).contains(&p99.low), "{p99:?}");
        assert!(of(50.0).high.is_finite());
    }

    #[test]
    fn gaps_that_stick_together_are_worth_little() {
        let together: Vec<Vec<Duration>> =
            (0..100).map(|i| vec![Duration::from_millis(10 + i * 37 % 100); 50]).collect();
        let (_, worth) = Belief::of_percentile(together.iter().map(Vec::as_slice), 50.0).unwrap();
        assert!(worth <= 100, "{worth}");
        let gaps = Exp1.sample_iter(StdRng::seed_from_u64(1)).map(Duration::from_secs_f64);
        let apart: Vec<Duration> = gaps.take(5000).collect();
        let (_, worth) = Belief::of_percentile(apart.chunks(50), 50.0).unwrap();
        assert!(worth > 1000, "{worth}");
    }

    #[test]
    fn the_median_of_a_sample_is_covered_in_about_95_percent() {
        let covers = |seed: u64| {
            let noise = StandardNormal.sample_iter(StdRng::seed_from_u64(seed));
            let values: Vec<Duration> =
                noise.take(200).map(|noise: f64| Duration::from_secs_f64(noise.exp())).collect();
            let found = Belief::of_percentile(values.chunks(1), 50.0).unwrap().0.interval(0.05);
            (found.low..=found.high).contains(&1.0)
        };
        let held = (0..300).filter(|&seed| covers(seed)).count();
        assert!((270..=297).contains(&held), "{held} of 300");
    }

    #[test]
    fn the_mean_of_three_runs_that_differ_much_has_an_interval_above_zero() {
        let runs = [20.0, 35.0, 116.0];
        let interval = Belief::of_positive_mean(&runs).unwrap().interval(0.05);
        assert!(interval.low > 0.0 && interval.high > 150.0, "{interval:?}");
        let alike = [100.0, 101.0, 99.0];
        let students = Belief::of_mean(&alike).unwrap().interval(0.05);
        near(Belief::of_positive_mean(&alike).unwrap().interval(0.05), students.low, students.high, 1e-6);
    }

    #[test]
    fn too_little_is_no_belief() {
        assert_eq!(Belief::of_ratio([(1.0, 1.0); 9].into_iter()), None);
        assert_eq!(Belief::of_mean(&[1.0]), None);
        assert_eq!(Belief::of_share([].into_iter()), None);
        assert_eq!(Belief::of_percentile([].chunks(1), 50.0), None);
        assert_eq!(Belief::of_mean(&[2.0, 2.0]).unwrap(), Belief::certain(2.0));
    }
}
