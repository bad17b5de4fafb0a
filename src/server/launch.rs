//! Servers that we start: a command in a process group of its own, its log in a file, and nothing of it left afterwards.
//!
//! A [`Template`] becomes a [`Launch`], that a [`Server`]; one that is stopped, dropped or never became healthy is ended with
//! TERM, then KILL, and reaped, with all processes of its group. A process that leaves its group (a daemon) is out of reach.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use group::Group;
pub use group::kill_all;
pub use template::{Template, TemplateError};

mod gpu;
mod group;
mod tail;
mod template;

/// Between two looks at a server that starts or ends.
const EVERY: Duration = Duration::from_millis(100);

/// How long an ended server may hold its port and its GPU's memory: the next one would meet them.
const RELEASE: Duration = Duration::from_secs(60);

/// So much of a log says why its server did not start.
const LAST_LINES: usize = 15;

/// A server to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments; no shell is between.
    pub words: Vec<String>,
    /// Variables beside those of our own environment.
    pub env: Vec<(String, String)>,
    /// Where it will listen, on this machine.
    pub port: u16,
    /// What it prints is added to this file.
    pub log: PathBuf,
    /// How long after TERM it is killed.
    pub grace: Duration,
}

/// A server that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    group: Group,
    launch: Launch,
    started: Instant,
    gpu_before: Option<gpu::Memory>,
}

/// What the waiting for a server is told again and again.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Since the start.
    pub elapsed: Duration,
    /// The last line of the log, if there is one.
    pub line: Option<&'a str>,
}

/// Why there is no healthy server.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Somebody listens there already.
    #[error("port {0} is in use by another program: end that, or give the server another port")]
    PortTaken(u16),
    /// The program cannot be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// The log cannot be written.
    #[error("cannot write the server's log {path}: {source}", path = path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It ended before it was healthy.
    #[error("the server ended before it was healthy ({status}, after {after}){tail}", after = humantime::format_duration(whole(*after)))]
    Ended {
        /// How.
        status: ExitStatus,
        /// Since its start.
        after: Duration,
        /// The log's last lines and its name.
        tail: String,
    },
    /// It took too long.
    #[error("the server was not healthy within {patience}{tail}", patience = humantime::format_duration(*patience))]
    NotHealthy {
        /// How long was waited.
        patience: Duration,
        /// The log's last lines and its name.
        tail: String,
    },
    /// Whoever waited does not want it any more.
    #[error("interrupted while the server was starting")]
    Interrupted,
}

fn whole(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}

impl Server {
    /// Starts it. Not yet healthy.
    pub fn start(launch: Launch) -> Result<Self, LaunchError> {
        if !is_free(launch.port) {
            return Err(LaunchError::PortTaken(launch.port));
        }
        let log =
            open(&launch.log).map_err(|source| LaunchError::Log { path: launch.log.clone(), source })?;
        let gpu_before = gpu::Memory::read();
        let program = launch.words.first().cloned().unwrap_or_default();
        let group = Group::start(&launch.words, &launch.env, log)
            .map_err(|source| LaunchError::Start { program, source })?;
        Ok(Self { group, launch, started: Instant::now(), gpu_before })
    }

    /// Waits until `healthy` says so, and returns how long that took. `onlooker` is told of the waiting about ten times a second and
    /// may break it off.
    pub fn wait_until_healthy(
        &mut self,
        patience: Duration,
        mut healthy: impl FnMut() -> bool,
        mut onlooker: impl FnMut(Waiting<'_>) -> ControlFlow<()>,
    ) -> Result<Duration, LaunchError> {
        loop {
            let elapsed = self.started.elapsed();
            // An exit first: what answers then is another program on the same port.
            if let Some(status) = self.ended() {
                return Err(LaunchError::Ended { status, after: elapsed, tail: self.tail() });
            }
            if healthy() {
                return Ok(self.started.elapsed());
            }
            if elapsed >= patience {
                return Err(LaunchError::NotHealthy { patience, tail: self.tail() });
            }
            let last = tail::lines(&self.launch.log, 1);
            if onlooker(Waiting { elapsed, line: last.last().map(String::as_str) }).is_break() {
                return Err(LaunchError::Interrupted);
            }
            std::thread::sleep(EVERY);
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.group.status()
    }

    /// The last lines of the log and where it is, as the end of an error's sentence.
    pub fn tail(&self) -> String {
        let lines = tail::lines(&self.launch.log, LAST_LINES);
        let path = self.launch.log.display();
        match lines.is_empty() {
            true => format!("; its log {path} is empty"),
            false => format!("; the last lines of {path}:\n  {}", lines.join("\n  ")),
        }
    }

    /// Where it listens.
    pub fn base_url(&self) -> String {
        format!("http://{}", address(self.launch.port))
    }

    /// Ends it, and waits until its port and its GPU's memory are free for the next. What is still held is returned, in a
    /// sentence.
    pub fn stop(mut self) -> Option<String> {
        self.group.end(self.launch.grace);
        let (port, before) = (self.launch.port, self.gpu_before);
        let waited = humantime::format_duration(RELEASE);
        if !within(RELEASE, || is_free(port)) {
            return Some(format!("port {port} is still in use {waited} after its server's end"));
        }
        match before {
            Some(before) if !within(RELEASE, || before.is_free_again()) => {
                Some(format!("the GPU's memory is still in use {waited} after its server's end"))
            }
            _ => None,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.group.end(self.launch.grace);
    }
}

/// A port that is free now.
pub fn free_port() -> io::Result<u16> {
    TcpListener::bind(address(0))?.local_addr().map(|address| address.port())
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Both are asked: on some systems a listener on all addresses lets another have the loopback.
fn is_free(port: u16) -> bool {
    [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED]
        .into_iter()
        .all(|host| TcpListener::bind((host, port)).is_ok())
}

fn open(log: &Path) -> io::Result<File> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    File::options().create(true).append(true).open(log)
}

fn within(time: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() >= time {
            return false;
        }
        std::thread::sleep(EVERY);
    }
    true
}

#[cfg(test)]
mod tests;
