//! A session from its first turn to its last: depth first, as users are.
//!
//! A session holds its seat from its first turn to its last, thinking included, so that the next session begins when one
//! is over and not when one thinks. Each of its requests needs a slot of the cap like any other.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::dialogue::Dialogue;
use super::leg::{Go, Leg, released};
use super::shared::Shared;
use super::slots::{Slot, Slots};
use super::traffic::{Flight, Flown, Traffic, launch};
use crate::drive::clock::Clock;
use crate::drive::pacer::Pacer;
use crate::drive::workload::Request;

/// A session on its way. It owns what it needs, because it outlives the loop that began it.
struct Walk {
    turns: Vec<Request>,
    /// The ids of their requests.
    ids: Vec<String>,
    /// Of the first turn.
    ordinal: usize,
    /// When the first turn is due.
    due: Duration,
    clock: Clock,
    measured: bool,
    /// No turn that is due after this is sent.
    end: Option<Duration>,
    cap: Option<Arc<Slots>>,
    stop: CancellationToken,
    /// Held until the session is over.
    seat: Option<Slot>,
}

impl Traffic {
    /// Begins every session of the leg that is due before its end.
    pub async fn send_sessions(
        self: &Rc<Self>,
        leg: &Leg<'_>,
        pacer: &mut Pacer,
        shared: &Shared<'_>,
        flights: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let Some(sessions) = &leg.sessions else { return Ok(()) };
        let end = if leg.phase.cycle { usize::MAX } else { sessions.len() };
        for number in (self.worker()..end).step_by(leg.workers) {
            let next = leg.next(number, pacer, &shared.closed, shared.seats.as_ref()).await?;
            let Some(Go { due, slot: seat }) = next else { break };
            let deal = sessions.deal(number);
            let turns = leg.phase.requests[deal.turns].to_vec();
            let ids = (deal.ordinal..).take(turns.len());
            let walk = Walk {
                turns,
                ids: ids.map(|ordinal| shared.request_id(ordinal, leg.measured)).collect(),
                ordinal: deal.ordinal,
                due,
                clock: (leg.clock)(),
                measured: leg.measured,
                end: leg.phase.duration,
                cap: shared.cap.clone(),
                stop: shared.closed.clone(),
                seat,
            };
            launch(flights, shared, Rc::clone(self).walk(walk));
        }
        Ok(())
    }

    /// One session, turn by turn; over with the first turn that is not answered.
    async fn walk(self: Rc<Self>, mut walk: Walk) {
        let session = Uuid::new_v4();
        let mut dialogue = Dialogue::new(self.history(), self.client().speaks_in_messages());
        let mut due = walk.due;
        for (index, turn) in walk.turns.iter().enumerate() {
            let next = walk.turns.get(index + 1).and_then(Request::turn);
            // Made while the user thinks, so that it delays nobody.
            let salted = self.salted(turn, walk.ordinal, walk.measured);
            let body = self.client().body(&dialogue.ask(&salted));
            let Some(slot) = self.ready(&walk, due).await else { return };
            // The first turn waits for the session's seat too.
            let seat = walk.seat.as_ref().filter(|_| index == 0);
            let waits = [seat, slot.as_ref()].into_iter().flatten();
            let flight = Flight {
                ordinal: walk.ordinal + index,
                id: walk.ids[index].clone(),
                due,
                clock: walk.clock,
                measured: walk.measured,
                body,
                released: waits.map(|slot| released(slot, due, walk.clock)).max(),
                slot,
                patience: turn.patience(),
                turn: Some((session, dialogue.listens() && next.is_some())),
            };
            let Flown { done, answered, said } = Rc::clone(&self).fly(Box::new(flight)).await;
            if let (Some(seat), Some(done)) = (&mut walk.seat, done) {
                seat.ended(walk.clock.instant(done));
            }
            let (Some(next), Some(done), true) = (next, done, answered) else { return };
            due = done + next.think;
            if walk.end.is_some_and(|end| due > end) {
                return;
            }
            dialogue.answer(turn, said.as_deref());
        }
    }

    /// Waits until a turn may go: when its user has thought, and there is a slot. `None` after an interrupt.
    async fn ready(&self, walk: &Walk, due: Duration) -> Option<Option<Slot>> {
        let ready = async {
            self.alarm().until(walk.clock.instant(due)).await;
            match &walk.cap {
                Some(cap) => Some(cap.take().await),
                None => None,
            }
        };
        tokio::select! {
            biased;
            () = walk.stop.cancelled() => None,
            slot = ready => Some(slot),
        }
    }
}
