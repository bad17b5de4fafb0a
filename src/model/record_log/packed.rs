//! Records in memory in the encoding of the record log: a quarter of the memory that they take as values.

use std::collections::HashMap;

use super::entry;
use crate::model::record::{LateCounts, Record};
use crate::model::record_log::encoding::{EntryDecoder, EntryEncoder, StringTable};

/// The number of bytes that are allocated and freed at a time.
const BLOCK: usize = 1 << 20;

/// Records of a run in progress, in the order in which they were added: about 80 bytes each, plus their details.
#[derive(Debug, Default)]
pub struct PackedRecords {
    encoder: EntryEncoder,
    /// Blocks of encoded entries; no entry spans two blocks.
    blocks: Vec<Vec<u8>>,
    count: usize,
    /// The number of Records above which only their number is kept.
    limit: Option<usize>,
}

impl PackedRecords {
    /// An empty collection. Once it has more Records than `limit`, it forgets them all: a record log has them.
    pub(crate) fn with_limit(limit: Option<usize>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether the Records are only in the record log.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.limit.is_some_and(|limit| self.count > limit)
    }

    /// Adds a Record.
    pub fn push(&mut self, record: &Record) {
        self.count += 1;
        if self.is_forgotten() {
            self.blocks = Vec::new();
            return;
        }
        self.encoder.clear();
        entry::encode(record, &mut self.encoder);
        let bytes = self.encoder.bytes();
        match self.blocks.last_mut() {
            Some(block) if block.len() + bytes.len() <= block.capacity() => block.extend_from_slice(bytes),
            _ => {
                let mut block = Vec::with_capacity(bytes.len().max(BLOCK));
                block.extend_from_slice(bytes);
                self.blocks.push(block);
            }
        }
    }

    /// The number of Records.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns whether there are no Records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Decodes the Records one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Record> {
        let mut strings = StringTable::default();
        let mut blocks = self.blocks.iter();
        let mut rest: &[u8] = &[];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                rest = blocks.next()?;
            }
            decode_first(&mut rest, &mut strings)
        })
    }

    /// Decodes all Records, in the order of the schedule.
    pub fn into_records(self) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.count);
        self.for_each(|record| records.push(record));
        records.sort_unstable_by_key(|record| record.ordinal);
        records
    }

    /// Replaces counts of the Records, by ordinal.
    #[must_use]
    pub(crate) fn with_counts(self, late: &HashMap<usize, LateCounts>) -> Self {
        let mut changed = Self::with_limit(self.limit);
        self.for_each(|mut record| {
            late.get(&record.ordinal).into_iter().for_each(|counts| counts.apply_to(&mut record));
            changed.push(&record);
        });
        changed
    }

    /// Decodes the Records one after the other. Each block is freed once its Records are decoded.
    fn for_each(self, mut take: impl FnMut(Record)) {
        let mut strings = StringTable::default();
        for block in self.blocks {
            let mut rest = &*block;
            std::iter::from_fn(|| decode_first(&mut rest, &mut strings)).for_each(&mut take);
        }
    }
}

impl<'a> Extend<&'a Record> for PackedRecords {
    fn extend<I: IntoIterator<Item = &'a Record>>(&mut self, records: I) {
        records.into_iter().for_each(|record| self.push(record));
    }
}

/// Decodes the first Record of a block and advances the block past it; returns `None` when the block is empty. `strings`
/// holds the strings of the Records before.
fn decode_first(block: &mut &[u8], strings: &mut StringTable) -> Option<Record> {
    if block.is_empty() {
        return None;
    }
    let mut from = EntryDecoder::new(block, strings);
    let record = entry::decode(&mut from);
    let left = from.rest().len();
    *block = &block[block.len() - left..];
    record
}
