//! Quantiles, summaries and their intervals: one pinned definition for every number that is printed.
//!
//! Percentiles interpolate linearly between closest ranks (numpy's default, so vLLM's); the standard deviation is the
//! population's (numpy's default too). Intervals are at 95 % and respect that neighbours in time are alike: see
//! [`Distribution::of`] and [`Tally::distribution`] for how.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::seconds;
pub use belief::{Belief, Estimate, Repeats, student_quantile};
use bootstrap::Ratio;
pub use by_second::{Counts, MOST_SPANS, TallyBySecond, span_width};
pub use contrast::Contrast;
pub use histogram::{Bucket, DurationHistogram};
pub use interval::{Interval, RateInterval};
pub use pending::Pending;
pub use rank_test::{least_p, mann_whitney};
pub use ranks::needed;
pub use share::Share;
pub use signed_ranks::{least_signed_p, wilcoxon};
pub use tally::{Clusters, Tally};
pub use trend::Trend;

mod belief;
mod bootstrap;
mod by_second;
mod contrast;
#[cfg(test)]
mod coverage;
mod dependence;
mod histogram;
mod interval;
mod mser;
mod pending;
mod rank_test;
mod ranks;
mod share;
mod signed_ranks;
mod tally;
mod trend;

pub(in crate::core) use interval::rate_interval;
pub(in crate::core) use mser::Settling;

/// A percentile: `p` in 0 ..= 100.
pub type Percent = f64;

/// The percentile `p` of ascending values by linear interpolation between closest ranks; `None` without values.
///
/// Definition: rank = p/100 · (n − 1), numpy's `linear` (Hyndman and Fan 1996, type 7).
pub fn percentile(sorted: &[Duration], p: Percent) -> Option<Duration> {
    between(sorted.len() as u64, p, |rank| sorted[rank as usize])
}

/// [`percentile`] of `n` values that are found by their rank, from 0.
fn between(n: u64, p: Percent, at: impl Fn(u64) -> Duration) -> Option<Duration> {
    let last = n.checked_sub(1)?;
    let rank = p.clamp(0.0, 100.0) / 100.0 * last as f64;
    let below = rank.floor() as u64;
    let low = at(below);
    let high = at((below + 1).min(last));
    Some(low + (high - low).mul_f64(rank - below as f64))
}

/// The summary of a sample of durations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values.
    pub n: u64,
    /// Arithmetic mean.
    #[serde(rename = "mean_s", with = "seconds")]
    pub mean: Duration,
    /// 95 % interval of the mean; `None` with fewer than ten values.
    pub mean_interval: Option<Interval>,
    /// Population standard deviation.
    #[serde(rename = "std_s", with = "seconds")]
    pub std: Duration,
    /// The 50th percentile.
    #[serde(rename = "median_s", with = "seconds")]
    pub median: Duration,
    /// 95 % interval of the median.
    pub median_interval: Option<Interval>,
    /// The percentiles that were asked for, in the order asked.
    pub percentiles: Vec<Percentile>,
}

/// One percentile of a [`Distribution`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// Which one, 0 ..= 100.
    pub p: Percent,
    /// Its value.
    #[serde(rename = "value_s", with = "seconds")]
    pub value: Duration,
    /// Its 95 % interval; `None` where even the extremes of the sample do not enclose it.
    pub interval: Option<Interval>,
    /// How many independent values the sample is worth as far as this percentile is concerned.
    pub effective_n: u64,
    /// How many independent values it needs before a one-sided guarantee exists (MLPerf's early stopping: 662 for
    /// p99); `None` for p0 and p100, which no sample bounds.
    pub needs: Option<u64>,
}

impl Percentile {
    /// Whether a sample of `n` values says enough about it: below [`Percentile::needs`] it is little but an extreme.
    pub fn is_enough(&self, n: u64) -> bool {
        self.needs.is_none_or(|needs| n >= needs)
    }
}

