//! The confidence distribution of a true value, given a measurement.
//!
//! A 95 % interval answers one question at one level. Whether two runs differ, by how much, and whether a bound holds
//! at the level that a whole table of questions leaves for one of them, are many questions at many levels. A
//! distribution whose quantiles are the ends of all one-sided intervals answers them all (Schweder and Hjort,
//! *Confidence, Likelihood, Probability*, 2016; Xie and Singh, *Confidence distribution, the frequentist distribution
//! estimator of a parameter*, 2013). Each kind of measurement has its own:
//!
//! | measurement | method |
//! |---|---|
//! | mean, rate | studentized moving-block bootstrap, as their intervals, its tails no lighter than Student's |
//! | percentile | order statistics, ranks by the binomial distribution for the effective sample size |
//! | share | two beta distributions, one for each side (Clopper and Pearson 1934), counts reduced to the effective sample size |
//! | mean of several runs, or of several server starts | Student's t |
//! | a saved interval | Student's t, with one half for each side |
//!
//! The dependence between neighbors in time is estimated from about ten blocks of a run. Intervals at 95 % allow for
//! that; a table of thirty rows asks at 99.8 %, where a normal distribution would be far too confident. Every
//! distribution that rests on blocks therefore has the tails of Student's t distribution with nine degrees of freedom.
//!
//! Counts are discrete: no single distribution has all one-sided intervals of a share. A share has two, one for the
//! lower and one for the upper ends, so that neither end ever claims more than its level.

use std::borrow::Borrow;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use statrs::distribution::{Beta, ContinuousCDF as _, Normal, StudentsT};

use super::bootstrap::RatioSeries;
use super::histogram::DurationHistogram;
use super::interval::{RateInterval, positive_end};
use super::{Percent, percentile};
use crate::stats::autocorrelation::BLOCKS;
use crate::stats::order_statistics;

/// The normal distribution's 97.5 % quantile.
const Z: f64 = 1.959_964;

/// The number of points that represent a distribution with a known formula.
const POINT_COUNT: usize = 400;

/// The log odds at which a distribution with a known formula is truncated.
const MAX_LOG_ODDS: f64 = 12.0;

/// The probability beyond the truncation, on each side: 1 / (1 + exp 12), one in 160,000.
pub(super) const TAIL_PROBABILITY: f64 = 6.144e-6;

/// The confidence distribution of a true value. An end is infinite where nothing bounds the value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConfidenceDistribution {
    /// The distribution of the lower ends of intervals, ascending.
    low: Arc<[ConfidenceAtom]>,
    /// The distribution of the upper ends of intervals; it differs from `low` only for counts.
    high: Arc<[ConfidenceAtom]>,
}

/// A possible position of the true value, and its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ConfidenceAtom {
    pub value: f64,
    pub weight: f64,
}

/// A quantile level of a distribution: the probability that the true value is lower.
struct QuantilePoint {
    chance: f64,
    weight: f64,
    /// Student's quantile, for the number of blocks that a run is cut into.
    student: f64,
    /// The probability at which to query a distribution that is estimated from blocks: farther out beyond 95 %.
    cautious: f64,
    /// The adjusted probabilities at the two ends of this point's probability range: a distribution queried there never
    /// claims too much.
    ends: [f64; 2],
}

/// The points are evenly spaced in log odds: few points suffice and cover the tails.
static QUANTILE_POINTS: LazyLock<Vec<QuantilePoint>> = LazyLock::new(|| {
    let (student, normal) = (block_student(), Normal::standard());
    let chance = |i: f64| 1.0 / (1.0 + (-MAX_LOG_ODDS * (2.0 * i / POINT_COUNT as f64 - 1.0)).exp());
    let whole = chance(POINT_COUNT as f64) - chance(0.0);
    let cautious = |chance: f64| {
        let wide = normal.cdf(Z * student.inverse_cdf(chance) / *STUDENT_95);
        if chance < 0.5 { wide.min(chance) } else { wide.max(chance) }
    };
    let place = |i: usize| {
        let i = i as f64;
        QuantilePoint {
            chance: chance(i + 0.5),
            weight: (chance(i + 1.0) - chance(i)) / whole,
            student: student.inverse_cdf(chance(i + 0.5)),
            cautious: cautious(chance(i + 0.5)),
            ends: [cautious(chance(i)), cautious(chance(i + 1.0))],
        }
    };
    (0..POINT_COUNT).map(place).collect()
});

/// The 0.975 quantile of Student's t distribution with [`BLOCKS`] − 1 degrees of freedom.
static STUDENT_95: LazyLock<f64> = LazyLock::new(|| block_student().inverse_cdf(0.975));

