//! Wakes at an absolute instant.
//!
//! tokio's timer wheel turns once a millisecond and rounds up, so at 2,000 requests a second every arrival would be
//! late by more than the gap to the next. On Linux a timerfd wakes within tens of microseconds instead.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// How long before an instant the timer fires. The processor spins for the rest.
const SPIN_TIME: Duration = Duration::from_micros(60);

/// The instant that a [`Pacer`] waits for, shared with the other work of its thread.
///
/// A timer event is delivered only when the runtime next polls the system, and then after every socket that was ready
/// before it. A thread that reads many waiting sockets therefore checks this deadline after each read, and wakes the
/// pacer before the remaining reads.
#[derive(Default)]
pub struct PacerDeadline {
    at: Cell<Option<Instant>>,
    waker: Cell<Option<Waker>>,
    /// The total time that the thread has spun.
    spun: Cell<Duration>,
}

impl PacerDeadline {
    /// Wakes the pacer if its instant has passed.
    pub fn wake_if_due(&self, now: Instant) {
        if self.at.get().is_some_and(|at| at <= now) {
            self.at.set(None);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// The total time that the thread has spun while it waited for instants.
    pub fn spun(&self) -> Duration {
        self.spun.get()
    }

    fn set(&self, at: Instant, waker: &Waker) {
        self.at.set(Some(at));
        self.waker.set(Some(waker.clone()));
    }
}

/// Waits for instants, one at a time.
pub struct Pacer {
    deadline: Rc<PacerDeadline>,
    #[cfg(target_os = "linux")]
    timer: tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>,
}

impl Pacer {
    /// Returns at the instant, or immediately if it has passed. In both cases the runtime polls its sockets first, so
    /// that a late schedule cannot starve the responses.
    pub async fn sleep_until(&mut self, at: Instant) -> io::Result<()> {
        let now = Instant::now();
        match at.checked_sub(SPIN_TIME) {
            Some(wake) if now < wake => self.sleep(wake, wake - now).await?,
            _ => tokio::task::yield_now().await,
        }
        let spinning = Instant::now();
        let mut now = spinning;
        while now < at {
            std::hint::spin_loop();
            now = Instant::now();
        }
        self.deadline.spun.set(self.deadline.spun.get() + (now - spinning));
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::future::poll_fn;
    use std::io;
    use std::rc::Rc;
    use std::task::{Context, Poll, ready};
    use std::time::{Duration, Instant};

    use rustix::fd::OwnedFd;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::{Pacer, PacerDeadline};

    impl Pacer {
        /// Creates a pacer on the current runtime that shares its instant through `deadline`.
        #[expect(
            deprecated,
            reason = "the replacement is unsafe; an OwnedFd stays open while it is registered"
        )]
        pub fn new(deadline: &Rc<PacerDeadline>) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            let deadline = Rc::clone(deadline);
            Ok(Self { deadline, timer: AsyncFd::with_interest(timer, Interest::READABLE)? })
        }

        /// Sleeps until the instant, which is `ahead` from now.
        pub(super) async fn sleep(&mut self, until: Instant, ahead: Duration) -> io::Result<()> {
            let once = Itimerspec { it_interval: Timespec::default(), it_value: timespec(ahead)? };
            timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            poll_fn(|cx| self.poll_awake(cx, until)).await
        }

        fn poll_awake(&self, cx: &mut Context<'_>, until: Instant) -> Poll<io::Result<()>> {
            if Instant::now() >= until {
                return Poll::Ready(Ok(()));
            }
            self.deadline.set(until, cx.waker());
            loop {
                let mut readiness = ready!(self.timer.poll_read_ready(cx))?;
                if let Ok(read) = readiness.try_io(|timer| expirations(timer.get_ref())) {
                    return Poll::Ready(read);
                }
            }
        }
    }

    fn timespec(ahead: Duration) -> io::Result<Timespec> {
        Timespec::try_from(ahead).map_err(|_| io::Error::other("an instant beyond the clock's range"))
    }

    /// Reads the count of expirations, which rearms the timer's readiness.
    fn expirations(timer: &OwnedFd) -> io::Result<()> {
        rustix::io::read(timer, &mut [0; 8])?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
impl Pacer {
    /// Creates a pacer on the current runtime that shares its instant through `deadline`.
    pub fn new(deadline: &Rc<PacerDeadline>) -> io::Result<Self> {
        Ok(Self { deadline: Rc::clone(deadline) })
    }

    /// Sleeps until the instant, which is `ahead` from now.
    async fn sleep(&mut self, until: Instant, ahead: Duration) -> io::Result<()> {
        let mut timer = std::pin::pin!(tokio::time::sleep(ahead));
        std::future::poll_fn(|cx| {
            if Instant::now() >= until {
                return std::task::Poll::Ready(());
            }
            self.deadline.set(until, cx.waker());
            timer.as_mut().poll(cx)
        })
        .await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_never_wakes_early() {
        let mut pacer = Pacer::new(&Rc::default()).unwrap();
        let start = Instant::now();
        for i in 1..=20 {
            let at = start + Duration::from_micros(i * 700);
            pacer.sleep_until(at).await.unwrap();
            assert!(Instant::now() >= at);
        }
    }

    #[tokio::test]
    async fn it_does_not_wait_for_the_past() {
        let mut pacer = Pacer::new(&Rc::default()).unwrap();
        let start = Instant::now();
        pacer.sleep_until(start - Duration::from_secs(3)).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        let mut late = std::pin::pin!(pacer.sleep_until(start));
        let mut context = std::task::Context::from_waker(Waker::noop());
        let polls = (1..10).find(|_| late.as_mut().poll(&mut context).is_ready());
        assert_eq!(polls, Some(2), "it lets others run once, and then is ready whatever the timer does");
    }

    #[tokio::test]
    async fn an_abandoned_wait_does_not_shorten_the_next() {
        let mut pacer = Pacer::new(&Rc::default()).unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        tokio::select! {
            biased;
            () = std::future::ready(()) => {}
            _ = pacer.sleep_until(soon) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let at = Instant::now() + Duration::from_millis(10);
        pacer.sleep_until(at).await.unwrap();
        assert!(Instant::now() >= at);
    }

    /// The runtime does not poll in between: only the deadline check causes the wake-up.
    #[tokio::test]
    async fn a_look_at_the_clock_wakes_it_as_the_timer_does() {
        let deadline = Rc::default();
        let mut pacer = Pacer::new(&deadline).unwrap();
        let at = Instant::now() + Duration::from_millis(5);
        let mut waiting = std::pin::pin!(pacer.sleep_until(at));
        let mut context = std::task::Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        deadline.wake_if_due(Instant::now());
        assert!(deadline.at.get().is_some(), "it is not time yet");
        std::thread::sleep(Duration::from_millis(6));
        deadline.wake_if_due(Instant::now());
        assert!(deadline.at.get().is_none(), "it was woken, and once is enough");
        assert!(waiting.as_mut().poll(&mut context).is_ready());
    }
}
