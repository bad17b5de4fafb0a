//! Histograms per second for samples too large to keep, in memory that does not grow with the length of the run.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Percent, interpolate};

/// A sample of durations for every second of a run. A run of more than [`MAX_SPANS`] seconds has one for every span of
/// two, four, … seconds.
///
/// The current second is a histogram (HDR, whole microseconds, 2 significant digits: percentiles are within 0.4 %).
/// When a later second begins, only its non-empty buckets stay, about a kilobyte. All histograms have the same buckets,
/// so that they merge without loss. Recording a value allocates nothing unless the value arrives after its second is
/// over. Such values are few, but they exist: requests are not read in the order of their timestamps.
#[derive(Debug, Clone)]
pub struct PerSecondHistogram {
    /// The number of seconds in a span: a power of two.
    width: u32,
    /// The first second of the latest span that has a value.
    second: u32,
    /// The values of the latest span, except those that a merge added.
    open: Histogram<u32>,
    /// The values of all other spans, by the first second of the span.
    closed: BTreeMap<u32, BucketCounts>,
}

/// The largest number of spans that a run is divided into: a run of an hour has one per second.
pub(crate) const MAX_SPANS: u32 = 3600;

/// Returns the width of the spans of a run that lasts to this second: the smallest power of two that gives at most
/// [`MAX_SPANS`].
pub(crate) fn span_width(last_second: u32) -> u32 {
    (last_second / MAX_SPANS + 1).next_power_of_two()
}

impl Default for PerSecondHistogram {
    fn default() -> Self {
        let open = Histogram::new_with_bounds(1, u64::from(u32::MAX), 2)
            .expect("constant bounds that HdrHistogram accepts");
        Self { width: 1, second: 0, open, closed: BTreeMap::new() }
    }
}

impl PerSecondHistogram {
    /// Adds a value to the second that contains `at`, an offset from t0. Offsets may arrive out of order.
    pub fn record(&mut self, at: Duration, value: Duration) {
        let second = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
        self.widen(span_width(second));
        let second = self.span(second);
        let micros = value.saturating_add(Duration::from_nanos(500)).as_micros();
        let micros = u32::try_from(micros).unwrap_or(u32::MAX).into();
        if second < self.second {
            let bucket = bucket_middle(&self.open, micros);
            self.closed.entry(second).or_default().add(bucket, 1);
            return;
        }
        if second > self.second {
            self.close();
            self.second = second;
        }
        self.open.saturating_record(micros);
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.widen(other.width);
        for (second, counts) in other.seconds() {
            self.closed.entry(self.span(second)).or_default().merge(&counts);
        }
    }

    /// Returns the values of another time axis, whose t0 is earlier by `by`, to the nearest second.
    pub(crate) fn shifted(&self, by: Duration) -> Self {
        let by = u32::try_from((by + Duration::from_millis(500)).as_secs()).unwrap_or(u32::MAX);
        let mut shifted = Self::default();
        let seconds = self.seconds();
        let last = seconds.keys().next_back().copied().unwrap_or_default();
        shifted.widen(self.width.max(span_width(last.saturating_add(by))));
        for (second, counts) in seconds {
            shifted.closed.entry(shifted.span(second.saturating_add(by))).or_default().merge(&counts);
        }
        shifted
    }

    /// The first second of the span that contains a second.
    fn span(&self, second: u32) -> u32 {
        second - second % self.width
    }

    /// Merges spans until they have this width.
    fn widen(&mut self, width: u32) {
        if width <= self.width {
            return;
        }
        self.close();
        self.width = width;
        self.second = self.span(self.second);
        for (second, counts) in std::mem::take(&mut self.closed) {
            self.closed.entry(self.span(second)).or_default().merge(&counts);
        }
    }

    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty()
    }

    /// The values of every non-empty span, by its first second.
    pub fn seconds(&self) -> BTreeMap<u32, BucketCounts> {
        let mut all = self.clone();
        all.close();
        all.closed
    }

    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let mut counts: Vec<_> = self
            .open
            .iter_recorded()
            .map(|step| (bucket_middle(&self.open, step.value_iterated_to()), step.count_at_value()))
            .collect();
        counts.shrink_to_fit();
        self.closed.entry(self.second).or_default().merge(&BucketCounts(counts));
        self.open.reset();
    }
}

/// In JSON: the width of the spans, and the values of each.
#[derive(Serialize, Deserialize)]
struct SavedSpans {
    width_s: u32,
    spans: BTreeMap<u32, BucketCounts>,
}

impl Serialize for PerSecondHistogram {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        SavedSpans { width_s: self.width, spans: self.seconds() }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for PerSecondHistogram {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let SavedSpans { width_s, spans } = SavedSpans::deserialize(from)?;
        let mut all = Self::default();
        all.widen(width_s.max(1).checked_next_power_of_two().unwrap_or(1 << 31));
        for (second, counts) in spans {
            all.closed.entry(all.span(second)).or_default().merge(&counts);
        }
        Ok(all)
    }
}

/// The microseconds that represent all values of a bucket: its middle.
fn bucket_middle(histogram: &Histogram<u32>, micros: u64) -> u32 {
    u32::try_from(histogram.median_equivalent(micros)).unwrap_or(u32::MAX)
}

/// The number of values in each non-empty bucket: `(microseconds, values)`, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketCounts(Vec<(u32, u32)>);

