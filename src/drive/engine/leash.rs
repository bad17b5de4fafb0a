//! Ending requests in flight from outside: when their time is up, or when the run gives up on all of them.
//!
//! A timer and a cancellation in each request would be looked at with each of its events. Here a request looks at one
//! word for all of them, and one task watches the clock: they have the same time, so who was sent first is out first.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Why a request was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// Its time was up.
    OutOfTime,
    /// The grace period after an interrupt was over.
    GivenUp,
}

/// One request's.
#[derive(Default)]
struct Leash {
    pulled: Cell<Option<Pulled>>,
    waker: RefCell<Option<Waker>>,
}

impl Leash {
    fn pull(&self, why: Pulled) {
        if self.pulled.get().is_none() {
            self.pulled.set(Some(why));
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// All of a worker's.
pub struct Leashes {
    time: Duration,
    held: RefCell<VecDeque<(Instant, Weak<Leash>)>>,
    /// There is one where there was none.
    first: Notify,
    /// Whether any was ever pulled: until then nobody needs to look at their own.
    any_pulled: Cell<bool>,
}

/// How many may be there, ended ones included, before the ended ones are looked for.
const SLACK: usize = 64;

impl Leashes {
    /// For requests that may each take this time.
    pub fn new(time: Duration) -> Self {
        Self { time, held: RefCell::default(), first: Notify::new(), any_pulled: Cell::default() }
    }

    /// Runs a request that begins now to its end, or until its leash is pulled. It stays in the task that polls it first.
    pub fn hold<F: Future>(
        &self,
        mut request: Pin<&mut F>,
    ) -> impl Future<Output = Result<F::Output, Pulled>> {
        let (leash, mut is_tied) = (self.tie(), false);
        poll_fn(move |cx| {
            if let Poll::Ready(output) = request.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if !std::mem::replace(&mut is_tied, true) {
                leash.waker.replace(Some(cx.waker().clone()));
            }
            match self.any_pulled.get().then(|| leash.pulled.get()).flatten() {
                Some(why) => Poll::Ready(Err(why)),
                None => Poll::Pending,
            }
        })
    }

    fn tie(&self) -> Rc<Leash> {
        let leash = Rc::<Leash>::default();
        let mut held = self.held.borrow_mut();
        if held.len() >= SLACK && held.len() == held.capacity() {
            held.retain(|(_, leash)| leash.strong_count() > 0);
        }
        held.push_back((Instant::now() + self.time, Rc::downgrade(&leash)));
        self.first.notify_one();
        leash
    }

    /// Ends all that are in flight.
    pub fn pull_all(&self) {
        self.any_pulled.set(true);
        let held = self.held.take();
        held.iter().filter_map(|(_, leash)| leash.upgrade()).for_each(|leash| leash.pull(Pulled::GivenUp));
    }

    /// Ends each when its time is up, until it is dropped.
    pub async fn watch(&self) -> ! {
        loop {
            let next = self.held.borrow().front().map(|(deadline, _)| *deadline);
            match next {
                Some(deadline) if deadline <= Instant::now() => self.pull_first(),
                Some(deadline) => sleep_until(deadline).await,
                None => self.first.notified().await,
            }
        }
    }

    fn pull_first(&self) {
        self.any_pulled.set(true);
        let first = self.held.borrow_mut().pop_front();
        if let Some(leash) = first.and_then(|(_, leash)| leash.upgrade()) {
            leash.pull(Pulled::OutOfTime);
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
        let leashes = Leashes::new(Duration::from_secs(60));
        assert_eq!(leashes.hold(pin!(ready(7))).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_has_its_own_time() {
        let leashes = Leashes::new(Duration::from_secs(60));
        let start = Instant::now();
        let request = async {
            let ended = leashes.hold(pin!(pending::<()>())).await;
            (ended, start.elapsed().as_secs())
        };
        let later = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            let ended = leashes.hold(pin!(pending::<()>())).await;
            (ended, start.elapsed().as_secs())
        };
        tokio::select! {
            _ = leashes.watch() => {}
            both = async { tokio::join!(request, later) } => {
                assert_eq!(both, ((Err(Pulled::OutOfTime), 60), (Err(Pulled::OutOfTime), 90)));
            }
        }
    }

    #[tokio::test]
    async fn giving_up_ends_all_of_them() {
        let leashes = Leashes::new(Duration::from_secs(60));
        let (a, b) = (pin!(pending::<()>()), pin!(pending::<()>()));
        let give_up = async { leashes.pull_all() };
        let (a, b, ()) = tokio::join!(leashes.hold(a), leashes.hold(b), give_up);
        assert_eq!((a, b), (Err(Pulled::GivenUp), Err(Pulled::GivenUp)));
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let leashes = Leashes::new(Duration::from_secs(60));
        for _ in 0..10_000 {
            drop(leashes.tie());
        }
        assert!(leashes.held.borrow().capacity() < 4 * SLACK, "{}", leashes.held.borrow().capacity());
    }
}
