//! A run second by second: small enough to be kept with every result.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::in_flight::InFlight;
use super::record::{Record, whole_second};
use super::stats::{Counts, Percent, TallyBySecond, percentile, span_width};
use super::units::seconds;

/// A run in buckets of equal width from t0 on, column by column. All columns have one entry a bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The width of a bucket: whole seconds.
    #[serde(rename = "bucket_s", with = "seconds")]
    pub bucket: Duration,
    /// Requests that were due.
    pub arrivals: Vec<u32>,
    /// Requests that were sent.
    pub sent: Vec<u32>,
    /// Requests that got their answer.
    pub completions: Vec<u32>,
    /// Requests that ended without.
    pub failures: Vec<u32>,
    /// Output tokens of successful requests: each request's tokens spread over its events.
    pub output_tokens: Vec<f64>,
    /// Most requests in flight at any instant.
    pub in_flight_max: Vec<u32>,
    /// Requests in flight, weighted by time.
    pub in_flight_mean: Vec<f64>,
    /// TTFT of the requests whose first token fell into the bucket.
    pub ttft: Quantiles,
    /// Gaps between output events that ended in the bucket, those of requests that fail later or are left included: they show
    /// what the server did then. `None` of a run without any.
    pub itl: Option<Quantiles>,
}

/// Two quantiles a bucket, in seconds with microseconds kept; `None` in buckets without a value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The median.
    pub p50_s: Vec<Option<f64>>,
    /// The 99th percentile; of fewer than a hundred values it is close to their maximum.
    pub p99_s: Vec<Option<f64>>,
}

impl Quantiles {
    /// Of the values of each bucket, in any order.
    pub fn of(buckets: Vec<Vec<Duration>>) -> Self {
        let mut quantiles = Self::default();
        for mut values in buckets {
            values.sort_unstable();
            quantiles.push(|p| percentile(&values, p));
        }
        quantiles
    }

    fn of_counts(buckets: &[Counts]) -> Self {
        let mut quantiles = Self::default();
        buckets.iter().for_each(|counts| quantiles.push(|p| counts.percentile(p)));
        quantiles
    }

    fn push(&mut self, percentile: impl Fn(Percent) -> Option<Duration>) {
        let at = |p| percentile(p).map(|value| rounded(value.as_secs_f64(), 1e6));
        self.p50_s.push(at(50.0));
        self.p99_s.push(at(99.0));
    }
}

impl Series {
    /// Of the Records, in any order, and the gaps between their output events, which Records need not hold.
    pub fn of(records: &[Record], itl: &TallyBySecond) -> Self {
        let Some(end) = records.iter().flat_map(ends).max() else { return Self::default() };
        let width = u64::from(span_width(whole_second(end)));
        let count = usize::try_from(end.as_secs() / width + 1).unwrap_or(usize::MAX);
        let grid = Grid { width, count };
        let levels = InFlight::of(records).within(Duration::ZERO, Duration::from_secs(width), count);
        let ended = |how: fn(&Record) -> bool| {
            let records = records.iter().filter(move |record| how(record));
            grid.count(records.filter_map(|record| record.times.done))
        };
        Self {
            bucket: Duration::from_secs(width),
            arrivals: grid.count(records.iter().map(|record| record.times.due)),
            sent: grid.count(records.iter().filter_map(|record| record.times.sent)),
            completions: ended(Record::succeeded),
            failures: ended(Record::failed),
            output_tokens: grid.output_tokens(records),
            in_flight_max: levels.iter().map(|level| level.max).collect(),
            in_flight_mean: levels.iter().map(|level| rounded(level.mean, 1e3)).collect(),
            ttft: Quantiles::of(grid.ttfts(records)),
            itl: (!itl.is_empty()).then(|| Quantiles::of_counts(&grid.gaps(itl))),
        }
    }

    /// How many buckets.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether nothing was due.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }
}

