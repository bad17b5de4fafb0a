//! The record log: every Record of a run, appended to a file as its request ends.
//!
//! A run survives the death of its client in this form: about 80 bytes a request, plus its details. The details are the
//! gaps between tokens and the text, which a long run keeps nowhere else. `docs/record-log.md` describes the format. A
//! log is a header followed by entries. Each entry is framed by its length and a checksum, so that a reader finds where
//! a truncated or damaged file stops being valid.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::record::{LateCounts, Record};
use super::run::{ReportSelection, RunInputs, RunLabels};
use super::wall_time::WallTime;
use crate::model::record_log::encoding::{EntryDecoder, EntryEncoder, StringTable};
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use details::LoggedDetails;
pub(crate) use follow::RecordLogFollower;
use frame::write_frame;
use logged_records::for_each_record;
pub(crate) use logged_records::{ClientLog, LoggedRecords};
pub use packed::PackedRecords;
pub(crate) use reader::RecordLogSummary;
pub(crate) use spool::Spool;

pub(crate) mod details;
mod encoding;
mod entry;
mod follow;
mod frame;
mod logged_records;
mod packed;
mod reader;
mod spool;

/// Gives every Record of a run to a function, one after the other.
pub(crate) type RecordPass<'a> = &'a mut dyn FnMut(&mut dyn FnMut(&Record)) -> io::Result<()>;

/// The version of the format. A reader refuses unknown versions.
pub(crate) const VERSION: u16 = 3;

/// Version 1 has no texts and is otherwise the same.
const OLDEST: u16 = 1;

/// The first bytes of a log. They reveal a transfer that changed line endings or stripped the eighth bit.
const MAGIC: [u8; 8] = *b"\x89reclog\n";

mod kind {
    pub(super) const STARTED: u8 = 0;
    pub(super) const RECORD: u8 = super::entry::RECORD;
    pub(super) const MARK: u8 = 2;
    pub(super) const ENDED: u8 = 3;
    pub(super) const COUNTED: u8 = 4;
    pub(super) const OBSERVED: u8 = 5;
}

/// The parts of a Run besides its Records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecordLogHeader {
    /// The program's version.
    pub version: String,
    /// The command line, secrets masked.
    pub command: Vec<String>,
    /// Every flag in effect, secrets masked.
    pub settings: Map<String, Value>,
    /// The requested run, the seed included.
    pub spec: Spec,
    /// The user's labels of the run.
    pub notes: RunLabels,
    /// The metrics that reports show.
    pub selection: ReportSelection,
    /// The inputs of the run.
    pub inputs: RunInputs,
    /// The version reported by the server's `/version`.
    pub server_version: Option<String>,
    /// The share of a run that several clients send; `None` for a run of one client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<RunShare>,
}

/// A client's share of a run that several clients send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunShare {
    /// The requests that this client sends.
    pub shard: Shard,
    /// What all clients of the run have in common: the request ids begin with it.
    pub run: Uuid,
    /// The client's host name.
    pub host: String,
    /// How far this client's wall clock is ahead of the first client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockOffset>,
}

/// How far one client's wall clock is ahead of another's, with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockOffset {
    /// The difference in nanoseconds; negative if this clock is behind.
    pub ahead_ns: i64,
    /// The largest error of the difference: half of the fastest round trip, in nanoseconds.
    pub doubt_ns: u64,
}

/// How a client's clocks relate to the first client's over a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockRelation {
    /// The offset of the wall clocks before the load.
    pub before: ClockOffset,
    /// The offset of the wall clocks after the load.
    pub after: ClockOffset,
    /// The time between the two measurements, in nanoseconds.
    pub apart_ns: u64,
    /// How much faster this client's monotonic clock is than the first client's, in parts of a billion.
    pub drift_ppb: i64,
}

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProgressMark {
    /// The offset from t0.
    pub at: Duration,
    /// The number of measured requests sent by then.
    pub sent: u64,
}

/// An entry of a log, after its header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RecordLogEntry {
    /// The measured load started at this t0.
    Started(WallTime),
    /// A measured request ended.
    Record(Box<Record>),
    /// The progress of the run.
    Mark(ProgressMark),
    /// The server counted the tokens of a request whose Record is in the log.
    Counted(LateCounts),
    /// What the client observed besides the Records, as JSON of the program that wrote the log.
    Observed(Vec<u8>),
    /// The run ended, and every Record is in the log.
    Ended {
        /// Whether an interrupt ended the run early.
        interrupted: bool,
    },
}

/// Writes a record log.
pub(crate) struct RecordLogWriter<W> {
    out: W,
    encoder: EntryEncoder,
    frame: Vec<u8>,
    /// The number of bytes written.
    length: u64,
}

