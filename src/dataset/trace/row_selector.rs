//! Selects the rows of the window, up to the wanted number. Memory holds only these rows. For traces with sessions, it
//! holds all rows of the window until the sessions are known.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::row::TraceRow;
use crate::dataset::sampler::is_admitted;
use crate::model::dataset::DropCounts;
use crate::model::digest::Digest;
use crate::model::run_spec::{LengthBounds, TraceWindow};

/// The result of reading a trace.
pub(in crate::dataset) struct SelectedRows {
    /// The selected rows in send order.
    pub rows: Vec<TraceRow>,
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
        Self { limit, window, begin, earliest, lots, bounds, kept, seen: 0, dropped }
    }

    /// Restricts the selection to rows whose lengths are within these bounds.
    pub(super) fn with_bounds(self, bounds: LengthBounds) -> Self {
        Self { bounds, ..self }
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
        self.kept.insert((order, row.line), row);
        if self.kept.len() > self.limit {
            self.kept.pop_last();
        }
    }

    /// The true start of the trace, if the window was counted from another time.
    pub(super) fn corrected_begin(&self) -> Option<SignedDuration> {
        self.window.and(self.earliest).filter(|earliest| Some(*earliest) != self.begin)
    }

    /// The selected rows in order.
    pub(super) fn into_rows(self) -> Vec<TraceRow> {
        self.kept.into_values().collect()
    }
}

fn is_in_window(window: TraceWindow, at: SignedDuration) -> bool {
    SignedDuration::try_from(window.from).is_ok_and(|from| at >= from)
        && window.to.is_none_or(|to| SignedDuration::try_from(to).is_ok_and(|to| at < to))
}
