//! What a replica hears from the other server of a request that two servers compute.

use super::{Replica, Stretch};
use crate::predict::ticks::Ticks;

/// A request that got blocks for a prompt of another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReservedPrompt {
    /// The request's number.
    pub index: u64,
    /// The tokens whose keys and values it lacks.
    pub tokens: u32,
}

impl Replica<'_> {
    /// Takes the requests that got blocks for a prompt of another server.
    pub(crate) fn take_reserved(&mut self, into: &mut Vec<ReservedPrompt>) {
        into.append(&mut self.reserved);
    }

    /// Lets a request decode whose prompt's keys and values have come. Returns the next boundary if this changes it.
    pub(crate) fn receive(&mut self, index: u64, now: Ticks) -> Option<Ticks> {
        let id = *self.shared.get(&index)?;
        let has_place = self.scheduler.receive(id);
        self.wake(has_place, now)
    }

    /// Frees the blocks of a prompt that another server has read. Returns the next boundary if this changes it.
    pub(crate) fn release(&mut self, index: u64, now: Ticks) -> Option<Ticks> {
        let id = self.shared.remove(&index)?;
        self.vacant.push(id);
        let is_awaited = self.scheduler.release(id);
        if matches!(self.stretch, Stretch::Idle) {
            self.load = self.scheduler.load();
        }
        self.wake(is_awaited, now)
    }
}
