//! Intervals at 95 %, and the samples they come from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bootstrap::Ratio;
use super::{Percent, Percentile, percentile, ranks};
use crate::core::units::seconds;

/// Where a duration lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    #[serde(rename = "low_s", with = "seconds")]
    pub low: Duration,
    /// The upper end.
    #[serde(rename = "high_s", with = "seconds")]
    pub high: Duration,
}

/// Where a rate lies with 95 % confidence, in the rate's own unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateInterval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Of a ratio of seconds to a count.
    pub(super) fn of(ratio: &Ratio) -> Option<Self> {
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
pub fn rate_interval(series: impl ExactSizeIterator<Item = (f64, f64)>) -> Option<RateInterval> {
    let (low, high) = positive_interval(&Ratio::of(series))?;
    Some(RateInterval { low, high })
}

/// The 95 % interval of a ratio of what is never negative.
fn positive_interval(ratio: &Ratio) -> Option<(f64, f64)> {
    let (low, high) = ratio.interval()?;
    Some((above_zero(ratio.value()?, low), high))
}

/// An end of the interval of a positive value that lies above zero, as the value does. Down to half of the estimate it is the
/// end itself; below, as far away on a logarithmic scale, whose slope is the same there.
pub(super) fn above_zero(estimate: f64, end: f64) -> f64 {
    let half = estimate / 2.0;
    if end >= half || estimate <= 0.0 { end.max(0.0) } else { half * (end / half - 1.0).exp() }
}

/// The percentile of values, given in the order of time and ascending.
pub fn of_values(series: &[Duration], sorted: &[Duration], p: Percent) -> Option<Percentile> {
    let value = percentile(sorted, p)?;
    let effective_n = effective_n(series, value);
    let n = sorted.len() as f64;
    let at = |rank: f64| sorted[(rank as usize).clamp(1, sorted.len()) - 1];
    let interval = ranks::enclosing(effective_n, p).map(|(low, high)| {
        // The k-th of n equal parts lies around (k − 1/2) / n.
        let rank = |k: u64| (k as f64 - 0.5) / effective_n as f64 * n;
        Interval { low: at((rank(low) + 0.5).floor()), high: at((rank(high) + 0.5).ceil()) }
    });
    Some(Percentile { p, value, interval, effective_n, needs: ranks::needed(p) })
}

/// How many independent values tell as much about the share at or below a limit as this series does.
fn effective_n(series: &[Duration], limit: Duration) -> u64 {
    Ratio::of(series.iter().map(|&value| (f64::from(u8::from(value <= limit)), 1.0))).effective_n() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_never_at_or_below_zero_and_is_itself_near_the_estimate() {
        assert_eq!([100.0, 80.0, 50.0].map(|end| above_zero(100.0, end)), [100.0, 80.0, 50.0]);
        let far: Vec<f64> = [49.0, 0.0, -100.0, -1000.0].iter().map(|end| above_zero(100.0, *end)).collect();
        assert!(far.windows(2).all(|pair| pair[0] > pair[1]) && far.iter().all(|end| *end > 0.0), "{far:?}");
        assert!(
            (far[0] - 49.0).abs() < 0.02 && (far[1] - 50.0 / std::f64::consts::E).abs() < 1e-9,
            "{far:?}"
        );
        assert_eq!(above_zero(0.0, -1.0), 0.0, "of nothing at all there is no scale");
    }

    /// One stall of minutes among 40 quick requests: the standard error exceeds the mean.
    #[test]
    fn the_mean_of_a_run_with_a_stall_has_an_interval_above_zero() {
        let pairs = (0..40).map(|i| (if i == 20 { 340.0 } else { 0.1 }, 1.0));
        let interval = Interval::of(&Ratio::of(pairs)).unwrap();
        assert!(interval.low > Duration::ZERO && interval.low < Duration::from_secs(4), "{interval:?}");
    }

    /// Neighbours that are all alike are worth few values: the interval still ends where the few would, not at the extreme.
    #[test]
    fn the_interval_of_a_median_does_not_reach_the_largest_value() {
        let mut series: Vec<Duration> = (0..1000).map(|i| Duration::from_millis(1 + i / 100)).collect();
        series[999] = Duration::from_secs(60);
        let mut sorted = series.clone();
        sorted.sort_unstable();
        let median = of_values(&series, &sorted, 50.0).unwrap();
        let interval = median.interval.unwrap();
        assert!(median.effective_n < 30 && interval.high < Duration::from_secs(60), "{median:?}");
    }
}
