//! The part of a run that metrics are computed over: the whole run or a window.

use std::time::Duration;

use super::Latency;
use crate::model::record::Record;
use crate::model::steady_state::SteadyWindow;

/// Records and the interval that metrics are computed over: the whole run or its steady part.
#[derive(Clone, Copy)]
pub(super) struct MeasurementWindow<'a> {
    pub(super) records: &'a [Record],
    start: Duration,
    end: Duration,
    /// Whether requests may lie outside the interval.
    pub(super) cut: bool,
}

impl<'a> MeasurementWindow<'a> {
    /// The whole run: from t0 to the end of the last request.
    pub(super) fn whole_run(records: &'a [Record]) -> Self {
        let end = records.iter().filter_map(|record| record.times.done()).max().unwrap_or_default();
        Self { records, start: Duration::ZERO, end, cut: false }
    }

    /// The steady part of the run.
    pub(super) fn steady(records: &'a [Record], window: &SteadyWindow) -> Self {
        Self { records, start: window.start, end: window.end, cut: true }
    }

    pub(super) fn start(&self) -> Duration {
        self.start
    }

    pub(super) fn length(&self) -> Duration {
        self.end - self.start
    }

    /// Returns whether the time lies within the window.
    pub(super) fn holds(&self, at: Option<Duration>) -> bool {
        !self.cut || at.is_some_and(|at| self.start <= at && at < self.end)
    }

    /// Requests that were sent within the window.
    pub(super) fn started(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.records.iter().filter(move |record| self.holds(record.times.sent()))
    }

    /// Requests that ended within the window.
    pub(super) fn ended(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.records.iter().filter(move |record| self.holds(record.times.done()))
    }

    /// Requests that ended within the window with an answer.
    pub(super) fn answered(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.ended().filter(|record| record.is_success())
    }

    /// Output tokens of answered requests by whole second since t0, within the window. Windows consist of whole
    /// seconds.
    pub(super) fn tokens_by_second(self) -> impl Iterator<Item = (u32, f64)> {
        let within = self.start.as_secs()..self.end.as_secs();
        let answered = self.records.iter().filter(|record| record.is_success());
        answered
            .flat_map(Record::tokens_by_second)
            .filter(move |(second, _)| !self.cut || within.contains(&u64::from(*second)))
    }

    /// Returns whether vectors or scores were requested: no answer then has a token. In generation, single answers may
    /// lack a token count, but not all do.
    pub(super) fn is_pooled(self) -> bool {
        self.answered().next().is_some() && self.answered().all(|record| record.output_tokens.count == 0)
    }
}

/// The sum and the number of a request's gaps; `None` without gaps that count.
pub(super) fn gaps(record: &Record) -> Option<(Duration, u32)> {
    let counts = Latency::Itl.applies_to(record);
    let count = record.events.count.checked_sub(1).filter(|&count| counts && count > 0)?;
    Some((record.times.last_token()?.saturating_sub(record.times.first_token()?), count))
}
