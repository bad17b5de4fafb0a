//! The details of a run's Records that only the record log keeps.

use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::entry;
use super::frame::{LARGEST, checksum};
use super::spool::Spool;
use crate::model::record::Record;
use crate::model::record_log::encoding::{EntryDecoder, StringTable};
use crate::model::varint;

/// The number of bytes read at a time: Records that end at about the same time are close together in the log.
const WINDOW: usize = 1 << 16;

/// The largest number of bytes of an encoded 64-bit number.
const LONGEST_NUMBER: usize = 10;

const CHECKSUM: usize = 4;

/// Gaps and texts that are in a record log and not in the Records themselves. Clones share them.
#[derive(Clone)]
pub(crate) struct LoggedDetails(Arc<Logged>);

struct Logged {
    log: Spool,
    strings: StringTable,
    /// The position of each Record's entry, by its ordinal.
    places: Vec<Option<NonZeroU64>>,
}

impl fmt::Debug for LoggedDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedDetails").field("log", &self.0.log).finish_non_exhaustive()
    }
}

impl PartialEq for LoggedDetails {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl LoggedDetails {
    pub(super) fn new(log: Spool, strings: StringTable, places: Vec<Option<NonZeroU64>>) -> Self {
        Self(Arc::new(Logged { log, strings, places }))
    }

    /// Returns a reader of Records with their details, which is fastest in about the order in which they ended.
    pub(crate) fn reader(&self) -> DetailsReader<'_> {
        let Logged { log, strings, places } = &*self.0;
        let window = Window { log, start: 0, bytes: Vec::new() };
        DetailsReader { places, strings: strings.clone(), window }
    }
}

/// Reads Records with their details.
pub(crate) struct DetailsReader<'a> {
    places: &'a [Option<NonZeroU64>],
    strings: StringTable,
    window: Window<'a>,
}

impl DetailsReader<'_> {
    /// Reads the Record of this ordinal from the log.
    ///
    /// # Errors
    ///
    /// The log has no such Record, cannot be read, or was changed meanwhile.
    pub(crate) fn record(&mut self, ordinal: usize) -> io::Result<Record> {
        let place = self.places.get(ordinal).copied().flatten().map(NonZeroU64::get);
        let place = place.ok_or_else(|| {
            io::Error::other(format!("the record log lacks the request with ordinal {ordinal}"))
        })?;
        let damaged = || io::Error::other(format!("the record log is damaged at byte {place}"));
        let mut prefix = self.window.bytes(place, LONGEST_NUMBER)?;
        let before = prefix.len();
        let length =
            varint::read_varint(&mut prefix).filter(|length| *length <= LARGEST).ok_or_else(damaged)?;
        let payload = place + (before - prefix.len()) as u64;
        let frame = self.window.bytes(payload, length as usize + CHECKSUM)?;
        let (payload, sum) = frame.split_at_checked(length as usize).ok_or_else(damaged)?;
        if sum != checksum(payload).to_le_bytes() {
            return Err(damaged());
        }
        let mut from = EntryDecoder::new(payload, &mut self.strings);
        let record = from.byte().filter(|kind| *kind == entry::RECORD).and_then(|_| entry::decode(&mut from));
        record.ok_or_else(damaged)
    }
}

/// A part of the log in memory.
struct Window<'a> {
    log: &'a Spool,
    /// The position of the first byte.
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Returns `length` bytes from a position on; fewer at the end of the log.
    fn bytes(&mut self, place: u64, length: usize) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if place < self.start || place + length as u64 > end {
            // The next request is often for an entry that ended a little earlier.
            self.start = place.saturating_sub(WINDOW as u64 / 4);
            let before = (place - self.start) as usize;
            self.log.read(self.start, before + length.max(WINDOW), &mut self.bytes)?;
        }
        let from = (place - self.start) as usize;
        let to = (from + length).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::time::Duration;

    use super::super::tests::simulated;
    use super::*;
    use crate::model::metrics::Latency;
    use crate::model::record_log::RecordLogWriter;
    use crate::model::run::SteadyState;
    use crate::model::run_spec::SteadyStateConfig;
    use crate::testing::queue::{Queue, open_load};
    use crate::testing::sample_run::{self, log_header as header};

    /// A log of these Records in a file; the last entry is that of the first Record.
    fn details(records: &[Record], file: io::Result<File>) -> LoggedDetails {
        let mut writer = RecordLogWriter::new(Spool::new(file), &header()).unwrap();
        let mut places = vec![None; records.len()];
        for record in records.iter().rev() {
            places[record.ordinal] = NonZeroU64::new(writer.write_record(record).unwrap());
        }
        writer.to_mut().flush().unwrap();
        writer.into_details(places)
    }

    #[test]
    fn details_are_read_back_from_the_log_in_any_order() {
        let mut records = simulated(500);
        for (i, record) in records.iter_mut().enumerate() {
            record.text = Some("answer ".repeat(i).into());
        }
        // The first file accepts all writes, the second none.
        for file in [tempfile::tempfile(), File::open("/dev/null")] {
            let details = details(&records, file);
            let mut reader = details.reader();
            for record in records.iter().chain(records.iter().rev()) {
                assert_eq!(reader.record(record.ordinal).unwrap(), *record);
            }
            assert!(reader.record(records.len()).is_err());
        }
    }

    #[test]
    fn the_steady_state_has_its_gaps_from_the_log() {
        let queue = Queue::default();
        let mut spec = sample_run::spec();
        (spec.load, spec.steadiness) = (open_load(queue.rate(0.7)), Some(SteadyStateConfig::default()));
        let mut records = queue.open(2000, queue.rate(0.7));
        for record in &mut records {
            record.events.gaps = Some((0..9).map(|i| Duration::from_millis(20 + i)).collect());
        }
        let kept = SteadyState::find(&spec, &records, None, &[99.0]).unwrap();
        assert!(kept.metrics.latencies.contains_key(&Latency::Itl));
        let details = details(&records, tempfile::tempfile());
        records.iter_mut().for_each(|record| record.events.gaps = None);
        assert_eq!(SteadyState::find(&spec, &records, Some(&details), &[99.0]).unwrap(), kept);
    }
}
