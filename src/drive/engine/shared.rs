//! What the workers of a run have in common.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Barrier, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Plan;
use crate::drive::clock::Clock;

/// What all workers of a run share. Nothing here is touched per token.
pub struct Shared<'a> {
    /// The user wants it to end.
    pub stop: &'a CancellationToken,
    /// The cap, exact over all workers.
    pub cap: Option<Arc<Semaphore>>,
    /// The seats of active sessions, the same.
    pub seats: Option<Arc<Semaphore>>,
    /// The run's t0: when the measured phase began.
    pub measured: OnceLock<Clock>,
    /// Every worker is past its warm-up.
    pub warmed: Barrier,
}

impl<'a> Shared<'a> {
    /// For the workers of a plan.
    pub fn new(plan: &Plan<'_>, stop: &'a CancellationToken) -> Self {
        Self {
            stop,
            cap: plan.cap.map(semaphore),
            seats: plan.max_active.map(semaphore),
            measured: OnceLock::new(),
            warmed: Barrier::new(plan.workers.get()),
        }
    }
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits))
}
