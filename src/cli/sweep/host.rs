//! The server of the cell that is measured: one of our own at a time, with nothing in its caches.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::budget::shown;
use super::order;
use super::plan::{Caches, Cell, Plan, Set, Source};
use crate::cli::exit::{Halt, say};
use crate::cli::interrupt::Interrupts;
use crate::cli::start::Start;
use crate::cli::target;
use crate::drive::client::control::{Control, PATIENCE};
use crate::server::launch::{LaunchError, Server};

/// Caches of vLLM beside that of prefixes; a server without them is none the worse.
const OTHER_CACHES: [&str; 2] = ["/reset_mm_cache", "/reset_encoder_cache"];

/// Who serves.
pub struct Host<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    interrupts: &'a Interrupts,
    runtime: Runtime,
    current: Option<Current>,
    /// Sets whose server does not take the order to reset its caches.
    stubborn: BTreeSet<usize>,
}

struct Current {
    /// Identifies the start of the server that the cell is measured on: see [`order::start`](super::order::start).
    start: (usize, usize),
    /// When it was launched, if it is ours.
    launched: Option<Timestamp>,
    base_url: String,
    /// `None` for one that others started.
    server: Option<Server>,
    /// Nobody has used it yet.
    fresh: bool,
}

/// A server that is ready for a cell.
pub struct Ready {
    /// Where it is.
    pub base_url: String,
    /// How long its start took, if it was started now.
    pub start: Option<Duration>,
    /// When it was launched, if it is ours.
    pub launched: Option<Timestamp>,
}

impl<'a> Host<'a> {
    /// Nobody yet.
    pub fn new(plan: &'a Plan, folder: &'a Path, interrupts: &'a Interrupts) -> Result<Self, Halt> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Halt::failed)?;
        Ok(Self { plan, folder, interrupts, runtime, current: None, stubborn: BTreeSet::new() })
    }

    /// The server of a cell, healthy and with empty caches.
    pub fn ready(&mut self, cell: &Cell) -> Result<Ready, LaunchError> {
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
                // One that others started was used before, perhaps.
                self.has_empty_caches(set);
            }
        }
        let current = self.current.as_mut().expect("it was begun if nobody served");
        current.fresh = false;
        Ok(Ready { base_url: current.base_url.clone(), start, launched: current.launched })
    }

    /// Ends the server, if it is ours.
    pub fn stop(&mut self) {
        let server = self.current.take().and_then(|current| current.server);
        if let Some(held) = server.and_then(Server::stop) {
            say(format_args!("warning: {held}"));
        }
    }

    /// How the server ended, if it is ours and ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.current.as_mut()?.server.as_mut()?.ended()
    }

    /// Whether the server that runs is the one that is wanted, and still runs. One that others started is never restarted.
    fn serves(&mut self, wanted: (usize, usize)) -> bool {
        let serves = |current: &&mut Current| match current.server {
            Some(_) => current.start == wanted,
            None => current.start.0 == wanted.0,
        };
        let Some(current) = self.current.as_mut().filter(serves) else { return false };
        match current.server.as_mut().and_then(Server::ended) {
            None => true,
            Some(status) => {
                say(format_args!(
                    "warning: the server of `{}` ended by itself ({status}): it is started again",
                    self.plan.sets[wanted.0].name
                ));
                false
            }
        }
    }

    /// Empties the caches as the plan has it. No: only another start would.
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
            // Nothing more is measured.
            Err(_) if self.interrupts.asked() => return true,
            Err(why) => why,
        };
        self.stubborn.insert(set);
        let then = match ours {
            true => "it is started anew for each cell",
            false => "what one cell leaves there the next may find, though each has prompts of its own",
        };
        say(format_args!(
            "note: the server of `{}` does not reset its prefix cache ({why}): {then}",
            self.plan.sets[set].name
        ));
        !ours
    }

    fn reset(&self, base_url: &str) -> Result<(), String> {
        let control = Control::new(&target::of_url(base_url)).map_err(|error| error.to_string())?;
        let orders = async {
            control.reset_prefix_cache().await.map_err(|error| error.to_string())?;
            for path in OTHER_CACHES {
                // Most servers have no such cache.
                let _ = control.order(path, PATIENCE).await;
            }
            Ok(())
        };
        self.runtime
            .block_on(self.interrupts.unless_asked(orders))
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
        let launch = Start {
            name: shown(name),
            template,
            log: self.folder.join(self.plan.log(set)),
            patience: self.plan.health_timeout,
            interrupts: self.interrupts,
        };
        let server = launch.healthy(env)?;
        Ok(Current { start, launched, base_url: server.base_url(), server: Some(server), fresh: true })
    }
}
