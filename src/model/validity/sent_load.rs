//! What the checks need of the requests of a run.

use std::time::Duration;

use crate::model::record::Record;
use crate::model::run_records::RunView;
use crate::stats::{DurationSketch, percentile};

/// The load as it was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentLoad<'a> {
    /// The kept Records.
    pub kept: RunView<'a>,
    /// The number of requests that were sent.
    pub sent: usize,
    /// Whether any Record has the time at which a cap released its request.
    pub has_releases: bool,
    /// The 99th percentile of the lag that the client itself caused; `None` if nothing was sent.
    pub own_lag: Option<Duration>,
}

#[cfg(test)]
impl<'a> SentLoad<'a> {
    /// The load that these Records and no others are of.
    pub(crate) fn of_records(records: &'a [Record]) -> Self {
        let mut fold = ScheduleFold::default();
        records.iter().for_each(|record| fold.add(record));
        fold.finish(records.into())
    }
}

/// Adds up how the schedule was kept, from Records in any order.
#[derive(Debug, Default)]
pub(crate) struct ScheduleFold {
    sent: usize,
    has_releases: bool,
    own_lag: DurationSketch,
}

impl ScheduleFold {
    /// Adds a Record.
    pub(crate) fn add(&mut self, record: &Record) {
        self.sent += usize::from(record.times.sent().is_some());
        self.has_releases |= record.times.released().is_some();
        record.own_lag().into_iter().for_each(|lag| self.own_lag.record(lag));
    }

    /// The 99th percentile of the lag that the client itself caused, within 0.1 %; `None` if nothing was sent.
    pub(crate) fn own_lag(&self) -> Option<Duration> {
        self.own_lag.percentile(99.0)
    }

    /// The sent load. `kept` has the Records in memory: all of them, or a sample.
    pub(crate) fn finish(self, kept: RunView<'_>) -> SentLoad<'_> {
        let own_lag = if kept.is_whole() {
            let mut lags: Vec<Duration> = kept.records.iter().filter_map(Record::own_lag).collect();
            lags.sort_unstable();
            percentile(&lags, 99.0)
        } else {
            self.own_lag()
        };
        SentLoad { kept, sent: self.sent, has_releases: self.has_releases, own_lag }
    }
}
