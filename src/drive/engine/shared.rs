//! What the workers of a run have in common.

use std::any::Any;
use std::fmt::Display;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::first_answers::FirstAnswers;
use super::slots::Slots;
use super::{Plan, Stop};
use crate::core::wall_time::WallTime;
use crate::drive::clock::Clock;

/// The run's t0 on both clocks.
#[derive(Clone, Copy)]
pub struct Start {
    pub clock: Clock,
    pub wall: WallTime,
}

impl From<Clock> for Start {
    fn from(clock: Clock) -> Self {
        Self { clock, wall: clock.wall_time() }
    }
}

/// What all workers of a run share. Nothing here is touched per token.
pub struct Shared<'a> {
    /// Nothing more is to be sent.
    pub closed: CancellationToken,
    /// The user wants it to end, or a worker [failed](Self::fail).
    pub stop: CancellationToken,
    /// And has no patience with what is in flight.
    pub hurry: &'a CancellationToken,
    /// The cap, exact over all workers.
    pub cap: Option<Arc<Slots>>,
    /// The seats of active sessions, the same.
    pub seats: Option<Arc<Slots>>,
    /// The run's t0: when the measured phase began.
    pub measured: OnceLock<Start>,
    /// Whether the first requests fail alike.
    pub first_answers: Arc<FirstAnswers>,
    /// Every worker is past its warm-up.
    warmed: Barrier,
    /// What went wrong in the workers.
    failures: Mutex<Vec<String>>,
    /// How every `x-request-id` of the run begins.
    id_prefix: String,
}

impl<'a> Shared<'a> {
    /// For the workers of a plan.
    pub fn new(plan: &Plan<'_>, stop: &'a Stop) -> Self {
        Self {
            closed: stop.closed.child_token(),
            stop: stop.asked.child_token(),
            hurry: &stop.hurried,
            cap: plan.cap.map(Slots::new),
            seats: plan.max_active.map(Slots::new),
            measured: OnceLock::new(),
            first_answers: FirstAnswers::new(stop, plan.keep_going),
            warmed: Barrier::new(plan.workers.get()),
            failures: Mutex::default(),
            id_prefix: plan.target.request_id_prefix.clone().unwrap_or_else(new_prefix),
        }
    }

    /// Notes a failure of a worker and ends the run as an interrupt does: nothing more is sent, and what is in flight has
    /// [`GRACE`](super::GRACE) to finish.
    pub fn fail(&self, what: impl Display) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_string());
        self.closed.cancel();
        self.stop.cancel();
    }

    /// Waits until every worker is past its warm-up, or until the run ends: a worker that failed never comes.
    pub async fn past_warm_up(&self) {
        tokio::select! {
            _ = self.warmed.wait() => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// What went wrong in the workers, in the order in which it did.
    pub fn into_failures(self) -> Vec<String> {
        self.failures.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `x-request-id` of a request, after vLLM's: the prefix and its place in the schedule.
    pub fn request_id(&self, ordinal: usize, measured: bool) -> String {
        let phase = if measured { "" } else { "warmup-" };
        format!("{}{phase}{ordinal}", self.id_prefix)
    }
}

/// The message of a panic.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// vLLM's: `bench-`, eight hex digits of its own for each run, and a dash.
fn new_prefix() -> String {
    format!("bench-{}-", &Uuid::new_v4().simple().to_string()[..8])
}
