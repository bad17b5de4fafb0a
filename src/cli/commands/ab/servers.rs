//! The two servers. Those that have a command are started when their blocks are due.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::args::{AbArgs, Source};
use crate::analysis::ab::Arm;
use crate::cli::commands::run::{Follower, RunCommandLine, RunSession};
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::observer::observer;
use crate::model::run_spec::Spec;
use crate::report::progress::ProgressMode;
use crate::runner::{self, ServerStarter};
use crate::server::launch::{LaunchError, LaunchedServer};

/// The reason that no more blocks are measured.
pub(super) enum Break {
    /// The user interrupted.
    Interrupted,
    /// A server or a run failed.
    Failed(CliError),
}

impl From<CliError> for Break {
    fn from(halt: CliError) -> Self {
        Self::Failed(halt)
    }
}

impl From<runner::Error> for Break {
    fn from(error: runner::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The two servers.
pub(super) struct Servers<'a> {
    args: &'a AbArgs,
    block: &'a RunCommandLine,
    interrupts: &'a InterruptSignal,
    logs: [PathBuf; 2],
    running: [Option<Running>; 2],
    /// Whether each server rejects the request to reset its prefix cache.
    stubborn: [bool; 2],
}

/// A running server, ready to be measured.
pub(super) struct Running {
    /// The flags of a block on this server, without the seed.
    pub line: RunCommandLine,
    /// The Spec of those flags.
    pub spec: Spec,
    /// The session that measures this server.
    pub session: RunSession,
    /// The process; `None` if the server was already running.
    server: Option<LaunchedServer>,
    /// The launch time, if we started the server.
    pub launched: Option<Timestamp>,
}

/// Connects to both servers if several clients send the blocks; `None` if this is the only one.
pub(super) fn meet(
    args: &AbArgs,
    block: &RunCommandLine,
    interrupts: &InterruptSignal,
) -> Result<Option<[Running; 2]>, CliError> {
    let (Some(_), Source::Url(a), Source::Url(b)) = (block.shard_flag(), &args.a, &args.b) else {
        return Ok(None);
    };
    let lines = [block.at(a), block.at(b)];
    let spec = |line: &RunCommandLine| line.spec().map_err(CliError::usage);
    let mut specs = [spec(&lines[0])?, spec(&lines[1])?];
    let [first, second] = &mut specs;
    let servers = [(&*lines[0].args, first), (&*lines[1].args, second)];
    let sessions = RunSession::connect_both(servers, block.detail(), interrupts)?;
    Ok(sessions.map(|[first, second]| {
        let ([line, other_line], [spec, other_spec]) = (lines, specs);
        let running = |line, spec, session| Running { line, spec, session, server: None, launched: None };
        [running(line, spec, first), running(other_line, other_spec, second)]
    }))
}

/// This process as a shard other than 0, which follows shard 0 from block to block.
pub(super) fn follower([a, b]: &[Running; 2]) -> Option<Follower<'_>> {
    RunSession::follower_of(&[(&a.session, &a.spec), (&b.session, &b.spec)])
}

impl<'a> Servers<'a> {
    /// Creates the state with no server started, but perhaps with two that were there. The servers' logs go into the
    /// folder `logs`.
    pub(super) fn new(
        args: &'a AbArgs,
        block: &'a RunCommandLine,
        interrupts: &'a InterruptSignal,
        logs: &Path,
        running: Option<[Running; 2]>,
    ) -> Self {
        let logs = ["a.log", "b.log"].map(|name| logs.join(name));
        let running = running.map_or([None, None], |running| running.map(Some));
        Self { args, block, interrupts, logs, running, stubborn: [false; 2] }
    }

    /// Returns the server when it is healthy and has reset its prefix cache, if it supports that. Unless both servers
    /// may run at once, each block starts its server again: blocks on a single start do not show how much starts
    /// differ.
    pub(super) fn ready(&mut self, arm: Arm) -> Result<&Running, Break> {
        if !may_both_run(self.args) {
            Arm::BOTH.into_iter().for_each(|arm| self.stop(arm));
        }
        let running = match self.running[arm as usize].take() {
            Some(running) => running,
            None => self.begin(arm)?,
        };
        let running = self.running[arm as usize].insert(running);
        if let Some(server) = &mut running.server
            && let Some(status) = server.exit_status()
        {
            let why = format!("the server of {arm} exited unexpectedly ({status}){}", server.log_tail());
            return Err(CliError::failed(why).into());
        }
        empty_cache(running, arm, &mut self.stubborn[arm as usize]);
        Ok(running)
    }

    fn stop(&mut self, arm: Arm) {
        let server = self.running[arm as usize].take().and_then(|running| running.server);
        if let Some(held) = server.and_then(LaunchedServer::stop) {
            print_stderr(format_args!("warning: {held}"));
        }
    }

    fn begin(&self, arm: Arm) -> Result<Running, Break> {
        let source = source(self.args, arm);
        let now = Timestamp::now();
        let (server, url) = match source {
            Source::Url(url) => (None, url.clone()),
            Source::Command(template) => {
                print_stderr(format_args!("starting {arm}: {source}"));
                let start = ServerStarter {
                    name: &arm.to_string(),
                    template,
                    log: self.logs[arm as usize].clone(),
                    patience: self.args.health_timeout,
                    pass_env: &self.args.pass_env,
                    stop: self.interrupts.stop_handle(),
                    observer: &observer(ProgressMode::Silent, self.interrupts, None),
                };
                let server = start.start_and_wait(&BTreeMap::new()).map_err(|error| match error {
                    LaunchError::Interrupted => Break::Interrupted,
                    error @ LaunchError::Log { .. } => CliError::io(format!("{arm}: {error}")).into(),
                    error => CliError::failed(format!("{arm}: {error}")).into(),
                })?;
                let url = server.base_url();
                (Some(server), url)
            }
        };
        let line = self.block.at(&url);
        let mut spec = line.spec().map_err(CliError::usage)?;
        let session = RunSession::connect(&line.args, &mut spec, line.detail(), self.interrupts)?;
        let launched = server.as_ref().map(|_| now);
        Ok(Running { line, spec, session, server, launched })
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        Arm::BOTH.into_iter().for_each(|arm| self.stop(arm));
    }
}

/// Whether both servers may run at once: we start one of them at most, or `--keep` says that they fit on the machine.
pub(super) fn may_both_run(args: &AbArgs) -> bool {
    let ours = |source: &Source| matches!(source, Source::Command(_));
    args.keep || !(ours(&args.a) && ours(&args.b))
}

/// Returns the source of this side's server.
pub(super) fn source(args: &AbArgs, arm: Arm) -> &Source {
    match arm {
        Arm::A => &args.a,
        Arm::B => &args.b,
    }
}

/// Empties the prefix cache, so that no block finds the prompts of another. With `--reset-prefix-cache` the run does
/// this itself, and fails if it cannot.
fn empty_cache(running: &Running, arm: Arm, stubborn: &mut bool) {
    if *stubborn || running.line.args.load.reset_prefix_cache {
        return;
    }
    if let Ok(Err(error)) = running.session.session.try_empty_cache() {
        *stubborn = true;
        print_stderr(format_args!(
            "note: {arm} does not reset its prefix cache between blocks ({error}); each pair of blocks still has its own prompts"
        ));
    }
}
