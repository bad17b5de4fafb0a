//! Selects the rows of the window, up to the wanted number. Only these rows are kept. For traces with sessions, all rows
//! of the window are kept until the sessions are known. Rows that are too many for memory are in a temporary file.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::row::TraceRow;
use super::rows::TraceRows;
use crate::dataset::sampler::is_admitted;
use crate::model::dataset::DropCounts;
use crate::model::digest::Digest;
use crate::model::run_spec::{LengthBounds, TraceWindow};
use crate::model::spool::{KEPT_IN_MEMORY, RecordSorter, SpoolError};

/// The result of reading a trace.
pub(in crate::dataset) struct SelectedRows {
    /// The selected rows in send order.
    pub rows: TraceRows,
    /// The number of rows in the file.
    pub candidates: usize,
    pub dropped: DropCounts,
    pub digest: Digest,
    /// The name of the file.
    pub name: String,
}

/// Selects rows as they are read.
pub(super) struct RowSelector {
    limit: usize,
    window: Option<TraceWindow>,
    /// The assumed start of the trace.
    begin: Option<SignedDuration>,
    /// The earliest time of all rows so far.
    earliest: Option<SignedDuration>,
    /// The generator for drawing a random sample. Without it, the first rows are taken.
    lots: Option<StdRng>,
    bounds: LengthBounds,
    kept: BTreeMap<(i128, usize), TraceRow>,
    /// The number of rows that may stay in memory.
    most_kept: usize,
    /// The rows, once they are too many for memory.
    sorter: Option<RecordSorter>,
    /// Why rows could not be kept. The reader cannot be stopped.
    failure: Option<SpoolError>,
    pub seen: usize,
    pub dropped: DropCounts,
}

impl RowSelector {
    /// Selects the first `limit` rows in the window, by time. With `lots`, it selects a random sample instead. The
    /// window is counted from `begin`, or from the first row offered if `begin` is unknown.
    pub(super) fn new(
        limit: usize,
        window: Option<TraceWindow>,
        begin: Option<SignedDuration>,
        lots: Option<StdRng>,
    ) -> Self {
        let dropped = DropCounts::default();
        let (earliest, bounds, kept) = (None, LengthBounds::default(), BTreeMap::new());
        Self {
            limit,
            window,
            begin,
            earliest,
            lots,
            bounds,
            kept,
            most_kept: KEPT_IN_MEMORY,
            sorter: None,
            failure: None,
            seen: 0,
            dropped,
        }
    }

    /// Restricts the selection to rows whose lengths are within these bounds.
    pub(super) fn with_bounds(self, bounds: LengthBounds) -> Self {
        Self { bounds, ..self }
    }

    /// Keeps at most this number of rows in memory.
    pub(super) fn with_memory(self, most_kept: usize) -> Self {
        Self { most_kept, ..self }
    }

    /// Offers a row to the selection.
    pub(super) fn offer(&mut self, row: TraceRow) {
        self.seen += 1;
        let begin = *self.begin.get_or_insert(row.at);
        self.earliest = Some(self.earliest.map_or(row.at, |earliest| earliest.min(row.at)));
        if row.is_empty() {
            self.dropped.empty += 1;
            return;
        }
        if self.window.is_some_and(|window| !is_in_window(window, row.at.saturating_sub(begin))) {
            return;
        }
        if !is_admitted(self.bounds, row.input, row.output, &mut self.dropped) {
            return;
        }
        let order = match &mut self.lots {
            Some(lots) => i128::from(lots.next_u64()),
            None => row.at.as_nanos(),
        };
        if self.sorter.is_none() {
            self.kept.insert((order, row.line), row);
            if self.kept.len() > self.limit {
                self.kept.pop_last();
            } else if self.kept.len() > self.most_kept {
                self.sorter = Some(RecordSorter::new(self.most_kept));
                std::mem::take(&mut self.kept).into_iter().for_each(|(key, row)| self.sort(key, &row));
            }
        } else {
            self.sort((order, row.line), &row);
        }
    }

    fn sort(&mut self, (order, line): (i128, usize), row: &TraceRow) {
        // As bytes, negative numbers come first without their sign bit.
        let order = order.cast_unsigned() ^ (1 << 127);
        let key = [&order.to_be_bytes()[..], &(line as u64).to_be_bytes()].concat();
        if let (Some(sorter), None) = (&mut self.sorter, &self.failure) {
            self.failure = sorter.push(&key, &row.encode()).err();
        }
    }

    /// The true start of the trace, if the window was counted from another time.
    pub(super) fn corrected_begin(&self) -> Option<SignedDuration> {
        self.window.and(self.earliest).filter(|earliest| Some(*earliest) != self.begin)
    }

    /// The selected rows in order.
    pub(super) fn into_rows(self) -> Result<TraceRows, SpoolError> {
        self.failure.map_or(Ok(()), Err)?;
        let Some(sorter) = self.sorter else { return Ok(TraceRows::Kept(self.kept.into_values().collect())) };
        let records = sorter.finish()?;
        Ok(TraceRows::Sorted { len: records.len().min(self.limit), records })
    }
}

fn is_in_window(window: TraceWindow, at: SignedDuration) -> bool {
    SignedDuration::try_from(window.from).is_ok_and(|from| at >= from)
        && window.to.is_none_or(|to| SignedDuration::try_from(to).is_ok_and(|to| at < to))
}
