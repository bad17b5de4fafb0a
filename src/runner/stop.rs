//! The handle that ends a run early.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long a request that completes the result may take after the user has asked for the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ends a run early, from any thread. No more requests are sent, in-flight requests have
/// `DRAIN_TIMEOUT` to finish, and the Run holds what was measured until then. Clones
/// share one state.
#[derive(Debug, Clone, Default)]
pub struct StopHandle(CancellationToken);

impl StopHandle {
    /// Asks for the end of the run.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether the end was requested.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the end is requested.
    pub(crate) async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Waits for work that is useless after the end is requested; returns `None` then.
    pub(crate) async fn unless_requested<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.requested() => None,
            done = work => Some(done),
        }
    }

    /// Waits for work that completes the result. After the end is requested, it waits for one second at most.
    pub(crate) async fn briefly_if_requested<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let enough = async {
            self.requested().await;
            sleep(PATIENCE).await;
        };
        tokio::select! {
            done = work => Some(done),
            () = enough => None,
        }
    }

    /// Calls `act` when the end is requested, even if that has already happened, until the returned value is dropped.
    pub(crate) fn on_request(&self, runtime: &Handle, act: impl FnOnce() + Send + 'static) -> OnRequest {
        let stop = self.clone();
        OnRequest(runtime.spawn(async move {
            stop.requested().await;
            act();
        }))
    }
}

/// Keeps a callback of [`StopHandle::on_request`] registered until it is dropped.
#[derive(Debug)]
pub(crate) struct OnRequest(JoinHandle<()>);

impl Drop for OnRequest {
    fn drop(&mut self) {
        self.0.abort();
    }
}
