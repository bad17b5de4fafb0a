//! The tasks of one worker: its requests and sessions.

use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::shared::{WorkerShared, panic_message};

/// Starts a request or a session, and checks the tasks that have ended.
pub(super) fn spawn_request(
    flights: &mut JoinSet<()>,
    shared: &WorkerShared<'_>,
    task: impl Future<Output = ()> + 'static,
) {
    flights.spawn_local(task);
    while let Some(flown) = flights.try_join_next() {
        check_joined(flown, shared);
    }
}

/// Waits for all tasks and checks them.
pub(super) async fn join_all(flights: &mut JoinSet<()>, shared: &WorkerShared<'_>) {
    while let Some(flown) = flights.join_next().await {
        check_joined(flown, shared);
    }
}

/// A request that panicked must not disappear unnoticed: it ends the run, and the run reports it.
fn check_joined(flown: Result<(), JoinError>, shared: &WorkerShared<'_>) {
    if let Err(error) = flown {
        match error.try_into_panic() {
            Ok(panic) => shared.fail(format_args!("a request panicked: {}", panic_message(&*panic))),
            Err(cancelled) => shared.fail(cancelled),
        }
    }
}

/// A task that is aborted when this is dropped.
pub(super) struct AbortOnDrop(pub JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
