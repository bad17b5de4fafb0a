//! A timer that is precise to well below the millisecond of the runtime's own timer.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Instant,
};

use tokio::sync::Notify;

/// Wakes one task at a given time. A thread waits: the kernel wakes a sleeping thread some tens of microseconds late,
/// while the runtime's timer rounds up to its next millisecond.
pub(super) struct PreciseTimer {
    settings: mpsc::Sender<Instant>,
    rung: Arc<Notify>,
}

impl PreciseTimer {
    /// Starts the thread, which ends when the timer is dropped. Fails if the system refuses another thread.
    pub(super) fn new() -> io::Result<Self> {
        let (settings, deadlines) = mpsc::channel::<Instant>();
        let rung = Arc::new(Notify::new());
        let bell = Arc::clone(&rung);
        thread::Builder::new().name("sim-alarm".to_owned()).spawn(move || {
            while let Ok(deadline) = deadlines.recv() {
                if !wait(&deadlines, deadline) {
                    return;
                }
                bell.notify_one();
            }
        })?;
        Ok(Self { settings, rung })
    }

    /// Waits until `deadline`, but yields to the runtime at least once, so that other tasks never starve. After a
    /// cancelled wait, the next one may end early.
    pub(super) async fn sleep_until(&self, deadline: Instant) {
        if deadline <= Instant::now() {
            return tokio::task::yield_now().await;
        }
        match self.settings.send(deadline) {
            Ok(()) => self.rung.notified().await,
            Err(_) => tokio::time::sleep_until(deadline.into()).await,
        }
    }
}

/// Waits for the deadline, or for one that replaces it. Returns whether the timer still exists.
fn wait(deadlines: &mpsc::Receiver<Instant>, mut deadline: Instant) -> bool {
    loop {
        match deadlines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(another) => deadline = another,
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_wait_that_was_given_up_does_not_delay_the_next() {
        let alarm = PreciseTimer::new().unwrap();
        let far = Instant::now() + Duration::from_secs(3600);
        assert!(tokio::time::timeout(Duration::from_millis(5), alarm.sleep_until(far)).await.is_err());
        let near = Instant::now() + Duration::from_millis(5);
        tokio::time::timeout(Duration::from_secs(60), alarm.sleep_until(near)).await.unwrap();
    }

    #[tokio::test]
    async fn an_alarm_never_rings_early() {
        let alarm = PreciseTimer::new().unwrap();
        for micros in [0, 50, 400, 3000] {
            let deadline = Instant::now() + Duration::from_micros(micros);
            alarm.sleep_until(deadline).await;
            assert!(Instant::now() >= deadline);
        }
    }
}
