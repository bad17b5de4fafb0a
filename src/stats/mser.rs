//! Where the warm-up transient of a series ends: MSER-5 (White, Cobb and Spratt 2000) on ranks, applied only where the
//! start differs from the rest.
//!
//! MSER drops the values that inflate the standard error of the rest. On latencies, which are heavy-tailed, it drops
//! everything up to the last stall of the first half, even in a stationary series. Ranks have no extreme values. A cut
//! is accepted only if the dropped values differ from the rest from their beginning on: before a stall in the middle,
//! the start is inconspicuous. In simulations over independent lognormal values (σ = 1.5) and constant values with one
//! or two stalls, less than 0.1 % is dropped, where MSER on the values drops 10 to 15 %; a warm-up of a tenth of the
//! series that takes three times as long is dropped whole.

use std::cmp::Ordering;

use crate::stats::autocorrelation::Autocorrelation;

/// The number of values in a batch: the 5 in the name MSER-5.
const BATCH: usize = 5;

/// The least excess over one half of the share of dropped values that lie on one side of the median of the rest.
const MIN_EFFECT: f64 = 0.15;

/// The least excess over one half for the first half of the dropped values.
const MIN_EFFECT_FIRST_HALF: f64 = 0.25;

/// The least score of a difference, in standard errors that allow for autocorrelation.
const SCORE: f64 = 3.0;

/// Where the warm-up transient of a series ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TruncationPoint {
    /// The index of the first value after the transient; 0 for a series whose start is like the rest.
    From(usize),
    /// The transient does not end within the first half of the series.
    Never,
}

impl TruncationPoint {
    /// Computes the truncation point of a series in the order of time. A series of fewer than fifty values has no
    /// transient.
    pub(crate) fn from_series(series: &[f64]) -> Self {
        let ranks = midranks(series);
        let Some(mut cut) = mser_truncation(&ranks) else { return Self::From(0) };
        let half = ranks.len() / BATCH / 2 * BATCH;
        // A shorter start may be unlike the rest where a longer one is not.
        while cut >= 2 * BATCH {
            let rest = SettledPart::from_values(&ranks[cut..]);
            if rest.is_different(&ranks[..cut], MIN_EFFECT)
                && rest.is_different(&ranks[..cut / 2], MIN_EFFECT_FIRST_HALF)
            {
                return if cut >= half { Self::Never } else { Self::From(cut) };
            }
            cut = cut / (2 * BATCH) * BATCH;
        }
        Self::From(0)
    }
}

/// The part of a series after the cut, which the start is compared to.
struct SettledPart {
    median: f64,
    mean: f64,
    n: f64,
    dependence: Autocorrelation,
}

impl SettledPart {
    fn from_values(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Self {
            median: sorted[sorted.len() / 2],
            mean: mean(values),
            n: values.len() as f64,
            dependence: Autocorrelation::from_series(values),
        }
    }

