//! Histograms of durations whose bucket width grows with the value.

use std::time::Duration;

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

use super::{Percent, interpolate, whole_nanoseconds};

/// The number of buckets in each octave (a factor of two) from 1,024 ns up; below, each nanosecond has its own bucket.
const PER_OCTAVE: u64 = 512;

/// A bucket of durations: all of its values lie within 0.1 % of its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bucket(u16);

impl Bucket {
    /// The bucket that contains a duration.
    pub(crate) fn from_duration(value: Duration) -> Self {
        let nanos = whole_nanoseconds(value);
        let shift = (nanos / PER_OCTAVE).checked_ilog2().unwrap_or_default();
        // The index is at most 54 · 512 + 1023.
        Self((u64::from(shift) * PER_OCTAVE + (nanos >> shift)) as u16)
    }

    /// The middle of the bucket.
    pub(crate) fn middle(self) -> Duration {
        let index = u64::from(self.0);
        let shift = (index / PER_OCTAVE).saturating_sub(1);
        let low = (index - shift * PER_OCTAVE) << shift;
        Duration::from_nanos(low + ((1 << shift) >> 1))
    }
}

/// The number of durations in each bucket. In JSON it is [encoded](Self::encode).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct DurationHistogram {
    /// Counts by bucket index, up to the octave of the largest value.
    counts: Vec<u64>,
    total: u64,
}

impl DurationHistogram {
    /// Adds `count` durations to a bucket.
    pub(crate) fn add(&mut self, bucket: Bucket, count: u64) {
        let index = usize::from(bucket.0);
        if index >= self.counts.len() {
            // Resizing to the end of the octave makes reallocations rare.
            self.counts.resize((index + 1).next_multiple_of(PER_OCTAVE as usize), 0);
        }
        self.counts[index] += count;
        self.total += count;
    }

    /// Adds all counts of another histogram.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.non_empty_buckets().for_each(|(bucket, count)| self.add(bucket, count));
    }

    /// Returns whether the histogram has no values.
    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The percentile `p` of the buckets' middles by linear interpolation between closest ranks, as
    /// [`percentile`](super::percentile) computes it; `None` without values.
    pub(crate) fn percentile(&self, p: Percent) -> Option<Duration> {
        interpolate(self.total, p, |rank| self.at_rank(rank))
    }

    /// The least value such that at least this share of all values lies at or below it; `None` without values.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share * self.total as f64).ceil() as u64;
        (self.total > 0).then(|| self.at_rank(rank.saturating_sub(1).min(self.total - 1)))
    }

    /// The value at this rank, from 0.
    fn at_rank(&self, rank: u64) -> Duration {
        let mut before = 0;
        let found = self.non_empty_buckets().find(|(_, count)| {
            before += count;
            before > rank
        });
        found.map_or(Duration::ZERO, |(bucket, _)| bucket.middle())
    }

    /// The non-empty buckets, ascending.
    fn non_empty_buckets(&self) -> impl Iterator<Item = (Bucket, u64)> {
        let counts = self.counts.iter().enumerate();
        counts.filter(|(_, count)| **count > 0).map(|(index, count)| (Bucket(index as u16), *count))
    }

    /// Encodes the counts in HdrHistogram's V2 format, base64, values in nanoseconds.
    pub(crate) fn encode(&self) -> String {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits are what HdrHistogram accepts");
        for (bucket, count) in self.non_empty_buckets() {
            let nanos = u64::try_from(bucket.middle().as_nanos()).unwrap_or(u64::MAX);
            histogram.record_n(nanos, count).expect("the histogram resizes itself");
        }
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut bytes).expect("a histogram serializes into memory");
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }

    /// Decodes the output of [`encode`](Self::encode), or another histogram in that format; `None` for anything else.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
        let mut counts = Self::default();
        for step in histogram.iter_recorded() {
            let middle = histogram.median_equivalent(step.value_iterated_to());
            counts.add(Bucket::from_duration(Duration::from_nanos(middle)), step.count_at_value());
        }
        Some(counts)
    }
}

impl From<DurationHistogram> for String {
    fn from(histogram: DurationHistogram) -> Self {
        histogram.encode()
    }
}

impl TryFrom<String> for DurationHistogram {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::decode(&text).ok_or("this is not a histogram in HdrHistogram's V2 format")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[Duration]) -> DurationHistogram {
        let mut histogram = DurationHistogram::default();
        values.iter().for_each(|value| histogram.add(Bucket::from_duration(*value), 1));
        histogram
    }

    #[test]
    fn small_values_are_exact_and_none_is_too_large() {
        for nanos in (0..1024).chain([u64::MAX - 1, u64::MAX]) {
            let middle = Bucket::from_duration(Duration::from_nanos(nanos)).middle();
            assert!(nanos >= 1024 || middle == Duration::from_nanos(nanos), "{nanos} {middle:?}");
        }
        assert_eq!(Bucket::from_duration(Duration::MAX), Bucket(28_671));
        assert_eq!(of(&[Duration::ZERO]).percentile(50.0), Some(Duration::ZERO), "no gap is no gap");
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!((of(&[]).percentile(50.0), of(&[]).quantile(0.5)), (None, None));
        assert!(of(&[]).is_empty() && DurationHistogram::decode("not base64!").is_none());
    }

    proptest! {
        #[test]
        fn a_bucket_is_within_a_thousandth_of_its_values(nanos in 0..u64::MAX, bits in 0..64_u32) {
            let nanos = nanos >> bits;
            let middle = Bucket::from_duration(Duration::from_nanos(nanos)).middle().as_nanos() as f64;
            prop_assert!((middle - nanos as f64).abs() <= nanos as f64 * 0.001, "{nanos} {middle}");
        }

        #[test]
        fn buckets_ascend_with_their_values(left in 0..u64::MAX, right in 0..u64::MAX, bits in 0..64_u32) {
            let [left, right] = [left >> bits, right >> bits].map(Duration::from_nanos);
            let (low, high) = (left.min(right), left.max(right));
            prop_assert!(Bucket::from_duration(low) <= Bucket::from_duration(high));
        }

        #[test]
        fn percentiles_are_numpys_within_a_thousandth(
            nanos in prop::collection::vec(0..20_000_000_000_u64, 1..300), p in 0.0..100.0_f64,
        ) {
            let mut values: Vec<_> = nanos.into_iter().map(Duration::from_nanos).collect();
            let got = of(&values).percentile(p).unwrap().as_secs_f64();
            values.sort_unstable();
            let exact = super::super::percentile(&values, p).unwrap().as_secs_f64();
            prop_assert!((got - exact).abs() <= exact * 0.001 + 1e-9, "{got} {exact}");
        }

        #[test]
        fn a_histogram_survives_its_encoding(
            nanos in prop::collection::vec(0..20_000_000_000_u64, 0..300), bits in 0..40_u32,
        ) {
            let histogram = of(&nanos.into_iter().map(|nanos| Duration::from_nanos(nanos >> bits)).collect::<Vec<_>>());
            let read = DurationHistogram::decode(&histogram.encode()).unwrap();
            prop_assert_eq!(read.non_empty_buckets().collect::<Vec<_>>(), histogram.non_empty_buckets().collect::<Vec<_>>());
        }
    }
}
