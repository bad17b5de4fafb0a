//! Intervals of means and rates by the moving-block bootstrap (Künsch 1989). It draws blocks of neighboring values
//! together, which preserves their correlation. It is studentized (Götze and Künsch 1996): each draw is divided by its
//! own standard error. Queueing delays are skewed, and a run that happened to see few long ones has both a mean that is
//! too low and an error that is too small; the plain bootstrap is then far too confident.
//!
//! Every statistic here is a ratio of two sums: a mean is values over counts, a rate is events over seconds, the mean
//! gap is time over gaps. Long series are first summed into at most [`RESOLUTION`] batches of neighbors, which leaves
//! the ratio and its long-run variance as they are; a draw then costs one lookup per block.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};

use crate::stats::autocorrelation::Autocorrelation;

/// The number of batches that a long series is summed into.
const RESOLUTION: usize = 1024;

/// The least number of terms for an interval: fewer do not show their own spread.
const MIN_TERMS: usize = 10;

const REPLICATES: usize = 1000;

/// The limit of a draw's studentized score, in standard errors: a draw of nearly equal blocks has an error near zero.
const MAX_STANDARD_ERRORS: f64 = 8.0;

/// The seed is fixed, so that the same run has the same intervals wherever it is summarized.
const SEED: u64 = 0xB007_57A9_0000_0001;

/// A series of pairs (numerator, denominator) in the order of time, for the ratio of their sums.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RatioSeries {
    tops: Vec<f64>,
    bottoms: Vec<f64>,
    /// The number of terms before they were summed into batches.
    terms: usize,
    /// The number of terms in a batch.
    size: usize,
}

impl RatioSeries {
    /// Builds the series from pairs (part of the numerator, part of the denominator).
    pub(super) fn from_pairs(pairs: impl ExactSizeIterator<Item = (f64, f64)>) -> Self {
        let terms = pairs.len();
        let size = terms.div_ceil(RESOLUTION).max(1);
        let batches = terms.div_ceil(size);
        let (mut tops, mut bottoms) = (vec![0.0; batches], vec![0.0; batches]);
        for (i, (top, bottom)) in pairs.enumerate() {
            tops[i / size] += top;
            bottoms[i / size] += bottom;
        }
        Self { tops, bottoms, terms, size }
    }

    /// The ratio of the sums; `None` if the denominators sum to zero.
    pub(super) fn value(&self) -> Option<f64> {
        let bottom: f64 = self.bottoms.iter().sum();
        (bottom > 0.0).then(|| self.tops.iter().sum::<f64>() / bottom)
    }

    /// The autocorrelation of the terms, beyond what the denominators explain.
    pub(super) fn autocorrelation(&self) -> Autocorrelation {
        Autocorrelation::from_series(&self.residuals(self.value().unwrap_or(0.0)))
    }

    /// The number of independent values that give as much information about a share as this series does. For a ratio
    /// that is a share of the sum of its denominators, it never exceeds that sum.
    pub(super) fn effective_n(&self) -> f64 {
        let bottom: f64 = self.bottoms.iter().sum();
        let share = self.value().unwrap_or(0.0);
        let Autocorrelation { variance, long_run, doubt, .. } = self.autocorrelation();
        // Negatively correlated neighbors would be worth more than their number; the estimate never claims that.
        let spread = self.tops.len() as f64 * (doubt * doubt * long_run).max(variance);
        let inflation = spread / (bottom * share * (1.0 - share));
        // The inflation is NaN where all values lie on one side.
        bottom / if inflation > 1.0 { inflation } else { 1.0 }
    }

    /// The 95 % interval of the ratio; `None` with fewer than ten terms.
    pub(super) fn interval(&self) -> Option<(f64, f64)> {
        let (value, error, scores) = self.studentized()?;
        let at = |share: f64| scores[(share * (scores.len() - 1) as f64).round() as usize];
        // The bootstrap-t reverses the tails: a draw far below its expectation moves the upper end of the interval.
        Some((value - error * at(0.975).max(0.0), value - error * at(0.025).min(0.0)))
    }

    /// Returns the quantile function of the ratio's confidence distribution: for a probability, the value that the true
    /// ratio lies below. `None` with fewer than ten terms.
    ///
    /// Ten blocks do not show the far tails of their own distribution. There the function uses Student's t distribution
    /// for that number of blocks, passed as the score of each probability, where it is wider.
    pub(super) fn quantile(&self) -> Option<impl Fn(f64, f64) -> f64 + use<>> {
        let (value, error, scores) = self.studentized()?;
        Some(move |chance: f64, student: f64| {
            let score = scores[((1.0 - chance) * (scores.len() - 1) as f64).round() as usize];
            value - error * if student < 0.0 { score.max(-student) } else { score.min(-student) }
        })
    }

