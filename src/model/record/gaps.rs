//! Compact storage of the gaps between a request's output events, in a quarter of the memory.

use std::time::Duration;

use crate::model::varint;

/// Gaps between output events, in order: nanoseconds in a variable-length encoding, four bytes for 20 ms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputGaps {
    bytes: Box<[u8]>,
}

impl OutputGaps {
    /// The number of gaps.
    pub fn len(&self) -> usize {
        self.bytes.iter().filter(|byte| **byte < 0x80).count()
    }

    /// Returns whether there are no gaps.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The gaps, in order.
    pub fn iter(&self) -> OutputGapsIter<'_> {
        OutputGapsIter { bytes: &self.bytes }
    }
}

impl FromIterator<Duration> for OutputGaps {
    fn from_iter<I: IntoIterator<Item = Duration>>(gaps: I) -> Self {
        let mut bytes = Vec::new();
        for gap in gaps {
            varint::write_varint(&mut bytes, u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX));
        }
        Self { bytes: bytes.into() }
    }
}

impl<'a> IntoIterator for &'a OutputGaps {
    type Item = Duration;
    type IntoIter = OutputGapsIter<'a>;

    fn into_iter(self) -> OutputGapsIter<'a> {
        self.iter()
    }
}

/// An iterator over the gaps of [`OutputGaps`], in order.
#[derive(Debug, Clone)]
pub struct OutputGapsIter<'a> {
    bytes: &'a [u8],
}

impl Iterator for OutputGapsIter<'_> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        varint::read_varint(&mut self.bytes).map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_kept_to_the_nanosecond_in_a_quarter_of_the_memory() {
        let gaps = [0, 1, 127, 128, 20_000_000, 4_999_999_999, u64::MAX].map(Duration::from_nanos);
        let kept: OutputGaps = gaps.into_iter().collect();
        assert_eq!((kept.len(), kept.is_empty()), (7, false));
        assert_eq!(kept.iter().collect::<Vec<_>>(), gaps);
        let usual: OutputGaps = [Duration::from_millis(20); 100].into_iter().collect();
        assert_eq!(usual.bytes.len() * 4, 100 * size_of::<Duration>());
        assert!(OutputGaps::default().is_empty() && size_of::<Option<OutputGaps>>() == 16);
    }
}
