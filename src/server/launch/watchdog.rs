//! Stops the servers of a program that has ended, however it ended.
//!
//! The watchdog is the same program in another process. It waits at a pipe; only its parent has the other end. The
//! kernel closes that end when the parent dies, even by `kill -9`. Then the watchdog ends the server's process group.

use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::wait_until;

/// The program's first argument that makes it a watchdog.
pub(crate) const ARGUMENT: &str = "__watchdog";

/// The time between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);

/// The program to start as a watchdog.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Makes this program, called with [`ARGUMENT`], guard each server. Without it, servers outlive a program that is
/// killed.
pub(crate) fn enable_watchdogs() {
    // The program calls this once a process.
    let _ = this_program().map(|program| PROGRAM.set(program));
}

/// The path of this program, which on Linux holds even if an upgrade or a build has replaced the file.
fn this_program() -> io::Result<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() { Ok(link) } else { std::env::current_exe() }
}

/// Runs the watchdog; `pipe` is its standard input.
pub(crate) fn run_watchdog(mut pipe: impl Read) {
    let mut said = String::new();
    // Any end of the input means that the parent is gone.
    let _ = pipe.read_to_string(&mut said);
    let Some(group) = said.trim().parse().ok().and_then(Pid::from_raw) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        // An error means that the group is already gone, as intended.
        let _ = kill_process_group(group, signal);
        if wait_until(GRACE, || test_kill_process_group(group).is_err()) {
            return;
        }
    }
}

/// The watchdog of one server. It lives as long as this value.
#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Starts a watchdog and the process group that it guards; returns `None` if that fails. The group exists before
    /// the server that joins it, so there is no moment at which a killed program leaves a server. It lasts until the
    /// second value is dropped, and then as long as a server is in it.
    pub(super) fn with_group() -> Option<(Self, Self)> {
        let (mut watchdog, group) = (Self::start()?, Self::start()?);
        watchdog.guard(group.pid()).ok()?;
        Some((watchdog, group))
    }

    /// Starts a watchdog without a group to guard. It leads a group of its own.
    fn start() -> Option<Self> {
        let mut command = Command::new(PROGRAM.get()?);
        command.arg(ARGUMENT).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().ok().map(Self)
    }

    /// The number of the process and of the group that it leads.
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Gives the watchdog a server's group to guard.
    fn guard(&mut self, group: Pid) -> io::Result<()> {
        match &mut self.0.stdin {
            Some(pipe) => writeln!(pipe, "{}", group.as_raw_nonzero()),
            None => Ok(()),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // The pipe is still open, so the watchdog dies without ending the group.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
