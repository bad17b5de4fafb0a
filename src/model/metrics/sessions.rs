//! Totals of the sessions of a run.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::record::Record;
use crate::seconds;

/// The outcomes of the sessions of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionTotals {
    /// Sessions with at least one sent turn.
    pub started: usize,
    /// Sessions whose every turn was answered.
    pub completed: usize,
    /// Sessions that a failed turn ended.
    pub failed: usize,
    /// Sessions that an abandoned turn ended.
    pub abandoned: usize,
    /// Sessions that the end of the run cut short.
    pub cut: usize,
    /// The exact peak number of active sessions. A session is active from the sending of its first turn to the end of
    /// its last.
    pub peak_active: usize,
    /// The mean number of answered turns per session.
    pub mean_turns: f64,
    /// The mean time from the sending of the first turn to the end of the last turn, over the completed sessions;
    /// `None` without any.
    #[serde(rename = "mean_duration_s", with = "seconds::option")]
    pub mean_duration: Option<Duration>,
}

/// Adds up sessions. Only those that go on are in memory, so the turns of a session must come in their order: as they do
/// in the schedule and in a record log.
#[derive(Debug, Default)]
pub(super) struct SessionTally {
    open: HashMap<u32, SessionProgress>,
    completed: usize,
    failed: usize,
    abandoned: usize,
    cut: usize,
    answered: u64,
    /// The total length of the completed sessions with a known length, and their number.
    lengths: (Duration, u32),
}

impl SessionTally {
    /// Adds a Record, which may be of no session.
    pub(super) fn add(&mut self, record: &Record) {
        let Some(number) = record.facets.as_deref().and_then(|labels| labels.session) else { return };
        let session = self.open.entry(number).or_default();
        session.add(record);
        if record.ends_session()
            && let Some(session) = self.open.remove(&number)
        {
            self.close(&session);
        }
    }

    fn close(&mut self, session: &SessionProgress) {
        self.answered += u64::from(session.answered);
        self.failed += usize::from(session.failed);
        self.abandoned += usize::from(session.abandoned);
        if session.is_complete() {
            self.completed += 1;
            let length = session.start.zip(session.end).map(|(start, end)| end.saturating_sub(start));
            if let Some(length) = length {
                self.lengths = (self.lengths.0.saturating_add(length), self.lengths.1.saturating_add(1));
            }
        } else if !session.failed && !session.abandoned {
            self.cut += 1;
        }
    }

    /// The totals, with this peak number of active sessions; `None` if no Record belongs to a session.
    pub(super) fn finish(mut self, peak_active: impl FnOnce() -> u32) -> Option<SessionTotals> {
        for session in std::mem::take(&mut self.open).into_values() {
            self.close(&session);
        }
        let Self { completed, failed, abandoned, cut, answered, lengths: (length, count), .. } = self;
        let started = completed + failed + abandoned + cut;
        (started > 0).then(|| SessionTotals {
            started,
            completed,
            failed,
            abandoned,
            cut,
            peak_active: peak_active() as usize,
            mean_turns: answered as f64 / started as f64,
            mean_duration: (count > 0).then(|| length / count),
        })
    }
}

/// The observed turns of one session.
#[derive(Debug, Default)]
struct SessionProgress {
    answered: u32,
    /// The planned number of turns.
    turns: u32,
    failed: bool,
    abandoned: bool,
    start: Option<Duration>,
    end: Option<Duration>,
}

impl SessionProgress {
    fn add(&mut self, record: &Record) {
        let facets = record.facets.as_deref();
        self.turns = facets.and_then(|facets| facets.turns).unwrap_or_default();
        self.answered += u32::from(record.is_success());
        self.failed |= record.is_failure();
        self.abandoned |= record.is_abandoned();
        self.start = self.start.into_iter().chain(record.times.sent()).min();
        self.end = self.end.max(record.times.done());
    }

    fn is_complete(&self) -> bool {
        self.answered >= self.turns && !self.failed && !self.abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::concurrency::ConcurrencyCurve;
    use crate::model::record::{Failure, FailureClass, Milestone, RequestLabels};
    use crate::testing::queue::record;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A turn of a session of two, from one second to another.
    fn turn(session: u32, turn: u32, from: u64, to: u64) -> Record {
        let mut record = record(0, s(from), s(to), s(to));
        record.times.set(Milestone::Sent, s(from));
        let (session, turn) = (Some(session), Some(turn));
        record.facets =
            Some(RequestLabels { session, turn, turns: Some(2), ..RequestLabels::default() }.into());
        record
    }

    fn ended(mut record: Record, class: FailureClass) -> Record {
        record.outcome = Err(Failure::new(class, "").into());
        record
    }

    fn totals(records: &[Record]) -> Option<SessionTotals> {
        let mut tally = SessionTally::default();
        records.iter().for_each(|record| tally.add(record));
        tally.finish(|| ConcurrencyCurve::from_sessions(records.iter()).peak())
    }

    #[test]
    fn every_session_ends_in_one_of_four_ways() {
        let records = [
            turn(0, 0, 0, 1),
            turn(0, 1, 3, 5),
            ended(turn(1, 0, 0, 2), FailureClass::EmptyStream),
            turn(2, 0, 2, 3),
            ended(turn(2, 1, 4, 6), FailureClass::Abandoned),
            turn(3, 0, 5, 7),
        ];
        let totals = totals(&records).unwrap();
        let SessionTotals { started, completed, failed, abandoned, cut, .. } = totals;
        assert_eq!((started, completed, failed, abandoned, cut), (4, 1, 1, 1, 1));
        assert_eq!((totals.mean_turns, totals.mean_duration), (1.0, Some(s(5))));
    }

    #[test]
    fn a_session_is_active_while_its_user_thinks() {
        let records = [turn(0, 0, 0, 1), turn(0, 1, 8, 9), turn(1, 0, 3, 4), turn(2, 0, 9, 10)];
        assert_eq!(totals(&records).unwrap().peak_active, 2, "the third begins at the end");
    }

    #[test]
    fn requests_by_themselves_are_no_sessions() {
        assert_eq!(totals(&[record(0, s(0), s(1), s(2))]), None);
    }
}