    /// Returns whether most of these values lie on one side of the median, and their mean deviates by more than chance
    /// explains.
    fn is_different(&self, part: &[f64], effect: f64) -> bool {
        let side = |value: &f64| match value.total_cmp(&self.median) {
            Ordering::Less => 0.0,
            Ordering::Equal => 0.5,
            Ordering::Greater => 1.0,
        };
        let above = part.iter().map(side).sum::<f64>() / part.len() as f64;
        let Autocorrelation { long_run, doubt, .. } = self.dependence;
        let error = doubt * (long_run * ((part.len() as f64).recip() + self.n.recip())).sqrt();
        (above - 0.5).abs() >= effect && (mean(part) - self.mean).abs() > SCORE * error
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The rank of each value; equal values share the mean of their ranks.
fn midranks(series: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_unstable_by(|a, b| series[*a].total_cmp(&series[*b]));
    let mut ranks = vec![0.0; series.len()];
    let mut first = 0;
    for equal in order.chunk_by(|a, b| series[*a] == series[*b]) {
        let middle = first as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|at| ranks[*at] = middle);
        first += equal.len();
    }
    ranks
}

/// The number of values, up to half of them, to drop so that the mean of the rest has the least standard error. In the
/// second half the least error would only show that the series ends quietly. `None` with fewer than fifty values.
fn mser_truncation(series: &[f64]) -> Option<usize> {
    let batches: Vec<f64> =
        series.chunks_exact(BATCH).map(|batch| batch.iter().sum::<f64>() / BATCH as f64).collect();
    let n = batches.len();
    if n < 10 {
        return None;
    }
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut best = (f64::INFINITY, 0);
    for (dropped, y) in batches.iter().enumerate().rev() {
        sum += y;
        squares += y * y;
        let kept = (n - dropped) as f64;
        let error = (squares - sum * sum / kept).max(0.0) / (kept * kept);
        // Of equal errors the cut that drops less wins.
        if dropped <= n / 2 && error <= best.0 {
            best = (error, dropped);
        }
    }
    Some(best.1 * BATCH)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    fn noisy(n: usize, shape: impl Fn(f64) -> f64, seed: u64) -> Vec<f64> {
        let noise = StandardNormal.sample_iter(StdRng::seed_from_u64(seed));
        noise.take(n).enumerate().map(|(i, y): (usize, f64)| y + shape(i as f64)).collect()
    }

    fn dropped(series: &[f64]) -> usize {
        match TruncationPoint::from_series(series) {
            TruncationPoint::From(cut) => cut,
            TruncationPoint::Never => series.len(),
        }
    }

    /// The mean share of dropped values, and the mean of the rest divided by the truth, over many series.
    fn over_many(n: usize, truth: f64, series: impl Fn(&mut StdRng) -> Vec<f64>) -> [f64; 2] {
        const SERIES: u64 = 100;
        let [mut share, mut ratio] = [0.0; 2];
        for seed in 0..SERIES {
            let values = series(&mut StdRng::seed_from_u64(seed));
            let cut = dropped(&values);
            assert!(cut < n, "seed {seed}");
            share += cut as f64 / n as f64;
            ratio += mean(&values[cut..]) / truth;
        }
        [share / SERIES as f64, ratio / SERIES as f64]
    }

    #[test]
    fn nothing_is_dropped_from_heavy_tails() {
        for n in [200, 1000] {
            // The mean of 200 values is itself 15 % off by chance in one series, so the test compares the average over
            // all series.
            let series = |dice: &mut StdRng| -> Vec<f64> {
                let normal = StandardNormal.sample_iter(dice);
                let values: Vec<f64> = normal.take(n).map(|z: f64| (1.5 * z).exp()).collect();
                let mean = mean(&values);
                values.iter().map(|value| value / mean).collect()
            };
            let [share, ratio] = over_many(n, 1.0, series);
            assert!(share < 0.05 && (ratio - 1.0).abs() < 0.01, "{n}: {share} {ratio}");
        }
    }

    #[test]
    fn a_stall_in_a_constant_series_is_not_its_start() {
        for (n, stalls) in [(200, 1), (1000, 1), (1000, 3)] {
            let long = n / 50;
            let series = |dice: &mut StdRng| -> Vec<f64> {
                let mut values = vec![1.0; n];
                for _ in 0..stalls {
                    let from = dice.random_range(0..n - long);
                    values[from..from + long].fill(20.0);
                }
                let mean = mean(&values);
                values.iter().map(|value| value / mean).collect()
            };
            let [share, ratio] = over_many(n, 1.0, series);
            assert!(share < 0.05 && (ratio - 1.0).abs() < 0.01, "{n} {stalls}: {share} {ratio}");
        }
    }

    #[test]
    fn a_start_unlike_the_rest_is_dropped() {
        let cut = dropped(&noisy(1000, |i| 20.0 * (-i / 50.0).exp(), 1));
        assert!((100..350).contains(&cut), "{cut}");
        let cuts = (0..50).map(|seed| dropped(&noisy(1000, |i| if i < 100.0 { 2.0 } else { 0.0 }, seed)));
        for cut in cuts {
            assert!((95..200).contains(&cut), "{cut}");
        }
    }

    #[test]
    fn a_settled_series_keeps_everything() {
        let dropped: usize = (0..50).map(|seed| dropped(&noisy(1000, |_| 0.0, seed))).sum();
        assert_eq!(dropped, 0);
    }

    #[test]
    fn a_series_that_goes_on_and_on_never_settles() {
        assert_eq!(TruncationPoint::from_series(&noisy(1000, |i| -i, 1)), TruncationPoint::Never);
    }

    #[test]
    fn short_and_constant_series_are_no_trouble() {
        assert_eq!(TruncationPoint::from_series(&[1.0; 49]), TruncationPoint::From(0));
        assert_eq!(TruncationPoint::from_series(&[1.0; 100]), TruncationPoint::From(0));
        assert_eq!(TruncationPoint::from_series(&[]), TruncationPoint::From(0));
    }
}
