//! Counts of lengths, so that a summary of any number of lengths needs little memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Lengths below this are counted exactly; longer ones in steps of at most a 65,536th of the length.
const EXACT_BITS: u32 = 17;

/// How often each length occurs. A model's context bounds the number of different lengths, and for lengths that no model
/// has, the steps bound it: there are at most a million counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct LengthCounts {
    counts: BTreeMap<u32, u64>,
    n: u64,
    total: u64,
    min: u32,
    max: u32,
}

impl LengthCounts {
    /// Counts a length.
    pub(crate) fn add(&mut self, length: u32) {
        let step = 1 << (u32::BITS - length.leading_zeros()).saturating_sub(EXACT_BITS);
        *self.counts.entry(length / step * step).or_default() += 1;
        (self.min, self.max) = match self.n {
            0 => (length, length),
            _ => (self.min.min(length), self.max.max(length)),
        };
        self.n += 1;
        self.total += u64::from(length);
    }

    /// The number of lengths.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.n).unwrap_or(usize::MAX)
    }

    /// Summarizes the lengths; `None` without any.
    pub(crate) fn summary(&self) -> Option<LengthSummary> {
        let last = self.n.checked_sub(1)?;
        let at = |percent: f64| {
            let rank = percent / 100.0 * last as f64;
            let (low, high) = (self.at_rank(rank.floor() as u64), self.at_rank(rank.ceil() as u64));
            f64::from(low) + f64::from(high - low) * rank.fract()
        };
        Some(LengthSummary {
            n: self.len(),
            total: self.total,
            min: self.min,
            p10: at(10.0),
            p50: at(50.0),
            mean: self.total as f64 / self.n as f64,
            p90: at(90.0),
            p99: at(99.0),
            max: self.max,
        })
    }

    /// The length with this many lengths before it in ascending order.
    fn at_rank(&self, rank: u64) -> u32 {
        let mut before = 0;
        let found = self.counts.iter().find(|(_, count)| {
            before += **count;
            before > rank
        });
        found.map_or(self.max, |(length, _)| *length)
    }
}

impl Extend<u32> for LengthCounts {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, lengths: I) {
        lengths.into_iter().for_each(|length| self.add(length));
    }
}

/// A summary of lengths in tokens. Percentiles interpolate linearly between closest ranks, as everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LengthSummary {
    /// The number of lengths.
    pub n: usize,
    /// The sum of all lengths.
    pub total: u64,
    /// The shortest length.
    pub min: u32,
    /// The 10th percentile.
    pub p10: f64,
    /// The median.
    pub p50: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest length.
    pub max: u32,
}

impl LengthSummary {
    /// Summarizes lengths in any order; `None` without lengths.
    pub(crate) fn from_lengths(lengths: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut counts = LengthCounts::default();
        counts.extend(lengths);
        counts.summary()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_summarised_with_the_pinned_percentiles() {
        let lengths = LengthSummary::from_lengths([40, 10, 30, 20]).unwrap();
        assert_eq!((lengths.n, lengths.total, lengths.min, lengths.max), (4, 100, 10, 40));
        assert_eq!((lengths.mean, lengths.p50, lengths.p90), (25.0, 25.0, 37.0));
        assert!(LengthSummary::from_lengths([]).is_none());
    }

    #[test]
    fn percentiles_of_lengths_that_models_have_are_exact() {
        let mut counts = LengthCounts::default();
        counts.extend([40, 10, 30, 20, 131_071, 20]);
        let summary = counts.summary().unwrap();
        assert_eq!((summary.n, summary.total, summary.min, summary.max), (6, 131_191, 10, 131_071));
        assert_eq!((summary.p50, summary.p10), (25.0, 15.0));
        assert!(LengthCounts::default().summary().is_none());
    }

    #[test]
    fn longer_lengths_share_counts() {
        let mut counts = LengthCounts::default();
        counts.extend((0..1_000_000_u32).map(|n| 1_000_000_000 + n));
        assert!(counts.counts.len() < 200, "{}", counts.counts.len());
        let summary = counts.summary().unwrap();
        assert!((summary.p50 / 1_000_500_000.0 - 1.0).abs() < 1e-4, "{}", summary.p50);
        assert_eq!((summary.min, summary.max), (1_000_000_000, 1_000_999_999));
    }
}
