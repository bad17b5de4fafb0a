//! A process group that is started and ended as a whole.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid};

use super::wait_until;
use super::watchdog::Watchdog;
use crate::model::secrets::is_secret_key;

/// The running groups. If our process exits at once, nothing is dropped, so an exit handler must be able to reach the
/// groups.
static RUNNING_GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// How long killed processes may take to disappear. Only processes that wait for a device take any time.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A command and all processes that it starts, except those that leave the group.
#[derive(Debug)]
pub(super) struct ProcessGroup {
    /// The command itself.
    leader: Child,
    /// The group's number, which is not the command's if there is a watchdog.
    pid: Pid,
    over: bool,
    /// Ends the group if our process is killed.
    watchdog: Option<Watchdog>,
}

impl ProcessGroup {
    /// Starts a command without standard input whose output goes to a file. It gets our environment without keys and
    /// tokens, and the variables of `env`.
    pub(super) fn start(words: &[String], env: &[(String, String)], log: File) -> io::Result<Self> {
        let (program, arguments) =
            words.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
        adopt_orphans();
        let mut command = Command::new(program);
        command.args(arguments);
        withheld_variables().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let guarded = Watchdog::with_group();
        command.process_group(guarded.as_ref().map_or(0, |(_, group)| group.pid().as_raw_pid()));
        // Locked before the start, so that no exit handler can miss a process that has just started.
        let mut running = running();
        let leader = command.spawn()?;
        let pid = guarded.as_ref().map_or(Pid::from_child(&leader), |(_, group)| group.pid());
        running.push(pid);
        Ok(Self { leader, pid, over: false, watchdog: guarded.map(|(watchdog, _)| watchdog) })
    }

    /// Returns the command's exit status if it has ended.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.leader.try_wait().ok().flatten()
    }

    /// Sends TERM to all processes, kills those that outlive the grace period, and reaps them.
    pub(super) fn end(&mut self, grace: Duration) {
        if self.over {
            return;
        }
        self.over = true;
        for (signal, time) in [(Signal::TERM, grace), (Signal::KILL, KILL_TIMEOUT)] {
            // An error means that the group is already gone, as intended.
            let _ = kill_process_group(self.pid, signal);
            if wait_until(time, || self.is_gone()) {
                break;
            }
        }
        running().retain(|pid| *pid != self.pid);
        self.watchdog = None;
    }

    fn is_gone(&mut self) -> bool {
        // std reaps the leader; the others are ours to reap once the leader is gone.
        if self.status().is_some() {
            while let Ok(Some(_)) = waitpgid(self.pid, WaitOptions::NOHANG) {}
        }
        test_kill_process_group(self.pid).is_err()
    }
}

/// Lists the secret variables of our environment that a server does not inherit: keys, tokens and passwords.
pub(crate) fn withheld_variables() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| is_secret_key(name))
}

/// Kills every running group at once. For code that ends the process without dropping its values.
pub(crate) fn kill_all() {
    for pid in running().iter() {
        // The group may have just ended.
        let _ = kill_process_group(*pid, Signal::KILL);
    }
}

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING_GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes our process adopt a server's orphaned children, so that it can reap them even without an init that does.
#[cfg(target_os = "linux")]
fn adopt_orphans() {
    // If this fails, init adopts them, as it does by default.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

#[cfg(not(target_os = "linux"))]
fn adopt_orphans() {}
