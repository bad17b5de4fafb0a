//! The record log: every Record of a run, appended to a file as its request ends.
//!
//! It is the form in which a run survives the death of its client, and about 80 bytes a request. `docs/record-log.md`
//! describes the format. A log is a header and then entries; each is framed by its length and a checksum, so that a
//! reader finds where a cut or damaged file ends to be sound.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use flate2::Crc;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::record::Record;
use super::run::{Inputs, Notes, Selection};
use super::spec::Spec;
use super::wall_time::WallTime;
use bytes::{Decoder, Encoder, Strings, put};

mod bytes;
mod entry;

/// The version of the format. A reader refuses others.
pub const VERSION: u16 = 1;

/// How a log begins. A transfer that changes line ends or takes the eighth bit is found out.
const MAGIC: [u8; 8] = *b"\x89reclog\n";

/// No entry is larger: the longest kept gaps of a request are far below.
const LARGEST: u64 = 1 << 30;

mod kind {
    pub(super) const STARTED: u8 = 0;
    pub(super) const RECORD: u8 = 1;
    pub(super) const MARK: u8 = 2;
    pub(super) const ENDED: u8 = 3;
}

/// What a Run is assembled from beside its Records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The program's version.
    pub version: String,
    /// The command line, secrets masked.
    pub command: Vec<String>,
    /// Every flag that held, secrets masked.
    pub settings: Map<String, Value>,
    /// What was asked for, the seed included.
    pub spec: Spec,
    /// What the user said of it.
    pub notes: Notes,
    /// What is shown of it.
    pub selection: Selection,
    /// What it was fed.
    pub inputs: Inputs,
    /// What the server's `/version` says.
    pub server_version: Option<String>,
}

/// How far a run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The offset from t0.
    pub at: Duration,
    /// Measured requests sent by then.
    pub sent: u64,
}

/// One thing that a log tells, after its header.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The measured traffic begins, at this t0.
    Started(WallTime),
    /// A measured request ended.
    Record(Box<Record>),
    /// The run is as far as this.
    Mark(Mark),
    /// The run ended, and every Record is in the log.
    Ended {
        /// Whether an interrupt cut it short.
        interrupted: bool,
    },
}

/// Writes a log.
pub struct Writer<W> {
    to: W,
    encoder: Encoder,
    frame: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a log.
    pub fn new(mut to: W, header: &Header) -> io::Result<Self> {
        to.write_all(&MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        let mut frame = Vec::new();
        write_frame(&serde_json::to_vec(header)?, &mut frame, &mut to)?;
        Ok(Self { to, encoder: Encoder::default(), frame })
    }

    /// The measured traffic begins, at this t0.
    pub fn started(&mut self, t0: WallTime) -> io::Result<()> {
        self.encoder.begin(kind::STARTED);
        self.encoder.number(t0.unix_ns);
        self.encoder.number(t0.doubt_ns);
        self.write()
    }

    /// A measured request ended.
    pub fn record(&mut self, record: &Record) -> io::Result<()> {
        self.encoder.begin(kind::RECORD);
        entry::encode(record, &mut self.encoder);
        self.write()
    }

    /// The run is as far as this.
    pub fn mark(&mut self, mark: Mark) -> io::Result<()> {
        self.encoder.begin(kind::MARK);
        self.encoder.duration(mark.at);
        self.encoder.number(mark.sent);
        self.write()
    }

    /// The run ended, and every Record is in the log.
    pub fn ended(&mut self, interrupted: bool) -> io::Result<()> {
        self.encoder.begin(kind::ENDED);
        self.encoder.byte(u8::from(interrupted));
        self.write()?;
        self.flush()
    }

    /// Hands what was written to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    fn write(&mut self) -> io::Result<()> {
        write_frame(self.encoder.bytes(), &mut self.frame, &mut self.to)
    }
}

/// Length, payload, CRC-32 of the payload.
fn write_frame(payload: &[u8], frame: &mut Vec<u8>, to: &mut impl Write) -> io::Result<()> {
    frame.clear();
    put(frame, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&checksum(payload).to_le_bytes());
    to.write_all(frame)
}

fn checksum(payload: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(payload);
    crc.sum()
}

/// Why a file cannot be read as a record log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The file begins as no log does.
    #[error("it is not a record log")]
    NotALog,
    /// The format is another one.
    #[error("its format is version {0}, this program reads version {VERSION}")]
    Version(u16),
    /// The header is cut or damaged, or lacks something.
    #[error("its header cannot be read: {0}")]
    Header(String),
}

