//! The time at which uploads are given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// When uploads are given up: never, until a deadline is set. Clones have one deadline.
#[derive(Debug, Clone)]
pub(crate) struct UploadDeadline(Arc<watch::Sender<Option<Instant>>>);

impl Default for UploadDeadline {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl UploadDeadline {
    /// Gives up after this time what is not uploaded then. Also ends uploads that have begun.
    pub(crate) fn set_after(&self, time: Duration) {
        self.0.send_replace(Some(Instant::now() + time));
    }

    /// Waits until the deadline has passed.
    #[cfg(feature = "object-store")]
    pub(super) async fn passed(&self) {
        let mut deadline = self.0.subscribe();
        // Waiting fails without a sender, and `self` is one.
        let set = deadline.wait_for(Option::is_some).await.ok().and_then(|set| *set);
        // A timer of a time that has passed would wait for its next tick.
        if let Some(set) = set.filter(|set| *set > Instant::now()) {
            tokio::time::sleep_until(set.into()).await;
        }
    }
}
