//! Distribution-free intervals of percentiles: the binomial distribution gives the order statistics that enclose a
//! percentile.
//!
//! The number of values at or below the true percentile p is Binomial(n, p) whatever the values' distribution, so two
//! ranks enclose the percentile with a confidence that depends on n and p alone (David and Nagaraja, *Order
//! Statistics*, section 7.1).

use super::Percent;

/// The probability that an interval misses, split evenly between its two sides.
const ALPHA: f64 = 0.05;

/// The significance level of MLPerf's early stopping, which asks for 99 % confidence.
const NEEDS_ALPHA: f64 = 0.01;

/// Weights below this share of the largest do not change a tail in double precision.
const NEGLIGIBLE: f64 = 1e-18;

/// Returns the ranks (1 ..= n) of the two values that enclose the percentile `p` of `n` independent values with 95 %
/// confidence; `None` where even the extremes do not.
pub(super) fn enclosing_ranks(n: u64, p: Percent) -> Option<(u64, u64)> {
    let share = p / 100.0;
    if n == 0 || share <= 0.0 || share >= 1.0 {
        return None;
    }
    let mass = BinomialMass::new(n, share);
    // P(X_(low) > q) = P(B < low), and P(X_(high) < q) = P(B ≥ high).
    let low = mass.below_tail(ALPHA / 2.0)?;
    let high = mass.above_tail(ALPHA / 2.0)?;
    (low >= 1 && high <= n).then_some((low, high))
}

/// Returns the shares of a sample, 0 to 1, at whose quantiles the 95 % interval of the percentile `p` ends, for a sample
/// that is worth `n` independent values; `None` where even the extremes do not enclose it.
pub(crate) fn enclosing_shares(n: u64, p: Percent) -> Option<(f64, f64)> {
    let (low, high) = enclosing_ranks(n, p)?;
    // The k-th of n equal parts has its center at (k − 1/2) / n.
    let share = |rank: u64| (rank as f64 - 0.5) / n as f64;
    Some((share(low), share(high)))
}

/// Returns the quantile function of the rank of percentile `p` among `n` independent values: the integer part is the
/// rank (1 ..= n) of the value below, the fraction the position between it and the next. Below 1 and from `n` on, the
/// percentile lies outside the sample.
pub(super) fn rank_quantile(n: u64, p: Percent) -> impl Fn(f64) -> f64 {
    let BinomialMass { first, weights } =
        BinomialMass::new(n, (p / 100.0).clamp(f64::EPSILON, 1.0 - f64::EPSILON));
    let sums: Vec<f64> = weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    move |chance| {
        let step = sums.partition_point(|&sum| sum < chance).min(sums.len() - 1);
        let within = (chance - (sums[step] - weights[step])) / weights[step];
        first as f64 + step as f64 + within.clamp(0.0, 1.0)
    }
}

