//! How much the values of a series depend on their neighbors.
//!
//! Consecutive latencies share a queue: a thousand of them may be worth only a hundred independent values. The long-run
//! variance quantifies this. This module computes two estimates and uses the larger, since an interval that is too
//! narrow is wrong and one that is too wide is only conservative. The first is the flat-top lag window of Politis and
//! White (*Automatic block-length selection for the dependent bootstrap*, 2004), which follows short dependence
//! closely. The second is overlapping batch means over a tenth of the series, which also detects long-range dependence.

/// The number of blocks that a series is cut into. Blocks are few and long: a block length fitted to the series
/// (Politis and White's rule) is shorter and does better on average, but its intervals miss the truth where a run
/// happens to show little of its dependence.
pub(super) const BLOCKS: usize = 10;

/// The number of lags whose covariances are computed together: each sum waits for its own last addition only.
const LANES: usize = 8;

/// Second-order properties of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Autocorrelation {
    /// The population variance of a value.
    pub variance: f64,
    /// The long-run variance: the variance of the mean, times the number of values.
    pub long_run: f64,
    /// The length of the blocks that are treated as independent of each other, in values.
    pub block: usize,
    /// The factor (Student's t) by which intervals must be wider than the normal distribution's, since the long-run
    /// variance is only an estimate from ten blocks.
    pub doubt: f64,
}

impl Autocorrelation {
    /// Estimates the properties of a series in the order of time.
    pub(super) fn from_series(series: &[f64]) -> Self {
        let n = series.len();
        let mean = series.iter().sum::<f64>() / n.max(1) as f64;
        let centred: Vec<f64> = series.iter().map(|value| value - mean).collect();
        let variance = covariance(&centred, 0);
        let block = (n / BLOCKS).max(1);
        let doubt = student(n as f64 / block as f64);
        if n < 2 || variance <= 0.0 {
            return Self { variance, long_run: variance, block, doubt };
        }
        let mut covariances = Covariances { centred: &centred, known: Vec::new() };
        let widest = max_lag(n);
        let window = (2 * last_significant(&mut covariances, widest)).clamp(1, widest);
        let window_sum: f64 = (1..=window).map(|lag| flat_top(lag, window) * covariances.at(lag)).sum();
        let long_run = (variance + 2.0 * window_sum).max(block_variance(&centred, block));
        let long_run = own_mean_correction(n, block) * long_run;
        Self { variance, long_run, block, doubt }
    }
}

/// Estimates the long-run variance from sums over blocks (overlapping batch means).
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

/// Corrects for the series' own mean: a series lies closer to it than to the true mean, so that the variance of sums
/// over `block` of `n` values comes out too small, by (n − b) / n if the blocks are independent.
fn own_mean_correction(n: usize, block: usize) -> f64 {
    n as f64 / (n - block) as f64
}

fn covariance(centred: &[f64], lag: usize) -> f64 {
    let pairs = centred.iter().zip(centred.iter().skip(lag));
    pairs.map(|(a, b)| a * b).sum::<f64>() / centred.len().max(1) as f64
}

/// The covariances of a series with itself by lag, as far as they were asked for.
struct Covariances<'a> {
    centred: &'a [f64],
    known: Vec<f64>,
}

impl Covariances<'_> {
    /// The covariance at a lag.
    fn at(&mut self, lag: usize) -> f64 {
        while self.known.len() <= lag {
            self.known.extend(covariances_from(self.centred, self.known.len()));
        }
        self.known[lag]
    }
}

/// The [`covariance`] at each of the lags from one on.
fn covariances_from(centred: &[f64], first: usize) -> [f64; LANES] {
    let shifted = centred.get(first..).unwrap_or_default();
    let mut sums = [0.0; LANES];
    let others = shifted.windows(LANES).filter_map(<[f64]>::first_chunk::<LANES>);
    for (value, others) in centred.iter().zip(others) {
        for (sum, other) in sums.iter_mut().zip(others) {
            *sum += value * other;
        }
    }
    // The last values have fewer others after them.
    let done = (shifted.len() + 1).saturating_sub(LANES);
    for (lane, sum) in sums.iter_mut().enumerate() {
        let others = shifted.get(done + lane..).unwrap_or_default();
        centred[done..].iter().zip(others).for_each(|(value, other)| *sum += value * other);
        *sum /= centred.len().max(1) as f64;
    }
    sums
}

