//! Options for reading files: who receives the progress, and what happens to malformed rows.

use super::text_limit::TextLimit;
use super::{DatasetError, DatasetFault, DatasetFormat, FilePosition, ProgressFn};
use crate::model::dataset::{BadRows, DropCounts};
use crate::model::digest::Digest;

#[derive(Clone, Copy)]
pub(super) struct ReadOptions<'a> {
    pub progress: &'a ProgressFn<'a>,
    /// If true, the first bad row ends the reading.
    pub strict: bool,
    /// The longest text that is tokenized.
    pub text_limit: TextLimit,
}

impl<'a> ReadOptions<'a> {
    /// Bad rows are skipped, and texts have the default limit.
    pub(super) fn plain(progress: &'a ProgressFn<'a>) -> Self {
        Self { progress, strict: false, text_limit: TextLimit::default() }
    }
}

/// The result of reading a file, besides its rows.
#[derive(Debug)]
pub(super) struct FileSummary {
    /// The digest of the file as stored on disk.
    pub digest: Digest,
    /// The rows that were skipped.
    pub bad: BadRows,
}

/// The conditions that a usable row meets. If rows are malformed, the expected format of the file is added.
pub(super) fn describe_rule(rule: String, dropped: &DropCounts, format: &DatasetFormat) -> String {
    if dropped.malformed.is_empty() { rule } else { format!("{rule}; {format}") }
}

/// Why a row is not used.
pub(super) enum RowRejection {
    /// The row is malformed.
    Row(DatasetFault),
    /// The preparation fails.
    Workload(DatasetError),
}

impl From<DatasetFault> for RowRejection {
    fn from(fault: DatasetFault) -> Self {
        Self::Row(fault)
    }
}

impl From<DatasetError> for RowRejection {
    fn from(error: DatasetError) -> Self {
        Self::Workload(error)
    }
}

/// If a file begins with this many bad rows and no good one, the reading ends: the user named the wrong file. Without
/// this limit, an archive of a few megabytes could make the reader process a billion bad rows.
const HOPELESS: usize = 100_000;

/// Skips and counts bad rows, or ends the reading.
pub(super) struct BadRowFilter {
    name: String,
    format: &'static DatasetFormat,
    strict: bool,
    /// Whether a valid row has been read.
    has_good: bool,
    /// The number of skipped rows.
    skipped: usize,
    /// The skipped rows by fault.
    pub bad: BadRows,
}

impl BadRowFilter {
    /// Creates the filter for a file. `name` is the file's name in errors.
    pub(super) fn new(name: String, format: &'static DatasetFormat, strict: bool) -> Self {
        Self { name, format, strict, has_good: false, skipped: 0, bad: BadRows::default() }
    }

    /// Handles the rejection of a row.
    pub(super) fn handle(
        &mut self,
        place: FilePosition,
        taken: Result<(), RowRejection>,
    ) -> Result<(), DatasetError> {
        match taken {
            Ok(()) => {
                self.note_good();
                Ok(())
            }
            Err(RowRejection::Row(fault)) => self.reject(place, fault),
            Err(RowRejection::Workload(error)) => Err(error),
        }
    }

    /// Records that a valid row has been read.
    pub(super) fn note_good(&mut self) {
        self.has_good = true;
    }

    /// Skips a row if only this row is wrong. Otherwise returns the error.
    pub(super) fn reject(&mut self, place: FilePosition, fault: DatasetFault) -> Result<(), DatasetError> {
        self.skipped += 1;
        let is_hopeless = !self.has_good && self.skipped >= HOPELESS;
        if self.strict || is_hopeless || !fault.is_row_fault() {
            return Err(self.malformed(place, fault));
        }
        self.bad.add(&fault.to_string(), &place.to_string());
        Ok(())
    }

    /// The error for a malformed row. It ends the reading.
    pub(super) fn malformed(&self, place: FilePosition, fault: DatasetFault) -> DatasetError {
        DatasetError::Malformed { path: self.name.clone(), place, fault, format: self.format }
    }
}
