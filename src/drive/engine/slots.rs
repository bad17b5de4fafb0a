//! The cap on what is in flight: slots, exact over all workers and first come, first served.
//!
//! A slot knows when its last holder ended. Whoever takes it next could have begun then, so what passes between the two
//! is the client's delay and not the cap's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

/// When a free slot's last holder ended; `None` for a slot that nobody has held.
type FreeSince = Option<Instant>;

/// All slots of a run. They are locked once to take and once to give back, never per token.
#[derive(Debug)]
pub struct Slots {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many nobody has held yet.
    unused: usize,
    /// Those that are free again, the longest free first. Nobody waits while there are any.
    free: VecDeque<Instant>,
    /// Who waits, the longest first.
    waiting: VecDeque<oneshot::Sender<FreeSince>>,
}

impl Slots {
    /// This many slots.
    pub fn new(count: usize) -> Arc<Self> {
        let state = State { unused: count, free: VecDeque::new(), waiting: VecDeque::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Takes a slot, as soon as there is one.
    pub async fn take(self: &Arc<Self>) -> Slot {
        let since = match self.take_free() {
            Ok(since) => since,
            Err(granted) => Waiting { slots: self, granted }.wait().await,
        };
        Slot { slots: Arc::clone(self), since, ended: None }
    }

    fn take_free(&self) -> Result<FreeSince, oneshot::Receiver<FreeSince>> {
        let mut state = self.state();
        if state.unused > 0 {
            state.unused -= 1;
            return Ok(None);
        }
        state.free.pop_front().map(Some).ok_or_else(|| {
            let (grant, granted) = oneshot::channel();
            state.waiting.push_back(grant);
            granted
        })
    }

    /// Gives a slot to whoever waits longest, or keeps it for the next who asks.
    fn give(&self, since: FreeSince) {
        loop {
            let mut state = self.state();
            let Some(grant) = state.waiting.pop_front() else {
                match since {
                    Some(since) => state.free.push_back(since),
                    None => state.unused += 1,
                }
                return;
            };
            drop(state);
            // Who has given up waiting is passed over.
            if grant.send(since).is_ok() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Given up after the slot was granted and before it was taken, it goes to the next in line.
struct Waiting<'a> {
    slots: &'a Slots,
    granted: oneshot::Receiver<FreeSince>,
}

impl Waiting<'_> {
    async fn wait(mut self) -> FreeSince {
        (&mut self.granted).await.expect("the queue keeps its senders until they are used")
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.granted.close();
        if let Ok(since) = self.granted.try_recv() {
            self.slots.give(since);
        }
    }
}

/// A slot that is held; it is free again when this is dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    since: FreeSince,
    ended: Option<Instant>,
}

impl Slot {
    /// When the holder before this one ended; `None` if there was none.
    pub fn free_since(&self) -> Option<Instant> {
        self.since
    }

    /// Notes when what it was held for ended, if that was before the slot is given back.
    pub fn ended(&mut self, at: Instant) {
        self.ended = Some(at);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.give(Some(self.ended.unwrap_or_else(Instant::now)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_slot_knows_when_its_last_holder_ended() {
        let slots = Slots::new(1);
        let mut first = slots.take().await;
        assert_eq!(first.free_since(), None);
        let ended = Instant::now() - Duration::from_millis(20);
        first.ended(ended);
        drop(first);
        let second = slots.take().await;
        assert_eq!(second.free_since(), Some(ended));
        let before = Instant::now();
        drop(second);
        assert!(slots.take().await.free_since() >= Some(before), "not noted, it is when it was given back");
    }

    #[tokio::test]
    async fn no_more_are_held_than_there_are() {
        let slots = Slots::new(2);
        let held = [slots.take().await, slots.take().await];
        assert!(slots.take().now_or_never().is_none());
        drop(held);
        let again = [slots.take().await, slots.take().await];
        assert!(slots.take().now_or_never().is_none(), "who gave up waiting took none with it");
        drop(again);
    }

    #[tokio::test]
    async fn who_came_first_is_served_first() {
        let slots = Slots::new(1);
        let held = slots.take().await;
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(slots.take())).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        drop(held);
        // The second gives up while the slot is the first one's, the first after it was granted.
        drop(waiting.remove(1));
        assert!(slots.take().now_or_never().is_none(), "nobody goes before who waits");
        drop(waiting.remove(0));
        let served = waiting.remove(0).now_or_never();
        assert!(served.is_some_and(|slot| slot.free_since().is_some()));
    }

    #[test]
    fn the_cap_holds_over_threads() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (slots, in_flight) = (Slots::new(3), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    for _ in 0..500 {
                        let slot = runtime.block_on(slots.take());
                        assert!(in_flight.fetch_add(1, Ordering::SeqCst) < 3);
                        in_flight.fetch_sub(1, Ordering::SeqCst);
                        drop(slot);
                    }
                });
            }
        });
    }
}
