//! How much the values of a series depend on their neighbours.
//!
//! Consecutive latencies share a queue: a thousand of them may be worth only a hundred independent ones. The long-run
//! variance says how many. Two estimates are made and the larger is believed, since an interval that is too narrow is
//! false and one that is too wide is only modest: the flat-top lag window of Politis and White (*Automatic block-length
//! selection for the dependent bootstrap*, 2004), which follows short dependence closely, and overlapping batch means
//! over a tenth of the series, which also see dependence that reaches far.

/// Blocks that a series is cut into. Few and long: a block length fitted to the series (Politis and White's rule) is
/// shorter and does better on average, but where a run happens to show little of its dependence its intervals miss.
pub const BLOCKS: usize = 10;

/// Second-order properties of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dependence {
    /// The population variance of a value.
    pub variance: f64,
    /// The variance of the mean, times the number of values: the variance of a value as far as means are concerned.
    pub long_run: f64,
    /// The length of the blocks that are taken as independent of each other.
    pub block: usize,
    /// By how much intervals must be wider than the normal law's, since the long-run variance is only an estimate from
    /// so many blocks (Student's t).
    pub doubt: f64,
}

impl Dependence {
    /// Of a series in the order of time.
    pub fn of(series: &[f64]) -> Self {
        let n = series.len();
        let mean = series.iter().sum::<f64>() / n.max(1) as f64;
        let centred: Vec<f64> = series.iter().map(|value| value - mean).collect();
        let variance = covariance(&centred, 0);
        let block = (n / BLOCKS).max(1);
        let doubt = student(n as f64 / block as f64);
        if n < 2 || variance <= 0.0 {
            return Self { variance, long_run: variance, block, doubt };
        }
        let widest = widest_lag(n);
        let covariances: Vec<f64> = (0..=widest).map(|lag| covariance(&centred, lag)).collect();
        let window = (2 * last_significant(&covariances, n)).clamp(1, widest);
        let window_sum: f64 = (1..=window).map(|lag| flat_top(lag, window) * covariances[lag]).sum();
        let long_run = (variance + 2.0 * window_sum).max(block_variance(&centred, block));
        Self { variance, long_run, block, doubt }
    }
}

/// The long-run variance as sums over blocks show it (overlapping batch means).
fn block_variance(centred: &[f64], block: usize) -> f64 {
    let mut sum: f64 = centred[..block].iter().sum();
    let mut squares = sum * sum;
    for (leaving, entering) in centred.iter().zip(&centred[block..]) {
        sum += entering - leaving;
        squares += sum * sum;
    }
    let blocks = (centred.len() - block + 1) as f64;
    squares / blocks / block as f64
}

fn covariance(centred: &[f64], lag: usize) -> f64 {
    let pairs = centred.iter().zip(centred.iter().skip(lag));
    pairs.map(|(a, b)| a * b).sum::<f64>() / centred.len().max(1) as f64
}

/// How many lags in a row must be insignificant before the correlation counts as gone.
fn quiet_lags(n: usize) -> usize {
    (n as f64).log10().sqrt().ceil().max(5.0) as usize
}

fn widest_lag(n: usize) -> usize {
    ((n as f64).sqrt().ceil() as usize + quiet_lags(n)).min(n - 1)
}

/// The last lag before the correlations stay within what chance makes of none.
fn last_significant(covariances: &[f64], n: usize) -> usize {
    let chance = 2.0 * ((n as f64).log10() / n as f64).sqrt();
    let significant: Vec<bool> =
        covariances.iter().map(|covariance| covariance.abs() >= chance * covariances[0]).collect();
    let quiet = significant[1..].windows(quiet_lags(n)).position(|lags| lags.iter().all(|loud| !loud));
    quiet.unwrap_or_else(|| significant.iter().rposition(|&loud| loud).unwrap_or(0))
}

/// 1 up to half of the window, then falling to 0 at its end.
fn flat_top(lag: usize, window: usize) -> f64 {
    (2.0 * (1.0 - lag as f64 / window as f64)).clamp(0.0, 1.0)
}

/// Student's 97.5 % quantile for `n` values over the normal law's, by the first terms of its expansion in 1/(n − 1)
/// (Abramowitz and Stegun 26.7.5), with the n/(n − 1) that the population variance lacks.
fn student(n: f64) -> f64 {
    const Z: f64 = 1.959_964;
    let freedom = (n - 1.0).max(1.0);
    let z2 = Z * Z;
    let first = (z2 + 1.0) / (4.0 * freedom);
    let second = (5.0 * z2 * z2 + 16.0 * z2 + 3.0) / (96.0 * freedom * freedom);
    (1.0 + first + second) * (n / freedom).sqrt()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    /// x(i) = φ · x(i − 1) + noise: its long-run variance is (1 + φ)/(1 − φ) times its variance.
    fn autoregressive(phi: f64, n: usize, seed: u64) -> Vec<f64> {
        let noise = StandardNormal.sample_iter(StdRng::seed_from_u64(seed));
        let walk = noise.scan(0.0, |x, noise: f64| {
            *x = phi * *x + noise;
            Some(*x)
        });
        walk.skip(200).take(n).collect()
    }

    fn mean_inflation(phi: f64) -> f64 {
        let inflation = |seed| {
            let dependence = Dependence::of(&autoregressive(phi, 2000, seed));
            dependence.long_run / dependence.variance
        };
        (0..40).map(inflation).sum::<f64>() / 40.0
    }

    #[test]
    fn independent_values_are_worth_their_number() {
        assert!((mean_inflation(0.0) - 1.1).abs() < 0.15, "{}", mean_inflation(0.0));
    }

    #[test]
    fn the_long_run_variance_of_an_autoregression_is_found() {
        for phi in [0.5, 0.8] {
            let truth = (1.0 + phi) / (1.0 - phi);
            let found = mean_inflation(phi) / truth;
            assert!((0.9..1.4).contains(&found), "φ {phi}: {found} of the truth");
        }
    }

    #[test]
    fn series_without_variance_are_no_trouble() {
        for series in [vec![], vec![1.0], vec![2.0; 50]] {
            let dependence = Dependence::of(&series);
            assert_eq!(dependence.long_run, 0.0, "{series:?}");
        }
    }
}