impl Distribution {
    /// Summarises values in the order of time; `None` without values.
    ///
    /// The mean's interval is a studentised moving-block bootstrap. A percentile's interval lies between two order statistics,
    /// whose ranks are the binomial law's for as many independent values as the sample is worth: n divided by the
    /// inflation of the variance of the share of values at or below the percentile, as its neighbours tell it.
    pub fn of(values: Vec<Duration>, percents: &[Percent]) -> Option<Self> {
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let moments = Moments::of(&sorted);
        let percentile = |p| interval::of_values(&values, &sorted, p);
        let median = percentile(50.0)?;
        Some(Self {
            n: moments.n,
            mean: moments.mean()?,
            mean_interval: Interval::of(&Ratio::of(values.iter().map(|value| (value.as_secs_f64(), 1.0)))),
            std: moments.std()?,
            median: median.value,
            median_interval: median.interval,
            percentiles: percents.iter().filter_map(|&p| percentile(p)).collect(),
        })
    }
}

/// Count, sum and sum of squares: what mean and deviation need.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Moments {
    n: u64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn of(values: &[Duration]) -> Self {
        let mut moments = Self::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    fn add(&mut self, value: Duration) {
        let value = value.as_secs_f64();
        self.n += 1;
        self.sum += value;
        self.squares += value * value;
    }

    fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    fn mean(&self) -> Option<Duration> {
        (self.n > 0).then(|| Duration::from_secs_f64(self.sum / self.n as f64))
    }

    fn std(&self) -> Option<Duration> {
        let mean = self.mean()?.as_secs_f64();
        Some(Duration::from_secs_f64((self.squares / self.n as f64 - mean * mean).max(0.0).sqrt()))
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
        assert_eq!(Distribution::of(Vec::new(), &[99.0]), None);
    }

    #[test]
    fn the_deviation_is_the_populations() {
        let summary = Distribution::of(ms(&[2, 4, 4, 4, 5, 5, 7, 9]), &[]).unwrap();
        assert_eq!(summary.mean, Duration::from_millis(5));
        assert!((summary.std.as_secs_f64() - 0.002).abs() < 1e-12);
    }

    #[test]
    fn the_order_of_time_changes_intervals_only() {
        let rising: Vec<_> = (0..1000).map(Duration::from_millis).collect();
        let mut mixed = rising.clone();
        mixed.sort_unstable_by_key(|value| value.as_millis() * 7919 % 1000);
        let (rising, mixed) = [rising, mixed].map(|values| Distribution::of(values, &[90.0]).unwrap()).into();
        assert_eq!((rising.mean, rising.median, rising.std), (mixed.mean, mixed.median, mixed.std));
        let width = |interval: Option<Interval>| interval.map(|interval| interval.high - interval.low);
        assert!(width(rising.mean_interval) > width(mixed.mean_interval));
        assert!(rising.percentiles[0].effective_n < 100, "{}", rising.percentiles[0].effective_n);
        assert!(mixed.percentiles[0].effective_n > 900, "{}", mixed.percentiles[0].effective_n);
    }

    #[test]
    fn a_percentile_of_too_few_values_says_what_it_needs() {
        let summary =
            Distribution::of((0..300).map(Duration::from_millis).collect(), &[99.0, 100.0]).unwrap();
        let [p99, max] = summary.percentiles[..] else { panic!("two were asked for") };
        assert_eq!((p99.interval, p99.needs, p99.is_enough(summary.n)), (None, Some(662), false));
        assert_eq!((max.interval, max.needs, max.is_enough(summary.n)), (None, None, true));
        assert!(p99.is_enough(662));
    }

    proptest! {
        #[test]
        fn every_interval_holds_its_estimate(values in prop::collection::vec(0_u64..1_000_000, 1..600)) {
            let values: Vec<_> = values.into_iter().map(Duration::from_micros).collect();
            let summary = Distribution::of(values, &[1.0, 90.0, 99.0]).unwrap();
            let holds = |interval: Option<Interval>, value: Duration| {
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
