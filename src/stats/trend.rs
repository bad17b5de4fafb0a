//! Linear trends of a series.

use crate::stats::autocorrelation::Autocorrelation;

/// The number of points that a long series is averaged into.
const MAX_POINTS: usize = 100;

/// The least number of points for a trend.
const MIN_POINTS: usize = 20;

/// A straight line through a series, by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinearTrend {
    /// The value of the line at the start of the series.
    pub start: f64,
    /// The rise of the line over the whole series; negative if it falls.
    pub rise: f64,
    /// The rise in standard errors, which allow for the autocorrelation of the residuals.
    pub score: f64,
}

impl LinearTrend {
    /// Fits a series of equally spaced values in the order of time; `None` with fewer than twenty values.
    pub(crate) fn fit(series: &[f64]) -> Option<Self> {
        if series.len() < MIN_POINTS {
            return None;
        }
        let size = series.len().div_ceil(MAX_POINTS);
        let points: Vec<f64> =
            series.chunks(size).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect();
        let n = points.len() as f64;
        let mean = points.iter().sum::<f64>() / n;
        let from_middle = |i: usize| i as f64 - (n - 1.0) / 2.0;
        // Σ(i − middle)² for n equally spaced points.
        let spread = n * (n * n - 1.0) / 12.0;
        let slope = points.iter().enumerate().map(|(i, y)| from_middle(i) * y).sum::<f64>() / spread;
        let residuals: Vec<f64> =
            points.iter().enumerate().map(|(i, y)| y - mean - slope * from_middle(i)).collect();
        let Autocorrelation { long_run, doubt, .. } = Autocorrelation::from_series(&residuals);
        let error = doubt * (long_run / spread).sqrt();
        let score =
            if error > 0.0 { slope / error } else { slope.signum() * f64::from(slope != 0.0) * f64::MAX };
        Some(Self { start: mean + slope * from_middle(0), rise: slope * (n - 1.0), score })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    fn noise(seed: u64) -> impl Iterator<Item = f64> {
        StandardNormal.sample_iter(StdRng::seed_from_u64(seed))
    }

    #[test]
    fn a_line_is_its_own_trend() {
        let line: Vec<f64> = (0..1000).map(|i| 5.0 + f64::from(i) / 100.0).collect();
        let trend = LinearTrend::fit(&line).unwrap();
        assert!((trend.start - 5.0).abs() < 0.1 && (trend.rise - 10.0).abs() < 0.2, "{trend:?}");
        assert!(trend.score > 100.0, "{trend:?}");
    }

    #[test]
    fn a_drift_below_the_noise_is_found_in_many_values() {
        let values: Vec<f64> = noise(1).take(5000).zip(0..).map(|(y, i)| y + f64::from(i) / 5000.0).collect();
        assert!(LinearTrend::fit(&values).unwrap().score > 5.0);
    }

    #[test]
    fn noise_has_no_trend() {
        let scores =
            (0..200).map(|seed| LinearTrend::fit(&noise(seed).take(1000).collect::<Vec<_>>()).unwrap().score);
        assert!(scores.filter(|score| score.abs() > 3.0).count() <= 2);
    }

    #[test]
    fn constants_and_short_series_are_no_trouble() {
        assert_eq!(LinearTrend::fit(&[1.0; 19]), None);
        assert_eq!(LinearTrend::fit(&[1.0; 50]).unwrap().rise, 0.0);
        assert_eq!(LinearTrend::fit(&[1.0; 50]).unwrap().score, 0.0);
    }
}
