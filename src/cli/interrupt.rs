//! The signals that end the program, for every command alike: Ctrl-C (INT), TERM and HUP.
//!
//! Before there is anything to report, the first one ends the program. From then on it asks for an end with what was
//! measured, and the next one ends the program at once. Servers that we started go with it either way.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cli::exit::{self, Halt, say};

/// Programs send TERM and HUP twice where they mean it once: `timeout` to the program and to its process group, and a terminal
/// that is closed by the kernel and by the shell. What comes together is one. A person who types Ctrl-C twice means it.
const TOGETHER: Duration = Duration::from_millis(500);

/// What a server may take to say something about a run that the user has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the user wants an end. By default nobody listens to the user.
#[derive(Debug, Clone, Default)]
pub struct Interrupts {
    asked: CancellationToken,
    worth_reporting: Arc<AtomicBool>,
}

impl Interrupts {
    /// Listens until the program ends. The terminal's Ctrl-C does not reach the servers, which have process groups of their
    /// own: whatever ends us must end them.
    pub fn listen() -> Result<Self, Halt> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Halt::failed)?;
        let mut signals = {
            let _within = runtime.enter();
            Signals::listen()?
        };
        let interrupts = Self::default();
        let (asked, worth_reporting) = (interrupts.asked.clone(), Arc::clone(&interrupts.worth_reporting));
        let wait = async move {
            signals.next().await;
            if !worth_reporting.load(Ordering::SeqCst) {
                say("interrupted before there was a result");
                exit::at_once();
            }
            asked.cancel();
            let first = Instant::now();
            loop {
                let next = signals.next().await;
                if next == SignalKind::interrupt() || first.elapsed() >= TOGETHER {
                    exit::at_once();
                }
            }
        };
        std::thread::Builder::new()
            .name("interrupts".into())
            .spawn(move || runtime.block_on(wait))
            .map_err(Halt::failed)?;
        Ok(interrupts)
    }

    /// From now on the first signal leaves the program the time to report, to save, and to end its servers.
    pub fn hold(&self) {
        self.worth_reporting.store(true, Ordering::SeqCst);
    }

    /// Whether there was a signal.
    pub fn asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Waits for a signal.
    pub async fn wait(&self) {
        self.asked.cancelled().await;
    }

    /// Waits for something that there is no use for after a signal; `None` then.
    pub async fn unless_asked<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.wait() => None,
            done = work => Some(done),
        }
    }

    /// Waits for something that completes the report: once there was a signal, for a moment only.
    pub async fn briefly_if_asked<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let enough = async {
            self.wait().await;
            sleep(PATIENCE).await;
        };
        tokio::select! {
            done = work => Some(done),
            () = enough => None,
        }
    }

    /// Does something at the first signal, also if that has come already, until the returned value is dropped.
    pub fn on_first(&self, runtime: &Handle, act: impl FnOnce() + Send + 'static) -> Attention {
        let interrupts = self.clone();
        Attention(runtime.spawn(async move {
            interrupts.wait().await;
            act();
        }))
    }
}

/// What is done at the first signal, as long as this lives.
pub struct Attention(JoinHandle<()>);

impl Drop for Attention {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Those that we listen to.
struct Signals {
    interrupt: Signal,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Signals {
    /// All but those that the program was started to ignore, such as HUP by `nohup`. A script starts what it puts in the
    /// background with INT ignored; who sends it one all the same means it.
    fn listen() -> Result<Self, Halt> {
        let ignored = ignored();
        let listen = |kind: SignalKind| signal(kind).map_err(Halt::failed);
        let unless_ignored = |kind: SignalKind| match ignored >> (kind.as_raw_value() - 1) & 1 {
            0 => listen(kind).map(Some),
            _ => Ok(None),
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: unless_ignored(SignalKind::terminate())?,
            hangup: unless_ignored(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            () = received(&mut self.terminate) => SignalKind::terminate(),
            () = received(&mut self.hangup) => SignalKind::hangup(),
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The signals that this process ignores, as Linux tells: bit 0 is signal 1. None where the system does not tell.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
