//! Which requests belong together: a plain request is a session of one.

use std::ops::Range;

use crate::core::record::Facets;
use crate::drive::workload::Request;
use crate::drive::workload::sessions::is_later;

/// The sessions of a list of requests, by where each begins.
pub struct Sessions {
    starts: Vec<usize>,
    requests: usize,
}

/// A session, which may be the same as an earlier one in another lap over the requests.
pub struct Deal {
    /// The requests that are its turns.
    pub turns: Range<usize>,
    /// The ordinal of the first of them.
    pub ordinal: usize,
}

impl Sessions {
    /// Of requests of which some are later turns; `None` if each is by itself.
    pub fn of(requests: &[Request]) -> Option<Self> {
        requests.iter().any(is_later).then(|| {
            let starts = requests.iter().enumerate().filter(|(_, request)| !is_later(request));
            Self { starts: starts.map(|(index, _)| index).collect(), requests: requests.len() }
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// The `number`-th session, over as many laps as it takes.
    pub fn deal(&self, number: usize) -> Deal {
        let (lap, place) = (number / self.len(), number % self.len());
        let start = self.starts[place];
        let end = self.starts.get(place + 1).copied().unwrap_or(self.requests);
        Deal { turns: start..end, ordinal: lap * self.requests + start }
    }

    /// The number of the session that an ordinal belongs to.
    pub fn number(&self, ordinal: usize) -> usize {
        let (lap, place) = (ordinal / self.requests, ordinal % self.requests);
        lap * self.len() + self.starts.partition_point(|start| *start <= place) - 1
    }

    /// What is told of a turn; nothing of a request that is none.
    pub fn facets(&self, ordinal: usize, request: &Request) -> Facets {
        let Some(turn) = request.turn() else { return Facets::default() };
        let session = u32::try_from(self.number(ordinal)).unwrap_or(u32::MAX);
        Facets { session: Some(session), turn: Some(turn.index), turns: Some(turn.of), ..Facets::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::workload::Turn;

    /// A request by itself, and two sessions.
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
        assert!(Sessions::of(&[plain(), plain()]).is_none());
        assert!(Sessions::of(&[]).is_none());
    }

    #[test]
    fn every_request_is_in_one_session_and_ordinals_are_unique_over_the_laps() {
        let sessions = Sessions::of(&requests()).unwrap();
        assert_eq!(sessions.len(), 3);
        let mut ordinals = Vec::new();
        for number in 0..7 {
            let Deal { turns, ordinal } = sessions.deal(number);
            for (index, ordinal) in turns.zip(ordinal..) {
                assert_eq!(sessions.number(ordinal), number);
                assert_eq!(ordinal % 6, index);
                ordinals.push(ordinal);
            }
        }
        assert_eq!(ordinals, (0..13).collect::<Vec<_>>());
    }

    #[test]
    fn a_turn_tells_its_session_and_its_place() {
        let requests = requests();
        let sessions = Sessions::of(&requests).unwrap();
        let facets = sessions.facets(6 + 5, &requests[5]);
        assert_eq!((facets.session, facets.turn, facets.turns), (Some(5), Some(1), Some(2)));
        assert_eq!(sessions.facets(0, &requests[0]), Facets::default());
    }
}
