//! Wakes each session when its think time is over.
//!
//! A think time needs the pacer's precision, but not a system timer per session: all sessions share one timer, which is
//! set to the earliest wake-up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::loadgen::pacer::{Pacer, PacerDeadline};

/// The pending wake-ups of one worker.
#[derive(Default)]
pub(super) struct TimerQueue {
    sleepers: RefCell<BTreeMap<(Instant, u64), Rc<Notify>>>,
    /// Makes the keys of wake-ups at the same instant distinct.
    count: Cell<u64>,
    /// Notifies when a wake-up is added.
    changed: Notify,
    deadline: Rc<PacerDeadline>,
}

impl TimerQueue {
    /// Returns at the instant, while a task runs [`run_until_error`](Self::run_until_error).
    pub(super) async fn sleep_until(&self, at: Instant) {
        if at <= Instant::now() {
            return;
        }
        let bell = Rc::new(Notify::new());
        let key = (at, self.count.get());
        self.count.set(key.1 + 1);
        self.sleepers.borrow_mut().insert(key, Rc::clone(&bell));
        self.changed.notify_one();
        bell.notified().await;
    }

    /// Wakes every session that is due, without waiting for the system timer.
    pub(super) fn fire_due(&self, now: Instant) {
        self.deadline.wake_if_due(now);
    }

    /// Wakes every session in time, until this future is dropped. Returns only if the system refuses a timer.
    pub(super) async fn run_until_error(&self) -> io::Error {
        match self.fire_in_turn().await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    async fn fire_in_turn(&self) -> io::Result<std::convert::Infallible> {
        // Most runs have no think times, and then need no timer.
        self.changed.notified().await;
        let mut pacer = Pacer::new(&self.deadline)?;
        loop {
            let first = self.sleepers.borrow().first_key_value().map(|((at, _), _)| *at);
            match first {
                None => self.changed.notified().await,
                Some(at) => tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    woken = pacer.sleep_until(at) => {
                        woken?;
                        self.wake_due(Instant::now());
                    }
                },
            }
        }
    }

    fn wake_due(&self, now: Instant) {
        let mut sleepers = self.sleepers.borrow_mut();
        while let Some(first) = sleepers.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn everybody_is_woken_in_turn_and_nobody_early() {
        let alarm = TimerQueue::default();
        let start = Instant::now();
        let order = RefCell::new(Vec::new());
        let sleep = async |ms: u64| {
            let at = start + Duration::from_millis(ms);
            alarm.sleep_until(at).await;
            assert!(Instant::now() >= at);
            order.borrow_mut().push(ms);
        };
        tokio::select! {
            error = alarm.run_until_error() => panic!("{error}"),
            _ = async { tokio::join!(sleep(40), sleep(0), sleep(15), sleep(15)) } => {}
        }
        assert_eq!(order.into_inner(), [0, 15, 15, 40]);
        assert!(alarm.sleepers.borrow().is_empty());
    }

    #[tokio::test]
    async fn who_came_later_may_be_woken_first() {
        let alarm = TimerQueue::default();
        let start = Instant::now();
        let late = alarm.sleep_until(start + Duration::from_secs(600));
        let soon = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            alarm.sleep_until(start + Duration::from_millis(10)).await;
        };
        tokio::select! {
            error = alarm.run_until_error() => panic!("{error}"),
            () = late => panic!("ten minutes are not over"),
            () = soon => {}
        }
    }
}
