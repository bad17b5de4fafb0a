//! One worker's share of a phase: which request or session is next, and when it may be sent.

use std::cell::RefCell;
use std::io;
use std::iter::StepBy;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::LoadPhase;
use super::slots::{Slot, SlotPool};
use crate::client::clock::RunClock;
use crate::loadgen::pacer::Pacer;
use crate::loadgen::session_index::SessionIndex;
use crate::model::arrival::ScheduleReader;
use crate::model::shard::Shard;

/// One worker's share of a phase, and the clock of its offsets.
pub(super) struct PhaseContext<'a> {
    pub phase: &'a LoadPhase<'a>,
    /// When the phase's requests are due.
    pub due: RefCell<ScheduleReader<'a>>,
    /// The sessions of the phase's requests; `None` if no request belongs to a session.
    pub sessions: Option<&'a SessionIndex>,
    pub measured: bool,
    pub workers: usize,
    pub shard: Shard,
    pub clock: &'a dyn Fn() -> RunClock,
}

impl PhaseContext<'_> {
    /// The numbers of the requests, or of the sessions, that a worker sends.
    pub(super) fn numbers(&self, worker: usize) -> StepBy<Range<usize>> {
        let count = self.sessions.map_or(self.phase.requests.len(), SessionIndex::len);
        let end = if self.phase.cycle && count > 0 { usize::MAX } else { count };
        self.shard.worker_numbers(worker, self.workers, end)
    }

    /// Waits until a request, or a session, may be sent. Returns `None` after an interrupt and after the end of the
    /// phase, when no more may be sent.
    pub(super) async fn next_permit(
        &self,
        number: usize,
        pacer: &mut Pacer,
        stop: &CancellationToken,
        slots: Option<&Arc<SlotPool>>,
    ) -> io::Result<Option<SendPermit>> {
        let is_over = |due| self.phase.duration.is_some_and(|end| due > end);
        // Waiting for a request that will not be sent gains nothing, and after a warm-up it would delay the next phase.
        if self.due.borrow_mut().due(number).is_some_and(is_over) {
            return Ok(None);
        }
        let go = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            ready = self.wait_ready(number, pacer, slots) => ready?,
        };
        Ok(Some(go).filter(|go| !is_over(go.due)))
    }

    /// Waits until a request may be sent: it is due and has a slot.
    async fn wait_ready(
        &self,
        ordinal: usize,
        pacer: &mut Pacer,
        slots: Option<&Arc<SlotPool>>,
    ) -> io::Result<SendPermit> {
        let scheduled = self.due.borrow_mut().due(ordinal);
        if let Some(due) = scheduled {
            pacer.sleep_until((self.clock)().instant(due)).await?;
        }
        let slot = match slots {
            Some(slots) => Some(slots.acquire().await),
            None => None,
        };
        let clock = (self.clock)();
        let free_since = slot.as_ref().and_then(Slot::free_since).map(|at| clock.offset_of(at));
        Ok(SendPermit { due: scheduled.or(free_since).unwrap_or_else(|| clock.now()), slot })
    }
}

/// Permission to send a request or to begin a session.
pub(super) struct SendPermit {
    /// The due time by the schedule. In a closed loop it is the time at which the slot became free. If the slot was
    /// never held, it is now, because the loop is still being filled.
    pub due: Duration,
    pub slot: Option<Slot>,
}

/// When a due request had its slot too. Any delay after this is the client's.
pub(super) fn release_time(slot: &Slot, due: Duration, clock: RunClock) -> Duration {
    slot.free_since().map_or(due, |at| due.max(clock.offset_of(at)))
}
