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
//! | share | beta laws, one for each side (Clopper and Pearson 1934), counts shrunk to what the sample is worth |
//! | mean of several runs, or of several starts of a server | Student's t |
//! | a stated interval | Student's t with a half for each side |
//!
//! How much neighbours in time depend on each other is known from some ten blocks of a run. Intervals at 95 % allow for
//! that; a table of thirty rows asks at 99.8 %, where a normal law would be far too sure. All that rests on blocks
//! therefore has the tails of Student's law with nine degrees of freedom.
//!
//! Counts are discrete: no single law has all one-sided intervals of a share. It has two, one for the lower and one for the
//! upper ends, so that neither end ever claims more than its level.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use statrs::distribution::{Beta, ContinuousCDF as _, Normal, StudentsT};

use super::bootstrap::Ratio;
use super::contrast::Contrast;
use super::dependence::BLOCKS;
use super::histogram::DurationHistogram;
use super::interval::{RateInterval, above_zero};
use super::{Percent, percentile, ranks};

/// The normal law's 97.5 % quantile.
const Z: f64 = 1.959_964;

/// Points of a law that is known as a formula.
const POINTS: usize = 400;

/// The log odds at which such a law is cut off.
const FARTHEST: f64 = 12.0;

/// The chance that lies beyond, on each side: 1 / (1 + exp 12), one in 160,000.
pub(super) const CUT_OFF: f64 = 6.144e-6;

/// The confidence distribution of a true value. Ends where nothing bounds the value are infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    /// Where the lower ends of intervals are, ascending.
    low: Arc<[Point]>,
    /// Where the upper ends are; the same but for counts.
    high: Arc<[Point]>,
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
    /// The chance by which a law that takes the blocks' word must be asked: farther out beyond 95 %.
    wary: f64,
    /// The same at the place's own ends: a law asked there claims no more than it holds.
    ends: [f64; 2],
}

