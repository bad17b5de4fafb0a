//! The selected rows of a trace: in memory up to a limit, else sorted in a temporary file.

use std::borrow::Cow;

use super::row::TraceRow;
use crate::model::spool::SortedRecords;

/// Selected rows in the order of sending.
#[derive(Debug)]
pub(in crate::dataset) enum TraceRows {
    /// Rows in memory.
    Kept(Vec<TraceRow>),
    /// Rows in a temporary file. The first `len` of its records are selected.
    Sorted {
        /// The rows in order.
        records: SortedRecords,
        /// The number of selected rows.
        len: usize,
    },
}

impl TraceRows {
    /// The number of rows.
    pub(in crate::dataset) fn len(&self) -> usize {
        match self {
            Self::Kept(rows) => rows.len(),
            Self::Sorted { len, .. } => *len,
        }
    }

    /// The rows in order.
    pub(in crate::dataset) fn iter(&self) -> Box<dyn Iterator<Item = Cow<'_, TraceRow>> + '_> {
        match self {
            Self::Kept(rows) => Box::new(rows.iter().map(Cow::Borrowed)),
            Self::Sorted { records, len } => {
                Box::new(records.iter().take(*len).map(|(_, row)| Cow::Owned(TraceRow::decode(&row))))
            }
        }
    }
}

impl From<Vec<TraceRow>> for TraceRows {
    fn from(rows: Vec<TraceRow>) -> Self {
        Self::Kept(rows)
    }
}
