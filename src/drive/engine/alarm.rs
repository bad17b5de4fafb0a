//! Wakes the users who think, each when it has thought.
//!
//! A thinking user needs the pacer's precision, but not a timer of the system each: the one that is due first holds the
//! only timer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::drive::pacer::{Deadline, Pacer};

/// The users of one worker who wait for an instant.
#[derive(Default)]
pub struct Alarm {
    sleepers: RefCell<BTreeMap<(Instant, u64), Rc<Notify>>>,
    /// Tells apart who waits for the same instant.
    count: Cell<u64>,
    /// There is a new one.
    changed: Notify,
    deadline: Rc<Deadline>,
}

impl Alarm {
    /// Returns at the instant, as long as somebody [watches](Self::watch).
    pub async fn until(&self, at: Instant) {
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

    /// Wakes them without waiting for the system to, if it is time.
    pub fn look(&self, now: Instant) {
        self.deadline.look(now);
    }

    /// Wakes everybody in time, until it is dropped; returns only if the system refuses a timer.
    pub async fn watch(&self) -> io::Error {
        match self.ring().await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    async fn ring(&self) -> io::Result<std::convert::Infallible> {
        // Most runs have nobody who thinks, and then no timer either.
        self.changed.notified().await;
        let mut pacer = Pacer::new(&self.deadline)?;
        loop {
            let first = self.sleepers.borrow().first_key_value().map(|((at, _), _)| *at);
            match first {
                None => self.changed.notified().await,
                Some(at) => tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    woken = pacer.until(at) => {
                        woken?;
                        self.wake(Instant::now());
                    }
                },
            }
        }
    }

    fn wake(&self, now: Instant) {
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
        let alarm = Alarm::default();
        let start = Instant::now();
        let order = RefCell::new(Vec::new());
        let sleep = async |ms: u64| {
            let at = start + Duration::from_millis(ms);
            alarm.until(at).await;
            assert!(Instant::now() >= at);
            order.borrow_mut().push(ms);
        };
        tokio::select! {
            error = alarm.watch() => panic!("{error}"),
            _ = async { tokio::join!(sleep(40), sleep(0), sleep(15), sleep(15)) } => {}
        }
        assert_eq!(order.into_inner(), [0, 15, 15, 40]);
        assert!(alarm.sleepers.borrow().is_empty());
    }

    #[tokio::test]
    async fn who_came_later_may_be_woken_first() {
        let alarm = Alarm::default();
        let start = Instant::now();
        let late = alarm.until(start + Duration::from_secs(600));
        let soon = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            alarm.until(start + Duration::from_millis(10)).await;
        };
        tokio::select! {
            error = alarm.watch() => panic!("{error}"),
            () = late => panic!("ten minutes are not over"),
            () = soon => {}
        }
    }
}
