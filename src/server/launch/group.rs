//! A process group: started as one, ended as one.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid};

use super::within;

/// The groups that run. The end of our process drops nothing, so that whoever ends it at once must be able to reach them.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// How long killed processes may take to disappear: only what waits for a device takes any time.
const KILLED: Duration = Duration::from_secs(10);

/// A command and all that it starts, unless that leaves the group.
#[derive(Debug)]
pub struct Group {
    leader: Child,
    pid: Pid,
    over: bool,
}

impl Group {
    /// Starts a command that reads nothing and prints into a file.
    pub fn start(words: &[String], env: &[(String, String)], log: File) -> io::Result<Self> {
        let (program, arguments) =
            words.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
        adopt_orphans();
        let mut command = Command::new(program);
        command.args(arguments).envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        // Locked from before the start, so that no process ends between its start and its being known.
        let mut running = running();
        let leader = command.spawn()?;
        let pid = Pid::from_child(&leader);
        running.push(pid);
        Ok(Self { leader, pid, over: false })
    }

    /// How the command ended, if it did.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.leader.try_wait().ok().flatten()
    }

    /// Asks all to end; kills who has not within the grace period; reaps.
    pub fn end(&mut self, grace: Duration) {
        if self.over {
            return;
        }
        self.over = true;
        for (signal, time) in [(Signal::TERM, grace), (Signal::KILL, KILLED)] {
            // Nobody is there any more: that is what was wanted.
            let _ = kill_process_group(self.pid, signal);
            if within(time, || self.is_gone()) {
                break;
            }
        }
        running().retain(|pid| *pid != self.pid);
    }

    fn is_gone(&mut self) -> bool {
        // The leader is std's to reap; the others are ours once it is gone.
        if self.status().is_some() {
            while let Ok(Some(_)) = waitpgid(self.pid, WaitOptions::NOHANG) {}
        }
        test_kill_process_group(self.pid).is_err()
    }
}

/// Kills every group that runs, at once. For whoever ends the process without dropping what it holds.
pub fn kill_all() {
    for pid in running().iter() {
        // It may just have ended.
        let _ = kill_process_group(*pid, Signal::KILL);
    }
}

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server's children whose parent dies become ours, so that they can be reaped even where nobody else would.
#[cfg(target_os = "linux")]
fn adopt_orphans() {
    // Without it they are init's, as everywhere else.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

#[cfg(not(target_os = "linux"))]
fn adopt_orphans() {}
