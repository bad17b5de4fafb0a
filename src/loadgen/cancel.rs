//! Ends in-flight requests from outside: when a request times out, or when the run cancels all of them.
//!
//! A timer and a cancellation token per request would be polled with each of its events. Instead all requests share one
//! flag and one timer task. The timeout is constant, so requests expire in the order in which they were sent.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Why a request was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AbortReason {
    /// The request timed out.
    TimedOut,
    /// The drain timeout after an interrupt was over.
    Cancelled,
}

/// Cancels one request.
#[derive(Default)]
struct CancelHandle {
    reason: Cell<Option<AbortReason>>,
    waker: RefCell<Option<Waker>>,
}

impl CancelHandle {
    fn cancel(&self, why: AbortReason) {
        if self.reason.get().is_none() {
            self.reason.set(Some(why));
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Cancels the in-flight requests of one worker.
pub(super) struct CancelRegistry {
    time: Duration,
    held: RefCell<VecDeque<(Instant, Weak<CancelHandle>)>>,
    /// Notifies when the first handle is added to an empty registry.
    first: Notify,
    /// Whether any request was ever cancelled. Until then no request checks its own handle.
    any_cancelled: Cell<bool>,
}

/// The number of handles, ended ones included, at which the ended ones are removed.
const PRUNE_THRESHOLD: usize = 64;

impl CancelRegistry {
    /// Creates a registry for requests with this timeout each.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, held: RefCell::default(), first: Notify::new(), any_cancelled: Cell::default() }
    }

    /// Runs a request that begins now until it ends or is cancelled. The future stays in the task that polls it first.
    pub(super) fn run_cancellable<F: Future>(
        &self,
        mut request: Pin<&mut F>,
    ) -> impl Future<Output = Result<F::Output, AbortReason>> {
        let (registration, mut is_tied) = (self.register(), false);
        poll_fn(move |cx| {
            if let Poll::Ready(output) = request.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if !std::mem::replace(&mut is_tied, true) {
                registration.waker.replace(Some(cx.waker().clone()));
            }
            match self.any_cancelled.get().then(|| registration.reason.get()).flatten() {
                Some(why) => Poll::Ready(Err(why)),
                None => Poll::Pending,
            }
        })
    }

    fn register(&self) -> Rc<CancelHandle> {
        let registration = Rc::<CancelHandle>::default();
        let mut held = self.held.borrow_mut();
        if held.len() >= PRUNE_THRESHOLD && held.len() == held.capacity() {
            held.retain(|(_, registration)| registration.strong_count() > 0);
        }
        held.push_back((Instant::now() + self.time, Rc::downgrade(&registration)));
        self.first.notify_one();
        registration
    }

    /// Cancels every in-flight request.
    pub(super) fn cancel_all(&self) {
        self.any_cancelled.set(true);
        let held = self.held.take();
        held.iter()
            .filter_map(|(_, registration)| registration.upgrade())
            .for_each(|registration| registration.cancel(AbortReason::Cancelled));
    }

    /// Cancels each request at its timeout, until this future is dropped.
    pub(super) async fn enforce_timeouts(&self) -> ! {
        loop {
            let next = self.held.borrow().front().map(|(deadline, _)| *deadline);
            match next {
                Some(deadline) if deadline <= Instant::now() => self.cancel_expired(),
                Some(deadline) => sleep_until(deadline).await,
                None => self.first.notified().await,
            }
        }
    }

    fn cancel_expired(&self) {
        self.any_cancelled.set(true);
        let first = self.held.borrow_mut().pop_front();
        if let Some(registration) = first.and_then(|(_, registration)| registration.upgrade()) {
            registration.cancel(AbortReason::TimedOut);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_request_that_ends_in_time_is_left_alone() {
        let registry = CancelRegistry::new(Duration::from_secs(60));
        assert_eq!(registry.run_cancellable(pin!(ready(7))).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_has_its_own_time() {
        let registry = CancelRegistry::new(Duration::from_secs(60));
        let start = Instant::now();
        let request = async {
            let ended = registry.run_cancellable(pin!(pending::<()>())).await;
            (ended, start.elapsed().as_secs())
        };
        let later = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            let ended = registry.run_cancellable(pin!(pending::<()>())).await;
            (ended, start.elapsed().as_secs())
        };
        tokio::select! {
            _ = registry.enforce_timeouts() => {}
            both = async { tokio::join!(request, later) } => {
                assert_eq!(both, ((Err(AbortReason::TimedOut), 60), (Err(AbortReason::TimedOut), 90)));
            }
        }
    }

    #[tokio::test]
    async fn giving_up_ends_all_of_them() {
        let registry = CancelRegistry::new(Duration::from_secs(60));
        let (a, b) = (pin!(pending::<()>()), pin!(pending::<()>()));
        let give_up = async { registry.cancel_all() };
        let (a, b, ()) = tokio::join!(registry.run_cancellable(a), registry.run_cancellable(b), give_up);
        assert_eq!((a, b), (Err(AbortReason::Cancelled), Err(AbortReason::Cancelled)));
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let registry = CancelRegistry::new(Duration::from_secs(60));
        for _ in 0..10_000 {
            drop(registry.register());
        }
        assert!(
            registry.held.borrow().capacity() < 4 * PRUNE_THRESHOLD,
            "{}",
            registry.held.borrow().capacity()
        );
    }
}
