//! Buffered values that may still be discarded.

use std::time::Duration;

use super::Moments;
use super::histogram::{Bucket, DurationHistogram};

/// The number of values that are kept individually before they are counted by bucket.
const MAX_RECENT: usize = 256;

/// Values that may still be discarded, such as the gaps of a request that may yet fail.
///
/// The memory grows with the number of non-empty buckets, not with the number of values: 2 bytes for each of the last
/// 256 values, and 8 bytes for each bucket that contains any other value. There are 512 buckets between a duration and
/// its double.
#[derive(Debug, Clone, Default)]
pub struct PendingDurations {
    moments: Moments,
    recent: Vec<Bucket>,
    /// Counts by bucket, ascending.
    counts: Vec<(Bucket, u32)>,
}

impl PendingDurations {
    /// Adds one value.
    pub fn record(&mut self, value: Duration) {
        if self.recent.len() == MAX_RECENT {
            self.fold();
        } else if self.recent.capacity() == 0 {
            self.recent.reserve_exact(MAX_RECENT);
        }
        self.moments.add(value);
        self.recent.push(Bucket::from_duration(value));
    }

    /// Discards all values and keeps the allocated memory.
    pub fn clear(&mut self) {
        self.moments = Moments::default();
        self.recent.clear();
        self.counts.clear();
    }

    /// Moves all values into the moments and the histogram.
    pub(super) fn drain(&mut self, moments: &mut Moments, histogram: &mut DurationHistogram) {
        moments.merge(&self.moments);
        self.recent.iter().for_each(|bucket| histogram.add(*bucket, 1));
        self.counts.iter().for_each(|(bucket, count)| histogram.add(*bucket, u64::from(*count)));
        self.clear();
    }

    /// Counts the recent values by bucket: merges both lists from their ends, in place.
    fn fold(&mut self) {
        let Self { recent, counts, .. } = self;
        recent.sort_unstable();
        let runs = || recent.chunk_by(|left, right| left == right);
        let is_new = |run: &&[Bucket]| counts.binary_search_by_key(&run[0], |(bucket, _)| *bucket).is_err();
        let new = runs().filter(is_new).count();
        let mut old = counts.len();
        let mut place = old + new;
        counts.resize(place, (recent[0], 0));
        for run in runs().rev() {
            while old > 0 && counts[old - 1].0 > run[0] {
                (place, old) = (place - 1, old - 1);
                counts[place] = counts[old];
            }
            place -= 1;
            let mut count = run.len() as u32;
            if old > 0 && counts[old - 1].0 == run[0] {
                old -= 1;
                count = count.saturating_add(counts[old].1);
            }
            counts[place] = (run[0], count);
        }
        recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::{DurationSketch, SampleClusters};

    proptest! {
        #[test]
        fn a_tally_takes_what_was_pending_as_if_it_had_counted_at_once(
            micros in prop::collection::vec(0..5_000_u64, 0..2_000), factor in 1..100_u64,
        ) {
            let values: Vec<_> = micros.into_iter().map(|value| Duration::from_micros(value * factor)).collect();
            let mut pending = PendingDurations::default();
            pending.record(Duration::from_secs(1));
            pending.clear();
            values.iter().for_each(|value| pending.record(*value));
            let mut taken = DurationSketch::default();
            taken.absorb(&mut pending);
            taken.absorb(&mut pending);
            let counted: DurationSketch = values.into_iter().collect();
            let summary = |tally: &DurationSketch| tally.distribution(&[1.0, 90.0, 99.0], &SampleClusters::unknown());
            prop_assert_eq!(summary(&taken), summary(&counted));
        }
    }

    #[test]
    fn memory_follows_the_buckets_and_not_the_values() {
        let mut pending = PendingDurations::default();
        (0..1_000_000_u64)
            .for_each(|i| pending.record(Duration::from_nanos(10_000_000 + i * 7919 % 10_000_000)));
        assert!(
            pending.counts.len() <= 513 && pending.recent.len() <= MAX_RECENT,
            "{}",
            pending.counts.len()
        );
    }
}
