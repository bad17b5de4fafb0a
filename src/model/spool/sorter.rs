//! Sorts records that do not fit into memory: parts are sorted in memory and written, and then merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{SpoolError, SpoolFile, SpoolWriter};

/// The number of bytes of records that are sorted in memory.
const RUN_BYTES: usize = 64 << 20;

/// The number of bytes of a sorted part that are read at a time.
const READ_BYTES: usize = 1 << 16;

/// The bytes of a record before its key: the lengths of its key and its value.
const HEAD_BYTES: usize = 8;

/// A record: records are sorted by the bytes of the key, then of the value.
type KeyValue = (Box<[u8]>, Box<[u8]>);

/// Sorts records.
pub(crate) struct RecordSorter {
    /// The number of records that may stay in memory.
    kept: usize,
    records: Vec<KeyValue>,
    bytes: usize,
    len: usize,
    spool: Option<SpoolWriter>,
    /// The sorted parts of the file: their first and last positions.
    runs: Vec<(u64, u64)>,
}

impl RecordSorter {
    /// Creates a sorter that keeps at most `kept` records in memory.
    pub(crate) fn new(kept: usize) -> Self {
        Self { kept: kept.max(1), records: Vec::new(), bytes: 0, len: 0, spool: None, runs: Vec::new() }
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), SpoolError> {
        if self.records.len() >= self.kept || self.bytes > RUN_BYTES {
            self.write_run()?;
        }
        self.bytes += key.len() + value.len();
        self.len += 1;
        self.records.push((key.into(), value.into()));
        Ok(())
    }

    /// Sorts what is left.
    pub(crate) fn finish(mut self) -> Result<SortedRecords, SpoolError> {
        if self.spool.is_some() {
            self.write_run()?;
        }
        self.records.sort_unstable();
        let file = self.spool.map(SpoolWriter::finish).transpose()?;
        Ok(SortedRecords { records: self.records, len: self.len, file, runs: self.runs })
    }

    fn write_run(&mut self) -> Result<(), SpoolError> {
        let mut records = std::mem::take(&mut self.records);
        records.sort_unstable();
        let writer = match &mut self.spool {
            Some(writer) => writer,
            None => self.spool.insert(SpoolWriter::create()?),
        };
        let begin = writer.len();
        for (key, value) in &records {
            writer.append(&(key.len() as u32).to_le_bytes())?;
            writer.append(&(value.len() as u32).to_le_bytes())?;
            writer.append(key)?;
            writer.append(value)?;
        }
        self.runs.push((begin, writer.len()));
        self.bytes = 0;
        records.clear();
        self.records = records;
        Ok(())
    }
}

/// Sorted records. They can be read again and again.
#[derive(Debug, Clone)]
pub(crate) struct SortedRecords {
    records: Vec<KeyValue>,
    len: usize,
    file: Option<SpoolFile>,
    runs: Vec<(u64, u64)>,
}

impl SortedRecords {
    /// The number of records.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The keys and values in order.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = KeyValue> + '_> {
        match &self.file {
            None => Box::new(self.records.iter().cloned()),
            Some(file) => Box::new(RunMerge::new(file, &self.runs)),
        }
    }
}

/// Merges the sorted parts of a file.
struct RunMerge<'a> {
    parts: Vec<RunReader<'a>>,
    /// The first record of each part, with the part's index.
    heads: BinaryHeap<Reverse<(KeyValue, usize)>>,
}

impl<'a> RunMerge<'a> {
    fn new(file: &'a SpoolFile, runs: &[(u64, u64)]) -> Self {
        let reader = |&(at, end): &(u64, u64)| RunReader { file, at, end, buf: Vec::new(), begin: 0 };
        let mut parts: Vec<RunReader<'_>> = runs.iter().map(reader).collect();
        let heads = parts.iter_mut().enumerate();
        let heads = heads.filter_map(|(index, part)| Some(Reverse((part.next()?, index)))).collect();
        Self { parts, heads }
    }
}

impl Iterator for RunMerge<'_> {
    type Item = KeyValue;

    fn next(&mut self) -> Option<KeyValue> {
        let Reverse((record, index)) = self.heads.pop()?;
        if let Some(next) = self.parts[index].next() {
            self.heads.push(Reverse((next, index)));
        }
        Some(record)
    }
}

/// Reads a sorted part from its beginning to its end.
struct RunReader<'a> {
    file: &'a SpoolFile,
    at: u64,
    end: u64,
    buf: Vec<u8>,
    /// The number of bytes of the buffer that have been taken.
    begin: usize,
}

impl RunReader<'_> {
    fn next(&mut self) -> Option<KeyValue> {
        if self.at == self.end && self.begin == self.buf.len() {
            return None;
        }
        self.fill(HEAD_BYTES);
        let head = &self.buf[self.begin..self.begin + HEAD_BYTES];
        let len = |bytes: &[u8]| bytes.iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte));
        let (key, value) = (len(&head[..4]), len(&head[4..]));
        self.begin += HEAD_BYTES;
        self.fill(key + value);
        let (key, value) = self.buf[self.begin..self.begin + key + value].split_at(key);
        let record = (key.into(), value.into());
        self.begin += key.len() + value.len();
        Some(record)
    }

    /// Reads until the buffer has this number of bytes.
    fn fill(&mut self, count: usize) {
        let have = self.buf.len() - self.begin;
        if have >= count {
            return;
        }
        self.buf.drain(..self.begin);
        self.begin = 0;
        let more = (self.end - self.at).min((count - have).max(READ_BYTES) as u64);
        self.buf.resize(have + more as usize, 0);
        self.file.read(self.at, &mut self.buf[have..]);
        self.at += more;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_are_sorted_as_in_memory(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..6), any::<u16>()), 0..300),
            kept in 1..400_usize,
        ) {
            let mut sorter = RecordSorter::new(kept);
            for (key, value) in &records {
                sorter.push(key, &value.to_be_bytes()).unwrap();
            }
            let sorted = sorter.finish().unwrap();
            prop_assert_eq!(sorted.len(), records.len());
            let mut expected = records;
            expected.sort_unstable();
            for _ in 0..2 {
                let ours: Vec<_> = sorted.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
                let expected: Vec<_> =
                    expected.iter().map(|(key, value)| (key.clone(), value.to_be_bytes().to_vec())).collect();
                prop_assert_eq!(ours, expected);
            }
        }
    }

    #[test]
    fn a_record_longer_than_what_is_read_at_a_time_stays_whole() {
        let mut sorter = RecordSorter::new(1);
        for length in [3 * READ_BYTES, 1, READ_BYTES] {
            sorter.push(&vec![b'a'; length], b"v").unwrap();
        }
        let sorted = sorter.finish().unwrap();
        let lengths: Vec<usize> = sorted.iter().map(|(key, _)| key.len()).collect();
        assert_eq!(lengths, [1, READ_BYTES, 3 * READ_BYTES]);
    }
}
