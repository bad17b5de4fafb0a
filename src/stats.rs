//! Quantiles, summaries and their intervals: one fixed definition for every number that is printed.
//!
//! Percentiles interpolate linearly between closest ranks (numpy's default, hence vLLM's). The standard deviation is
//! the population's (also numpy's default). Intervals are at 95 % and allow for the autocorrelation of values that are
//! close in time: see [`Distribution::from_values`] and [`DurationSketch::distribution`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;
pub(crate) use crate::stats::confidence::{ConfidenceDistribution, Estimate, RepeatStats, student_quantile};
pub(crate) use crate::stats::difference::DifferenceDistribution;
pub(crate) use crate::stats::fixed_point_sum::FixedPointSum;
pub(crate) use crate::stats::mann_whitney::{mann_whitney, min_p_value};
pub(crate) use crate::stats::order_statistics::{enclosing_shares, min_sample_size};
pub(crate) use crate::stats::proportion::Proportion;
pub use crate::stats::sketch::DurationSketch;
pub(crate) use crate::stats::sketch::SampleClusters;
pub(crate) use crate::stats::wilcoxon::{min_signed_p_value, wilcoxon};
use bootstrap::RatioSeries;
#[cfg(test)]
pub(crate) use by_second::MAX_SPANS;
pub(crate) use by_second::{BucketCounts, PerSecondHistogram, span_width};
pub(crate) use histogram::{Bucket, DurationHistogram};
pub use interval::{DurationInterval, RateInterval};
pub(crate) use pending::PendingDurations;
pub(crate) use trend::LinearTrend;

mod autocorrelation;
mod bootstrap;
mod by_second;
mod confidence;
mod difference;
mod fixed_point_sum;
mod histogram;
mod interval;
mod mann_whitney;
mod mser;
mod order_statistics;
mod pending;
mod proportion;
mod sketch;
mod trend;
mod wilcoxon;

pub(crate) use interval::rate_interval;
pub(crate) use mser::TruncationPoint;

/// A percentile: `p` in 0 ..= 100.
pub(crate) type Percent = f64;

/// Computes the percentile `p` of ascending values by linear interpolation between closest ranks; `None` without
/// values.
///
/// Definition: rank = p/100 · (n − 1), numpy's `linear` (Hyndman and Fan 1996, type 7).
pub(crate) fn percentile(sorted: &[Duration], p: Percent) -> Option<Duration> {
    interpolate(sorted.len() as u64, p, |rank| sorted[rank as usize])
}

/// Computes [`percentile`] of `n` values that `at` looks up by their rank, from 0.
fn interpolate(n: u64, p: Percent, at: impl Fn(u64) -> Duration) -> Option<Duration> {
    let last = n.checked_sub(1)?;
    let rank = p.clamp(0.0, 100.0) / 100.0 * last as f64;
    let below = rank.floor() as u64;
    let low = at(below);
    let high = at((below + 1).min(last));
    Some(low + (high - low).mul_f64(rank - below as f64))
}

/// The summary of a sample of durations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Distribution {
    /// The number of values.
    pub n: u64,
    /// Arithmetic mean.
    #[serde(rename = "mean_s", with = "seconds")]
    pub mean: Duration,
    /// 95 % interval of the mean; `None` with fewer than ten values.
    pub mean_interval: Option<DurationInterval>,
    /// Population standard deviation.
    #[serde(rename = "std_s", with = "seconds")]
    pub std: Duration,
    /// The 50th percentile.
    #[serde(rename = "median_s", with = "seconds")]
    pub median: Duration,
    /// 95 % interval of the median.
    pub median_interval: Option<DurationInterval>,
    /// The requested percentiles, in the order of the request.
    pub percentiles: Vec<Percentile>,
}

/// One percentile of a [`Distribution`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Percentile {
    /// The percentile's rank in percent, 0 ..= 100.
    pub p: Percent,
    /// The percentile's value.
    #[serde(rename = "value_s", with = "seconds")]
    pub value: Duration,
    /// The 95 % interval of the percentile; `None` where even the extremes of the sample do not enclose it.
    pub interval: Option<DurationInterval>,
    /// The number of independent values that the sample is worth for this percentile.
    pub effective_n: u64,
    /// The number of independent values that a one-sided guarantee needs (MLPerf's early stopping: 662 for p99); `None`
    /// for p0 and p100, which no sample bounds.
    pub needs: Option<u64>,
}

impl Percentile {
    /// Returns whether a sample of `n` values is large enough: below [`Percentile::needs`] the percentile is close to
    /// the sample's extreme.
    pub fn has_enough_samples(&self, n: u64) -> bool {
        self.needs.is_none_or(|needs| n >= needs)
    }
}

impl Distribution {
    /// Removes all intervals.
    pub(crate) fn remove_intervals(&mut self) {
        (self.mean_interval, self.median_interval) = (None, None);
        self.percentiles.iter_mut().for_each(|percentile| percentile.interval = None);
    }

    /// Summarizes values in the order of time; `None` without values.
    ///
    /// The mean's interval is a studentized moving-block bootstrap. A percentile's interval lies between two order
    /// statistics. Their ranks follow the binomial distribution for the number of independent values that the sample is
    /// worth: n divided by the variance inflation of the share of values at or below the percentile. The inflation
    /// comes from the autocorrelation of the series.
    pub(crate) fn from_values(values: Vec<Duration>, percents: &[Percent]) -> Option<Self> {
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let moments = Moments::from_values(&sorted);
        let percentile = |p| interval::percentile_of_values(&values, &sorted, p);
        let median = percentile(50.0)?;
        Some(Self {
            n: moments.n,
            mean: moments.mean()?,
            mean_interval: DurationInterval::from_ratio(&RatioSeries::from_pairs(
                values.iter().map(|value| (value.as_secs_f64(), 1.0)),
            )),
            std: moments.std()?,
            median: median.value,
            median_interval: median.interval,
            percentiles: percents.iter().filter_map(|&p| percentile(p)).collect(),
        })
    }
}

