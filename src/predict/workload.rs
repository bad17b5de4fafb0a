//! What is sent to a simulated fleet, and when.

use super::{observer::SimulatedAnswer, ticks::Ticks};
use crate::sim::scheduler::BlockContents;

/// A request to a simulated server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SimulatedRequest {
    /// The request's number, which its answer repeats.
    pub index: u64,
    /// When it is to be sent.
    pub due: Ticks,
    /// The number of prompt tokens, at least 1.
    pub prompt: u32,
    /// The number of output tokens, at least 1.
    pub output: u32,
    /// The session that it belongs to, for routers that keep a session on its server.
    pub session: Option<u32>,
    /// The content of each full block of the prompt, and of the output if a later prompt repeats it; empty if not known.
    pub contents: BlockContents,
}

/// A source of requests. An iterator in the order of `due` is one.
pub(crate) trait Workload {
    /// The next request that waits for no answer. One that is due before its predecessor is sent after it.
    fn next_request(&mut self) -> Option<SimulatedRequest>;

    /// The request that follows from this answer, such as the next turn of a session.
    fn follow_up(&mut self, _answer: &SimulatedAnswer) -> Option<SimulatedRequest> {
        None
    }
}

impl<I: Iterator<Item = SimulatedRequest>> Workload for I {
    fn next_request(&mut self) -> Option<SimulatedRequest> {
        self.next()
    }
}

/// A request of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionTurn {
    /// The time from the answer of the turn before; of the first turn, from the session's start.
    pub think: Ticks,
    pub prompt: u32,
    pub output: u32,
    pub contents: BlockContents,
}

/// Sessions whose turns wait for the answer to the turn before. Requests are numbered by session, then by turn.
pub(crate) struct SessionWorkload {
    /// The first number of each session's requests, and the end of the last's.
    offsets: Vec<u64>,
    /// When each session starts, and its turns.
    sessions: Vec<(Ticks, Vec<SessionTurn>)>,
    /// The sessions in the order of their starts, which is that of their first requests.
    order: std::vec::IntoIter<usize>,
}

impl SessionWorkload {
    /// Takes the start of each session, and its turns. A session without turns sends nothing.
    pub(crate) fn new(sessions: Vec<(Ticks, Vec<SessionTurn>)>) -> Self {
        let mut offsets = vec![0];
        for (_, turns) in &sessions {
            offsets.push(offsets[offsets.len() - 1] + turns.len() as u64);
        }
        let mut order: Vec<usize> = (0..sessions.len()).filter(|at| !sessions[*at].1.is_empty()).collect();
        order.sort_by_key(|at| sessions[*at].0 + sessions[*at].1[0].think);
        Self { offsets, sessions, order: order.into_iter() }
    }

    fn request(&self, session: usize, turn: usize, after: Ticks) -> Option<SimulatedRequest> {
        let SessionTurn { think, prompt, output, contents } = self.sessions[session].1.get(turn)?.clone();
        let index = self.offsets[session] + turn as u64;
        let session = u32::try_from(session).ok();
        Some(SimulatedRequest { index, due: after + think, prompt, output, session, contents })
    }
}

impl Workload for SessionWorkload {
    fn next_request(&mut self) -> Option<SimulatedRequest> {
        let session = self.order.next()?;
        self.request(session, 0, self.sessions[session].0)
    }

    fn follow_up(&mut self, answer: &SimulatedAnswer) -> Option<SimulatedRequest> {
        let session = self.offsets.partition_point(|offset| *offset <= answer.index) - 1;
        let turn = (answer.index - self.offsets[session]) as usize;
        self.request(session, turn + 1, answer.last_token)
    }
}
