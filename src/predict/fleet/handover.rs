//! The events of a request between a prefill server and a decode server.

use super::{EventKind, Fleet};
use crate::predict::observer::SimulatedAnswer;

impl Fleet<'_> {
    /// An answer for the client; `None` if it is that of a prefill server, after which the router chooses a decode server.
    pub(super) fn finish(&mut self, answer: SimulatedAnswer) -> Option<SimulatedAnswer> {
        let Some(split) = &mut self.split else { return Some(answer) };
        let (index, at) = (answer.index, answer.last_token);
        let answer = split.finish(answer);
        if answer.is_none() {
            let number = self.next_number();
            self.push(at, EventKind::Prefilled { number, index });
        }
        answer
    }

    /// Begins the transfers of the prompts that a decode server has got blocks for.
    pub(super) fn begin_transfers(&mut self, to: usize) {
        if self.split.is_none() {
            return;
        }
        self.replicas[to].take_reserved(&mut self.reserved);
        for prompt in std::mem::take(&mut self.reserved) {
            let Some(split) = &mut self.split else { return };
            let (from, end) = split.transfer(prompt, to, self.now);
            let (index, number) = (prompt.index, self.next_number());
            let from = from.map(|from| from as u32);
            self.push(end, EventKind::Transferred { number, index, from, to: to as u32 });
        }
    }

    pub(super) fn end_transfer(&mut self, index: u64, from: Option<u32>, to: u32) {
        if let Some(from) = from {
            let boundary = self.replicas[from as usize].release(index, self.now);
            self.set_boundary(from as usize, boundary);
        }
        let boundary = self.replicas[to as usize].receive(index, self.now);
        self.set_boundary(to as usize, boundary);
    }
}
