//! Reads a record log that is complete, or that ends where its client was killed.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};

use super::encoding::StringTable;
use super::frame::read_frame;
use super::{
    MAGIC, OLDEST, ProgressMark, RecordLogEntry, RecordLogError, RecordLogHeader, VERSION, decode,
    decode_record, kind,
};
use crate::model::record::{LateCounts, Record};
use crate::model::wall_time::WallTime;

/// The number of bytes of a log that are read at a time.
const READ_SIZE: usize = 1 << 16;

/// Reads a log, entry by entry, up to its end or to the first truncated or damaged entry.
pub(super) struct RecordLogReader<R> {
    from: BufReader<R>,
    header: RecordLogHeader,
    strings: StringTable,
    /// The payload of the entry that was read last.
    payload: Vec<u8>,
    /// The number of bytes at the end that form no complete entry: after the last entry, the bytes lost to truncation or
    /// damage.
    lost: u64,
}

impl<R: Read> RecordLogReader<R> {
    /// Reads the header.
    pub(super) fn new(from: R) -> Result<Self, RecordLogError> {
        let mut from = BufReader::with_capacity(READ_SIZE, from);
        let mut start = Vec::new();
        from.by_ref().take(MAGIC.len() as u64 + 2).read_to_end(&mut start)?;
        let version = match start.strip_prefix(&MAGIC) {
            Some(&[low, high]) => u16::from_le_bytes([low, high]),
            _ => return Err(RecordLogError::NotALog),
        };
        if !(OLDEST..=VERSION).contains(&version) {
            return Err(RecordLogError::Version(version));
        }
        let mut payload = Vec::new();
        if read_frame(&mut from, &mut payload)? != Ok(true) {
            return Err(RecordLogError::Header("it is cut or damaged".to_owned()));
        }
        let header =
            serde_json::from_slice(&payload).map_err(|error| RecordLogError::Header(error.to_string()))?;
        Ok(Self { from, header, strings: StringTable::default(), payload, lost: 0 })
    }

    /// The next Record; `None` at the end of the valid part.
    pub(super) fn next_record(&mut self) -> io::Result<Option<Record>> {
        while self.next_payload()? {
            match decode_record(&self.payload, &mut self.strings) {
                Some(Some(record)) => return Ok(Some(record)),
                Some(None) => {}
                None => self.lose_entry()?,
            }
        }
        Ok(None)
    }

    /// Whether the entry that was read last is a Record.
    fn has_record(&self) -> bool {
        self.payload.first() == Some(&kind::RECORD)
    }

    /// Reads the payload of the next entry. Returns whether there is one.
    fn next_payload(&mut self) -> io::Result<bool> {
        if self.lost > 0 {
            return Ok(false);
        }
        match read_frame(&mut self.from, &mut self.payload)? {
            Ok(is_there) => Ok(is_there),
            Err(lost) => {
                self.lose_rest(lost)?;
                Ok(false)
            }
        }
    }

    /// Ends the valid part before the entry that was read last.
    fn lose_entry(&mut self) -> io::Result<()> {
        self.lose_rest(self.payload.len() as u64)
    }

    /// Ends the valid part. `read` is the number of bytes after it that were read.
    fn lose_rest(&mut self, read: u64) -> io::Result<()> {
        self.lost = read + io::copy(&mut self.from, &mut io::sink())?;
        Ok(())
    }
}

/// What a log has besides its Records.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordLogSummary {
    /// The parts of the Run besides its Records.
    pub header: RecordLogHeader,
    /// The run's t0; `None` if the measured load never started.
    pub t0: Option<WallTime>,
    /// The number of complete Records.
    pub records: u64,
    /// The counts that replace those of Records, by ordinal.
    pub counts: HashMap<usize, LateCounts>,
    /// What the client observed besides the Records, as JSON; `None` if it was killed before the end.
    pub observed: Option<Vec<u8>>,
    /// The last known progress of the run.
    pub mark: Option<ProgressMark>,
    /// Whether an interrupt ended the run early; `None` if the run did not end or a Record is missing.
    pub ended: Option<bool>,
    /// The number of bytes at the end that form no complete entry.
    pub lost_bytes: u64,
}

impl RecordLogSummary {
    /// Reads the whole log.
    pub(super) fn read(from: impl Read) -> Result<Self, RecordLogError> {
        let mut reader = RecordLogReader::new(from)?;
        let (mut t0, mut records, mut observed, mut mark, mut ended) = (None, 0, None, None, None);
        let mut counts = HashMap::new();
        while reader.next_payload()? {
            // The Records are decoded when they are needed.
            if reader.has_record() {
                records += 1;
                continue;
            }
            let Some(entry) = decode(&reader.payload, &mut reader.strings) else {
                reader.lose_entry()?;
                break;
            };
            match entry {
                // A later program may add kinds of entries.
                None | Some(RecordLogEntry::Record(_)) => {}
                Some(RecordLogEntry::Started(at)) => t0 = Some(at),
                Some(RecordLogEntry::Mark(last)) => mark = Some(last),
                Some(RecordLogEntry::Counted(late)) => _ = counts.insert(late.ordinal, late),
                Some(RecordLogEntry::Observed(json)) => observed = Some(json),
                Some(RecordLogEntry::Ended { interrupted }) => ended = Some(interrupted),
            }
        }
        let lost_bytes = reader.lost;
        Ok(Self { header: reader.header, t0, records, counts, observed, mark, ended, lost_bytes })
    }

    /// The number of sent requests without a Record: in flight at the last mark, or ended after the last flush.
    pub(crate) fn missing_requests(&self) -> u64 {
        let sent = self.mark.map_or(0, |mark| mark.sent);
        sent.saturating_sub(self.records)
    }
}