/// Student's quantiles for whole degrees of freedom, which repeats have, at all quantile points.
static SCORES_BY_FREEDOM: [OnceLock<Arc<[f64]>>; 64] = [const { OnceLock::new() }; 64];

/// Student's quantiles at all quantile points. The inversion is numerical, and a table of comparisons asks for the same
/// degrees of freedom in every row.
fn student_scores(freedom: f64) -> Arc<[f64]> {
    match SCORES_BY_FREEDOM.get(freedom as usize).filter(|_| freedom.fract() == 0.0) {
        Some(scores) => Arc::clone(scores.get_or_init(|| invert_student(freedom))),
        None => invert_student(freedom),
    }
}

/// The points are symmetric about the median, as the distribution is.
fn invert_student(freedom: f64) -> Arc<[f64]> {
    let lower =
        QUANTILE_POINTS[..POINT_COUNT / 2].iter().map(|place| student_quantile(place.chance, freedom));
    let lower: Vec<f64> = lower.collect();
    lower.iter().copied().chain(lower.iter().rev().map(|score| -score)).collect()
}

fn block_student() -> StudentsT {
    StudentsT::new(0.0, 1.0, (BLOCKS - 1) as f64).expect("the parameters are constants that fit")
}

impl ConfidenceDistribution {
    /// The distribution of a value that is known exactly.
    pub(crate) fn exact(value: f64) -> Self {
        Self::from_points([ConfidenceAtom { value, weight: 1.0 }].into())
    }

    fn from_points(points: Arc<[ConfidenceAtom]>) -> Self {
        Self { low: points.clone(), high: points }
    }

    /// The distribution of a mean or a rate, from pairs (part of the numerator, part of the denominator) in the order
    /// of time. `None` with fewer than ten pairs. Neither part is negative, so the ratio is not negative either.
    pub(crate) fn from_ratio(pairs: impl ExactSizeIterator<Item = (f64, f64)>) -> Option<Self> {
        let ratio = RatioSeries::from_pairs(pairs);
        let (estimate, quantile) = (ratio.value()?, ratio.quantile()?);
        Some(Self::from_quantiles(|place| positive_end(estimate, quantile(place.chance, place.student))))
    }

