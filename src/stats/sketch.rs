//! Summaries of samples too large to keep.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bootstrap::RatioSeries;
use super::histogram::{Bucket, DurationHistogram};
use super::interval::{self, DurationInterval};
use super::pending::PendingDurations;
use super::{Distribution, Moments, Percent, Percentile};
use crate::stats::order_statistics;

/// A sample of durations too large to keep: exact moments and a histogram, in constant memory.
///
/// Percentiles are within 0.1 % of the exact ones, and exact below 1,024 ns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DurationSketch {
    moments: Moments,
    histogram: DurationHistogram,
}

impl FromIterator<Duration> for DurationSketch {
    fn from_iter<I: IntoIterator<Item = Duration>>(values: I) -> Self {
        let mut tally = Self::default();
        values.into_iter().for_each(|value| tally.record(value));
        tally
    }
}

impl DurationSketch {
    /// Adds one value.
    pub fn record(&mut self, value: Duration) {
        self.moments.add(value);
        self.histogram.add(Bucket::from_duration(value), 1);
    }

    /// Adds a value this number of times.
    pub(crate) fn record_times(&mut self, value: Duration, count: u64) {
        self.moments.add_times(value, count);
        self.histogram.add(Bucket::from_duration(value), count);
    }

    /// The arithmetic mean; `None` without values.
    pub(crate) fn mean(&self) -> Option<Duration> {
        self.moments.mean()
    }

    /// Moves the pending values here, once they count.
    pub fn absorb(&mut self, pending: &mut PendingDurations) {
        pending.drain(&mut self.moments, &mut self.histogram);
    }

    /// Adds all values of another sketch.
    pub fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.histogram.merge(&other.histogram);
    }

    /// The number of values.
    pub fn len(&self) -> u64 {
        self.moments.n
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The percentile `p` by linear interpolation between closest ranks; `None` without values.
    pub fn percentile(&self, p: Percent) -> Option<Duration> {
        self.histogram.percentile(p)
    }

    /// The summary; `None` without values. The intervals depend on the `clusters` that the values came in: see
    /// [`SampleClusters`].
    pub fn distribution(&self, percents: &[Percent], clusters: &SampleClusters) -> Option<Distribution> {
        let effective_n = clusters.effective_n().min(self.len());
        self.summarize(percents, &clusters.ratio, |_| effective_n)
    }

    /// The summary; `None` without values. The intervals are those of an even sample of the values, in the order of
    /// time, by the methods of [`Distribution::from_values`].
    pub(crate) fn distribution_by_sample(
        &self,
        percents: &[Percent],
        sample: &[Duration],
    ) -> Option<Distribution> {
        let ratio = RatioSeries::from_pairs(sample.iter().map(|value| (value.as_secs_f64(), 1.0)));
        self.summarize(percents, &ratio, |value| interval::effective_n(sample, value))
    }

    /// `effective_n` is the number of independent values that the values are worth for a percentile of this value.
    fn summarize(
        &self,
        percents: &[Percent],
        ratio: &RatioSeries,
        effective_n: impl Fn(Duration) -> u64,
    ) -> Option<Distribution> {
        let percentile = |p| {
            let value = self.percentile(p)?;
            Some(self.percentile_with_interval(p, value, effective_n(value)))
        };
        let (median, mean) = (percentile(50.0)?, self.moments.mean()?);
        Some(Distribution {
            n: self.len(),
            mean,
            mean_interval: DurationInterval::from_ratio(ratio).map(|interval| interval.enclosing(mean)),
            std: self.moments.std()?,
            median: median.value,
            median_interval: median.interval,
            percentiles: percents.iter().filter_map(|&p| percentile(p)).collect(),
        })
    }

    fn percentile_with_interval(&self, p: Percent, value: Duration, effective_n: u64) -> Percentile {
        let at = |rank: u64| self.histogram.quantile(rank as f64 / effective_n as f64).unwrap_or(value);
        let interval = order_statistics::enclosing_ranks(effective_n, p)
            .map(|(low, high)| DurationInterval { low: at(low).min(value), high: at(high).max(value) });
        Percentile { p, value, interval, effective_n, needs: order_statistics::min_sample_size(p) }
    }

    /// Encodes the histogram with [`DurationHistogram::encode`].
    pub fn encode(&self) -> String {
        self.histogram.encode()
    }
}

/// The groups that a [`DurationSketch`]'s values came in: for gaps between tokens, the requests.
///
/// Gaps of one request are alike, so a million gaps of a thousand requests are not a million observations. The mean is
/// a ratio over requests (time by gaps) and has a block bootstrap's interval. The sketch does not keep which gaps of
/// which request lie above a percentile, so a percentile's interval assumes the worst case: all gaps of a request lie
/// on the same side. The sample is then worth (Σm)²/Σm² observations for requests of m gaps (Kish's effective size for
/// whole clusters), reduced by the correlation of neighboring requests, for which the autocorrelation of their mean
/// gaps is a proxy. The interval is therefore too wide rather than too narrow.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleClusters {
    ratio: RatioSeries,
    /// Kish's effective sample size.
    size: f64,
}

