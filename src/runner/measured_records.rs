//! The Records of a load that has ended.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::error::Error;
use super::record_log::{OnlyLogged, RecordLog};
use crate::model::record::{LateCounts, Record};
use crate::model::record_log::details::LoggedDetails;
use crate::model::record_log::{ClientLog, LoggedRecords, PackedRecords, RecordLogError};
use crate::model::run_records::RunRecords;

/// The Records of a load that has ended: in memory, or in the record log alone if they are too many.
pub(super) struct MeasuredRecords {
    packed: PackedRecords,
    log: Option<RecordLog>,
    /// The counts of the server's tokenizer, by ordinal, if the Records are in the log.
    late: HashMap<usize, LateCounts>,
}

impl MeasuredRecords {
    /// The Records of a load, and the log that was written meanwhile.
    pub(super) fn new(packed: PackedRecords, mut log: Option<RecordLog>) -> Self {
        log.iter_mut().for_each(RecordLog::flush);
        Self { packed, log, late: HashMap::new() }
    }

    /// Takes every Record, one after the other, in the order in which the requests ended.
    ///
    /// # Errors
    /// The record log cannot be read.
    pub(super) fn for_each(&self, take: &mut dyn FnMut(&Record)) -> io::Result<()> {
        let Some(log) = self.log.as_ref().filter(|_| self.packed.is_forgotten()) else {
            self.packed.iter().for_each(|record| take(&record));
            return Ok(());
        };
        log.for_each(&mut |mut record| {
            self.late.get(&record.ordinal).into_iter().for_each(|counts| counts.apply_to(&mut record));
            take(&record);
        })
    }

    /// Replaces counts of the Records, and writes these counts to the log.
    pub(super) fn replace_counts(&mut self, late: Vec<LateCounts>) {
        if late.is_empty() {
            return;
        }
        self.log.iter_mut().for_each(|log| late.iter().for_each(|counts| log.write_counts(counts)));
        let late = late.into_iter().map(|counts| (counts.ordinal, counts)).collect();
        if self.packed.is_forgotten() {
            self.late = late;
        } else {
            self.packed = std::mem::take(&mut self.packed).with_counts(&late);
        }
    }

    /// Ends the log with what the client observed. Returns the number of Records.
    pub(super) fn end_log(self, observed: &impl Serialize, interrupted: bool) -> usize {
        let requests = self.packed.len();
        self.log.map(|log| log.end(observed, interrupted));
        requests
    }

    /// Ends the log with what the client observed. Returns the Records, at most `limit` of them in memory, and their
    /// details if only the log has them.
    ///
    /// # Errors
    /// The record log cannot be read.
    pub(super) fn finish(
        self,
        observed: &impl Serialize,
        interrupted: bool,
        limit: usize,
    ) -> Result<(RunRecords, Option<LoggedDetails>), Error> {
        let path = self.log.as_ref().map(|log| log.path().to_owned()).unwrap_or_default();
        let logged = self.log.and_then(|log| log.end(observed, interrupted));
        match logged {
            Some(OnlyLogged::Records(log)) if self.packed.is_forgotten() => {
                let logs = LoggedRecords::new(vec![ClientLog::new(log, self.packed.len() as u64, self.late)]);
                let records = RunRecords::read(logs, limit, &mut |_, _| {});
                Ok((records.map_err(|error| unreadable(path, error))?, None))
            }
            Some(OnlyLogged::Details(details)) => Ok((self.packed.into_records().into(), Some(details))),
            _ => Ok((self.packed.into_records().into(), None)),
        }
    }
}

/// The error of a record log that cannot be read back.
pub(super) fn unreadable(path: PathBuf, error: io::Error) -> Error {
    Error::RecordLog { path, source: RecordLogError::from(error) }
}
