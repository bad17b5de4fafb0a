//! A sleep that is precise to well below the millisecond of the runtime's own timer.

use std::{
    io,
    sync::{Arc, mpsc},
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
                thread::sleep(deadline.saturating_duration_since(Instant::now()));
                bell.notify_one();
            }
        })?;
        Ok(Self { settings, rung })
    }

    /// Waits until `deadline`; at least one turn of the runtime, so that others are never starved.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