/// The number of consecutive lags that must be insignificant before the correlation counts as gone.
fn insignificant_run(n: usize) -> usize {
    (n as f64).log10().sqrt().ceil().max(5.0) as usize
}

fn max_lag(n: usize) -> usize {
    ((n as f64).sqrt().ceil() as usize + insignificant_run(n)).min(n - 1)
}

/// The last lag before the correlations stay within the range of an uncorrelated series. The lags after that stretch are
/// not looked at.
fn last_significant(covariances: &mut Covariances<'_>, widest: usize) -> usize {
    let n = covariances.centred.len();
    let chance = 2.0 * ((n as f64).log10() / n as f64).sqrt();
    let least = chance * covariances.at(0);
    let mut last = 0;
    for lag in 1..=widest {
        if covariances.at(lag).abs() >= least {
            last = lag;
        } else if lag - last == insignificant_run(n) {
            break;
        }
    }
    last
}

/// The weight of a lag: 1 up to half of the window, then falling linearly to 0 at its end.
fn flat_top(lag: usize, window: usize) -> f64 {
    (2.0 * (1.0 - lag as f64 / window as f64)).clamp(0.0, 1.0)
}

/// The ratio of Student's 97.5 % quantile for `n` values to the normal distribution's, by the first terms of its
/// expansion in 1/(n − 1) (Abramowitz and Stegun 26.7.5).
fn student(n: f64) -> f64 {
    const Z: f64 = 1.959_964;
    let freedom = (n - 1.0).max(1.0);
    let z2 = Z * Z;
    let first = (z2 + 1.0) / (4.0 * freedom);
    let second = (5.0 * z2 * z2 + 16.0 * z2 + 3.0) / (96.0 * freedom * freedom);
    1.0 + first + second
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
            let dependence = Autocorrelation::from_series(&autoregressive(phi, 2000, seed));
            dependence.long_run / dependence.variance
        };
        (0..40).map(inflation).sum::<f64>() / 40.0
    }

    /// The larger of two estimates is a little too large on average.
    #[test]
    fn independent_values_are_worth_a_little_less_than_their_number() {
        assert!((1.0..1.3).contains(&mean_inflation(0.0)), "{}", mean_inflation(0.0));
    }

    /// Without the correction it is 0.9 of the truth for ten blocks.
    #[test]
    fn the_variance_of_block_sums_is_right_on_average() {
        for (phi, n) in [(0.0, 100), (0.0, 1000), (0.5, 1000)] {
            let truth = (1.0_f64 - phi).powi(-2);
            let found = |seed| {
                let series = autoregressive(phi, n, seed);
                let mean = series.iter().sum::<f64>() / n as f64;
                let centred: Vec<f64> = series.iter().map(|value| value - mean).collect();
                own_mean_correction(n, n / BLOCKS) * block_variance(&centred, n / BLOCKS)
            };
            let average = (0..1000).map(found).sum::<f64>() / 1000.0 / truth;
            assert!((0.95..1.05).contains(&average), "φ {phi}, n {n}: {average} of the truth");
        }
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
    fn covariances_are_the_same_together_as_one_by_one() {
        for n in [2, 3, 7, 8, 9, 20, 300] {
            let series = autoregressive(0.5, n, 3);
            let mut covariances = Covariances { centred: &series, known: Vec::new() };
            for lag in 0..n {
                assert_eq!(covariances.at(lag), covariance(&series, lag), "lag {lag} of {n} values");
            }
        }
    }

    #[test]
    fn series_without_variance_are_no_trouble() {
        for series in [vec![], vec![1.0], vec![2.0; 50]] {
            let dependence = Autocorrelation::from_series(&series);
            assert_eq!(dependence.long_run, 0.0, "{series:?}");
        }
    }
}
