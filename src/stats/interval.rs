//! Intervals at 95 %, and the samples that they come from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bootstrap::RatioSeries;
use super::{Percent, Percentile, percentile};
use crate::seconds;
use crate::stats::order_statistics;

/// The 95 % confidence interval of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DurationInterval {
    /// The lower end.
    #[serde(rename = "low_s", with = "seconds")]
    pub low: Duration,
    /// The upper end.
    #[serde(rename = "high_s", with = "seconds")]
    pub high: Duration,
}

/// The 95 % confidence interval of a rate, in the rate's own unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RateInterval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl RateInterval {
    /// The interval with ends beyond `most` on either side made infinite.
    pub(crate) fn open_beyond(self, most: f64) -> Self {
        let open = |end: f64| if end.abs() > most { end.signum() * f64::INFINITY } else { end };
        Self { low: open(self.low), high: open(self.high) }
    }

    /// Both ends times a factor above zero, as for percent.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { low: self.low * factor, high: self.high * factor }
    }
}

impl DurationInterval {
    /// The interval, widened to a value that is known more exactly than the sample that the interval is of.
    pub(super) fn enclosing(self, value: Duration) -> Self {
        Self { low: self.low.min(value), high: self.high.max(value) }
    }

    /// The interval of a ratio of seconds to a count.
    pub(super) fn from_ratio(ratio: &RatioSeries) -> Option<Self> {
        let (low, high) = positive_interval(ratio)?;
        let duration = |value: f64| Duration::try_from_secs_f64(value).ok();
        // Rounding to nanoseconds must not push the mean out of its own interval.
        let (low, high) = (duration(low)?, duration(high)?);
        Some(Self { low: low.saturating_sub(NANOSECOND), high: high + NANOSECOND })
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);

/// The 95 % interval of a rate from pairs (events, seconds) in the order of time, by the moving-block bootstrap.
/// `None` with fewer than ten pairs.
pub(crate) fn rate_interval(series: impl ExactSizeIterator<Item = (f64, f64)>) -> Option<RateInterval> {
    let (low, high) = positive_interval(&RatioSeries::from_pairs(series))?;
    Some(RateInterval { low, high })
}

/// The 95 % interval of a ratio that is never negative.
fn positive_interval(ratio: &RatioSeries) -> Option<(f64, f64)> {
    let (low, high) = ratio.interval()?;
    Some((positive_end(ratio.value()?, low), high))
}

/// Keeps an end of the interval of a positive value above zero, as the value is. Down to half of the estimate the end
/// stays as it is; below, it has the same distance on a logarithmic scale, which has the same slope there.
pub(super) fn positive_end(estimate: f64, end: f64) -> f64 {
    let half = estimate / 2.0;
    if end >= half || estimate <= 0.0 { end.max(0.0) } else { half * (end / half - 1.0).exp() }
}

/// Computes the percentile of values, given both in the order of time and ascending.
pub(super) fn percentile_of_values(
    series: &[Duration],
    sorted: &[Duration],
    p: Percent,
) -> Option<Percentile> {
    let value = percentile(sorted, p)?;
    let effective_n = effective_n(series, value);
    let n = sorted.len() as f64;
    let at = |rank: f64| sorted[(rank as usize).clamp(1, sorted.len()) - 1];
    let interval = order_statistics::enclosing_ranks(effective_n, p).map(|(low, high)| {
        // The k-th of n equal parts has its center at (k − 1/2) / n.
        let rank = |k: u64| (k as f64 - 0.5) / effective_n as f64 * n;
        DurationInterval { low: at((rank(low) + 0.5).floor()), high: at((rank(high) + 0.5).ceil()) }
    });
    Some(Percentile { p, value, interval, effective_n, needs: order_statistics::min_sample_size(p) })
}

/// The number of independent values that give as much information about the share at or below a limit as this series
/// does.
pub(super) fn effective_n(series: &[Duration], limit: Duration) -> u64 {
    RatioSeries::from_pairs(series.iter().map(|&value| (f64::from(u8::from(value <= limit)), 1.0)))
        .effective_n() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_never_at_or_below_zero_and_is_itself_near_the_estimate() {
        assert_eq!([100.0, 80.0, 50.0].map(|end| positive_end(100.0, end)), [100.0, 80.0, 50.0]);
        let far: Vec<f64> =
            [49.0, 0.0, -100.0, -1000.0].iter().map(|end| positive_end(100.0, *end)).collect();
        assert!(far.windows(2).all(|pair| pair[0] > pair[1]) && far.iter().all(|end| *end > 0.0), "{far:?}");
        assert!(
            (far[0] - 49.0).abs() < 0.02 && (far[1] - 50.0 / std::f64::consts::E).abs() < 1e-9,
            "{far:?}"
        );
        assert_eq!(positive_end(0.0, -1.0), 0.0, "of nothing at all there is no scale");
    }

    /// One stall of minutes among 40 quick requests: the standard error exceeds the mean.
    #[test]
    fn the_mean_of_a_run_with_a_stall_has_an_interval_above_zero() {
        let pairs = (0..40).map(|i| (if i == 20 { 340.0 } else { 0.1 }, 1.0));
        let interval = DurationInterval::from_ratio(&RatioSeries::from_pairs(pairs)).unwrap();
        assert!(interval.low > Duration::ZERO && interval.low < Duration::from_secs(4), "{interval:?}");
    }

    /// Neighbors that are all alike are worth few values: the interval ends where an interval of few values would, not
    /// at the extreme.
    #[test]
    fn the_interval_of_a_median_does_not_reach_the_largest_value() {
        let mut series: Vec<Duration> = (0..1000).map(|i| Duration::from_millis(1 + i / 100)).collect();
        series[999] = Duration::from_secs(60);
        let mut sorted = series.clone();
        sorted.sort_unstable();
        let median = percentile_of_values(&series, &sorted, 50.0).unwrap();
        let interval = median.interval.unwrap();
        assert!(median.effective_n < 30 && interval.high < Duration::from_secs(60), "{median:?}");
    }
}