    /// Returns the ratio, its standard error, and the studentized scores of the resampled ratios, ascending.
    fn studentized(&self) -> Option<(f64, f64, Vec<f64>)> {
        let value = self.value()?;
        if self.terms < MIN_TERMS {
            return None;
        }
        let residuals = self.residuals(value);
        let Autocorrelation { long_run, block, .. } = Autocorrelation::from_series(&residuals);
        let error = (residuals.len() as f64 * long_run).sqrt() / self.bottoms.iter().sum::<f64>();
        let mut scores = studentized_scores(&residuals, block);
        scores.sort_unstable_by(f64::total_cmp);
        Some((value, error, scores))
    }

    fn residuals(&self, ratio: f64) -> Vec<f64> {
        self.tops.iter().zip(&self.bottoms).map(|(top, bottom)| top - ratio * bottom).collect()
    }
}

/// The studentized score of each resampled sum of blocks: its distance from its expectation in its own standard errors.
fn studentized_scores(residuals: &[f64], block: usize) -> Vec<f64> {
    let sums = prefix_sums(residuals);
    let blocks: Vec<f64> = sums.iter().zip(&sums[block..]).map(|(start, end)| end - start).collect();
    let mean = blocks.iter().sum::<f64>() / blocks.len() as f64;
    let drawn = (residuals.len() / block).max(2);
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut score = || {
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..drawn {
            let deviation = blocks[rng.random_range(0..blocks.len())] - mean;
            sum += deviation;
            squares += deviation * deviation;
        }
        let n = drawn as f64;
        let variance = (squares - sum * sum / n) / (n - 1.0);
        if variance > 0.0 {
            (sum / (n * variance).sqrt()).clamp(-MAX_STANDARD_ERRORS, MAX_STANDARD_ERRORS)
        } else {
            0.0
        }
    };
    (0..REPLICATES).map(|_| score()).collect()
}

fn prefix_sums(values: &[f64]) -> Vec<f64> {
    let sums = values.iter().scan(0.0, |sum, value| {
        *sum += value;
        Some(*sum)
    });
    std::iter::once(0.0).chain(sums).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_distr::{Distribution as _, Exp1, StandardNormal};

    use super::*;

    fn mean_of(values: &[f64]) -> RatioSeries {
        RatioSeries::from_pairs(values.iter().map(|&value| (value, 1.0)))
    }

    /// The fraction of `repeats` samples whose interval contains the mean 0 of an autoregression.
    fn coverage(phi: f64, n: usize, repeats: u64) -> f64 {
        let covers = |seed: u64| {
            let noise = StandardNormal.sample_iter(StdRng::seed_from_u64(seed));
            let walk = noise.scan(0.0, |x, noise: f64| {
                *x = phi * *x + noise;
                Some(*x)
            });
            let values: Vec<f64> = walk.skip(200).take(n).collect();
            let (low, high) = mean_of(&values).interval().unwrap();
            (low..=high).contains(&0.0)
        };
        (0..repeats).filter(|&seed| covers(seed)).count() as f64 / repeats as f64
    }

    #[test]
    fn the_interval_of_a_mean_covers_it_although_neighbours_are_alike() {
        for (phi, n) in [(0.0, 20), (0.0, 300), (0.5, 300), (0.8, 1000)] {
            let covered = coverage(phi, n, 200);
            assert!((0.89..=0.99).contains(&covered), "φ {phi}, n {n}: {covered}");
        }
    }

    #[test]
    fn the_same_values_have_the_same_interval() {
        let values: Vec<f64> = Exp1.sample_iter(StdRng::seed_from_u64(1)).take(500).collect();
        assert_eq!(mean_of(&values).interval(), mean_of(&values).interval());
    }

    #[test]
    fn a_million_values_are_summed_into_batches_without_losing_the_ratio() {
        let ratio = RatioSeries::from_pairs((0..1_000_003).map(|i| (f64::from(i % 7), 1.0)));
        assert!(ratio.tops.len() <= RESOLUTION, "{}", ratio.tops.len());
        assert!((ratio.value().unwrap() - 3.0).abs() < 1e-4);
        let (low, high) = ratio.interval().unwrap();
        assert!(low < 3.0 && 3.0 < high && high - low < 0.1, "{low} {high}");
    }

    #[test]
    fn too_few_values_have_no_interval() {
        assert_eq!(mean_of(&[]).interval(), None);
        assert_eq!(mean_of(&[1.0; 9]).interval(), None);
        assert_eq!(RatioSeries::from_pairs([(1.0, 0.0); 20].into_iter()).interval(), None);
        assert_eq!(mean_of(&[1.0; 10]).interval(), Some((1.0, 1.0)));
    }

    proptest! {
        #[test]
        fn the_interval_holds_its_own_estimate(values in prop::collection::vec(0.0..1e6_f64, 10..200)) {
            let ratio = mean_of(&values);
            let (value, (low, high)) = (ratio.value().unwrap(), ratio.interval().unwrap());
            prop_assert!(low <= value && value <= high);
            prop_assert!(low.is_finite() && high.is_finite());
        }
    }
}
