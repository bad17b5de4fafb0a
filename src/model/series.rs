//! The time series of a run: small enough to store with every result.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{Record, whole_second};
use crate::model::concurrency::FlightStart;
use crate::model::run_records::RunView;
use crate::seconds;
use crate::stats::{BucketCounts, FixedPointSum, PerSecondHistogram, Percent, percentile, span_width};

/// A run in buckets of equal width from t0 on, column by column. All columns have one entry per bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunSeries {
    /// The width of a bucket: whole seconds.
    #[serde(rename = "bucket_s", with = "seconds")]
    pub bucket: Duration,
    /// Requests that were due.
    pub arrivals: Vec<u32>,
    /// Requests that were sent.
    pub sent: Vec<u32>,
    /// Requests that were answered.
    pub completions: Vec<u32>,
    /// Requests that ended without an answer.
    pub failures: Vec<u32>,
    /// Output tokens of successful requests: each request's tokens spread over its events.
    pub output_tokens: Vec<f64>,
    /// The largest number of requests in flight at any instant.
    pub in_flight_max: Vec<u32>,
    /// The time-weighted mean number of requests in flight.
    pub in_flight_mean: Vec<f64>,
    /// TTFT of the requests whose first token fell into the bucket.
    pub ttft: BucketQuantiles,
    /// Gaps between output events that ended in the bucket. They include the gaps of requests that fail later or are
    /// abandoned, which show the server's behavior at that time. `None` for a run without gaps.
    pub itl: Option<BucketQuantiles>,
}

/// Quantiles per bucket, in seconds with microsecond precision; `None` in buckets without a value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BucketQuantiles {
    /// The median.
    pub p50_s: Vec<Option<f64>>,
    /// The 95th percentile; empty in results from before it was kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub p95_s: Vec<Option<f64>>,
    /// The 99th percentile; with fewer than a hundred values it is close to their maximum.
    pub p99_s: Vec<Option<f64>>,
}

impl BucketQuantiles {
    /// Computes the quantiles of the values of each bucket, in any order.
    pub(crate) fn from_values(buckets: Vec<Vec<Duration>>) -> Self {
        let mut quantiles = Self::default();
        for mut values in buckets {
            values.sort_unstable();
            quantiles.push(|p| percentile(&values, p));
        }
        quantiles
    }

    fn from_counts(buckets: &[BucketCounts]) -> Self {
        let mut quantiles = Self::default();
        buckets.iter().for_each(|counts| quantiles.push(|p| counts.percentile(p)));
        quantiles
    }

    fn push(&mut self, percentile: impl Fn(Percent) -> Option<Duration>) {
        let at = |p| percentile(p).map(|value| round_to_step(value.as_secs_f64(), 1e6));
        self.p50_s.push(at(50.0));
        self.p95_s.push(at(95.0));
        self.p99_s.push(at(99.0));
    }
}

impl RunSeries {
    /// Computes the series from the Records, in any order, and the gaps between output events, which Records may not
    /// keep.
    pub(crate) fn compute(records: &[Record], itl: &PerSecondHistogram) -> Self {
        let mut fold = SeriesFold::default();
        records.iter().for_each(|record| fold.add(record));
        fold.finish(records.into(), itl)
    }
}

/// Adds up a series from Records in any order.
#[derive(Debug, Default)]
pub(crate) struct SeriesFold {
    /// The latest time of any request.
    end: Option<Duration>,
    buckets: Buckets,
    ttft: PerSecondHistogram,
}

impl SeriesFold {
    /// Adds a Record.
    pub(crate) fn add(&mut self, record: &Record) {
        let times = &record.times;
        let end = [Some(times.due()), times.sent(), times.first_token(), times.last_token(), times.done()];
        self.end = self.end.max(end.into_iter().flatten().max());
        self.buckets.at(times.due()).arrivals += 1;
        times.sent().into_iter().for_each(|at| self.buckets.at(at).sent += 1);
        if let Some(at) = times.done() {
            let bucket = self.buckets.at(at);
            bucket.completions += u32::from(record.is_success());
            bucket.failures += u32::from(record.is_failure());
        }
        if record.is_success() {
            for (second, tokens) in record.tokens_by_second() {
                self.buckets.at(Duration::from_secs(second.into())).output_tokens.add(tokens);
            }
            if let Some((at, ttft)) = first_tokens(record) {
                self.ttft.record(at, ttft);
            }
        }
    }