    /// The distribution of a percentile of all values, which arrive in groups in the order of time: the gaps of each
    /// request, or one latency each. Also returns the number of independent values that they are worth. `None` without
    /// values.
    pub(crate) fn from_percentile<G>(
        groups: impl ExactSizeIterator<Item = G> + Clone,
        p: Percent,
    ) -> Option<(Self, u64)>
    where
        G: IntoIterator<Item: Borrow<Duration>>,
    {
        let mut sorted: Vec<Duration> = groups.clone().flatten().map(|found| *found.borrow()).collect();
        sorted.sort_unstable();
        let value = percentile(&sorted, p)?;
        let below = groups.map(|group| {
            group.into_iter().fold((0.0, 0.0), |(below, all), found| {
                (below + f64::from(u8::from(*found.borrow() <= value)), all + 1.0)
            })
        });
        let effective_n = (RatioSeries::from_pairs(below).effective_n() as u64).clamp(1, sorted.len() as u64);
        let last = (sorted.len() - 1) as f64;
        // The middle of the k-th of n equal parts is the k-th value.
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64 - 0.5).clamp(0.0, last);
            percentile(&sorted, 100.0 * rank / last.max(1.0)).unwrap_or(value).as_secs_f64()
        };
        Some((Self::among_ranks(effective_n, p, at), effective_n))
    }

    /// The distribution of a percentile in seconds, from a histogram of nanoseconds that is worth `effective_n`
    /// independent values.
    pub(crate) fn from_histogram(
        histogram: &DurationHistogram,
        p: Percent,
        effective_n: u64,
    ) -> Option<Self> {
        let at = |share: f64| histogram.quantile(share).unwrap_or_default().as_secs_f64();
        (effective_n > 0 && !histogram.is_empty()).then(|| Self::among_ranks(effective_n, p, at))
    }

    /// The distribution of a percentile from order statistics. Outside the sample only zero bounds the percentile.
    fn among_ranks(n: u64, p: Percent, at: impl Fn(f64) -> f64) -> Self {
        let position = order_statistics::rank_quantile(n, p);
        Self::from_quantiles(|place| match position(place.cautious) {
            rank if rank < 1.0 => 0.0,
            rank if rank >= n as f64 => f64::INFINITY,
            rank => at((rank - 0.5) / n as f64),
        })
    }

    /// The distribution of a share, from pairs (occurrences, trials) in the order of time. `None` without trials.
    pub(crate) fn from_share(pairs: impl ExactSizeIterator<Item = (f64, f64)>) -> Option<Self> {
        let ratio = RatioSeries::from_pairs(pairs);
        Some(Self::from_count(ratio.value()?, ratio.effective_n()))
    }

    /// The distribution of a share measured in `n` independent trials: the exact bounds of Clopper and Pearson (1934).
    /// For a share of 0 the interval begins at 0; for a share of 1 it ends at 1.
    pub(crate) fn from_count(share: f64, n: f64) -> Self {
        let count = share * n;
        let (low, high) = (Beta::new(count, n - count + 1.0), Beta::new(count + 1.0, n - count));
        let low = low.map_or_else(
            |_| Self::exact(0.0),
            |beta| Self::from_quantiles(|place| beta.inverse_cdf(place.ends[0])),
        );
        let high = high.map_or_else(
            |_| Self::exact(1.0),
            |beta| Self::from_quantiles(|place| beta.inverse_cdf(place.ends[1])),
        );
        Self { low: low.low, high: high.high }
    }

    /// The distribution of the mean behind independent values, such as those of several runs. `None` if all values are
    /// equal: equality of a few values does not show how much others differ.
    pub(crate) fn from_mean(values: &[f64]) -> Option<Self> {
        RepeatStats::from_values(values)?.estimate().confidence()
    }

    /// The distribution of the mean behind independent values that cannot be negative, such as latencies: no end lies
    /// below zero.
    pub(crate) fn from_positive_mean(values: &[f64]) -> Option<Self> {
        let mean = RepeatStats::from_values(values)?.mean;
        Some(Self::from_mean(values)?.map(|end| positive_end(mean, end)))
    }

    /// Combines two distributions of the same value: the result rules out nothing that either of them allows. Both must
    /// have a known formula or be exact.
    pub(crate) fn envelope(&self, other: &Self) -> Self {
        let pick = |a: &[ConfidenceAtom], b: &[ConfidenceAtom], pick: fn(f64, f64) -> f64| {
            a.iter().zip(b).map(|(a, b)| ConfidenceAtom { value: pick(a.value, b.value), ..*a }).collect()
        };
        Self {
            low: pick(&self.expand_points(&self.low), &self.expand_points(&other.low), f64::min),
            high: pick(&self.expand_points(&self.high), &self.expand_points(&other.high), f64::max),
        }
    }

    /// The points of a distribution; a certain value has only one point, which is repeated.
    fn expand_points(&self, points: &Arc<[ConfidenceAtom]>) -> Arc<[ConfidenceAtom]> {
        match points[..] {
            [ConfidenceAtom { value, .. }] => {
                QUANTILE_POINTS.iter().map(|place| ConfidenceAtom { value, weight: place.weight }).collect()
            }
            _ => points.clone(),
        }
    }

    /// Student's t distribution around an estimate with its standard error and degrees of freedom; infinite degrees of
    /// freedom give the normal distribution.
    pub(crate) fn from_student(estimate: f64, error: f64, freedom: f64) -> Self {
        if freedom.is_infinite() && error > 0.0 {
            let normal = Normal::standard();
            return Self::from_quantiles(|place| estimate + error * normal.inverse_cdf(place.chance));
        }
        match StudentsT::new(estimate, error, freedom) {
            Ok(_) => Self::from_values(student_scores(freedom).iter().map(|score| estimate + error * score)),
            // The standard error is zero.
            Err(_) => Self::exact(estimate),
        }
    }

    /// The distribution of a value that cannot be negative, from its stated 95 % interval.
    pub(crate) fn from_interval(value: f64, interval: RateInterval) -> Self {
        Self::from_scores(value, interval, *STUDENT_95)
    }

    /// The distribution of a value that cannot be negative, from an interval that contains it with this probability.
    pub(crate) fn from_coverage(value: f64, interval: RateInterval, coverage: f64) -> Self {
        Self::from_scores(value, interval, block_student().inverse_cdf(0.5 + coverage / 2.0))
    }

    /// `width` is the score at the interval's ends.
    fn from_scores(value: f64, interval: RateInterval, width: f64) -> Self {
        let (below, above) = (value - interval.low, interval.high - value);
        Self::from_quantiles(|place| {
            let score = place.student / width;
            positive_end(value, value + score * if score < 0.0 { below } else { above })
        })
    }

    /// Builds the distribution from a quantile function.
    fn from_quantiles(quantile: impl Fn(&QuantilePoint) -> f64) -> Self {
        Self::from_values(QUANTILE_POINTS.iter().map(quantile))
    }

    /// Builds the distribution from its values at all quantile points.
    fn from_values(values: impl Iterator<Item = f64>) -> Self {
        let points = values.zip(QUANTILE_POINTS.iter());
        let mut points: Vec<ConfidenceAtom> =
            points.map(|(value, place)| ConfidenceAtom { value, weight: place.weight }).collect();
        points.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
        Self::from_points(points.into())
    }

    /// Converts the distribution to another unit: every value is multiplied by `factor`.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        let scaled = |points: &Arc<[ConfidenceAtom]>| {
            let scaled = points.iter().map(|point| ConfidenceAtom { value: point.value * factor, ..*point });
            if factor < 0.0 { scaled.rev().collect() } else { scaled.collect() }
        };
        let (low, high) = if factor < 0.0 { (&self.high, &self.low) } else { (&self.low, &self.high) };
        Self { low: scaled(low), high: scaled(high) }
    }

    /// Restricts the distribution to values between `least` and `most`.
    #[must_use]
    pub(crate) fn clamped(&self, least: f64, most: f64) -> Self {
        self.map(|end| end.clamp(least, most))
    }

    /// Applies a monotonic function to every end.
    fn map(&self, end: impl Fn(f64) -> f64) -> Self {
        let moved = |points: &Arc<[ConfidenceAtom]>| {
            points.iter().map(|point| ConfidenceAtom { value: end(point.value), ..*point }).collect()
        };
        Self { low: moved(&self.low), high: moved(&self.high) }
    }

    pub(super) fn low_points(&self) -> &[ConfidenceAtom] {
        &self.low
    }

    pub(super) fn high_points(&self) -> &[ConfidenceAtom] {
        &self.high
    }
}

