//! Manages the server of the current cell: one of our own at a time, with empty caches.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::budget::shown;
use super::order;
use super::plan::{Caches, Cell, Plan, Set, Source};
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::observer::observer;
use crate::cli::target;
use crate::client::admin::{AdminClient, TIMEOUT};
use crate::report::progress::ProgressMode;
use crate::runner::ServerStarter;
use crate::server::launch::{LaunchError, LaunchedServer};

/// vLLM's caches other than the prefix cache. A server without them is fine.
const OTHER_CACHES: [&str; 2] = ["/reset_mm_cache", "/reset_encoder_cache"];

/// Starts, resets and stops the servers of a sweep.
pub(super) struct Host<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    interrupts: &'a InterruptSignal,
    runtime: Runtime,
    current: Option<Current>,
    /// The sets whose server does not support resetting its caches.
    stubborn: BTreeSet<usize>,
}

struct Current {
    /// Identifies the server start that the cell is measured on: see [`order::start`](super::order::start).
    start: (usize, usize),
    /// The launch time, if we started the server.
    launched: Option<Timestamp>,
    base_url: String,
    /// The process; `None` if the server was already running.
    server: Option<LaunchedServer>,
    /// Whether no cell has used the server yet.
    fresh: bool,
}

/// A server that is ready for a cell.
pub(super) struct Ready {
    /// The server's URL.
    pub base_url: String,
    /// The duration of the start, if the server was started for this cell.
    pub start: Option<Duration>,
    /// The launch time, if we started the server.
    pub launched: Option<Timestamp>,
}

impl<'a> Host<'a> {
    /// Creates the manager with no server running.
    pub(super) fn new(
        plan: &'a Plan,
        folder: &'a Path,
        interrupts: &'a InterruptSignal,
    ) -> Result<Self, CliError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(CliError::io)?;
        Ok(Self { plan, folder, interrupts, runtime, current: None, stubborn: BTreeSet::new() })
    }

    /// Returns the server of a cell, healthy and with empty caches.
    pub(super) fn ready(&mut self, cell: &Cell) -> Result<Ready, LaunchError> {
        let set = cell.set;
        let wanted = order::start(self.plan, cell);
        let mut start = None;
        if !self.serves(wanted) || !self.has_empty_caches(set) {
            self.stop();
            let begun = Instant::now();
            let current = self.begin(wanted)?;
            start = current.server.is_some().then(|| begun.elapsed());
            self.current = Some(current);
            if start.is_none() {
                // A server that we did not start may have been used before.
                self.has_empty_caches(set);
            }
        }
        let current = self.current.as_mut().expect("it was begun if nobody served");
        current.fresh = false;
        Ok(Ready { base_url: current.base_url.clone(), start, launched: current.launched })
    }

    /// Stops the server if we started it.
    pub(super) fn stop(&mut self) {
        let server = self.current.take().and_then(|current| current.server);
        if let Some(held) = server.and_then(LaunchedServer::stop) {
            print_stderr(format_args!("warning: {held}"));
        }
    }

    /// Returns the exit status if we started the server and it has exited.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.current.as_mut()?.server.as_mut()?.exit_status()
    }

    /// Whether the running server is the wanted one and still runs. A server that we did not start is never
    /// restarted.
    fn serves(&mut self, wanted: (usize, usize)) -> bool {
        let serves = |current: &&mut Current| match current.server {
            Some(_) => current.start == wanted,
            None => current.start.0 == wanted.0,
        };
        let Some(current) = self.current.as_mut().filter(serves) else { return false };
        match current.server.as_mut().and_then(LaunchedServer::exit_status) {
            None => true,
            Some(status) => {
                print_stderr(format_args!(
                    "warning: the server of `{}` exited unexpectedly ({status}) and is restarted",
                    self.plan.sets[wanted.0].name
                ));
                false
            }
        }
    }

    /// Empties the caches as the plan requires; `false` if only a restart can do so.
    fn has_empty_caches(&mut self, set: usize) -> bool {
        let Some(current) = &self.current else { return false };
        let ours = current.server.is_some();
        if current.fresh || self.plan.caches == Caches::Keep {
            return true;
        }
        if self.plan.caches == Caches::Restart && ours {
            return false;
        }
        if self.stubborn.contains(&set) {
            return !ours;
        }
        let why = match self.reset(&current.base_url) {
            Ok(()) => return true,
            // Nothing more is measured after an interrupt.
            Err(_) if self.interrupts.is_requested() => return true,
            Err(why) => why,
        };
        self.stubborn.insert(set);
        let then = match ours {
            true => "the server is restarted for each cell",
            false => "a cell may hit prefixes that its prompts share with those of an earlier cell",
        };
        print_stderr(format_args!(
            "note: the server of `{}` does not reset its prefix cache ({why}): {then}",
            self.plan.sets[set].name
        ));
        !ours
    }

    fn reset(&self, base_url: &str) -> Result<(), String> {
        let control = AdminClient::new(&target::of_url(base_url)).map_err(|error| error.to_string())?;
        let orders = async {
            control.reset_prefix_cache().await.map_err(|error| error.to_string())?;
            for path in OTHER_CACHES {
                // Most servers have no such cache, so the result does not matter.
                let _ = control.post(path, TIMEOUT).await;
            }
            Ok(())
        };
        self.runtime
            .block_on(self.interrupts.until_interrupt(orders))
            .unwrap_or_else(|| Err("interrupted".into()))
    }

    fn begin(&self, start: (usize, usize)) -> Result<Current, LaunchError> {
        let set = start.0;
        let Set { name, server, .. } = &self.plan.sets[set];
        let (template, env) = match server {
            Source::Url(url) => {
                let base_url = url.clone();
                return Ok(Current { start, launched: None, base_url, server: None, fresh: false });
            }
            Source::Command(template, env) => (template, env),
        };
        let launched = Some(Timestamp::now());
        let starter = ServerStarter {
            name: shown(name),
            template,
            log: self.folder.join(self.plan.log(set)),
            patience: self.plan.health_timeout,
            pass_env: &self.plan.pass_env,
            stop: self.interrupts.stop_handle(),
            observer: &observer(ProgressMode::Silent, self.interrupts, None),
        };
        let server = starter.start_and_wait(env)?;
        Ok(Current { start, launched, base_url: server.base_url(), server: Some(server), fresh: true })
    }
}
