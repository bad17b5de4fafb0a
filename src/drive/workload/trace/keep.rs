//! Which rows are kept: those of the window, and of them as many as are wanted. No more is ever in memory, but that of
//! sessions all rows of the window are kept until it is known which are whose.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rand::Rng as _;
use rand::rngs::StdRng;

use super::row::Row;
use crate::core::dataset::Drops;
use crate::core::digest::Digest;
use crate::core::spec::TraceWindow;

/// What was read.
pub(super) struct Kept {
    /// In the order in which they are sent.
    pub rows: Vec<Row>,
    /// Rows in the file.
    pub candidates: usize,
    pub dropped: Drops,
    pub digest: Digest,
    /// The file.
    pub name: String,
}

/// Keeps rows as they are read.
pub(super) struct Keeper {
    limit: usize,
    window: Option<TraceWindow>,
    /// Where the trace begins, as far as is known.
    begin: Option<SignedDuration>,
    /// Where it truly begins.
    earliest: Option<SignedDuration>,
    /// Draws a sample instead of taking the first.
    lots: Option<StdRng>,
    kept: BTreeMap<(i128, usize), Row>,
    pub seen: usize,
    pub dropped: Drops,
}

impl Keeper {
    /// Keeps the first `limit` rows by time (or of a sample by `lots`) that lie in a window, which is counted from `begin`
    /// or, where that is not known, from the first row that comes.
    pub fn new(
        limit: usize,
        window: Option<TraceWindow>,
        begin: Option<SignedDuration>,
        lots: Option<StdRng>,
    ) -> Self {
        let dropped = Drops::default();
        Self { limit, window, begin, earliest: None, lots, kept: BTreeMap::new(), seen: 0, dropped }
    }

    /// Takes a row, or leaves it.
    pub fn take(&mut self, row: Row) {
        self.seen += 1;
        let begin = *self.begin.get_or_insert(row.at);
        self.earliest = Some(self.earliest.map_or(row.at, |earliest| earliest.min(row.at)));
        if row.is_empty() {
            self.dropped.empty += 1;
            return;
        }
        if self.window.is_some_and(|window| !holds(window, row.at.saturating_sub(begin))) {
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

    /// Where the trace truly begins, if that was not where the window was counted from.
    pub fn corrected(&self) -> Option<SignedDuration> {
        self.window.and(self.earliest).filter(|earliest| Some(*earliest) != self.begin)
    }

    /// The rows, in order.
    pub fn rows(self) -> Vec<Row> {
        self.kept.into_values().collect()
    }
}

fn holds(window: TraceWindow, at: SignedDuration) -> bool {
    SignedDuration::try_from(window.from).is_ok_and(|from| at >= from)
        && window.to.is_none_or(|to| SignedDuration::try_from(to).is_ok_and(|to| at < to))
}