/// Times that a bucket must exist for.
fn ends(record: &Record) -> impl Iterator<Item = Duration> {
    let times = record.times;
    [Some(times.due), times.sent, times.first_token, times.last_token, times.done].into_iter().flatten()
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[derive(Clone, Copy)]
struct Grid {
    /// Seconds.
    width: u64,
    count: usize,
}

impl Grid {
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
        for record in records.iter().filter(|record| record.succeeded()) {
            for (second, share) in record.tokens_by_second() {
                tokens[self.bucket(u64::from(second))] += share;
            }
        }
        tokens.iter_mut().for_each(|tokens| *tokens = rounded(*tokens, 1e3));
        tokens
    }

    fn ttfts(&self, records: &[Record]) -> Vec<Vec<Duration>> {
        let mut buckets = vec![Vec::new(); self.count];
        for record in records.iter().filter(|record| record.succeeded()) {
            if let (Some(ttft), Some(first)) = (record.ttft(), record.times.first_token) {
                buckets[self.bucket(first.as_secs())].push(ttft);
            }
        }
        buckets
    }

    fn gaps(&self, itl: &TallyBySecond) -> Vec<Counts> {
        let mut buckets = vec![Counts::default(); self.count];
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
    use crate::core::record::{Failure, FailureClass};
    use crate::core::simulated::{Queue, record};
    use crate::core::stats::MOST_SPANS;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// Below 256 µs gaps are kept to the microsecond.
    fn micros(value: u64) -> Duration {
        Duration::from_micros(value)
    }

    fn no_gaps() -> TallyBySecond {
        TallyBySecond::default()
    }

    #[test]
    fn what_happened_in_a_second_is_in_its_bucket() {
        let mut failed = record(2, ms(2_500), ms(2_600), ms(2_700));
        failed.outcome = Err(Failure::new(FailureClass::Connect, ""));
        let records =
            [record(0, ms(900), ms(1_100), ms(2_100)), record(1, ms(950), ms(1_200), ms(1_300)), failed];
        let series = Series::of(&records, &no_gaps());
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
        let series = Series::of(&[record.clone()], &no_gaps());
        let first = f64::from(record.events.by_second[0].1) * 3.0;
        assert_eq!(series.output_tokens, [first, f64::from(events * 3) - first]);
    }

    #[test]
    fn a_long_run_has_wider_buckets() {
        let day = Duration::from_secs(86_400);
        let records = [record(0, ms(0), ms(10), ms(20)), record(1, day, day + ms(10), day + ms(20))];
        let mut itl = TallyBySecond::default();
        for (at, gap) in [(0, 100), (31, 200), (86_400, 250)] {
            itl.record(Duration::from_secs(at), micros(gap));
        }
        let series = Series::of(&records, &itl);
        assert!(series.len() <= MOST_SPANS as usize, "{}", series.len());
        assert_eq!((series.bucket.as_secs(), series.arrivals[0], series.arrivals.last()), (32, 1, Some(&1)));
        let itl = series.itl.unwrap().p50_s;
        assert_eq!(itl.len(), series.arrivals.len());
        assert_eq!((itl[0], itl[1], itl.last()), (Some(0.000_15), None, Some(&Some(0.000_25))));
    }

    #[test]
    fn gaps_are_in_the_bucket_of_their_later_event() {
        let mut itl = TallyBySecond::default();
        (0..100).for_each(|i| itl.record(ms(1_005 + i), micros(if i == 0 { 200 } else { 100 })));
        let itl = Series::of(&[record(0, ms(0), ms(10), ms(2_500))], &itl).itl.unwrap();
        assert_eq!(itl.p50_s, [None, Some(0.000_1), None]);
        assert_eq!(itl.p99_s, [None, Some(0.000_101), None]);
    }

    #[test]
    fn a_run_without_gaps_has_none() {
        assert_eq!(Series::of(&[record(0, ms(0), ms(10), ms(20))], &no_gaps()).itl, None);
    }

    #[test]
    fn nothing_has_no_buckets() {
        assert!(Series::of(&[], &no_gaps()).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_between_buckets(seed in 0_u64..50, n in 1_usize..200, load in 0.1..3.0_f64) {
            let queue = Queue { seed, ..Queue::default() };
            let records = queue.open(n, queue.rate(load));
            let series = Series::of(&records, &no_gaps());
            for column in [&series.arrivals, &series.sent, &series.completions] {
                prop_assert_eq!(column.iter().sum::<u32>() as usize, n);
                prop_assert_eq!(column.len(), series.len());
            }
            let tokens: u32 = records.iter().map(|record| record.output_tokens.count).sum();
            prop_assert!((series.output_tokens.iter().sum::<f64>() - f64::from(tokens)).abs() < 0.5);
            let json = serde_json::to_string(&series).unwrap();
            prop_assert_eq!(serde_json::from_str::<Series>(&json).unwrap(), series);
        }
    }
}