impl BucketCounts {
    fn add(&mut self, micros: u32, count: u32) {
        match self.0.binary_search_by_key(&micros, |(micros, _)| *micros) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(count),
            Err(place) => self.0.insert(place, (micros, count)),
        }
    }

    /// Adds all values of another set of buckets.
    pub fn merge(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        other.0.iter().for_each(|(micros, count)| self.add(*micros, *count));
    }

    /// The percentile `p` by linear interpolation between closest ranks, as [`percentile`](super::percentile) computes
    /// it; `None` without values.
    pub fn percentile(&self, p: Percent) -> Option<Duration> {
        let n: u64 = self.0.iter().map(|(_, count)| u64::from(*count)).sum();
        interpolate(n, p, |rank| self.value_at_rank(rank))
    }

    /// The value at this rank, from 0; the largest value for a rank beyond all.
    fn value_at_rank(&self, rank: u64) -> Duration {
        let mut before = 0;
        let holds = |(_, count): &&(u32, u32)| {
            before += u64::from(*count);
            before > rank
        };
        let found = self.0.iter().find(holds).or(self.0.last());
        found.map_or(Duration::ZERO, |(micros, _)| Duration::from_micros(u64::from(*micros)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::percentile;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// Values in microseconds at offsets in milliseconds.
    fn tally(values: &[(u64, u64)]) -> PerSecondHistogram {
        let mut tally = PerSecondHistogram::default();
        values.iter().for_each(|(at, value)| tally.record(ms(*at), Duration::from_micros(*value)));
        tally
    }

    fn values() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0_u64..20_000, 0_u64..3_000_000), 1..300)
    }

    #[test]
    fn a_value_is_in_the_second_it_is_told_with() {
        let seconds = tally(&[(200, 10), (999, 20), (3_000, 30), (3_999, 30)]).seconds();
        let expected = [(0, vec![(10, 1), (20, 1)]), (3, vec![(30, 2)])];
        assert_eq!(seconds, expected.map(|(second, counts)| (second, BucketCounts(counts))).into());
    }

    #[test]
    fn a_value_that_comes_late_is_in_its_own_second() {
        let late = tally(&[(999, 10), (2_001, 10), (999, 20), (1_500, 30), (2_100, 5)]);
        let sorted = tally(&[(999, 10), (999, 20), (1_500, 30), (2_001, 10), (2_100, 5)]);
        assert_eq!(late.seconds(), sorted.seconds());
    }

    #[test]
    fn the_memory_of_a_second_does_not_follow_its_values() {
        let mut tally = PerSecondHistogram::default();
        for i in 0..300_000_u64 {
            tally.record(ms(i / 150), Duration::from_micros(10_000 + i * 7919 % 20_000));
        }
        let sizes: Vec<_> = tally.seconds().values().map(|counts| counts.0.len()).collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size < 400), "{sizes:?}");
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert!(
            PerSecondHistogram::default().is_empty() && PerSecondHistogram::default().seconds().is_empty()
        );
        assert_eq!(BucketCounts::default().percentile(50.0), None);
    }

    #[test]
    fn values_beyond_the_buckets_are_the_largest() {
        let tally = tally(&[(u64::MAX, 1), (0, u64::MAX)]);
        let seconds = tally.seconds();
        assert_eq!(seconds.keys().copied().collect::<Vec<_>>(), [0, tally.span(u32::MAX)]);
        assert!(seconds[&0].percentile(50.0).unwrap() > Duration::from_secs(4_200));
    }

    proptest! {
        #[test]
        fn tallies_merge_to_the_tally_of_all(left in values(), right in values(), more in values()) {
            let mut merged = tally(&left);
            merged.merge(&tally(&right));
            more.iter().for_each(|(at, value)| merged.record(ms(*at), Duration::from_micros(*value)));
            let all = [left, right, more].concat();
            prop_assert_eq!(merged.seconds(), tally(&all).seconds());
        }

        #[test]
        fn percentiles_agree_with_the_exact_ones(values in values(), p in 0.0..100.0_f64) {
            let values: Vec<_> = values.into_iter().map(|(at, value)| (at % 1000, value)).collect();
            let got = tally(&values).seconds()[&0].percentile(p).unwrap().as_secs_f64();
            let mut exact: Vec<_> = values.iter().map(|(_, value)| Duration::from_micros(*value)).collect();
            exact.sort_unstable();
            let want = percentile(&exact, p).unwrap().as_secs_f64();
            prop_assert!((got - want).abs() <= want * 0.004 + 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn a_tally_of_a_day_is_no_larger_than_one_of_an_hour() {
        let mut day = PerSecondHistogram::default();
        (0..86_400).for_each(|second| day.record(Duration::from_secs(second), ms(1 + second % 7)));
        let spans = day.seconds();
        assert_eq!(spans.len(), 86_400 / 32, "a span is 32 s long");
        assert!(spans.keys().all(|second| second % 32 == 0));
        let all: u32 = spans.values().flat_map(|counts| &counts.0).map(|(_, count)| count).sum();
        assert_eq!(all, 86_400, "no value is lost");

        let mut hour = PerSecondHistogram::default();
        (0..3600).for_each(|second| hour.record(Duration::from_secs(second), ms(1)));
        assert_eq!(hour.seconds().len(), 3600, "a second is a span of its own up to an hour");
        hour.merge(&day);
        assert_eq!(hour.seconds().keys().collect::<Vec<_>>(), spans.keys().collect::<Vec<_>>());
    }
}
