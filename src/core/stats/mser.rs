//! Where a series has forgotten its start: MSER-5 (White, Cobb and Spratt 2000).

/// Values in a batch: what the 5 in the name means.
const BATCH: usize = 5;

/// How many values, up to half of them, to drop so that the mean of the rest has the least standard error. In the second
/// half the least would only say that the series ends quietly. `None` with fewer than fifty values.
pub fn truncation(series: &[f64]) -> Option<usize> {
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
        // Of equals the one that drops less.
        if dropped <= n / 2 && error <= best.0 {
            best = (error, dropped);
        }
    }
    Some(best.1 * BATCH)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    fn noisy(n: usize, shape: impl Fn(f64) -> f64, seed: u64) -> Vec<f64> {
        let noise = StandardNormal.sample_iter(StdRng::seed_from_u64(seed));
        noise.take(n).enumerate().map(|(i, y): (usize, f64)| y + shape(i as f64)).collect()
    }

    #[test]
    fn a_start_unlike_the_rest_is_dropped() {
        let dropped = truncation(&noisy(1000, |i| 20.0 * (-i / 50.0).exp(), 1)).unwrap();
        assert!((100..350).contains(&dropped), "{dropped}");
    }

    #[test]
    fn a_settled_series_keeps_nearly_everything() {
        let dropped: usize = (0..20).map(|seed| truncation(&noisy(1000, |_| 0.0, seed)).unwrap_or(500)).sum();
        assert!(dropped / 20 < 100, "{dropped}");
    }

    #[test]
    fn at_most_half_is_dropped() {
        assert_eq!(truncation(&noisy(1000, |i| -i, 1)), Some(500));
    }

    #[test]
    fn short_and_constant_series_are_no_trouble() {
        assert_eq!(truncation(&[1.0; 49]), None);
        assert_eq!(truncation(&[1.0; 100]), Some(0));
    }
}
