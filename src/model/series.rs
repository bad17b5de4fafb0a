//! The time series of a run: small enough to store with every result.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{Record, whole_second};
use crate::model::concurrency::ConcurrencyCurve;
use crate::seconds;
use crate::stats::{BucketCounts, PerSecondHistogram, Percent, percentile, span_width};

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
        let Some(end) = records.iter().flat_map(end_times).max() else { return Self::default() };
        let width = u64::from(span_width(whole_second(end)));
        let count = usize::try_from(end.as_secs() / width + 1).unwrap_or(usize::MAX);
        let grid = BucketGrid { width, count };
        let levels = ConcurrencyCurve::from_records(records).levels_within(
            Duration::ZERO,
            Duration::from_secs(width),
            count,
        );
        let ended = |how: fn(&Record) -> bool| {
            let records = records.iter().filter(move |record| how(record));
            grid.count(records.filter_map(|record| record.times.done()))
        };
        Self {
            bucket: Duration::from_secs(width),
            arrivals: grid.count(records.iter().map(|record| record.times.due())),
            sent: grid.count(records.iter().filter_map(|record| record.times.sent())),
            completions: ended(Record::is_success),
            failures: ended(Record::is_failure),
            output_tokens: grid.output_tokens(records),
            in_flight_max: levels.iter().map(|level| level.max).collect(),
            in_flight_mean: levels.iter().map(|level| round_to_step(level.mean, 1e3)).collect(),
            ttft: BucketQuantiles::from_values(grid.ttfts(records)),
            itl: (!itl.is_empty()).then(|| BucketQuantiles::from_counts(&grid.gaps(itl))),
        }
    }
}

/// The times of a request that a bucket must exist for.
fn end_times(record: &Record) -> impl Iterator<Item = Duration> {
    let times = record.times;
    [Some(times.due()), times.sent(), times.first_token(), times.last_token(), times.done()]
        .into_iter()
        .flatten()
}

fn round_to_step(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
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

    fn count(&self, times: impl Iterator<Item = Duration>) -> Vec<u32> {
        let mut counts = vec![0; self.count];
        times.for_each(|at| counts[self.bucket(at.as_secs())] += 1);
        counts
    }

    fn output_tokens(&self, records: &[Record]) -> Vec<f64> {
        let mut tokens = vec![0.0; self.count];
        for record in records.iter().filter(|record| record.is_success()) {
            for (second, share) in record.tokens_by_second() {
                tokens[self.bucket(u64::from(second))] += share;
            }
        }
        tokens.iter_mut().for_each(|tokens| *tokens = round_to_step(*tokens, 1e3));
        tokens
    }

    fn ttfts(&self, records: &[Record]) -> Vec<Vec<Duration>> {
        let mut buckets = vec![Vec::new(); self.count];
        for record in records.iter().filter(|record| record.is_success()) {
            if let (Some(ttft), Some(first)) = (record.ttft(), record.times.first_token()) {
                buckets[self.bucket(first.as_secs())].push(ttft);
            }
        }
        buckets
    }

    fn gaps(&self, itl: &PerSecondHistogram) -> Vec<BucketCounts> {
        let mut buckets = vec![BucketCounts::default(); self.count];
        for (second, counts) in itl.seconds() {
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
