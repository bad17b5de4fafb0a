//! Wakes at an absolute instant.
//!
//! tokio's timer wheel turns once a millisecond and rounds up, so at 2,000 requests a second every arrival would be
//! late by more than the gap to the next. On Linux a timerfd wakes within tens of microseconds instead.

use std::io;
use std::time::{Duration, Instant};

/// How long before an instant the timer is set, in place of which the processor spins.
const SPIN: Duration = Duration::from_micros(60);

/// Waits for instants, one at a time.
pub struct Pacer {
    #[cfg(target_os = "linux")]
    timer: tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>,
}

impl Pacer {
    /// Returns at the instant, or at once if it has passed. Either way the runtime polls its sockets first, so that a
    /// schedule that is behind cannot starve the responses.
    pub async fn until(&mut self, at: Instant) -> io::Result<()> {
        let ahead = at.saturating_duration_since(Instant::now());
        match ahead.checked_sub(SPIN) {
            Some(ahead) if !ahead.is_zero() => self.sleep(ahead).await?,
            _ => tokio::task::yield_now().await,
        }
        while Instant::now() < at {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::time::Duration;

    use rustix::fd::OwnedFd;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::Pacer;

    impl Pacer {
        /// A pacer on the current runtime.
        #[expect(
            deprecated,
            reason = "the replacement is unsafe; an OwnedFd stays open while it is registered"
        )]
        pub fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Self { timer: AsyncFd::with_interest(timer, Interest::READABLE)? })
        }

        pub(super) async fn sleep(&mut self, ahead: Duration) -> io::Result<()> {
            let once = Itimerspec { it_interval: Timespec::default(), it_value: timespec(ahead)? };
            timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            self.timer.async_io(Interest::READABLE, expirations).await
        }
    }

    fn timespec(ahead: Duration) -> io::Result<Timespec> {
        Timespec::try_from(ahead).map_err(|_| io::Error::other("an instant beyond the clock's range"))
    }

    /// Reading the count of expirations arms the timer's readiness anew.
    fn expirations(timer: &OwnedFd) -> io::Result<()> {
        rustix::io::read(timer, &mut [0; 8])?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
impl Pacer {
    /// A pacer on the current runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn sleep(&mut self, ahead: std::time::Duration) -> io::Result<()> {
        tokio::time::sleep(ahead).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_never_wakes_early() {
        let mut pacer = Pacer::new().unwrap();
        let start = Instant::now();
        for i in 1..=20 {
            let at = start + Duration::from_micros(i * 700);
            pacer.until(at).await.unwrap();
            assert!(Instant::now() >= at);
        }
    }

    #[tokio::test]
    async fn it_does_not_wait_for_the_past() {
        let mut pacer = Pacer::new().unwrap();
        pacer.until(Instant::now() - Duration::from_secs(1)).await.unwrap();
    }

    #[tokio::test]
    async fn an_abandoned_wait_does_not_shorten_the_next() {
        let mut pacer = Pacer::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        tokio::select! {
            biased;
            () = std::future::ready(()) => {}
            _ = pacer.until(soon) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let at = Instant::now() + Duration::from_millis(10);
        pacer.until(at).await.unwrap();
        assert!(Instant::now() >= at);
    }
}
