//! A worker's share of a phase: which request or session is next, and when it may go.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Phase;
use super::deal::Sessions;
use super::slots::{Slot, Slots};
use crate::drive::clock::Clock;
use crate::drive::pacer::Pacer;

/// The worker's share of a phase, and the clock that its offsets are on.
pub struct Leg<'a> {
    pub phase: &'a Phase<'a>,
    /// Of the phase's requests, unless each is by itself.
    pub sessions: Option<Sessions>,
    pub measured: bool,
    pub workers: usize,
    pub clock: &'a dyn Fn() -> Clock,
}

impl Leg<'_> {
    /// Waits until a request, or a session, may go; `None` when no more may: after an interrupt, and behind the phase's
    /// end.
    pub async fn next(
        &self,
        number: usize,
        pacer: &mut Pacer,
        stop: &CancellationToken,
        slots: Option<&Arc<Slots>>,
    ) -> io::Result<Option<Go>> {
        let is_over = |due| self.phase.duration.is_some_and(|end| due > end);
        // Nothing is gained by waiting for what will not be sent, and after a warm-up the next phase would wait too.
        if self.phase.schedule.due(number).is_some_and(is_over) {
            return Ok(None);
        }
        let go = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            ready = self.ready(number, pacer, slots) => ready?,
        };
        Ok(Some(go).filter(|go| !is_over(go.due)))
    }

    /// Waits until a request may go: when it is due, and there is a slot.
    async fn ready(&self, ordinal: usize, pacer: &mut Pacer, slots: Option<&Arc<Slots>>) -> io::Result<Go> {
        let scheduled = self.phase.schedule.due(ordinal);
        if let Some(due) = scheduled {
            pacer.until((self.clock)().instant(due)).await?;
        }
        let slot = match slots {
            Some(slots) => Some(slots.take().await),
            None => None,
        };
        let clock = (self.clock)();
        let free_since = slot.as_ref().and_then(Slot::free_since).map(|at| clock.at(at));
        Ok(Go { due: scheduled.or(free_since).unwrap_or_else(|| clock.now()), slot })
    }
}

/// Leave to send a request, or to begin a session.
pub struct Go {
    /// When the schedule says. In a closed loop when the slot became free; of a slot that nobody has held, now: the loop is
    /// still being filled.
    pub due: Duration,
    pub slot: Option<Slot>,
}

/// When what is due then had its slot too: from there on the delay is the client's.
pub fn released(slot: &Slot, due: Duration, clock: Clock) -> Duration {
    slot.free_since().map_or(due, |at| due.max(clock.at(at)))
}
