//! The two servers: those that are ours are started when it is their turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::args::{AbArgs, Source};
use super::{line, words};
use crate::cli::exit::{Halt, say};
use crate::cli::interrupt::Interrupts;
use crate::cli::run::{Line, Stage};
use crate::cli::start::Start;
use crate::core::spec::Spec;
use crate::judge::ab::Arm;
use crate::server::launch::{LaunchError, Server};

/// Why no more blocks are measured.
pub enum Break {
    /// The user wants no more.
    Interrupted,
    /// A server or a run failed.
    Failed(Halt),
}

impl From<Halt> for Break {
    fn from(halt: Halt) -> Self {
        Self::Failed(halt)
    }
}

/// The two servers.
pub struct Servers<'a> {
    args: &'a AbArgs,
    interrupts: &'a Interrupts,
    logs: [PathBuf; 2],
    running: [Option<Running>; 2],
    /// Does not take the order to reset its prefix cache.
    stubborn: [bool; 2],
}

/// A server with everything that a run stands on.
pub struct Running {
    /// The run's flags for this server, but for the seed.
    pub words: Vec<String>,
    /// What they say.
    pub line: Line,
    /// What they ask for.
    pub spec: Spec,
    /// Asks the server.
    pub stage: Stage,
    /// `None` for one that others started.
    server: Option<Server>,
    /// When it was launched, if it is ours.
    pub launched: Option<Timestamp>,
}

impl<'a> Servers<'a> {
    /// None is started yet. Their logs go into a folder.
    pub fn new(args: &'a AbArgs, interrupts: &'a Interrupts, logs: &Path) -> Self {
        let logs = ["a.log", "b.log"].map(|name| logs.join(name));
        Self { args, interrupts, logs, running: [None, None], stubborn: [false; 2] }
    }

    /// The server, healthy, its prefix cache empty where it takes that order. Unless both may run, every block has a start of
    /// its own: blocks on one start do not show how much starts differ.
    pub fn ready(&mut self, arm: Arm) -> Result<&Running, Break> {
        if !may_both_run(self.args) {
            Arm::BOTH.into_iter().for_each(|arm| self.stop(arm));
        }
        let running = match self.running[arm as usize].take() {
            Some(running) => running,
            None => self.begin(arm)?,
        };
        let running = self.running[arm as usize].insert(running);
        if let Some(server) = &mut running.server
            && let Some(status) = server.ended()
        {
            let why = format!("the server of {arm} ended by itself ({status}){}", server.tail());
            return Err(Halt::failed(why).into());
        }
        empty_cache(running, arm, &mut self.stubborn[arm as usize]);
        Ok(running)
    }

    fn stop(&mut self, arm: Arm) {
        let server = self.running[arm as usize].take().and_then(|running| running.server);
        if let Some(held) = server.and_then(Server::stop) {
            say(format_args!("warning: {held}"));
        }
    }

    fn begin(&self, arm: Arm) -> Result<Running, Break> {
        let source = source(self.args, arm);
        let now = Timestamp::now();
        let (server, url) = match source {
            Source::Url(url) => (None, url.clone()),
            Source::Command(template) => {
                say(format_args!("starting {arm}: {source}"));
                let start = Start {
                    name: &arm.to_string(),
                    template,
                    log: self.logs[arm as usize].clone(),
                    patience: self.args.health_timeout,
                    interrupts: self.interrupts,
                };
                let server = start.healthy(&BTreeMap::new()).map_err(|error| match error {
                    LaunchError::Interrupted => Break::Interrupted,
                    error => Halt::failed(format!("{arm}: {error}")).into(),
                })?;
                let url = server.base_url();
                (Some(server), url)
            }
        };
        let words = words(self.args, &url);
        let line = line(&words)?;
        let mut spec = line.spec().map_err(Halt::usage)?;
        let stage = Stage::set(&line.args, &mut spec, self.interrupts)?;
        let launched = server.as_ref().map(|_| now);
        Ok(Running { words, line, spec, stage, server, launched })
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        Arm::BOTH.into_iter().for_each(|arm| self.stop(arm));
    }
}

/// One of them at most is ours, or they fit on the machine together.
pub fn may_both_run(args: &AbArgs) -> bool {
    let ours = |source: &Source| matches!(source, Source::Command(_));
    args.keep || !(ours(&args.a) && ours(&args.b))
}

/// Where a server comes from.
pub fn source(args: &AbArgs, arm: Arm) -> &Source {
    match arm {
        Arm::A => &args.a,
        Arm::B => &args.b,
    }
}

/// So that no block finds what another left. `--reset-prefix-cache` insists on it, and has it done elsewhere.
fn empty_cache(running: &Running, arm: Arm, stubborn: &mut bool) {
    if *stubborn || running.line.args.load.reset_prefix_cache {
        return;
    }
    let order = running.stage.control().reset_prefix_cache();
    if let Ok(Err(error)) = running.stage.wait_for(order) {
        *stubborn = true;
        say(format_args!(
            "note: {arm} does not reset its prefix cache between blocks ({error}): each pair of them has prompts of its own all \
             the same"
        ));
    }
}