/// A duration in nanoseconds; the largest number for one of 584 years and more. Cheaper than `as_nanos`, which has 128
/// bits: this is done for each gap between tokens.
fn whole_nanoseconds(value: Duration) -> u64 {
    value.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(value.subsec_nanos()))
}

/// Count, sum and sum of squares, from which the mean and the standard deviation follow. Whole numbers, so that the sums
/// are the same in every order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Moments {
    n: u64,
    #[serde(rename = "sum_ns")]
    sum: u128,
    #[serde(rename = "squares_ns2")]
    squares: u128,
}

impl Moments {
    fn from_values(values: &[Duration]) -> Self {
        let mut moments = Self::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    fn add(&mut self, value: Duration) {
        self.add_times(value, 1);
    }

    fn add_times(&mut self, value: Duration, count: u64) {
        let (value, times) = (u128::from(whole_nanoseconds(value)), u128::from(count));
        self.n += count;
        self.sum += value * times;
        self.squares = self.squares.saturating_add(value * value * times);
    }

    fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.squares = self.squares.saturating_add(other.squares);
    }

    fn mean(&self) -> Option<Duration> {
        let n = u128::from(self.n);
        let nanos = (self.sum + n / 2).checked_div(n)?;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn std(&self) -> Option<Duration> {
        let n = self.n as f64;
        let mean = self.sum as f64 / n;
        let variance = (self.squares as f64 / n - mean * mean).max(0.0);
        (self.n > 0).then(|| Duration::from_nanos(variance.sqrt().round() as u64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_numpys() {
        // numpy.percentile([10, 20, 30, 40], [0, 25, 50, 90, 99, 100])
        let sorted = ms(&[10, 20, 30, 40]);
        let expected = [(0.0, 10.0), (25.0, 17.5), (50.0, 25.0), (90.0, 37.0), (99.0, 39.7), (100.0, 40.0)];
        for (p, value) in expected {
            let got = percentile(&sorted, p).unwrap().as_secs_f64() * 1e3;
            assert!((got - value).abs() < 1e-6, "p{p}: {got} is not {value}");
        }
    }

    #[test]
    fn nothing_has_no_percentile_and_no_summary() {
        assert_eq!(percentile(&[], 50.0), None);
        assert_eq!(Distribution::from_values(Vec::new(), &[99.0]), None);
    }

    #[test]
    fn the_deviation_is_the_populations() {
        let summary = Distribution::from_values(ms(&[2, 4, 4, 4, 5, 5, 7, 9]), &[]).unwrap();
        assert_eq!(summary.mean, Duration::from_millis(5));
        assert!((summary.std.as_secs_f64() - 0.002).abs() < 1e-12);
    }

    #[test]
    fn the_order_of_time_changes_intervals_only() {
        let rising: Vec<_> = (0..1000).map(Duration::from_millis).collect();
        let mut mixed = rising.clone();
        mixed.sort_unstable_by_key(|value| value.as_millis() * 7919 % 1000);
        let (rising, mixed) =
            [rising, mixed].map(|values| Distribution::from_values(values, &[90.0]).unwrap()).into();
        assert_eq!((rising.mean, rising.median, rising.std), (mixed.mean, mixed.median, mixed.std));
        let width =
            |interval: Option<DurationInterval>| interval.map(|interval| interval.high - interval.low);
        assert!(width(rising.mean_interval) > width(mixed.mean_interval));
        assert!(rising.percentiles[0].effective_n < 100, "{}", rising.percentiles[0].effective_n);
        assert!(mixed.percentiles[0].effective_n > 900, "{}", mixed.percentiles[0].effective_n);
    }

    #[test]
    fn a_percentile_of_too_few_values_says_what_it_needs() {
        let summary =
            Distribution::from_values((0..300).map(Duration::from_millis).collect(), &[99.0, 100.0]).unwrap();
        let [p99, max] = summary.percentiles[..] else { panic!("two were asked for") };
        assert_eq!((p99.interval, p99.needs, p99.has_enough_samples(summary.n)), (None, Some(662), false));
        assert_eq!((max.interval, max.needs, max.has_enough_samples(summary.n)), (None, None, true));
        assert!(p99.has_enough_samples(662));
    }

    proptest! {
        #[test]
        fn every_interval_holds_its_estimate(values in prop::collection::vec(0_u64..1_000_000, 1..600)) {
            let values: Vec<_> = values.into_iter().map(Duration::from_micros).collect();
            let summary = Distribution::from_values(values, &[1.0, 90.0, 99.0]).unwrap();
            let holds = |interval: Option<DurationInterval>, value: Duration| {
                interval.is_none_or(|interval| interval.low <= value && value <= interval.high)
            };
            prop_assert!(holds(summary.mean_interval, summary.mean));
            prop_assert!(holds(summary.median_interval, summary.median));
            for percentile in summary.percentiles {
                prop_assert!(holds(percentile.interval, percentile.value), "{percentile:?}");
                prop_assert!(percentile.effective_n <= summary.n);
            }
        }
    }
}
