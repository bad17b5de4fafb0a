//! The part of a run that metrics are computed over: the whole run or a window.

use std::time::Duration;

use super::Latency;
use crate::model::record::Record;
use crate::model::steady_state::SteadyWindow;

/// The interval that metrics are computed over: the whole run or its steady part.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeasurementWindow {
    start: Duration,
    /// The end; `None` for the whole run, outside which there are no requests.
    end: Option<Duration>,
}

impl MeasurementWindow {
    /// The whole run: from t0 to the end of the last request.
    pub(super) const WHOLE_RUN: Self = Self { start: Duration::ZERO, end: None };

    /// The steady part of the run.
    pub(super) fn steady(window: &SteadyWindow) -> Self {
        Self { start: window.start, end: Some(window.end) }
    }

    /// The start of the interval.
    pub(super) fn start(self) -> Duration {
        self.start
    }

    /// The start and end of a part of the run; `None` for the whole run.
    pub(super) fn part(self) -> Option<std::ops::Range<Duration>> {
        self.end.map(|end| self.start..end)
    }

    /// Returns whether the time lies within the interval.
    pub(super) fn contains(self, at: Option<Duration>) -> bool {
        self.end.is_none_or(|end| at.is_some_and(|at| self.start <= at && at < end))
    }

    /// Returns whether a whole second since t0 lies within the interval. Windows consist of whole seconds.
    pub(super) fn contains_second(self, second: u32) -> bool {
        self.end.is_none_or(|end| (self.start.as_secs()..end.as_secs()).contains(&u64::from(second)))
    }

    /// Requests that were sent within the interval.
    pub(super) fn started(self, records: &[Record]) -> impl Iterator<Item = &Record> + Clone {
        records.iter().filter(move |record| self.contains(record.times.sent()))
    }

    /// Requests that ended within the interval.
    pub(super) fn ended(self, records: &[Record]) -> impl Iterator<Item = &Record> + Clone {
        records.iter().filter(move |record| self.contains(record.times.done()))
    }
}

/// The sum and the number of a request's gaps; `None` without gaps that count.
pub(super) fn gaps(record: &Record) -> Option<(Duration, u32)> {
    let counts = Latency::Itl.applies_to(record);
    let count = record.events.count.checked_sub(1).filter(|&count| counts && count > 0)?;
    Some((record.times.last_token()?.saturating_sub(record.times.first_token()?), count))
}
