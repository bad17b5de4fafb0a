//! Starts servers: each runs a command in its own process group, with its log in a file. Nothing of it remains
//! afterwards.
//!
//! A [`CommandTemplate`] yields a [`LaunchConfig`], which starts a [`LaunchedServer`]. A server that is stopped,
//! dropped or never became healthy gets TERM, then KILL; all processes of its group are reaped. A process that leaves
//! its group (a daemon) is out of reach.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tracing::info;

use crate::server::launch::process_group::ProcessGroup;
pub(crate) use crate::server::launch::process_group::{kill_all, withheld_variables};
pub(crate) use template::CommandTemplate;

mod gpu;
mod process_group;
mod tail;
mod template;
pub(crate) mod watchdog;

/// The time between two checks of a server that starts or stops.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long a stopped server may hold its port and its GPU's memory, which the next server needs.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(60);

/// Lines of the log that an error about a failed start quotes.
const MAX_TAIL_LINES: usize = 15;

/// How to start a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaunchConfig {
    /// The program and its arguments. No shell interprets them.
    pub words: Vec<String>,
    /// Variables added to our own environment. The server gets no [secret variables](withheld_variables) of ours.
    pub env: Vec<(String, String)>,
    /// The port that the server will listen on, on this machine.
    pub port: u16,
    /// The file to which the server's output is appended.
    pub log: PathBuf,
    /// The time between TERM and KILL.
    pub grace: Duration,
}

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub(crate) struct LaunchedServer {
    group: ProcessGroup,
    launch: LaunchConfig,
    started: Instant,
    gpu_before: Option<gpu::GpuMemoryUse>,
}

/// The state of a server that is not healthy yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitProgress<'a> {
    /// The time since the start.
    pub elapsed: Duration,
    /// The last line of the log, if there is one.
    pub line: Option<&'a str>,
}

/// Why no server became healthy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// Another process listens on the port already.
    #[error("port {0} is in use by another program: end that, or give the server another port")]
    PortTaken(u16),
    /// The program cannot be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// The underlying error.
        source: io::Error,
    },
    /// The log cannot be written.
    #[error("cannot write the server's log {path}: {source}", path = path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
    /// The program ended before it was healthy.
    #[error("the server ended before it was healthy ({status}, after {after}){tail}", after = humantime::format_duration(whole_seconds(*after)))]
    Ended {
        /// The program's exit status.
        status: ExitStatus,
        /// The time since the start.
        after: Duration,
        /// The last lines of the log, and its name.
        tail: String,
    },
    /// The server took too long to become healthy.
    #[error("the server was not healthy within {patience}{tail}", patience = humantime::format_duration(*patience))]
    NotHealthy {
        /// How long the caller waited.
        patience: Duration,
        /// The last lines of the log, and its name.
        tail: String,
    },
    /// The caller gave up waiting.
    #[error("interrupted while the server was starting")]
    Interrupted,
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}

impl LaunchedServer {
    /// Starts the server without waiting until it is healthy.
    pub(crate) fn start(launch: LaunchConfig) -> Result<Self, LaunchError> {
        if !is_free(launch.port) {
            return Err(LaunchError::PortTaken(launch.port));
        }
        let log =
            open(&launch.log).map_err(|source| LaunchError::Log { path: launch.log.clone(), source })?;
        let gpu_before = gpu::GpuMemoryUse::read();
        let program = launch.words.first().cloned().unwrap_or_default();
        let group = ProcessGroup::start(&launch.words, &launch.env, log)
            .map_err(|source| LaunchError::Start { program, source })?;
        info!(port = launch.port, log = %launch.log.display(), "a server is started");
        Ok(Self { group, launch, started: Instant::now(), gpu_before })
    }

    /// Waits until `healthy` returns true, and returns how long that took. Calls `onlooker` about ten times a second
    /// while it waits; `onlooker` can stop the wait.
    pub(crate) fn wait_until_healthy(
        &mut self,
        patience: Duration,
        mut healthy: impl FnMut() -> bool,
        mut onlooker: impl FnMut(WaitProgress<'_>) -> ControlFlow<()>,
    ) -> Result<Duration, LaunchError> {
        loop {
            let elapsed = self.started.elapsed();
            // Checks for an exit first: otherwise another program on the same port could answer.
            if let Some(status) = self.exit_status() {
                return Err(LaunchError::Ended { status, after: elapsed, tail: self.log_tail() });
            }
            if healthy() {
                info!(port = self.launch.port, after = ?elapsed, "the server is healthy");
                return Ok(self.started.elapsed());
            }
            if elapsed >= patience {
                return Err(LaunchError::NotHealthy { patience, tail: self.log_tail() });
            }
            let last = tail::last_lines(&self.launch.log, 1);
            if onlooker(WaitProgress { elapsed, line: last.last().map(String::as_str) }).is_break() {
                return Err(LaunchError::Interrupted);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Returns the server's exit status if it has ended.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.group.status()
    }

    /// Formats the last lines of the log and its path, as the end of an error's sentence.
    pub(crate) fn log_tail(&self) -> String {
        let lines = tail::last_lines(&self.launch.log, MAX_TAIL_LINES);
        let path = self.launch.log.display();
        match lines.is_empty() {
            true => format!("; its log {path} is empty"),
            false => format!("; the last lines of {path}:\n  {}", lines.join("\n  ")),
        }
    }

    /// Returns the URL that the server listens on.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", address(self.launch.port))
    }

    /// Stops the server, and waits until its port and its GPU's memory are free for the next one. Returns a sentence
    /// about what is still held, if anything is.
    pub(crate) fn stop(mut self) -> Option<String> {
        self.group.end(self.launch.grace);
        info!(port = self.launch.port, "the server has ended");
        let (port, before) = (self.launch.port, self.gpu_before);
        let waited = humantime::format_duration(RELEASE_TIMEOUT);
        if !wait_until(RELEASE_TIMEOUT, || is_free(port)) {
            return Some(format!("port {port} is still in use {waited} after its server's end"));
        }
        match before {
            Some(before) if !wait_until(RELEASE_TIMEOUT, || before.is_free_again()) => {
                Some(format!("the GPU's memory is still in use {waited} after its server's end"))
            }
            _ => None,
        }
    }
}

impl Drop for LaunchedServer {
    fn drop(&mut self) {
        self.group.end(self.launch.grace);
    }
}

/// Returns a port that is free now, on all addresses of this machine.
pub(crate) fn free_port() -> io::Result<u16> {
    bound_socket(Ipv4Addr::UNSPECIFIED, 0)?.local_addr().map(|address| address.port())
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Checks both addresses: on some systems, a listener on all addresses does not prevent another one on the loopback.
fn is_free(port: u16) -> bool {
    [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].into_iter().all(|host| bound_socket(host, port).is_ok())
}

/// Binds a socket that does not listen. Until it is closed, Linux does not assign its port to a process that asks for
/// any port, but a server that asks for this port gets it.
///
/// A listener would be in that server's way for longer than this process has it: a child process that another thread
/// starts meanwhile has a copy of it until it executes its program.
fn bound_socket(host: Ipv4Addr, port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((host, port).into())?;
    Ok(socket)
}

fn open(log: &Path) -> io::Result<File> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    File::options().create(true).append(true).open(log)
}

fn wait_until(time: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() >= time {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    true
}

#[cfg(test)]
mod tests;
