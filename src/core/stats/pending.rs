//! Values that do not count yet.

use std::time::Duration;

use super::Moments;
use super::histogram::{Bucket, DurationHistogram};

/// How many values are kept one by one before they are counted by bucket.
const RECENT: usize = 256;

/// Values of which it is not known yet whether they count, such as the gaps of a request that may still fail.
///
/// Its memory follows the buckets that have values, not the values: 2 bytes for each of the last 256, and 8 bytes for each
/// bucket that has any of the others, of which there are 512 between a time and twice that time.
#[derive(Debug, Clone, Default)]
pub struct Pending {
    moments: Moments,
    recent: Vec<Bucket>,
    /// Ascending by bucket.
    counts: Vec<(Bucket, u32)>,
}

impl Pending {
    /// Adds one value.
    pub fn record(&mut self, value: Duration) {
        if self.recent.len() == RECENT {
            self.fold();
        } else if self.recent.capacity() == 0 {
            self.recent.reserve_exact(RECENT);
        }
        self.moments.add(value);
        self.recent.push(Bucket::of(value));
    }

    /// Forgets all values, and keeps the room for others.
    pub fn clear(&mut self) {
        self.moments = Moments::default();
        self.recent.clear();
        self.counts.clear();
    }

    /// Moves all values.
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
    use crate::core::stats::{Clusters, Tally};

    proptest! {
        #[test]
        fn a_tally_takes_what_was_pending_as_if_it_had_counted_at_once(
            micros in prop::collection::vec(0..5_000_u64, 0..2_000), factor in 1..100_u64,
        ) {
            let values: Vec<_> = micros.into_iter().map(|value| Duration::from_micros(value * factor)).collect();
            let mut pending = Pending::default();
            pending.record(Duration::from_secs(1));
            pending.clear();
            values.iter().for_each(|value| pending.record(*value));
            let mut taken = Tally::default();
            taken.take(&mut pending);
            taken.take(&mut pending);
            let counted: Tally = values.into_iter().collect();
            let summary = |tally: &Tally| tally.distribution(&[1.0, 90.0, 99.0], &Clusters::unknown());
            prop_assert_eq!(summary(&taken), summary(&counted));
        }
    }

    #[test]
    fn memory_follows_the_buckets_and_not_the_values() {
        let mut pending = Pending::default();
        (0..1_000_000_u64)
            .for_each(|i| pending.record(Duration::from_nanos(10_000_000 + i * 7919 % 10_000_000)));
        assert!(pending.counts.len() <= 513 && pending.recent.len() <= RECENT, "{}", pending.counts.len());
    }
}
