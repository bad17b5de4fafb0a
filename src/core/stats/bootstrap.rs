//! Intervals of means and rates by the moving-block bootstrap (Künsch 1989): blocks of neighbours are drawn together,
//! so that what neighbours have in common stays in common. It is studentised (Götze and Künsch 1996): each draw is
//! measured by its own standard error. Waits in a queue are skewed, and a run that happened to see few long ones has a
//! mean too low and an error too small at once; the plain bootstrap is then far too sure of it.
//!
//! Everything here is a ratio of two sums: a mean is values over counts, a rate is events over seconds, the mean gap is
//! time over gaps. Long series are summed into at most [`RESOLUTION`] batches of neighbours first, which leaves the
//! ratio and its long-run variance as they are; a draw then costs one lookup per block.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};

use super::dependence::Dependence;

/// Batches into which a long series is summed.
const RESOLUTION: usize = 1024;

/// Fewer terms than this say nothing of their own spread.
const FEWEST: usize = 10;

const REPLICATES: usize = 1000;

/// Standard errors that a draw of nearly equal blocks is held to.
const FARTHEST: f64 = 8.0;

/// Fixed: the same run has the same intervals wherever it is summed up.
const SEED: u64 = 0xB007_57A9_0000_0001;

/// A series of pairs in the order of time, of which the ratio of the sums is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    tops: Vec<f64>,
    bottoms: Vec<f64>,
    /// Terms before they were summed into batches.
    terms: usize,
    /// Terms in a batch.
    size: usize,
}

impl Ratio {
    /// From pairs (part of the numerator, part of the denominator).
    pub fn of(pairs: impl ExactSizeIterator<Item = (f64, f64)>) -> Self {
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

    /// The ratio of the sums; `None` without a denominator.
    pub fn value(&self) -> Option<f64> {
        let bottom: f64 = self.bottoms.iter().sum();
        (bottom > 0.0).then(|| self.tops.iter().sum::<f64>() / bottom)
    }

    /// How the terms depend on each other, beyond what the denominators explain.
    pub fn dependence(&self) -> Dependence {
        Dependence::of(&self.residuals(self.value().unwrap_or(0.0)))
    }

    /// How many independent values tell as much about a share as this series does; for a ratio that is a share of its
    /// denominators' sum, never more than that sum.
    pub fn effective_n(&self) -> f64 {
        let bottom: f64 = self.bottoms.iter().sum();
        let share = self.value().unwrap_or(0.0);
        let Dependence { variance, long_run, doubt, .. } = self.dependence();
        // Neighbours that repel each other would be worth more than their number: never claimed.
        let spread = self.tops.len() as f64 * (doubt * doubt * long_run).max(variance);
        let inflation = spread / (bottom * share * (1.0 - share));
        // NaN: all on one side.
        bottom / if inflation > 1.0 { inflation } else { 1.0 }
    }

    /// The 95 % interval of the ratio; `None` with too few terms.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let (value, error, scores) = self.studentised()?;
        let at = |share: f64| scores[(share * (scores.len() - 1) as f64).round() as usize];
        // A sample that fell short of its error on one side makes the truth lie far on the other.
        Some((value - error * at(0.975).max(0.0), value - error * at(0.025).min(0.0)))
    }

    /// Where the true ratio lies with this chance of its lying lower, for any number of chances. `None` with too few terms.
    ///
    /// So few blocks tell nothing of the far tails of their own law: there Student's law for as many blocks, given as the
    /// score that goes with each chance, is believed where it is wider.
    pub fn quantile(&self) -> Option<impl Fn(f64, f64) -> f64 + use<>> {
        let (value, error, scores) = self.studentised()?;
        Some(move |chance: f64, student: f64| {
            let score = scores[((1.0 - chance) * (scores.len() - 1) as f64).round() as usize];
            value - error * if student < 0.0 { score.max(-student) } else { score.min(-student) }
        })
    }

    /// The ratio, its standard error, and how many of those resampled ratios lie off, ascending.
    fn studentised(&self) -> Option<(f64, f64, Vec<f64>)> {
        let value = self.value()?;
        if self.terms < FEWEST {
            return None;
        }
        let residuals = self.residuals(value);
        let Dependence { long_run, block, .. } = Dependence::of(&residuals);
        let error = (residuals.len() as f64 * long_run).sqrt() / self.bottoms.iter().sum::<f64>();
        let mut scores = scores(&residuals, block);
        scores.sort_unstable_by(f64::total_cmp);
        Some((value, error, scores))
    }

    fn residuals(&self, ratio: f64) -> Vec<f64> {
        self.tops.iter().zip(&self.bottoms).map(|(top, bottom)| top - ratio * bottom).collect()
    }
}

/// How many of its own standard errors each resampled sum of blocks lies from its expectation.
fn scores(residuals: &[f64], block: usize) -> Vec<f64> {
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
        if variance > 0.0 { (sum / (n * variance).sqrt()).clamp(-FARTHEST, FARTHEST) } else { 0.0 }
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

    fn mean_of(values: &[f64]) -> Ratio {
        Ratio::of(values.iter().map(|&value| (value, 1.0)))
    }

    /// In how many of `repeats` samples the interval holds the mean 0 of an autoregression.
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
        let ratio = Ratio::of((0..1_000_003).map(|i| (f64::from(i % 7), 1.0)));
        assert!(ratio.tops.len() <= RESOLUTION, "{}", ratio.tops.len());
        assert!((ratio.value().unwrap() - 3.0).abs() < 1e-4);
        let (low, high) = ratio.interval().unwrap();
        assert!(low < 3.0 && 3.0 < high && high - low < 0.1, "{low} {high}");
    }

    #[test]
    fn too_few_values_have_no_interval() {
        assert_eq!(mean_of(&[]).interval(), None);
        assert_eq!(mean_of(&[1.0; 9]).interval(), None);
        assert_eq!(Ratio::of([(1.0, 0.0); 20].into_iter()).interval(), None);
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
