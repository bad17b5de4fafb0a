//! The Records of a run that are in its record logs and not in memory.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use super::spool::Spool;
use super::{RecordLogEntry, RecordLogError, RecordLogReader, RecordLogSummary};
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

    /// Reads every Record, one after the other, in the order in which the requests of each client ended.
    ///
    /// # Errors
    /// A log cannot be read. What a damaged log lost is not an error.
    pub(crate) fn for_each(&self, take: &mut dyn FnMut(Record)) -> io::Result<()> {
        self.0.iter().try_for_each(|log| log.for_each(take))
    }
}

/// The record log of one client.
#[derive(Debug)]
pub(crate) struct ClientLog {
    log: Spool,
    /// The late counts of its Records, by ordinal: they follow their Records in the log.
    counts: HashMap<usize, LateCounts>,
    /// How much later than t0 of the run this client's t0 is.
    shift: Duration,
}

impl ClientLog {
    /// A log whose late counts are known.
    pub(crate) fn new(log: Spool, counts: HashMap<usize, LateCounts>) -> Self {
        Self { log, counts, shift: Duration::ZERO }
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
        Ok((summary, Self::new(log, counts)))
    }

    /// Shifts every time of the Records.
    pub(crate) fn shift(&mut self, by: Duration) {
        self.shift += by;
    }

    /// Reads every Record, one after the other.
    pub(crate) fn for_each(&self, take: &mut dyn FnMut(Record)) -> io::Result<()> {
        for_each_record(&self.log, &mut |mut record| {
            if let Some(late) = self.counts.get(&record.ordinal) {
                late.apply_to(&mut record);
            }
            if !self.shift.is_zero() {
                record.shift(self.shift);
            }
            take(record);
        })
    }
}

/// Reads every Record of a log as it was when its request ended.
pub(super) fn for_each_record(log: &Spool, take: &mut dyn FnMut(Record)) -> io::Result<()> {
    let mut reader = RecordLogReader::new(SpoolReader { log, at: 0 }).map_err(io::Error::other)?;
    while let Some(entry) = reader.next_entry()? {
        if let RecordLogEntry::Record(record) = entry {
            take(*record);
        }
    }
    Ok(())
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