impl<W: Write> RecordLogWriter<W> {
    /// Starts a log and writes its header.
    pub(crate) fn new(mut to: W, header: &RecordLogHeader) -> io::Result<Self> {
        to.write_all(&MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        let mut frame = Vec::new();
        write_frame(&serde_json::to_vec(header)?, &mut frame, &mut to)?;
        let length = MAGIC.len() + size_of_val(&VERSION) + frame.len();
        Ok(Self { out: to, encoder: EntryEncoder::default(), frame, length: length as u64 })
    }

    /// Writes that the measured load started at this t0.
    pub(crate) fn write_start(&mut self, t0: WallTime) -> io::Result<()> {
        self.encoder.begin(kind::STARTED);
        self.encoder.number(t0.unix_ns);
        self.encoder.number(t0.doubt_ns);
        self.write_entry()
    }

    /// Writes the Record of a measured request. Returns the position of its entry in the file.
    pub(crate) fn write_record(&mut self, record: &Record) -> io::Result<u64> {
        let place = self.length;
        self.encoder.begin(kind::RECORD);
        entry::encode(record, &mut self.encoder);
        self.write_entry()?;
        Ok(place)
    }

    /// Writes counts that replace those of a Record.
    pub(crate) fn write_counts(&mut self, counts: &LateCounts) -> io::Result<()> {
        self.encoder.begin(kind::COUNTED);
        entry::encode_counts(counts, &mut self.encoder);
        self.write_entry()
    }

    /// Writes the progress of the run.
    pub(crate) fn write_mark(&mut self, mark: ProgressMark) -> io::Result<()> {
        self.encoder.begin(kind::MARK);
        self.encoder.duration(mark.at);
        self.encoder.number(mark.sent);
        self.write_entry()
    }

    /// Writes what the client observed besides the Records.
    pub(crate) fn write_observed(&mut self, observed: &impl Serialize) -> io::Result<()> {
        self.encoder.begin(kind::OBSERVED);
        self.encoder.text(&serde_json::to_string(observed)?);
        self.write_entry()
    }

    /// Writes that the run ended, and that every Record is in the log.
    pub(crate) fn write_end(&mut self, interrupted: bool) -> io::Result<()> {
        self.encoder.begin(kind::ENDED);
        self.encoder.byte(u8::from(interrupted));
        self.write_entry()?;
        self.flush()
    }

    /// Flushes the written bytes to the operating system.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn write_entry(&mut self) -> io::Result<()> {
        write_frame(self.encoder.bytes(), &mut self.frame, &mut self.out)?;
        self.length += self.frame.len() as u64;
        Ok(())
    }

    /// The underlying writer.
    pub(crate) fn to_mut(&mut self) -> &mut W {
        &mut self.out
    }
}

impl RecordLogWriter<Spool> {
    /// Reads the Records that are in the log so far.
    pub(crate) fn for_each_record(&self, take: &mut dyn FnMut(Record)) -> io::Result<()> {
        for_each_record(&self.out, take)
    }

    /// Finishes the log and returns its bytes.
    pub(crate) fn into_spool(self) -> Spool {
        self.out
    }

    /// Finishes the log and returns the details of its Records. `places` has the position of each record's entry by its
    /// ordinal.
    pub(crate) fn into_details(self, places: Vec<Option<NonZeroU64>>) -> LoggedDetails {
        LoggedDetails::new(self.out, self.encoder.strings(), places)
    }
}

/// Why a file cannot be read as a record log.
#[derive(Debug, thiserror::Error)]
pub enum RecordLogError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The file does not begin like a record log.
    #[error("it is not a record log")]
    NotALog,
    /// The format has an unsupported version.
    #[error("its format is version {0}, this program reads versions {OLDEST} to {VERSION}")]
    Version(u16),
    /// The header is truncated, damaged or incomplete.
    #[error("its header cannot be read: {0}")]
    Header(String),
}

/// Returns whether a file begins like a record log. One that cannot be read does not.
pub(crate) fn is_record_log(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == MAGIC
}

/// Decodes an entry if it is a Record. Returns `Some(None)` for another entry; `None` for a Record that cannot be decoded.
fn decode_record(payload: &[u8], strings: &mut StringTable) -> Option<Option<Record>> {
    match payload.split_first() {
        Some((&kind::RECORD, record)) => entry::decode(&mut EntryDecoder::new(record, strings)).map(Some),
        _ => Some(None),
    }
}

/// Returns `Some(None)` for an entry of an unknown kind; `None` for an entry that does not match its kind.
fn decode(payload: &[u8], strings: &mut StringTable) -> Option<Option<RecordLogEntry>> {
    let mut from = EntryDecoder::new(payload, strings);
    Some(Some(match from.byte()? {
        kind::STARTED => {
            RecordLogEntry::Started(WallTime { unix_ns: from.number()?, doubt_ns: from.number()? })
        }
        kind::RECORD => RecordLogEntry::Record(Box::new(entry::decode(&mut from)?)),
        kind::MARK => RecordLogEntry::Mark(ProgressMark { at: from.duration()?, sent: from.number()? }),
        kind::COUNTED => RecordLogEntry::Counted(entry::decode_counts(&mut from)?),
        kind::OBSERVED => RecordLogEntry::Observed(from.text()?.into_bytes()),
        kind::ENDED => RecordLogEntry::Ended { interrupted: from.byte()? != 0 },
        _ => return Some(None),
    }))
}

#[cfg(test)]
mod tests;
