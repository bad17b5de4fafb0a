//! Samples too large to keep.

use std::time::Duration;

use super::bootstrap::Ratio;
use super::histogram::{Bucket, DurationHistogram};
use super::interval::Interval;
use super::pending::Pending;
use super::{Distribution, Moments, Percent, Percentile, ranks};

/// A sample of durations too large to keep: exact moments and a histogram, in constant memory.
///
/// Percentiles are within 0.1 % of the exact ones, and exact below 1,024 ns.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    moments: Moments,
    histogram: DurationHistogram,
}

impl FromIterator<Duration> for Tally {
    fn from_iter<I: IntoIterator<Item = Duration>>(values: I) -> Self {
        let mut tally = Self::default();
        values.into_iter().for_each(|value| tally.record(value));
        tally
    }
}

impl Tally {
    /// Adds one value.
    pub fn record(&mut self, value: Duration) {
        self.moments.add(value);
        self.histogram.add(Bucket::of(value), 1);
    }

    /// Moves values here that turned out to count.
    pub fn take(&mut self, pending: &mut Pending) {
        pending.drain(&mut self.moments, &mut self.histogram);
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.histogram.merge(&other.histogram);
    }

    /// How many values.
    pub fn len(&self) -> u64 {
        self.moments.n
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The percentile `p` by linear interpolation between closest ranks; `None` without values.
    pub fn percentile(&self, p: Percent) -> Option<Duration> {
        self.histogram.percentile(p)
    }

    /// The summary; `None` without values. The intervals are as good as what is known of the `clusters` that the
    /// values came in: see [`Clusters`].
    pub fn distribution(&self, percents: &[Percent], clusters: &Clusters) -> Option<Distribution> {
        let effective_n = clusters.effective_n().min(self.len());
        let percentile = |p| self.clustered(p, effective_n);
        let median = percentile(50.0)?;
        Some(Distribution {
            n: self.len(),
            mean: self.moments.mean()?,
            mean_interval: Interval::of(&clusters.ratio),
            std: self.moments.std()?,
            median: median.value,
            median_interval: median.interval,
            percentiles: percents.iter().filter_map(|&p| percentile(p)).collect(),
        })
    }

    fn clustered(&self, p: Percent, effective_n: u64) -> Option<Percentile> {
        let value = self.percentile(p)?;
        let at = |rank: u64| self.histogram.quantile(rank as f64 / effective_n as f64).unwrap_or(value);
        let interval = ranks::enclosing(effective_n, p)
            .map(|(low, high)| Interval { low: at(low).min(value), high: at(high).max(value) });
        Some(Percentile { p, value, interval, effective_n, needs: ranks::needed(p) })
    }

    /// The histogram as [`DurationHistogram::encode`] writes it.
    pub fn encode(&self) -> String {
        self.histogram.encode()
    }
}

/// What is known of the groups that a [`Tally`]'s values came in: for gaps between tokens, the requests.
///
/// Gaps of one request are alike, so a million gaps of a thousand requests are not a million observations. The mean is
/// a ratio over requests (time by gaps) and has a block bootstrap's interval. Which gaps of which request lie above a
/// percentile is not kept, so a percentile's interval assumes the worst inside a request: that all its gaps lie on the
/// same side. The sample is then worth (Σm)²/Σm² observations for requests of m gaps (Kish's effective size for whole
/// clusters), less what neighbouring requests have in common, for which the dependence of their mean gaps stands in.
/// The interval is therefore rather too wide than too narrow.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    ratio: Ratio,
    /// Kish's effective size.
    size: f64,
}

impl Clusters {
    /// From each group's sum and number of values, groups in the order of time.
    pub fn of(groups: &[(Duration, u32)]) -> Self {
        let counts = groups.iter().map(|(_, count)| f64::from(*count));
        let (sum, squares) =
            counts.fold((0.0, 0.0), |(sum, squares), count| (sum + count, squares + count * count));
        let pairs = groups.iter().map(|(sum, count)| (sum.as_secs_f64(), f64::from(*count)));
        Self { ratio: Ratio::of(pairs), size: if squares > 0.0 { sum * sum / squares } else { 0.0 } }
    }

    /// No groups are known: there are no intervals.
    pub fn unknown() -> Self {
        Self::of(&[])
    }

    fn effective_n(&self) -> u64 {
        let dependence = self.ratio.dependence();
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
        assert_eq!(Tally::default().distribution(&[99.0], &Clusters::unknown()), None);
    }

    #[test]
    fn a_tally_agrees_with_the_exact_summary() {
        let values: Vec<_> = (1..=10_000).map(|i| Duration::from_micros(i * 7)).collect();
        let exact = Distribution::of(values.clone(), &[99.0]).unwrap();
        let tally: Tally = values.iter().copied().collect();
        let tally = tally.distribution(&[99.0], &Clusters::unknown()).unwrap();
        assert_eq!((tally.n, tally.mean, tally.std), (exact.n, exact.mean, exact.std));
        let (got, want) =
            (tally.percentiles[0].value.as_secs_f64(), exact.percentiles[0].value.as_secs_f64());
        assert!((got / want - 1.0).abs() < 0.002, "{got} {want}");
    }

    #[test]
    fn tallies_merge_to_the_tally_of_all() {
        let (left, right) = (ms(&[1, 2, 3]), ms(&[4, 5_000, 6]));
        let mut merged: Tally = left.iter().copied().collect();
        merged.merge(&right.iter().copied().collect());
        let all: Tally = left.into_iter().chain(right).collect();
        let summary = |tally: &Tally| tally.distribution(&[50.0, 99.0], &Clusters::unknown());
        assert_eq!(summary(&merged), summary(&all));
    }

    #[test]
    fn fifteen_values_have_numpys_percentiles() {
        // numpy.percentile([0.5, 1.1, ... , 8.9], 99) of 15 values 0.6 apart; the nearest rank says 8.9.
        let values = (0..15).map(|i| Duration::from_micros(500 + 600 * i));
        let tally = values.collect::<Tally>().distribution(&[99.0], &Clusters::unknown()).unwrap();
        let (median, p99) =
            (tally.median.as_secs_f64() * 1e3, tally.percentiles[0].value.as_secs_f64() * 1e3);
        assert!((median - 4.7).abs() <= 0.0047 && (p99 - 8.816).abs() <= 0.008_816, "{median} {p99}");
    }

    /// 100 requests of 50 gaps; the gaps of a request are all the same.
    fn requests_of_equal_gaps() -> (Tally, Vec<(Duration, u32)>) {
        let gap = |request: u64| Duration::from_millis(10 + request * 37 % 100);
        let tally = (0..100).flat_map(|request| [gap(request); 50]).collect();
        (tally, (0..100).map(|request| (gap(request) * 50, 50)).collect())
    }

    #[test]
    fn gaps_of_one_request_count_as_one_observation() {
        let (tally, groups) = requests_of_equal_gaps();
        let summary = tally.distribution(&[99.0], &Clusters::of(&groups)).unwrap();
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
        let summary = tally.distribution(&[90.0], &Clusters::unknown()).unwrap();
        assert_eq!((summary.mean_interval, summary.median_interval), (None, None));
        assert_eq!(summary.percentiles[0].interval, None);
    }
}
