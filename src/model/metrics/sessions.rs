//! Totals of the sessions of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::concurrency::ConcurrencyCurve;
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

impl SessionTotals {
    /// Computes the totals from Records in any order; `None` if none belongs to a session.
    pub(super) fn from_records<'a>(records: impl Iterator<Item = &'a Record> + Clone) -> Option<Self> {
        let mut sessions = BTreeMap::<u32, SessionProgress>::new();
        for record in records.clone() {
            if let Some(number) = record.facets.as_deref().and_then(|facets| facets.session) {
                sessions.entry(number).or_default().add(record);
            }
        }
        let count =
            |end: fn(&SessionProgress) -> bool| sessions.values().filter(|session| end(session)).count();
        let started = sessions.len();
        let (failed, abandoned) = (count(|session| session.failed), count(|session| session.abandoned));
        let completed = count(SessionProgress::is_complete);
        let turns: u32 = sessions.values().map(|session| session.answered).sum();
        (started > 0).then(|| Self {
            started,
            completed,
            failed,
            abandoned,
            cut: started - completed - failed - abandoned,
            peak_active: ConcurrencyCurve::from_sessions(records).peak() as usize,
            mean_turns: f64::from(turns) / started as f64,
            mean_duration: mean_duration_of(sessions.values().filter(|session| session.is_complete())),
        })
    }
}

fn mean_duration_of<'a>(sessions: impl Iterator<Item = &'a SessionProgress>) -> Option<Duration> {
    let lengths: Vec<Duration> = sessions.filter_map(|session| Some(session.end? - session.start?)).collect();
    let count = u32::try_from(lengths.len()).ok().filter(|count| *count > 0)?;
    Some(lengths.iter().sum::<Duration>() / count)
}

/// The observed turns of one session.
#[derive(Default)]
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
        let totals = SessionTotals::from_records(records.iter()).unwrap();
        let SessionTotals { started, completed, failed, abandoned, cut, .. } = totals;
        assert_eq!((started, completed, failed, abandoned, cut), (4, 1, 1, 1, 1));
        assert_eq!((totals.mean_turns, totals.mean_duration), (1.0, Some(s(5))));
    }

    #[test]
    fn a_session_is_active_while_its_user_thinks() {
        let records = [turn(0, 0, 0, 1), turn(0, 1, 8, 9), turn(1, 0, 3, 4), turn(2, 0, 9, 10)];
        assert_eq!(
            SessionTotals::from_records(records.iter()).unwrap().peak_active,
            2,
            "the third begins at the end"
        );
    }

    #[test]
    fn requests_by_themselves_are_no_sessions() {
        assert_eq!(SessionTotals::from_records([record(0, s(0), s(1), s(2))].iter()), None);
    }
}
