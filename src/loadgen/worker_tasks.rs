//! The tasks of one worker: its requests and sessions.

use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::shared::{WorkerShared, panic_message};

/// Starts a request or a session, and checks the tasks that have ended.
pub(super) fn spawn_request(
    tasks: &mut JoinSet<()>,
    shared: &WorkerShared<'_>,
    task: impl Future<Output = ()> + 'static,
) {
    tasks.spawn_local(task);
    while let Some(ended) = tasks.try_join_next() {
        check_joined(ended, shared);
    }
}

/// Waits for all tasks and checks them.
pub(super) async fn join_all(tasks: &mut JoinSet<()>, shared: &WorkerShared<'_>) {
    while let Some(ended) = tasks.join_next().await {
        check_joined(ended, shared);
    }
}

/// A request that panicked must not disappear unnoticed: it ends the run, and the run reports it.
fn check_joined(ended: Result<(), JoinError>, shared: &WorkerShared<'_>) {
    if let Err(error) = ended {
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
