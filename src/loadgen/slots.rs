//! Limits the number of in-flight requests with slots. The limit is exact over all workers, and waiters are served in
//! the order of arrival.
//!
//! A slot records when its last holder ended. The next holder could have begun then, so any time between the two is the
//! client's delay and not a wait for the limit.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

/// When a free slot's last holder ended; `None` if the slot was never held.
type FreeSince = Option<Instant>;

/// All slots of a run. Each request locks the pool once to take a slot and once to release it, never per token.
#[derive(Debug)]
pub(super) struct SlotPool {
    state: Mutex<SlotPoolState>,
}

#[derive(Debug)]
struct SlotPoolState {
    /// The number of slots that were never held.
    unused: usize,
    /// Released slots, the longest free first. No task waits while there is one.
    free: VecDeque<Instant>,
    /// Waiting tasks, the longest waiting first.
    waiting: VecDeque<oneshot::Sender<FreeSince>>,
}

impl SlotPool {
    /// Creates a pool of `count` slots.
    pub(super) fn new(count: usize) -> Arc<Self> {
        let state = SlotPoolState { unused: count, free: VecDeque::new(), waiting: VecDeque::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Waits for a slot and takes it.
    pub(super) async fn acquire(self: &Arc<Self>) -> Slot {
        let since = match self.try_acquire() {
            Ok(since) => since,
            Err(granted) => SlotWaiter { slots: self, granted }.wait_for_slot().await,
        };
        Slot { slots: Arc::clone(self), since, ended: None }
    }

    fn try_acquire(&self) -> Result<FreeSince, oneshot::Receiver<FreeSince>> {
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

    /// Gives the slot to the longest waiting task, or keeps it if no task waits.
    fn release(&self, since: FreeSince) {
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
            // A task that has stopped waiting is skipped.
            if grant.send(since).is_ok() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, SlotPoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. If it is dropped after the slot was granted and before it was taken, the slot goes to the next
/// waiter.
struct SlotWaiter<'a> {
    slots: &'a SlotPool,
    granted: oneshot::Receiver<FreeSince>,
}

impl SlotWaiter<'_> {
    async fn wait_for_slot(mut self) -> FreeSince {
        (&mut self.granted).await.expect("the queue keeps its senders until they are used")
    }
}

impl Drop for SlotWaiter<'_> {
    fn drop(&mut self) {
        self.granted.close();
        if let Ok(since) = self.granted.try_recv() {
            self.slots.release(since);
        }
    }
}

/// A slot that a request or a session holds. Dropping it releases the slot.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<SlotPool>,
    since: FreeSince,
    ended: Option<Instant>,
}

impl Slot {
    /// Moves the end of the slot's use to `at`, unless a later end is already recorded.
    pub(super) fn held_until(&mut self, at: Instant) {
        self.ended = self.ended.max(Some(at));
    }

    /// When the previous holder ended; `None` if there was none.
    pub(super) fn free_since(&self) -> Option<Instant> {
        self.since
    }

    /// Records when the holder ended, if that was before the slot is released.
    pub(super) fn set_ended(&mut self, at: Instant) {
        self.ended = Some(at);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.release(Some(self.ended.unwrap_or_else(Instant::now)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_slot_knows_when_its_last_holder_ended() {
        let slots = SlotPool::new(1);
        let mut first = slots.acquire().await;
        assert_eq!(first.free_since(), None);
        let ended = Instant::now() - Duration::from_millis(20);
        first.set_ended(ended);
        drop(first);
        let second = slots.acquire().await;
        assert_eq!(second.free_since(), Some(ended));
        let before = Instant::now();
        drop(second);
        assert!(
            slots.acquire().await.free_since() >= Some(before),
            "not noted, it is when it was given back"
        );
    }

    #[tokio::test]
    async fn no_more_are_held_than_there_are() {
        let slots = SlotPool::new(2);
        let held = [slots.acquire().await, slots.acquire().await];
        assert!(slots.acquire().now_or_never().is_none());
        drop(held);
        let again = [slots.acquire().await, slots.acquire().await];
        assert!(slots.acquire().now_or_never().is_none(), "who gave up waiting took none with it");
        drop(again);
    }

    #[tokio::test]
    async fn who_came_first_is_served_first() {
        let slots = SlotPool::new(1);
        let held = slots.acquire().await;
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(slots.acquire())).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        drop(held);
        // The second waiter gives up while the first one has the slot, and the first gives up after the slot was
        // granted.
        drop(waiting.remove(1));
        assert!(slots.acquire().now_or_never().is_none(), "nobody goes before who waits");
        drop(waiting.remove(0));
        let served = waiting.remove(0).now_or_never();
        assert!(served.is_some_and(|slot| slot.free_since().is_some()));
    }

    #[test]
    fn the_cap_holds_over_threads() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (slots, in_flight) = (SlotPool::new(3), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    for _ in 0..500 {
                        let slot = runtime.block_on(slots.acquire());
                        assert!(in_flight.fetch_add(1, Ordering::SeqCst) < 3);
                        in_flight.fetch_sub(1, Ordering::SeqCst);
                        drop(slot);
                    }
                });
            }
        });
    }
}
