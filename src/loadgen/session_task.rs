//! Runs a session from its first turn to its last: turns follow each other, as a user sends them.
//!
//! A session holds its session slot from its first turn to its last, think time included. So the next session begins
//! when one has ended and not when one thinks. Each request also needs a slot of the concurrency limit, like any other
//! request.
//!
//! A session that began in the warm-up and holds a session slot ends at t0, with its in-flight turn. Otherwise it would
//! keep a measured session waiting, and the throughput of the run would be too low.

use std::future::pending;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::shared::{WarmupEnd, WorkerShared};
use super::slots::{Slot, SlotPool};
use crate::client::clock::RunClock;
use crate::loadgen::history::ConversationHistory;
use crate::loadgen::pacer::Pacer;
use crate::loadgen::phase_context::{PhaseContext, SendPermit, release_time};
use crate::loadgen::worker_loop::{InFlightRequest, TurnResult, WorkerLoop};
use crate::loadgen::worker_tasks::spawn_request;
use crate::model::request::Request;
use crate::model::request_id::RequestId;

/// A session in progress. It owns its data, because it outlives the loop that began it.
struct SessionTask {
    turns: Vec<Request>,
    /// The request ids of the turns.
    ids: Vec<Option<RequestId>>,
    /// The ordinal of the first turn.
    ordinal: usize,
    /// When the first turn is due.
    due: Duration,
    clock: RunClock,
    measured: bool,
    /// The end of the phase. No turn that is due later is sent.
    end: Option<Duration>,
    cap: Option<Arc<SlotPool>>,
    stop: CancellationToken,
    /// The end of the warm-up, after which no later turn is sent. It is set only for a warm-up session that has a
    /// session slot.
    until: Option<WarmupEnd>,
    /// The session slot. It is held until the session ends.
    session_slot: Option<Slot>,
}

impl WorkerLoop {
    /// Begins every session of the phase that is due before its end.
    pub(super) async fn send_sessions(
        self: &Rc<Self>,
        context: &PhaseContext<'_>,
        pacer: &mut Pacer,
        shared: &WorkerShared<'_>,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let Some(sessions) = context.sessions else { return Ok(()) };
        let mut reader = context.phase.requests.reader();
        for number in context.numbers(self.worker()) {
            let next =
                context.next_permit(number, pacer, &shared.closed, shared.session_slots.as_ref()).await?;
            let Some(SendPermit { due, slot: session_slot }) = next else { break };
            let assigned = sessions.session(number);
            let turns: Vec<Request> = assigned.turns.map(|index| reader.get(index).into_owned()).collect();
            let ids = (assigned.ordinal..).take(turns.len());
            let session = SessionTask {
                turns,
                ids: ids.map(|ordinal| shared.request_id(ordinal, context.measured)).collect(),
                ordinal: assigned.ordinal,
                due,
                clock: (context.clock)(),
                measured: context.measured,
                end: context.phase.duration,
                cap: shared.cap.clone(),
                stop: shared.closed.clone(),
                until: (!context.measured && session_slot.is_some()).then(|| shared.warmup_end.clone()),
                session_slot,
            };
            spawn_request(tasks, shared, Rc::clone(self).run_session(session));
        }
        Ok(())
    }

    /// Runs one session, turn by turn. The session ends at the first turn that is not answered.
    async fn run_session(self: Rc<Self>, mut session: SessionTask) {
        let session_id = Uuid::new_v4();
        let mut dialogue = ConversationHistory::new(self.history(), self.client().uses_messages());
        let mut due = session.due;
        for (index, turn) in session.turns.iter().enumerate() {
            let next = session.turns.get(index + 1).and_then(Request::turn);
            // The request is prepared during the think time, so that it delays nothing.
            let salted = self.salted_request(turn, session.ordinal, session.measured);
            let body = self.client().body(&dialogue.next_request(&salted));
            let until = session.until.as_ref().filter(|_| index > 0);
            let Some(slot) = self.wait_turn_ready(&session, due, until).await else {
                if let (Some(session_slot), Some(t0)) =
                    (&mut session.session_slot, until.and_then(WarmupEnd::at))
                {
                    session_slot.held_until(t0);
                }
                return;
            };
            // The first turn also waits for the session slot.
            let session_slot = session.session_slot.as_ref().filter(|_| index == 0);
            let waits = [session_slot, slot.as_ref()].into_iter().flatten();
            let in_flight = InFlightRequest {
                ordinal: session.ordinal + index,
                id: session.ids[index].clone(),
                due,
                clock: session.clock,
                measured: session.measured,
                body,
                released: waits.map(|slot| release_time(slot, due, session.clock)).max(),
                slot,
                patience: turn.patience(),
                limit: self.client().max_output_tokens(turn),
                turn: Some((session_id, dialogue.needs_answers() && next.is_some())),
            };
            let TurnResult { done, answered, output_text: said } =
                Rc::clone(&self).execute(Box::new(in_flight)).await;
            if let (Some(session_slot), Some(done)) = (&mut session.session_slot, done) {
                session_slot.set_ended(session.clock.instant(done));
            }
            let (Some(next), Some(done), true) = (next, done, answered) else { return };
            due = done + next.think;
            if session.end.is_some_and(|end| due > end) {
                return;
            }
            dialogue.record_answer(turn, said.as_deref());
        }
    }

    /// Waits until a turn may be sent: the think time is over and the turn has a slot. Returns `None` after an
    /// interrupt, and when the warm-up that the session belongs to has ended.
    async fn wait_turn_ready(
        &self,
        session: &SessionTask,
        due: Duration,
        until: Option<&WarmupEnd>,
    ) -> Option<Option<Slot>> {
        let warmup_end = async {
            match until {
                Some(end) => end.wait().await,
                None => pending().await,
            }
        };
        let ready = async {
            self.timers().sleep_until(session.clock.instant(due)).await;
            match &session.cap {
                Some(cap) => Some(cap.acquire().await),
                None => None,
            }
        };
        tokio::select! {
            biased;
            () = session.stop.cancelled() => None,
            () = warmup_end => None,
            slot = ready => Some(slot),
        }
    }
}
