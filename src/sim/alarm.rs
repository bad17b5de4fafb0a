//! A sleep that is precise to well below the millisecond of the runtime's own timer.

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

/// Wakes one task at an instant. A thread does the waiting: the kernel wakes a sleeping thread some tens of
/// microseconds late, while the runtime's timer rounds up to its next millisecond.
pub(super) struct Alarm {
    settings: mpsc::Sender<Instant>,
    rung: Arc<Notify>,
}

impl Alarm {
    /// Starts the thread; it ends when the alarm is dropped. Fails if the system refuses another thread.
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

    /// Waits until `deadline`; at least one turn of the runtime, so that others are never starved. After a wait that
    /// was given up, the next may end early.
    pub(super) async fn wait_until(&self, deadline: Instant) {
        if deadline <= Instant::now() {
            return tokio::task::yield_now().await;
        }
        match self.settings.send(deadline) {
            Ok(()) => self.rung.notified().await,
            Err(_) => tokio::time::sleep_until(deadline.into()).await,
        }
    }
}

/// Waits for the deadline, or for one that takes its place; says whether there is still someone to wake.
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
        let alarm = Alarm::new().unwrap();
        let far = Instant::now() + Duration::from_secs(3600);
        assert!(tokio::time::timeout(Duration::from_millis(5), alarm.wait_until(far)).await.is_err());
        let near = Instant::now() + Duration::from_millis(5);
        tokio::time::timeout(Duration::from_secs(60), alarm.wait_until(near)).await.unwrap();
    }

    #[tokio::test]
    async fn an_alarm_never_rings_early() {
        let alarm = Alarm::new().unwrap();
        for micros in [0, 50, 400, 3000] {
            let deadline = Instant::now() + Duration::from_micros(micros);
            alarm.wait_until(deadline).await;
            assert!(Instant::now() >= deadline);
        }
    }
}