impl SampleClusters {
    /// Builds the clusters from each group's sum and number of values, groups in the order of time.
    pub fn from_groups(groups: &[(Duration, u32)]) -> Self {
        let counts = groups.iter().map(|(_, count)| f64::from(*count));
        let (sum, squares) =
            counts.fold((0.0, 0.0), |(sum, squares), count| (sum + count, squares + count * count));
        let pairs = groups.iter().map(|(sum, count)| (sum.as_secs_f64(), f64::from(*count)));
        Self {
            ratio: RatioSeries::from_pairs(pairs),
            size: if squares > 0.0 { sum * sum / squares } else { 0.0 },
        }
    }

    /// The groups are unknown: the summary has no intervals.
    pub fn unknown() -> Self {
        Self::from_groups(&[])
    }

    fn effective_n(&self) -> u64 {
        let dependence = self.ratio.autocorrelation();
        let inflation = dependence.long_run / dependence.variance;
        (self.size / if inflation > 1.0 { inflation } else { 1.0 }) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(DurationSketch::default().distribution(&[99.0], &SampleClusters::unknown()), None);
    }

    #[test]
    fn a_tally_agrees_with_the_exact_summary() {
        let values: Vec<_> = (1..=10_000).map(|i| Duration::from_micros(i * 7)).collect();
        let exact = Distribution::from_values(values.clone(), &[99.0]).unwrap();
        let tally: DurationSketch = values.iter().copied().collect();
        let tally = tally.distribution(&[99.0], &SampleClusters::unknown()).unwrap();
        assert_eq!((tally.n, tally.mean, tally.std), (exact.n, exact.mean, exact.std));
        let (got, want) =
            (tally.percentiles[0].value.as_secs_f64(), exact.percentiles[0].value.as_secs_f64());
        assert!((got / want - 1.0).abs() < 0.002, "{got} {want}");
    }

    #[test]
    fn tallies_merge_to_the_tally_of_all() {
        let (left, right) = (ms(&[1, 2, 3]), ms(&[4, 5_000, 6]));
        let mut merged: DurationSketch = left.iter().copied().collect();
        merged.merge(&right.iter().copied().collect());
        let all: DurationSketch = left.into_iter().chain(right).collect();
        let summary = |tally: &DurationSketch| tally.distribution(&[50.0, 99.0], &SampleClusters::unknown());
        assert_eq!(summary(&merged), summary(&all));
    }

    #[test]
    fn fifteen_values_have_numpys_percentiles() {
        // numpy.percentile([0.5, 1.1, ... , 8.9], 99) of 15 values 0.6 apart; the nearest rank says 8.9.
        let values = (0..15).map(|i| Duration::from_micros(500 + 600 * i));
        let tally =
            values.collect::<DurationSketch>().distribution(&[99.0], &SampleClusters::unknown()).unwrap();
        let (median, p99) =
            (tally.median.as_secs_f64() * 1e3, tally.percentiles[0].value.as_secs_f64() * 1e3);
        assert!((median - 4.7).abs() <= 0.0047 && (p99 - 8.816).abs() <= 0.008_816, "{median} {p99}");
    }

    /// 100 requests of 50 gaps; the gaps of a request are all the same.
    fn requests_of_equal_gaps() -> (DurationSketch, Vec<(Duration, u32)>) {
        let gap = |request: u64| Duration::from_millis(10 + request * 37 % 100);
        let tally = (0..100).flat_map(|request| [gap(request); 50]).collect();
        (tally, (0..100).map(|request| (gap(request) * 50, 50)).collect())
    }

    #[test]
    fn gaps_of_one_request_count_as_one_observation() {
        let (tally, groups) = requests_of_equal_gaps();
        let summary = tally.distribution(&[99.0], &SampleClusters::from_groups(&groups)).unwrap();
        assert_eq!(summary.n, 5000);
        assert!(summary.percentiles[0].effective_n <= 100, "{:?}", summary.percentiles[0]);
        let median = summary.median_interval.unwrap();
        assert!(median.high - median.low >= Duration::from_millis(18), "{median:?}");
        assert!(summary.mean_interval.unwrap().low < summary.mean);
        // 100 observations do not bound a p99, however many gaps they hold.
        assert_eq!(summary.percentiles[0].interval, None);
    }

    #[test]
    fn without_clusters_there_are_no_intervals() {
        let (tally, _) = requests_of_equal_gaps();
        let summary = tally.distribution(&[90.0], &SampleClusters::unknown()).unwrap();
        assert_eq!((summary.mean_interval, summary.median_interval), (None, None));
        assert_eq!(summary.percentiles[0].interval, None);
    }
}
