//! Ctrl-C during work of several runs: the first ends it after what is under way, the second at once; servers that we started
//! go with it either way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::{self, Halt};
use crate::drive::engine::{Event, Stop};

/// Whether the user wants no more.
pub struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// Listens until the program ends. The terminal's Ctrl-C does not reach the servers, which have process groups of their
    /// own: whatever ends us must end them.
    pub fn listen() -> Result<Self, Halt> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Halt::failed)?;
        let listen = |kind| {
            let _within = runtime.enter();
            signal(kind).map_err(Halt::failed)
        };
        let mut interrupts = listen(SignalKind::interrupt())?;
        let (mut terminates, mut hangups) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
        let asked = Arc::new(AtomicBool::new(false));
        let ask = Arc::clone(&asked);
        let wait = async move {
            tokio::select! {
                _ = async {
                    interrupts.recv().await;
                    ask.store(true, Ordering::SeqCst);
                    interrupts.recv().await;
                } => {}
                _ = terminates.recv() => {}
                _ = hangups.recv() => {}
            }
            exit::at_once();
        };
        std::thread::Builder::new()
            .name("interrupts".into())
            .spawn(move || runtime.block_on(wait))
            .map_err(Halt::failed)?;
        Ok(Self(asked))
    }

    /// What stops a run that was not under way yet when there was one, and so did not hear it.
    pub fn onlooker(&self) -> impl FnMut(&Event<'_>, &Stop) {
        |_, stop| {
            if self.asked() {
                stop.request();
            }
        }
    }

    /// Whether there was one.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