    /// The series of all added Records. `kept` has the Records in memory: all of them, or a sample.
    pub(crate) fn finish(mut self, kept: RunView<'_>, itl: &PerSecondHistogram) -> RunSeries {
        let Some(end) = self.end else { return RunSeries::default() };
        self.buckets.widen(span_width(whole_second(end)));
        let width = u64::from(self.buckets.width);
        let count = usize::try_from(end.as_secs() / width + 1).unwrap_or(usize::MAX);
        let grid = BucketGrid { width, count };
        let buckets = self.buckets.into_buckets(count);
        let bucket = Duration::from_secs(width);
        let levels = kept.in_flight(FlightStart::Sent).levels_within(Duration::ZERO, bucket, count);
        let column = |value: fn(&SeriesBucket) -> u32| buckets.iter().map(value).collect();
        let tokens = buckets.iter().map(|bucket| round_to_step(bucket.output_tokens.value(), 1e3));
        RunSeries {
            bucket,
            arrivals: column(|bucket| bucket.arrivals),
            sent: column(|bucket| bucket.sent),
            completions: column(|bucket| bucket.completions),
            failures: column(|bucket| bucket.failures),
            output_tokens: tokens.collect(),
            in_flight_max: levels.iter().map(|level| level.max).collect(),
            in_flight_mean: levels.iter().map(|level| round_to_step(level.mean, 1e3)).collect(),
            ttft: match kept.is_whole() {
                true => BucketQuantiles::from_values(grid.ttfts(kept.records)),
                false => BucketQuantiles::from_counts(&grid.values(&self.ttft)),
            },
            itl: (!itl.is_empty()).then(|| BucketQuantiles::from_counts(&grid.values(itl))),
        }
    }
}

/// The TTFT of an answer, and when its first token came.
fn first_tokens(record: &Record) -> Option<(Duration, Duration)> {
    record.times.first_token().zip(record.ttft()).filter(|_| record.is_success())
}

fn round_to_step(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

/// The sums of a bucket.
#[derive(Debug, Clone, Copy, Default)]
struct SeriesBucket {
    arrivals: u32,
    sent: u32,
    completions: u32,
    failures: u32,
    output_tokens: FixedPointSum,
}

impl SeriesBucket {
    fn merge(mut self, other: &Self) -> Self {
        self.arrivals += other.arrivals;
        self.sent += other.sent;
        self.completions += other.completions;
        self.failures += other.failures;
        self.output_tokens.merge(other.output_tokens);
        self
    }
}

/// Buckets whose width grows with the run.
#[derive(Debug)]
struct Buckets {
    /// The width of a bucket in seconds: a power of two.
    width: u32,
    sums: Vec<SeriesBucket>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { width: 1, sums: Vec::new() }
    }
}

impl Buckets {
    fn at(&mut self, at: Duration) -> &mut SeriesBucket {
        let second = whole_second(at);
        self.widen(span_width(second));
        let index = (second / self.width) as usize;
        if index >= self.sums.len() {
            self.sums.resize(index + 1, SeriesBucket::default());
        }
        &mut self.sums[index]
    }

    /// Merges buckets until they have this width.
    fn widen(&mut self, width: u32) {
        if width > self.width {
            let merged = self.sums.chunks((width / self.width) as usize);
            self.sums =
                merged.map(|part| part.iter().fold(SeriesBucket::default(), SeriesBucket::merge)).collect();
            self.width = width;
        }
    }

    /// The first `count` buckets, with what lies beyond them in the last.
    fn into_buckets(mut self, count: usize) -> Vec<SeriesBucket> {
        let beyond = self.sums.split_off(count.min(self.sums.len()));
        self.sums.resize(count, SeriesBucket::default());
        if let Some(last) = self.sums.last_mut() {
            *last = beyond.iter().fold(*last, SeriesBucket::merge);
        }
        self.sums
    }
}

#[derive(Clone, Copy)]
struct BucketGrid {
    /// The width of a bucket in seconds.
    width: u64,
    count: usize,
}

impl BucketGrid {
    fn bucket(&self, second: u64) -> usize {
        usize::try_from(second / self.width).unwrap_or(usize::MAX).min(self.count - 1)
    }

    fn ttfts(&self, records: &[Record]) -> Vec<Vec<Duration>> {
        let mut buckets = vec![Vec::new(); self.count];
        for (at, ttft) in records.iter().filter_map(first_tokens) {
            buckets[self.bucket(at.as_secs())].push(ttft);
        }
        buckets
    }

