//! The other processes of `--local-shards`.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cli::args::RunArgs;
use crate::cli::exit::CliError;
use crate::shards::Coordinator;

/// The time between two looks whether a process has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long the processes may take to end when there is nothing more to do.
const FAREWELL: Duration = Duration::from_secs(2);

/// Processes on this machine that send the other shards of a run. They end with this value.
pub(super) struct LocalShards(Arc<Mutex<Vec<Child>>>);

impl LocalShards {
    /// Starts the other processes of `--local-shards`, with the flags of this one. Starts none if this process was
    /// given its shard. The coordinator learns when one of them ends.
    pub(super) fn start(args: &RunArgs, coordinator: &Coordinator) -> Result<Self, CliError> {
        let processes = Self(Arc::default());
        let (None, Some(count)) = (args.shards.shard, args.shards.local_shards) else { return Ok(processes) };
        let cannot = |error| CliError::failed(format!("--local-shards: cannot start a process: {error}"));
        let program = std::env::current_exe().map_err(cannot)?;
        let address = coordinator.address();
        for index in 1..count.get() {
            let child = Command::new(&program)
                .args(std::env::args_os().skip(1))
                .args([format!("--shard={index}/{count}"), format!("--rendezvous={address}")])
                .args(["--disable-tqdm", "--no-keep"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .map_err(cannot)?;
            processes.0.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        }
        let (children, note_gone) = (Arc::downgrade(&processes.0), coordinator.departures());
        let watch = move || {
            while let Some(children) = children.upgrade() {
                let mut children = children.lock().unwrap_or_else(PoisonError::into_inner);
                for (child, index) in children.iter_mut().zip(1..) {
                    if let Ok(Some(status)) = child.try_wait() {
                        note_gone(index, &status.to_string());
                    }
                }
                drop(children);
                std::thread::sleep(POLL_INTERVAL);
            }
        };
        std::thread::Builder::new().name("local-shards".into()).spawn(watch).map_err(cannot)?;
        Ok(processes)
    }
}

impl Drop for LocalShards {
    /// Ends the processes that do not end by themselves.
    fn drop(&mut self) {
        let began = Instant::now();
        let is_running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        let some_run = || self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().any(is_running);
        while began.elapsed() < FAREWELL && some_run() {
            std::thread::sleep(FAREWELL / 100);
        }
        for child in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            // A process that has ended needs no signal.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
