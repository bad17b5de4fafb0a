//! Offsets from the start of a load: in memory up to a limit, else in a temporary file.

use std::time::Duration;

use crate::model::spool::{KEPT_IN_MEMORY, SpoolError, SpoolFile, SpoolReader, SpoolWriter};

/// The size of an offset in a file: seconds and nanoseconds.
const OFFSET_BYTES: usize = 12;

/// When requests, or sessions, are due, in the order of sending.
#[derive(Debug, Clone)]
pub struct Offsets(StoredOffsets);

#[derive(Debug, Clone)]
enum StoredOffsets {
    Kept(Vec<Duration>),
    Spooled { file: SpoolFile, len: usize },
}

impl Offsets {
    /// The number of offsets.
    pub fn len(&self) -> usize {
        match &self.0 {
            StoredOffsets::Kept(offsets) => offsets.len(),
            StoredOffsets::Spooled { len, .. } => *len,
        }
    }

    /// Whether there is no offset.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last offset.
    pub fn last(&self) -> Option<Duration> {
        self.reader().get(self.len().checked_sub(1)?)
    }

    /// The offset at an index.
    pub(crate) fn get(&self, index: usize) -> Option<Duration> {
        self.reader().get(index)
    }

    /// The offsets in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Duration> + '_ {
        let mut reader = self.reader();
        (0..self.len()).map_while(move |index| reader.get(index))
    }

    /// Keeps at most this number of offsets, from the first.
    pub(crate) fn truncate(&mut self, count: usize) {
        match &mut self.0 {
            StoredOffsets::Kept(offsets) => offsets.truncate(count),
            StoredOffsets::Spooled { len, .. } => *len = count.min(*len),
        }
    }

    /// Reads offsets at any index.
    pub(crate) fn reader(&self) -> OffsetReader<'_> {
        OffsetReader(match &self.0 {
            StoredOffsets::Kept(offsets) => OffsetSource::Kept(offsets),
            StoredOffsets::Spooled { file, len } => {
                OffsetSource::Spooled { reader: SpoolReader::new(file), len: *len }
            }
        })
    }
}

impl From<Vec<Duration>> for Offsets {
    fn from(offsets: Vec<Duration>) -> Self {
        Self(StoredOffsets::Kept(offsets))
    }
}

impl PartialEq for Offsets {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

/// Reads offsets at any index, and fast in about ascending order.
#[derive(Debug)]
pub(crate) struct OffsetReader<'a>(OffsetSource<'a>);

#[derive(Debug)]
enum OffsetSource<'a> {
    Kept(&'a [Duration]),
    Spooled { reader: SpoolReader<'a>, len: usize },
}

impl OffsetReader<'_> {
    /// The offset at an index; `None` if there is none.
    pub(crate) fn get(&mut self, index: usize) -> Option<Duration> {
        match &mut self.0 {
            OffsetSource::Kept(offsets) => offsets.get(index).copied(),
            OffsetSource::Spooled { reader, len } => (index < *len).then(|| {
                let mut seconds = [0; 8];
                let mut nanos = [0; 4];
                let at = (index * OFFSET_BYTES) as u64;
                reader.read(at, &mut seconds);
                reader.read(at + 8, &mut nanos);
                Duration::new(u64::from_le_bytes(seconds), u32::from_le_bytes(nanos))
            }),
        }
    }
}

/// Collects offsets.
#[derive(Debug)]
pub(crate) struct OffsetSink {
    /// The number of offsets that may stay in memory.
    limit: usize,
    kept: Vec<Duration>,
    spool: Option<(SpoolWriter, usize)>,
}

impl Default for OffsetSink {
    fn default() -> Self {
        Self::new(KEPT_IN_MEMORY)
    }
}

impl OffsetSink {
    /// Creates a sink that keeps at most `limit` offsets in memory.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), spool: None }
    }

    /// Collects the offsets of an iterator.
    pub(crate) fn collect(
        mut self,
        offsets: impl IntoIterator<Item = Duration>,
    ) -> Result<Offsets, SpoolError> {
        offsets.into_iter().try_for_each(|offset| self.push(offset))?;
        self.finish()
    }

    /// Adds an offset.
    pub(crate) fn push(&mut self, offset: Duration) -> Result<(), SpoolError> {
        if self.spool.is_none() && self.kept.len() < self.limit {
            self.kept.push(offset);
            return Ok(());
        }
        if self.spool.is_none() {
            let mut writer = SpoolWriter::create()?;
            let kept = std::mem::take(&mut self.kept);
            kept.iter().try_for_each(|offset| append(&mut writer, *offset))?;
            self.spool = Some((writer, kept.len()));
        }
        let (writer, len) = self.spool.as_mut().expect("the lines above set it");
        append(writer, offset)?;
        *len += 1;
        Ok(())
    }

    /// The collected offsets.
    pub(crate) fn finish(self) -> Result<Offsets, SpoolError> {
        Ok(Offsets(match self.spool {
            None => StoredOffsets::Kept(self.kept),
            Some((writer, len)) => StoredOffsets::Spooled { file: writer.finish()?, len },
        }))
    }
}

fn append(writer: &mut SpoolWriter, offset: Duration) -> Result<(), SpoolError> {
    let mut bytes = [0; OFFSET_BYTES];
    bytes[..8].copy_from_slice(&offset.as_secs().to_le_bytes());
    bytes[8..].copy_from_slice(&offset.subsec_nanos().to_le_bytes());
    writer.append(&bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_in_a_file_are_those_in_memory() {
        let times =
            || (0..5000_u64).map(|index| Duration::from_nanos(index * index * 977)).chain([Duration::MAX]);
        let kept = OffsetSink::new(5001).collect(times()).unwrap();
        let spooled = OffsetSink::new(10).collect(times()).unwrap();
        assert!(
            matches!(kept.0, StoredOffsets::Kept(_)) && matches!(spooled.0, StoredOffsets::Spooled { .. })
        );
        assert!(kept.iter().eq(times()) && spooled == kept);
        assert_eq!((spooled.last(), spooled.len()), (Some(Duration::MAX), 5001));
        let mut reader = spooled.reader();
        for index in (0..5002).step_by(13).chain((0..5002).rev().step_by(7)) {
            assert_eq!(reader.get(index), kept.get(index));
        }
        let mut few = spooled;
        few.truncate(3);
        assert!(few.iter().eq(times().take(3)) && few.get(3).is_none());
    }
}