    fn values(&self, by_second: &PerSecondHistogram) -> Vec<BucketCounts> {
        let mut buckets = vec![BucketCounts::default(); self.count];
        for (second, counts) in by_second.seconds() {
            buckets[self.bucket(u64::from(second))].merge(&counts);
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::record::{Failure, FailureClass};
    use crate::stats::MAX_SPANS;
    use crate::testing::queue::{Queue, record};

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// Gaps below 256 µs are exact to the microsecond.
    fn micros(value: u64) -> Duration {
        Duration::from_micros(value)
    }

    fn no_gaps() -> PerSecondHistogram {
        PerSecondHistogram::default()
    }

    #[test]
    fn what_happened_in_a_second_is_in_its_bucket() {
        let mut failed = record(2, ms(2_500), ms(2_600), ms(2_700));
        failed.outcome = Err(Failure::new(FailureClass::Connect, "").into());
        let records =
            [record(0, ms(900), ms(1_100), ms(2_100)), record(1, ms(950), ms(1_200), ms(1_300)), failed];
        let series = RunSeries::compute(&records, &no_gaps());
        assert_eq!(series.bucket, ms(1_000));
        assert_eq!(series.arrivals, [2, 0, 1]);
        assert_eq!(series.sent, [2, 0, 1]);
        assert_eq!(series.completions, [0, 1, 1]);
        assert_eq!(series.failures, [0, 0, 1]);
        assert_eq!(series.in_flight_max, [2, 2, 1]);
        assert!((series.in_flight_mean[0] - 0.15).abs() < 0.001, "{:?}", series.in_flight_mean);
        let medians = &series.ttft.p50_s;
        assert_eq!((medians[0], medians[2]), (None, None));
        assert!((medians[1].unwrap() - 0.225).abs() < 0.001, "{medians:?}");
    }

    #[test]
    fn tokens_are_spread_over_events() {
        let mut record = record(0, ms(0), ms(500), ms(1_490));
        let events = record.events.count;
        record.output_tokens.count = events * 3;
        let series = RunSeries::compute(&[record.clone()], &no_gaps());
        let first = f64::from(record.events.by_second[0].1) * 3.0;
        assert_eq!(series.output_tokens, [first, f64::from(events * 3) - first]);
    }

    #[test]
    fn a_long_run_has_wider_buckets() {
        let day = Duration::from_secs(86_400);
        let records = [record(0, ms(0), ms(10), ms(20)), record(1, day, day + ms(10), day + ms(20))];
        let mut itl = PerSecondHistogram::default();
        for (at, gap) in [(0, 100), (31, 200), (86_400, 250)] {
            itl.record(Duration::from_secs(at), micros(gap));
        }
        let series = RunSeries::compute(&records, &itl);
        assert!(series.arrivals.len() <= MAX_SPANS as usize, "{}", series.arrivals.len());
        assert_eq!((series.bucket.as_secs(), series.arrivals[0], series.arrivals.last()), (32, 1, Some(&1)));
        let itl = series.itl.unwrap().p50_s;
        assert_eq!(itl.len(), series.arrivals.len());
        assert_eq!((itl[0], itl[1], itl.last()), (Some(0.000_15), None, Some(&Some(0.000_25))));
    }

    #[test]
    fn gaps_are_in_the_bucket_of_their_later_event() {
        let mut itl = PerSecondHistogram::default();
        (0..100).for_each(|i| itl.record(ms(1_005 + i), micros(if i == 0 { 200 } else { 100 })));
        let itl = RunSeries::compute(&[record(0, ms(0), ms(10), ms(2_500))], &itl).itl.unwrap();
        assert_eq!(itl.p50_s, [None, Some(0.000_1), None]);
        assert_eq!(itl.p95_s, [None, Some(0.000_1), None]);
        assert_eq!(itl.p99_s, [None, Some(0.000_101), None]);
    }

    #[test]
    fn a_run_without_gaps_has_none() {
        assert_eq!(RunSeries::compute(&[record(0, ms(0), ms(10), ms(20))], &no_gaps()).itl, None);
    }

    #[test]
    fn nothing_has_no_buckets() {
        assert!(RunSeries::compute(&[], &no_gaps()).arrivals.is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_between_buckets(seed in 0_u64..50, n in 1_usize..200, load in 0.1..3.0_f64) {
            let queue = Queue { seed, ..Queue::default() };
            let records = queue.open(n, queue.rate(load));
            let series = RunSeries::compute(&records, &no_gaps());
            for column in [&series.arrivals, &series.sent, &series.completions] {
                prop_assert_eq!(column.iter().sum::<u32>() as usize, n);
                prop_assert_eq!(column.len(), series.arrivals.len());
            }
            let tokens: u32 = records.iter().map(|record| record.output_tokens.count).sum();
            prop_assert!((series.output_tokens.iter().sum::<f64>() - f64::from(tokens)).abs() < 0.5);
            let json = serde_json::to_string(&series).unwrap();
            prop_assert_eq!(serde_json::from_str::<RunSeries>(&json).unwrap(), series);
        }
    }
}
