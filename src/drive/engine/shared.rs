//! What the workers of a run have in common.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Barrier, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Plan, Stop};
use crate::drive::clock::Clock;

/// What all workers of a run share. Nothing here is touched per token.
pub struct Shared<'a> {
    /// The user wants it to end.
    pub stop: &'a CancellationToken,
    /// And has no patience with what is in flight.
    pub hurry: &'a CancellationToken,
    /// The cap, exact over all workers.
    pub cap: Option<Arc<Semaphore>>,
    /// The seats of active sessions, the same.
    pub seats: Option<Arc<Semaphore>>,
    /// The run's t0: when the measured phase began.
    pub measured: OnceLock<Clock>,
    /// Every worker is past its warm-up.
    pub warmed: Barrier,
    /// How every `x-request-id` of the run begins.
    id_prefix: String,
}

impl<'a> Shared<'a> {
    /// For the workers of a plan.
    pub fn new(plan: &Plan<'_>, stop: &'a Stop) -> Self {
        Self {
            stop: &stop.asked,
            hurry: &stop.hurried,
            cap: plan.cap.map(semaphore),
            seats: plan.max_active.map(semaphore),
            measured: OnceLock::new(),
            warmed: Barrier::new(plan.workers.get()),
            id_prefix: plan.target.request_id_prefix.clone().unwrap_or_else(new_prefix),
        }
    }

    /// The `x-request-id` of a request, after vLLM's: the prefix and its place in the schedule.
    pub fn request_id(&self, ordinal: usize, measured: bool) -> String {
        let phase = if measured { "" } else { "warmup-" };
        format!("{}{phase}{ordinal}", self.id_prefix)
    }
}

/// vLLM's: `bench-`, eight hex digits of its own for each run, and a dash.
fn new_prefix() -> String {
    format!("bench-{}-", &Uuid::new_v4().simple().to_string()[..8])
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits))
}
