//! Groups requests into sessions. A plain request is a session of one turn.

use std::ops::Range;
use std::sync::Arc;

use crate::dataset::requests::RequestRange;
use crate::model::record::RequestLabels;
use crate::model::request::Request;

/// The sessions in a list of requests, by the index of each first turn. It takes eight bytes a session, once for all
/// workers.
#[derive(Debug, Clone)]
pub(super) struct SessionIndex {
    starts: Arc<[usize]>,
    requests: usize,
}

/// A session. When the requests are cycled, a later cycle repeats the sessions of an earlier one.
pub(super) struct SessionRange {
    /// The indexes of the requests that are its turns.
    pub turns: Range<usize>,
    /// The ordinal of its first turn.
    pub ordinal: usize,
}

impl SessionIndex {
    /// Indexes requests, if some of them are later turns; `None` if none is.
    pub(super) fn from_requests(requests: RequestRange<'_>) -> Option<Self> {
        requests.outlines().any(|outline| outline.is_later_turn).then(|| {
            let starts = requests.outlines().enumerate().filter(|(_, outline)| !outline.is_later_turn);
            Self { starts: starts.map(|(index, _)| index).collect(), requests: requests.len() }
        })
    }

    /// The number of sessions.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The `number`-th session, over as many cycles as needed.
    pub(super) fn session(&self, number: usize) -> SessionRange {
        let (lap, place) = (number / self.len(), number % self.len());
        let start = self.starts[place];
        let end = self.starts.get(place + 1).copied().unwrap_or(self.requests);
        SessionRange { turns: start..end, ordinal: lap * self.requests + start }
    }

    /// The number of the session that an ordinal belongs to.
    pub(super) fn session_number(&self, ordinal: usize) -> usize {
        let (lap, place) = (ordinal / self.requests, ordinal % self.requests);
        lap * self.len() + self.starts.partition_point(|start| *start <= place) - 1
    }

    /// The session labels of a turn. They are empty for a request outside a session.
    pub(super) fn labels(&self, ordinal: usize, request: &Request) -> RequestLabels {
        let Some(turn) = request.turn() else { return RequestLabels::default() };
        let session = u32::try_from(self.session_number(ordinal)).unwrap_or(u32::MAX);
        RequestLabels {
            session: Some(session),
            turn: Some(turn.index),
            turns: Some(turn.of),
            ..RequestLabels::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Turn;

    /// A plain request and two sessions.
    fn requests() -> Vec<Request> {
        let turn = |index, of| Turn { index, of, ..Turn::default() };
        let session = |of| (0..of).map(move |index| plain().with(|own| own.turn = Some(turn(index, of))));
        [plain()].into_iter().chain(session(3)).chain(session(2)).collect()
    }

    fn plain() -> Request {
        Request::text("x", 1, 1)
    }

    #[test]
    fn plain_requests_are_not_dealt_by_session() {
        assert!(SessionIndex::from_requests((&[plain(), plain()]).into()).is_none());
        assert!(SessionIndex::from_requests((&[]).into()).is_none());
    }

    #[test]
    fn every_request_is_in_one_session_and_ordinals_are_unique_over_the_laps() {
        let sessions = SessionIndex::from_requests((&requests()).into()).unwrap();
        assert_eq!(sessions.len(), 3);
        let mut ordinals = Vec::new();
        for number in 0..7 {
            let SessionRange { turns, ordinal } = sessions.session(number);
            for (index, ordinal) in turns.zip(ordinal..) {
                assert_eq!(sessions.session_number(ordinal), number);
                assert_eq!(ordinal % 6, index);
                ordinals.push(ordinal);
            }
        }
        assert_eq!(ordinals, (0..13).collect::<Vec<_>>());
    }

    #[test]
    fn a_turn_tells_its_session_and_its_place() {
        let requests = requests();
        let sessions = SessionIndex::from_requests((&requests).into()).unwrap();
        let facets = sessions.labels(6 + 5, &requests[5]);
        assert_eq!((facets.session, facets.turn, facets.turns), (Some(5), Some(1), Some(2)));
        assert_eq!(sessions.labels(0, &requests[0]), RequestLabels::default());
    }
}