/// Evenly spread in their log odds: few points, and the tails are there.
static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let (student, normal) = (of_blocks(), Normal::standard());
    let chance = |i: f64| 1.0 / (1.0 + (-FARTHEST * (2.0 * i / POINTS as f64 - 1.0)).exp());
    let whole = chance(POINTS as f64) - chance(0.0);
    let wary = |chance: f64| {
        let wide = normal.cdf(Z * student.inverse_cdf(chance) / *STUDENT_95);
        if chance < 0.5 { wide.min(chance) } else { wide.max(chance) }
    };
    let place = |i: usize| {
        let i = i as f64;
        Place {
            chance: chance(i + 0.5),
            weight: (chance(i + 1.0) - chance(i)) / whole,
            student: student.inverse_cdf(chance(i + 0.5)),
            wary: wary(chance(i + 0.5)),
            ends: [wary(chance(i)), wary(chance(i + 1.0))],
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
        Self::both([Point { value, weight: 1.0 }].into())
    }

    fn both(points: Arc<[Point]>) -> Self {
        Self { low: points.clone(), high: points }
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
    pub fn of_histogram(histogram: &DurationHistogram, p: Percent, effective_n: u64) -> Option<Self> {
        let at = |share: f64| histogram.quantile(share).unwrap_or_default().as_secs_f64();
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
        Some(Self::of_count(ratio.value()?, ratio.effective_n()))
    }

    /// Of a share that was measured in `n` independent trials: the exact bounds of Clopper and Pearson (1934). Where it
    /// happened in none of them the interval begins at 0, where in all it ends at 1.
    pub fn of_count(share: f64, n: f64) -> Self {
        let count = share * n;
        let (low, high) = (Beta::new(count, n - count + 1.0), Beta::new(count + 1.0, n - count));
        let low = low
            .map_or_else(|_| Self::certain(0.0), |law| Self::of_law(|place| law.inverse_cdf(place.ends[0])));
        let high = high
            .map_or_else(|_| Self::certain(1.0), |law| Self::of_law(|place| law.inverse_cdf(place.ends[1])));
        Self { low: low.low, high: high.high }
    }

    /// Of the mean behind independent values, such as those of several runs. `None` if they do not spread: that a few values
    /// are equal does not say by how much others differ.
    pub fn of_mean(values: &[f64]) -> Option<Self> {
        Repeats::of(values)?.estimate().belief()
    }

    /// The same of values that cannot be negative, such as latencies: no end lies below zero.
    pub fn of_positive_mean(values: &[f64]) -> Option<Self> {
        let mean = Repeats::of(values)?.mean;
        Some(Self::of_mean(values)?.map(|end| above_zero(mean, end)))
    }

    /// Of a value of which two beliefs are had: nothing that either of them allows is ruled out. Both are of laws.
    pub fn or(&self, other: &Self) -> Self {
        let pick = |a: &[Point], b: &[Point], pick: fn(f64, f64) -> f64| {
            a.iter().zip(b).map(|(a, b)| Point { value: pick(a.value, b.value), ..*a }).collect()
        };
        Self {
            low: pick(&self.spread(&self.low), &self.spread(&other.low), f64::min),
            high: pick(&self.spread(&self.high), &self.spread(&other.high), f64::max),
        }
    }

    /// The points of a law, of which something certain has only one.
    fn spread(&self, points: &Arc<[Point]>) -> Arc<[Point]> {
        match points[..] {
            [Point { value, .. }] => {
                PLACES.iter().map(|place| Point { value, weight: place.weight }).collect()
            }
            _ => points.clone(),
        }
    }

    /// By Student's law around an estimate with its standard error and degrees of freedom; infinitely many make it the normal
    /// law.
    pub fn student(estimate: f64, error: f64, freedom: f64) -> Self {
        if freedom.is_infinite() && error > 0.0 {
            let law = Normal::standard();
            return Self::of_law(|place| estimate + error * law.inverse_cdf(place.chance));
        }
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
        Self::both(points.into())
    }

    /// The same in another unit, of which there are so many in one of this.
    pub fn times(&self, factor: f64) -> Self {
        let scaled = |points: &Arc<[Point]>| {
            let scaled = points.iter().map(|point| Point { value: point.value * factor, ..*point });
            if factor < 0.0 { scaled.rev().collect() } else { scaled.collect() }
        };
        let (low, high) = if factor < 0.0 { (&self.high, &self.low) } else { (&self.low, &self.high) };
        Self { low: scaled(low), high: scaled(high) }
    }

    /// The same of a value that lies between these.
    #[must_use]
    pub fn within(&self, least: f64, most: f64) -> Self {
        self.map(|end| end.clamp(least, most))
    }

    /// With each end moved, in the same order.
    fn map(&self, end: impl Fn(f64) -> f64) -> Self {
        let moved = |points: &Arc<[Point]>| {
            points.iter().map(|point| Point { value: end(point.value), ..*point }).collect()
        };
        Self { low: moved(&self.low), high: moved(&self.high) }
    }

    /// The interval that misses the true value with chance `alpha`, split evenly between its sides.
    pub fn interval(&self, alpha: f64) -> RateInterval {
        Contrast::new(self.clone(), Self::certain(0.0)).interval(alpha)
    }

    /// What it lets one believe of this value less another, which was measured independently.
    pub fn minus(&self, other: &Self) -> Contrast {
        Contrast::new(self.clone(), other.clone())
    }

    /// The law of the lower ends.
    pub(super) fn low(&self) -> &[Point] {
        &self.low
    }

    /// The law of the upper ends.
    pub(super) fn high(&self) -> &[Point] {
        &self.high
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
    // The normal law is closer to it there than the inversion is, which takes minutes.
    if freedom > 1e5 {
        return Normal::standard().inverse_cdf(place);
    }
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

    /// The mean as an estimate.
    pub fn estimate(&self) -> Estimate {
        Estimate { value: self.mean, variance: self.variance / self.n, freedom: self.n - 1.0 }
    }

    /// The estimate of this mean less another, spreads unequal (Welch 1947).
    pub fn minus(&self, other: &Self) -> Estimate {
        let less = Estimate { value: -other.mean, ..other.estimate() };
        self.estimate().plus(less)
    }

    /// The estimate of this mean less the only value that is known of another population, taken to spread as this one does:
    /// the truth lies in its intervals where the two populations are one (a prediction interval).
    pub fn minus_one(&self, other: f64) -> Estimate {
        Estimate {
            value: self.mean - other,
            variance: self.variance * (1.0 + 1.0 / self.n),
            freedom: self.n - 1.0,
        }
    }
}

/// An estimate and how well its error is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its variance: the square of its standard error.
    pub variance: f64,
    /// The degrees of freedom of that.
    pub freedom: f64,
}

impl Estimate {
    /// The sum of two independent ones, with the degrees of freedom of Satterthwaite (1946).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let variance = self.variance + other.variance;
        let parts = [self, other].map(|part| part.variance.powi(2) / part.freedom);
        let freedom = if variance > 0.0 { variance.powi(2) / (parts[0] + parts[1]) } else { self.freedom };
        Self { value: self.value + other.value, variance, freedom }
    }

    /// What it lets one believe; `None` without any spread, which a few equal values do not prove.
    pub fn belief(self) -> Option<Belief> {
        (self.variance > 0.0).then(|| Belief::student(self.value, self.variance.sqrt(), self.freedom))
    }

    /// The same of a share, whose variance is at least what counting gives it; zero for what is no share.
    pub fn belief_with_counting(self, variance: f64) -> Option<Belief> {
        if variance <= 0.0 {
            return self.belief();
        }
        let counted = Belief::student(self.value, variance.sqrt(), f64::INFINITY);
        Some(self.belief().map_or(counted.clone(), |spread| spread.or(&counted)))
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
        // Clopper and Pearson's interval of 4 in 40 is [0.0279, 0.2366].
        let mut each = [(0.0, 1.0); 40];
        [3, 17, 22, 39].into_iter().for_each(|i| each[i].0 = 1.0);
        let share = Belief::of_share(each.into_iter()).unwrap().interval(0.05);
        assert!(share.low <= 0.0280 && share.high >= 0.2365 && share.high < 0.32, "{share:?}");
        near(Belief::of_count(0.1, 40.0).interval(0.05), 0.0279, 0.2366, 0.003);
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
    fn what_never_happened_has_an_interval_from_zero_and_what_always_did_one_up_to_1() {
        let of = |happened: f64| Belief::of_share([(happened, 1.0); 300].into_iter()).unwrap().interval(0.05);
        let (never, always) = (of(0.0), of(1.0));
        // 1 − 0.025^(1/300)
        assert!(never.low == 0.0 && (never.high - 0.01222).abs() < 0.0005, "{never:?}");
        assert!(always.high == 1.0 && (always.low - 0.98778).abs() < 0.0005, "{always:?}");
    }

    /// The chance of `count` in `n` trials.
    fn binomial(n: usize, count: usize, share: f64) -> f64 {
        use statrs::distribution::{Binomial, Discrete as _};
        Binomial::new(share, n as u64).unwrap().pmf(count as u64)
    }

    /// The exact chance that a share of just this is called more, and less, at a one-sided level.
    fn false_calls(n: usize, truth: f64, level: f64) -> [f64; 2] {
        let most = (n as f64 * truth + 12.0 * (n as f64 * truth).sqrt() + 12.0).min(n as f64) as usize;
        let mut chances = [0.0; 2];
        for count in 0..=most {
            // Where in the run they are is chance: here every seventh place or so.
            let mut each = vec![(0.0, 1.0); n];
            (0..count).for_each(|i| each[(i * 7919 + 13) % n].0 = 1.0);
            let against_zero = Belief::of_share(each.into_iter()).unwrap().minus(&Belief::certain(0.0));
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
        let narrow = Belief::student(0.5, 0.01, 30.0);
        let wide = Belief::of_count(0.5, 40.0);
        let (either, wide) = (narrow.or(&wide).interval(0.05), wide.interval(0.05));
        near(either, wide.low, wide.high, 0.002);
        let both = Belief::certain(0.0).or(&Belief::student(1.0, 0.1, 30.0)).interval(0.05);
        assert!(both.low == 0.0 && both.high > 1.15, "{both:?}");
    }

    #[test]
    fn too_little_is_no_belief() {
        assert_eq!(Belief::of_ratio([(1.0, 1.0); 9].into_iter()), None);
        assert_eq!(Belief::of_mean(&[1.0]), None);
        assert_eq!(Belief::of_share([].into_iter()), None);
        assert_eq!(Belief::of_percentile([].chunks(1), 50.0), None);
        assert_eq!(Belief::of_mean(&[2.0, 2.0]), None, "two equal values do not say that all are");
    }
}