/// The number of independent values that the percentile `p` needs before a guarantee exists: with fewer, not even the
/// second most extreme value bounds it with 99 % confidence. `None` for p0 and p100, which no sample bounds.
///
/// This is the least n with P(Binomial(n, 1 − p) ≤ 1) ≤ 1 %, the count of MLPerf's early stopping: 11 for the median,
/// 64 for p90, 662 for p99, 6,636 for p99.9.
pub(crate) fn min_sample_size(p: Percent) -> Option<u64> {
    let rare = (1.0 - p / 100.0).min(p / 100.0);
    if !(rare > 0.0 && rare <= 0.5) {
        return None;
    }
    let enough = |n: u64| {
        let n = n as f64;
        let none = n * (-rare).ln_1p();
        let one = (n * rare).ln() + (n - 1.0) * (-rare).ln_1p();
        none.exp() + one.exp() <= NEEDS_ALPHA
    };
    let above = (1..62).map(|bit| 1_u64 << bit).find(|&n| enough(n))?;
    let (mut low, mut high) = (above / 2, above);
    while low + 1 < high {
        let middle = low.midpoint(high);
        if enough(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// The non-negligible part of a binomial distribution's mass around its mode: about 18 standard deviations, so that a
/// million trials cost some thousand steps.
struct BinomialMass {
    /// The count that `weights[0]` belongs to.
    first: u64,
    /// Probabilities, ascending by count.
    weights: Vec<f64>,
}

impl BinomialMass {
    fn new(n: u64, share: f64) -> Self {
        let odds = share / (1.0 - share);
        let mode = ((n as f64 + 1.0) * share).floor().min(n as f64) as u64;
        let down =
            relative_weights(mode, |k| (k > 0).then(|| (k - 1, k as f64 / ((n - k + 1) as f64 * odds))));
        let up = relative_weights(mode, |k| (k < n).then(|| (k + 1, (n - k) as f64 * odds / (k + 1) as f64)));
        let first = mode - down.len() as u64;
        let mut weights: Vec<f64> = down.into_iter().rev().chain([1.0]).chain(up).collect();
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        Self { first, weights }
    }

    /// The largest count k with P(B < k) ≤ `tail`.
    fn below_tail(&self, tail: f64) -> Option<u64> {
        let steps = count_within_tail(self.weights.iter(), tail);
        (steps < self.weights.len()).then(|| self.first + steps as u64)
    }

    /// The smallest count k with P(B ≥ k) ≤ `tail`.
    fn above_tail(&self, tail: f64) -> Option<u64> {
        let steps = count_within_tail(self.weights.iter().rev(), tail);
        let end = self.first + self.weights.len() as u64;
        (steps < self.weights.len()).then(|| end - steps as u64)
    }
}

/// The number of leading weights whose sum stays within `tail`.
fn count_within_tail<'a>(weights: impl Iterator<Item = &'a f64>, tail: f64) -> usize {
    let sums = weights.scan(0.0, |sum, weight| {
        *sum += weight;
        Some(*sum)
    });
    sums.take_while(|&sum| sum <= tail).count()
}

/// The weights relative to the mode's, step by step, until they become negligible.
fn relative_weights(mode: u64, step: impl Fn(u64) -> Option<(u64, f64)>) -> Vec<f64> {
    let mut weights = Vec::new();
    let (mut count, mut weight) = (mode, 1.0);
    while let Some((next, ratio)) = step(count) {
        weight *= ratio;
        if weight < NEGLIGIBLE {
            break;
        }
        weights.push(weight);
        count = next;
    }
    weights
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_needed_counts_are_mlperfs() {
        let table = [(50.0, 11), (90.0, 64), (95.0, 130), (99.0, 662), (99.9, 6636)];
        for (p, n) in table {
            assert_eq!(min_sample_size(p), Some(n), "p{p}");
        }
        assert_eq!(min_sample_size(1.0), min_sample_size(99.0));
        assert_eq!(
            (min_sample_size(0.0), min_sample_size(100.0), min_sample_size(f64::NAN)),
            (None, None, None)
        );
    }

    #[test]
    fn ranks_of_the_median_are_the_textbooks() {
        // Tables of the sign test at 5 %, two-sided.
        let table = [(6, (1, 6)), (10, (2, 9)), (20, (6, 15)), (50, (18, 33)), (100, (40, 61))];
        for (n, ranks) in table {
            assert_eq!(enclosing_ranks(n, 50.0), Some(ranks), "n {n}");
        }
    }

    #[test]
    fn positions_agree_with_the_enclosing_ranks() {
        let at = rank_quantile(100, 50.0);
        let (low, high) = (at(0.025), at(0.975));
        assert!((40.0..41.0).contains(&low) && (60.0..61.0).contains(&high), "{low} {high}");
        assert!((at(0.5) - 50.5).abs() < 0.01, "the middle");
        assert!(rank_quantile(100, 99.0)(0.9) >= 100.0, "the p99 of 100 values is above all of them in 37 %");
        assert!(rank_quantile(100, 1.0)(0.1) < 1.0);
    }

    #[test]
    fn too_few_values_enclose_nothing() {
        assert_eq!(enclosing_ranks(5, 50.0), None);
        // 1 − 0.99^n ≥ 97.5 % from 368 values on.
        assert_eq!(enclosing_ranks(367, 99.0), None);
        assert_eq!(enclosing_ranks(368, 99.0).map(|(_, high)| high), Some(368));
        assert_eq!(
            (enclosing_ranks(0, 50.0), enclosing_ranks(100, 0.0), enclosing_ranks(100, 100.0)),
            (None, None, None)
        );
    }

    #[test]
    fn a_million_values_have_the_normal_laws_ranks() {
        let (low, high) = enclosing_ranks(1_000_000, 50.0).unwrap();
        // 500,000 ± 1.96 · 500
        assert!((499_019..=499_022).contains(&low) && (500_979..=500_982).contains(&high), "{low} {high}");
    }

    proptest! {
        /// The definition, by brute force: each side misses with at most 2.5 %, and one rank further in would not.
        #[test]
        fn each_side_misses_with_at_most_half_of_the_chance(n in 1_u64..400, p in 1.0..99.0_f64) {
            let share = p / 100.0;
            let ln_choose = |k: u64| (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum::<f64>();
            let mass = |k: u64| (ln_choose(k) + k as f64 * share.ln() + (n - k) as f64 * (1.0 - share).ln()).exp();
            let below = |k: u64| (0..k).map(mass).sum::<f64>();
            let above = |k: u64| (k..=n).map(mass).sum::<f64>();
            match enclosing_ranks(n, p) {
                Some((low, high)) => {
                    prop_assert!(below(low) <= 0.025 + 1e-9 && above(high) <= 0.025 + 1e-9);
                    prop_assert!(below(low + 1) > 0.025 - 1e-9 && above(high - 1) > 0.025 - 1e-9);
                }
                None => prop_assert!(below(1) > 0.025 - 1e-9 || above(n) > 0.025 - 1e-9),
            }
        }
    }
}
