//! The Records of a run that are in its record logs and not in memory.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use super::reader::RecordLogReader;
use super::spool::Spool;
use super::{RecordLogError, RecordLogSummary};
use crate::model::record::{LateCounts, Record};

/// The Records in the logs of the clients of a run. Clones share the logs.
#[derive(Clone)]
pub(crate) struct LoggedRecords(Arc<[ClientLog]>);

impl fmt::Debug for LoggedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LoggedRecords").field(&self.0.len()).finish()
    }
}

impl LoggedRecords {
    /// The Records of these logs.
    pub(crate) fn new(logs: Vec<ClientLog>) -> Self {
        Self(logs.into())
    }

    /// Reads every Record, one after the other, in the order in which the requests of each client ended. Each comes with
    /// the index of its log.
    ///
    /// # Errors
    /// A log cannot be read. What a damaged log lost is not an error.
    pub(crate) fn for_each(&self, take: &mut dyn FnMut(usize, Record)) -> io::Result<()> {
        let mut logs = self.0.iter().enumerate();
        logs.try_for_each(|(index, log)| log.for_each(&mut |record| take(index, record)))
    }
}

/// The record log of one client.
#[derive(Debug)]
pub(crate) struct ClientLog {
    log: Spool,
    /// The number of Records in the part of the log that is not damaged.
    records: u64,
    /// The late counts of its Records, by ordinal: they follow their Records in the log.
    counts: HashMap<usize, LateCounts>,
    /// How much later than t0 of the run this client's t0 is.
    shift: Duration,
}

impl ClientLog {
    /// A log whose late counts are known, with this number of Records.
    pub(crate) fn new(log: Spool, records: u64, counts: HashMap<usize, LateCounts>) -> Self {
        Self { log, records, counts, shift: Duration::ZERO }
    }

    /// Reads what a log has besides its Records. A file of another kind than a regular one is read into memory.
    ///
    /// # Errors
    /// The log cannot be read, or is no record log.
    pub(crate) fn read(mut file: File) -> Result<(RecordLogSummary, Self), RecordLogError> {
        let log = if file.metadata()?.is_file() {
            Spool::whole(file)?
        } else {
            let mut log = Spool::in_memory();
            io::copy(&mut file, &mut log)?;
            log
        };
        Self::from_spool(log)
    }

    /// Reads what a log has besides its Records.
    pub(crate) fn from_spool(log: Spool) -> Result<(RecordLogSummary, Self), RecordLogError> {
        let mut summary = RecordLogSummary::read(SpoolReader { log: &log, at: 0 })?;
        let counts = std::mem::take(&mut summary.counts);
        let log = Self::new(log, summary.records, counts);
        Ok((summary, log))
    }

    /// Shifts every time of the Records.
    pub(crate) fn shift(&mut self, by: Duration) {
        self.shift += by;
    }

    /// Reads every Record, one after the other.
    ///
    /// # Errors
    /// The log cannot be read. What it lost to damage is not an error, but a Record that cannot be decoded is: another
    /// program wrote it.
    pub(crate) fn for_each(&self, take: &mut dyn FnMut(Record)) -> io::Result<()> {
        let mut reader = reader(&self.log)?;
        for number in 0..self.records {
            let Some(mut record) = reader.next_record()? else {
                let records = self.records;
                let why =
                    format!("it has {records} requests, but what follows the first {number} cannot be read");
                return Err(io::Error::other(why));
            };
            if let Some(late) = self.counts.get(&record.ordinal) {
                late.apply_to(&mut record);
            }
            if !self.shift.is_zero() {
                record.shift(self.shift);
            }
            take(record);
        }
        Ok(())
    }
}

/// Reads every Record of a log as it was when its request ended.
pub(super) fn for_each_record(log: &Spool, take: &mut dyn FnMut(Record)) -> io::Result<()> {
    let mut reader = reader(log)?;
    while let Some(record) = reader.next_record()? {
        take(record);
    }
    Ok(())
}

fn reader(log: &Spool) -> io::Result<RecordLogReader<SpoolReader<'_>>> {
    RecordLogReader::new(SpoolReader { log, at: 0 }).map_err(io::Error::other)
}

/// Reads a spool from its start.
struct SpoolReader<'a> {
    log: &'a Spool,
    at: u64,
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.log.read_at(self.at, buf)?;
        self.at += count as u64;
        Ok(count)
    }
}