/// Mean and variance of independent values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RepeatStats {
    /// The number of values; at least two.
    pub n: f64,
    /// The mean of the values.
    pub mean: f64,
    /// The unbiased variance of the population that the values are a sample of.
    pub variance: f64,
}

/// Student's quantile at a probability, 0 to 1, for these degrees of freedom; infinite if there are none.
pub(crate) fn student_quantile(place: f64, freedom: f64) -> f64 {
    // With this many degrees of freedom the normal distribution is closer than the numerical inversion, which takes
    // minutes.
    if freedom > 1e5 {
        return Normal::standard().inverse_cdf(place);
    }
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |student| student.inverse_cdf(place))
}

impl RepeatStats {
    /// Computes the statistics; `None` with fewer than two values.
    pub(crate) fn from_values(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (values.len() > 1).then(|| Self { n, mean, variance: squares / (n - 1.0) })
    }

    /// The mean as an estimate.
    pub(crate) fn estimate(&self) -> Estimate {
        Estimate { value: self.mean, variance: self.variance / self.n, freedom: self.n - 1.0 }
    }

    /// The estimate of this mean minus another, with unequal variances (Welch 1947).
    pub(crate) fn difference(&self, other: &Self) -> Estimate {
        let less = Estimate { value: -other.mean, ..other.estimate() };
        self.estimate().sum(less)
    }

    /// The estimate of this mean minus the only known value of another population with the same variance. Its intervals
    /// contain the true difference where the two populations are the same (a prediction interval).
    pub(crate) fn difference_to_single(&self, other: f64) -> Estimate {
        Estimate {
            value: self.mean - other,
            variance: self.variance * (1.0 + 1.0 / self.n),
            freedom: self.n - 1.0,
        }
    }
}

/// An estimate with its variance and degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// The estimated value.
    pub value: f64,
    /// The variance of the estimate: the square of its standard error.
    pub variance: f64,
    /// The degrees of freedom of the variance.
    pub freedom: f64,
}

impl Estimate {
    /// The sum of two independent estimates, with the degrees of freedom of Satterthwaite (1946).
    #[must_use]
    pub(crate) fn sum(self, other: Self) -> Self {
        let variance = self.variance + other.variance;
        let parts = [self, other].map(|part| part.variance.powi(2) / part.freedom);
        let freedom = if variance > 0.0 { variance.powi(2) / (parts[0] + parts[1]) } else { self.freedom };
        Self { value: self.value + other.value, variance, freedom }
    }

    /// The confidence distribution of the true value; `None` if the variance is zero, which a few equal values do not
    /// prove.
    pub(crate) fn confidence(self) -> Option<ConfidenceDistribution> {
        (self.variance > 0.0)
            .then(|| ConfidenceDistribution::from_student(self.value, self.variance.sqrt(), self.freedom))
    }

    /// The confidence distribution of a share, whose variance is at least its counting variance; pass zero for a value
    /// that is not a share.
    pub(crate) fn confidence_with_counting(self, variance: f64) -> Option<ConfidenceDistribution> {
        if variance <= 0.0 {
            return self.confidence();
        }
        let counted = ConfidenceDistribution::from_student(self.value, variance.sqrt(), f64::INFINITY);
        Some(self.confidence().map_or(counted.clone(), |spread| spread.envelope(&counted)))
    }
}

#[cfg(test)]
mod tests;
