//! State that the workers of a run share.

use std::any::Any;
use std::fmt::Display;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::slots::SlotPool;
use super::{LoadPlan, StopHandle};
use crate::client::clock::RunClock;
use crate::loadgen::first_responses::FirstResponses;
use crate::loadgen::session_index::SessionIndex;
use crate::model::request_id::{RequestId, RequestIds};
use crate::model::run_spec::Target;
use crate::model::wall_time::WallTime;

/// The run's t0 on both clocks.
#[derive(Clone, Copy)]
pub(super) struct StartTime {
    pub clock: RunClock,
    pub wall: WallTime,
}

impl From<RunClock> for StartTime {
    fn from(clock: RunClock) -> Self {
        Self { clock, wall: clock.wall_time() }
    }
}

/// State that all workers of a run share. Nothing here is touched per token.
pub(super) struct WorkerShared<'a> {
    /// Cancelled when no more requests are to be sent.
    pub closed: CancellationToken,
    /// Cancelled when the user stops the run or a worker [failed](Self::fail).
    pub stop: CancellationToken,
    /// Cancelled when in-flight requests are aborted too.
    pub abort: &'a CancellationToken,
    /// The slots of the concurrency limit, exact over all workers; `None` means no limit.
    pub cap: Option<Arc<SlotPool>>,
    /// The session slots, exact over all workers; `None` means no limit.
    pub session_slots: Option<Arc<SlotPool>>,
    /// The run's t0: when the measured phase began.
    pub measured: OnceLock<StartTime>,
    /// When sessions that began in the warm-up release their session slots.
    pub warmup_end: WarmupEnd,
    /// Checks whether the first requests fail alike.
    pub first_answers: Arc<FirstResponses>,
    /// Waits until every worker has ended its warm-up.
    warmup_barrier: Barrier,
    /// Failures of the workers.
    failures: Mutex<Vec<String>>,
    /// The sessions of the run's requests.
    pub sessions: PhaseSessions,
    /// How the run's requests get their ids.
    ids: RequestIds,
}

/// The sessions of each phase; `None` if no request of the phase belongs to a session.
pub(super) struct PhaseSessions {
    pub warmup: Option<SessionIndex>,
    pub measured: Option<SessionIndex>,
}

impl<'a> WorkerShared<'a> {
    /// Creates the shared state for the workers of a plan.
    pub(super) fn new(plan: &LoadPlan<'_>, stop: &'a StopHandle) -> Self {
        Self {
            closed: stop.closed.child_token(),
            stop: stop.requested.child_token(),
            abort: &stop.aborted,
            cap: plan.cap.map(SlotPool::new),
            session_slots: plan.max_active.map(SlotPool::new),
            measured: OnceLock::new(),
            warmup_end: WarmupEnd::default(),
            first_answers: FirstResponses::new(stop, plan.keep_going),
            warmup_barrier: Barrier::new(plan.workers.get()),
            failures: Mutex::default(),
            sessions: PhaseSessions {
                warmup: plan.warmup.as_ref().and_then(|phase| SessionIndex::from_requests(phase.requests)),
                measured: SessionIndex::from_requests(plan.measured.requests),
            },
            ids: request_ids(plan.target, plan.share.nonce),
        }
    }

    /// Records a failure of a worker and ends the run as an interrupt does: no more requests are sent, and in-flight
    /// requests have [`DRAIN_TIMEOUT`](super::DRAIN_TIMEOUT) to finish.
    pub(super) fn fail(&self, what: impl Display) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_string());
        self.closed.cancel();
        self.stop.cancel();
    }

    /// Waits until every worker has ended its warm-up, or until the run ends: a worker that failed never gets there.
    pub(super) async fn wait_for_warmup(&self) {
        tokio::select! {
            _ = self.warmup_barrier.wait() => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// The failures of the workers, in the order in which they occurred.
    pub(super) fn into_failures(self) -> Vec<String> {
        self.failures.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `x-request-id` of a request, by its index in the schedule.
    pub(super) fn request_id(&self, ordinal: usize, measured: bool) -> Option<RequestId> {
        self.ids.request_id(ordinal, measured)
    }
}

/// The end of the warm-up, which is t0. A session that began before t0 and holds a session slot sends no further turn,
/// so that all session slots are free for measured sessions.
#[derive(Debug, Clone, Default)]
pub(super) struct WarmupEnd {
    at: Arc<OnceLock<Instant>>,
    reached: CancellationToken,
}

impl WarmupEnd {
    /// Records that the measured phase begins at `t0`.
    pub(super) fn reach(&self, t0: Instant) {
        // This is set once in a run.
        let _ = self.at.set(t0);
        self.reached.cancel();
    }

    /// t0; `None` before the measured phase begins.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at.get().copied()
    }

    /// Waits for t0.
    pub(super) async fn wait(&self) {
        self.reached.cancelled().await;
    }
}

/// The message of a panic.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// The kind of request ids that the target asks for. If the user sets the header, we add no id.
fn request_ids(target: &Target, nonce: Uuid) -> RequestIds {
    let is_given = target.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-request-id"));
    match &target.request_id_prefix {
        _ if target.no_request_id || is_given => RequestIds::None,
        Some(prefix) => RequestIds::Prefix(prefix.clone()),
        None => RequestIds::Uuids(nonce),
    }
}
