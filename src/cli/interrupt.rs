//! The signals that end the program, for every command: Ctrl-C (INT), TERM and HUP.
//!
//! Before there is anything to report, the first signal ends the program. After that, the first signal requests an
//! end with a report of what was measured, and the second ends the program immediately. Either way, the servers that
//! we started are stopped.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal as Raw;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::cli::exit::{self, CliError, print_stderr};
use crate::runner::StopHandle;

/// Signals within this time count as one. Programs send TERM and HUP twice when they mean it once: `timeout` signals
/// the program and its process group, and both the kernel and the shell report a closed terminal. A person who types
/// Ctrl-C twice means it.
const DUPLICATE_SIGNAL_WINDOW: Duration = Duration::from_millis(500);

/// Whether the user requested an end. The default never receives a signal.
#[derive(Debug, Clone, Default)]
pub(super) struct InterruptSignal {
    stop: StopHandle,
    worth_reporting: Arc<AtomicBool>,
}

impl InterruptSignal {
    /// Listens until the program ends. Our servers have separate process groups, which the terminal's Ctrl-C does
    /// not reach. So every signal that ends us must end them too.
    pub(super) fn listen() -> Result<Self, CliError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::io)?;
        let mut signals = {
            let _within = runtime.enter();
            SignalStreams::listen()?
        };
        let interrupts = Self::default();
        let (stop, worth_reporting) = (interrupts.stop.clone(), Arc::clone(&interrupts.worth_reporting));
        let wait = async move {
            signals.next().await;
            if !worth_reporting.load(Ordering::SeqCst) {
                print_stderr("interrupted before there was a result");
                exit::exit_now();
            }
            stop.request();
            let first = Instant::now();
            loop {
                let next = signals.next().await;
                if next == SignalKind::interrupt() || first.elapsed() >= DUPLICATE_SIGNAL_WINDOW {
                    exit::exit_now();
                }
            }
        };
        std::thread::Builder::new()
            .name("interrupts".into())
            .spawn(move || runtime.block_on(wait))
            .map_err(CliError::failed)?;
        Ok(interrupts)
    }

    /// From now on, the first signal leaves time to report, to save, and to stop our servers.
    pub(super) fn allow_report(&self) {
        self.worth_reporting.store(true, Ordering::SeqCst);
    }

    /// Whether a signal has arrived.
    pub(super) fn is_requested(&self) -> bool {
        self.stop.is_requested()
    }

    /// Waits for a signal.
    pub(super) async fn wait(&self) {
        self.stop.requested().await;
    }

    /// Waits for work that is useless after a signal; returns `None` if a signal arrives first.
    pub(super) async fn until_interrupt<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.stop.unless_requested(work).await
    }

    /// Returns the handle that ends runs at the first signal.
    pub(super) fn stop_handle(&self) -> &StopHandle {
        &self.stop
    }
}

/// The signals that we listen to.
struct SignalStreams {
    interrupt: Signal,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
    /// SIGXFSZ, sent when a file grows beyond the limit of `ulimit -f`. While we listen to it, the write fails with
    /// an error instead of killing the program.
    _file_size: Option<Signal>,
}

impl SignalStreams {
    /// Listens to all signals except those that the program was started to ignore, such as HUP by `nohup`. INT is an
    /// exception: a script starts its background jobs with INT ignored, but an INT that is sent to them is intended.
    fn listen() -> Result<Self, CliError> {
        let ignored = ignored_signals();
        let listen = |kind: SignalKind| signal(kind).map_err(CliError::io);
        let unless_ignored = |kind: SignalKind| match ignored >> (kind.as_raw_value() - 1) & 1 {
            0 => listen(kind).map(Some),
            _ => Ok(None),
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: unless_ignored(SignalKind::terminate())?,
            hangup: unless_ignored(SignalKind::hangup())?,
            _file_size: unless_ignored(SignalKind::from_raw(Raw::XFSZ.as_raw()))?,
        })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            () = wait_for_signal(&mut self.terminate) => SignalKind::terminate(),
            () = wait_for_signal(&mut self.hangup) => SignalKind::hangup(),
        }
    }
}

async fn wait_for_signal(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Returns the signals that this process ignores, as Linux reports them: bit 0 is signal 1. Returns none where the
/// system does not report them.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