/// Reads a log, entry by entry, up to its end or to where it is cut or damaged.
pub struct Reader<R> {
    from: BufReader<R>,
    header: Header,
    strings: Strings,
    lost: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub fn new(from: R) -> Result<Self, LogError> {
        let mut from = BufReader::new(from);
        let mut start = Vec::new();
        from.by_ref().take(MAGIC.len() as u64 + 2).read_to_end(&mut start)?;
        let version = match start.strip_prefix(&MAGIC) {
            Some(&[low, high]) => u16::from_le_bytes([low, high]),
            _ => return Err(LogError::NotALog),
        };
        if version != VERSION {
            return Err(LogError::Version(version));
        }
        let cut = || LogError::Header("it is cut or damaged".to_owned());
        let payload = read_frame(&mut from)?.map_err(|_| cut())?.ok_or_else(cut)?;
        let header = serde_json::from_slice(&payload).map_err(|error| LogError::Header(error.to_string()))?;
        Ok(Self { from, header, strings: Strings::default(), lost: 0 })
    }

    /// What the Run is assembled from beside its Records.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes at the end that are no whole entry: once there is no further entry, what a cut or damage took.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The next entry; `None` at the end of what is sound.
    pub fn entry(&mut self) -> io::Result<Option<Entry>> {
        while self.lost == 0 {
            let payload = match read_frame(&mut self.from)? {
                Ok(Some(payload)) => payload,
                Ok(None) => return Ok(None),
                Err(lost) => {
                    self.lost = lost;
                    break;
                }
            };
            match decode(&payload, &mut self.strings) {
                Some(Some(entry)) => return Ok(Some(entry)),
                // Of a kind that a later program adds.
                Some(None) => {}
                None => self.lost = payload.len() as u64,
            }
        }
        self.lost += io::copy(&mut self.from, &mut io::sink())?;
        Ok(None)
    }
}

/// The next payload; `None` at the end, `Err` with the bytes that were read of one that is cut or damaged.
fn read_frame(from: &mut impl BufRead) -> io::Result<Result<Option<Vec<u8>>, u64>> {
    let mut prefix = Vec::new();
    for byte in from.by_ref().take(10).bytes() {
        prefix.push(byte?);
        if prefix.last().is_some_and(|byte| *byte < 0x80) {
            break;
        }
    }
    if prefix.is_empty() {
        return Ok(Ok(None));
    }
    let read = prefix.len() as u64;
    let length = Decoder::new(&prefix, &mut Strings::default()).number();
    let Some(length) = length.filter(|length| *length <= LARGEST) else { return Ok(Err(read)) };
    let mut payload = Vec::new();
    from.by_ref().take(length + 4).read_to_end(&mut payload)?;
    let read = read + payload.len() as u64;
    let is_whole = payload.len() as u64 == length + 4;
    let Some(length) = payload.len().checked_sub(4).filter(|_| is_whole) else { return Ok(Err(read)) };
    let sum = payload.split_off(length);
    Ok(if sum == checksum(&payload).to_le_bytes() { Ok(Some(payload)) } else { Err(read) })
}

/// `Some(None)` for an entry of an unknown kind; `None` for one that is not what its kind says.
fn decode(payload: &[u8], strings: &mut Strings) -> Option<Option<Entry>> {
    let mut from = Decoder::new(payload, strings);
    Some(Some(match from.byte()? {
        kind::STARTED => Entry::Started(WallTime { unix_ns: from.number()?, doubt_ns: from.number()? }),
        kind::RECORD => Entry::Record(Box::new(entry::decode(&mut from)?)),
        kind::MARK => Entry::Mark(Mark { at: from.duration()?, sent: from.number()? }),
        kind::ENDED => Entry::Ended { interrupted: from.byte()? != 0 },
        _ => return Some(None),
    }))
}

/// A whole log.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// What the Run is assembled from beside its Records.
    pub header: Header,
    /// t0; `None` if the measured traffic never began.
    pub t0: Option<WallTime>,
    /// Every Record that is whole, in the order of the schedule.
    pub records: Vec<Record>,
    /// The last that is known of the run's course.
    pub mark: Option<Mark>,
    /// Whether an interrupt cut the run short, if it ended and no Record is missing.
    pub ended: Option<bool>,
    /// Bytes at the end that are no whole entry.
    pub lost_bytes: u64,
}

impl Log {
    /// Reads all of it.
    pub fn read(from: impl Read) -> Result<Self, LogError> {
        let mut reader = Reader::new(from)?;
        let (mut t0, mut records, mut mark, mut ended) = (None, Vec::new(), None, None);
        while let Some(entry) = reader.entry()? {
            match entry {
                Entry::Started(at) => t0 = Some(at),
                Entry::Record(record) => records.push(*record),
                Entry::Mark(last) => mark = Some(last),
                Entry::Ended { interrupted } => ended = Some(interrupted),
            }
        }
        records.sort_by_key(|record| record.ordinal);
        let lost_bytes = reader.lost();
        Ok(Self { header: reader.header, t0, records, mark, ended, lost_bytes })
    }

    /// Requests that were sent and whose Records are not there: in flight at the last mark, or ended after the last flush.
    pub fn missing(&self) -> u64 {
        let sent = self.mark.map_or(0, |mark| mark.sent);
        sent.saturating_sub(self.records.len() as u64)
    }
}

#[cfg(test)]
mod tests;
