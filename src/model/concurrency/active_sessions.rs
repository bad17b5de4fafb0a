//! Active sessions of a run with more requests than fit in memory.

use std::collections::HashMap;
use std::time::Duration;

use super::ConcurrencyBins;
use crate::model::record::Record;

/// Counts sessions in bins of time: each from the sending of its first request to the end of its last one. Only sessions
/// that go on are in memory, so the turns of a session must come in their order, as they do in a record log.
#[derive(Debug, Default)]
pub(crate) struct ActiveSessions {
    open: HashMap<u32, (Duration, Duration)>,
    bins: ConcurrencyBins,
}

impl ActiveSessions {
    /// Adds a Record.
    pub(crate) fn add(&mut self, record: &Record) {
        let session = record.facets.as_deref().and_then(|labels| labels.session);
        let (Some(session), Some(sent), Some(done)) = (session, record.times.sent(), record.times.done())
        else {
            return;
        };
        let (start, end) = self.open.get(&session).copied().unwrap_or((sent, done));
        let span = (start.min(sent), end.max(done));
        if record.ends_session() {
            self.open.remove(&session);
            self.bins.add(span);
        } else {
            self.open.insert(session, span);
        }
    }

    /// The sessions, those that never ended included.
    pub(crate) fn into_bins(mut self) -> ConcurrencyBins {
        self.open.into_values().for_each(|span| self.bins.add(span));
        self.bins
    }
}
