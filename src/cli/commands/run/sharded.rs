//! One run from several clients: this process sends its share, and shard 0 reports the whole.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::deliver::Delivery;
use super::local_shards::LocalShards;
use super::meeting;
use super::recover;
use super::session::RunSession;
use crate::cli::args::{RunArgs, ShardChoice};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::to_spec;
use crate::model::record_log::RunShare;
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use crate::runner::{Invocation, LogFile, Membership, PreparedRun, discard_log};
use crate::shards::{Coordinator, Member, ReceivedLogs, Rendezvous, RunIdentity, launcher_shard};

/// The shard of this process; `None` for a run of one client.
pub(super) fn shard_of(args: &RunArgs) -> Result<Option<Shard>, CliError> {
    let flags = &args.shards;
    let found = || launcher_shard(|name| std::env::var(name).ok()).map_err(CliError::usage);
    match (flags.shard, flags.local_shards) {
        (Some(ShardChoice::Given(shard)), _) => Ok(Some(shard).filter(|shard| !shard.is_whole())),
        (Some(ShardChoice::Auto), _) => match found()? {
            Some((shard, _)) => Ok(Some(shard)),
            None => Err(CliError::usage(
                "--shard auto: no launcher gave this process an index; `--shard 0/4` does, for the first of four",
            )),
        },
        (None, Some(count)) if count > NonZeroUsize::MIN => Ok(Shard::new(0, count)),
        (None, _) => {
            if let Ok(Some((shard, launcher))) = found() {
                print_stderr(format_args!(
                    "note: {launcher} runs {} of these processes, each a whole run; --shard auto makes them one",
                    shard.count()
                ));
            }
            Ok(None)
        }
    }
}

/// Sends this process's share of a run. Shard 0 reports the whole run.
pub(super) fn execute(
    args: &RunArgs,
    shard: Shard,
    mut invocation: Invocation,
    interrupts: &InterruptSignal,
) -> Result<ExitReason, CliError> {
    let mut spec = to_spec::spec(args).map_err(CliError::usage)?;
    check(args, &spec, shard)?;
    let delivery = Delivery::of(&args.output)?;
    let log = log_file(args, &spec, shard, &delivery)?;
    let mut party = Party::meet(args, shard, log.path(), interrupts)?;
    party.begin_beats(interrupts);
    let children = match &party {
        Party::First(coordinator) => Some(LocalShards::start(args, coordinator)?),
        Party::Other(_) => None,
    };
    let own = share_args(args, shard);
    let session = RunSession::connect(&own, &mut spec, delivery.keep(), interrupts)?;
    let stop = interrupts.stop_handle().clone();
    invocation.record_log = Some(log.clone());
    let measured = {
        let timeout = args.shards.shard_timeout;
        let wait = |prepared: &PreparedRun| {
            let start = party.wait_for_start(RunIdentity::from_prepared(prepared), timeout, interrupts);
            party.warn_of_shared_hosts(args);
            start
        };
        let membership = Membership { share: party.share().clone(), wait_for_start: &wait };
        let runner = session.runner().with_membership(&membership);
        runner.prepare(spec).and_then(|prepared| runner.measure(prepared, &invocation, &mut |_, _| {}))
    };
    session.close();
    let (_, records) = measured?;
    let ended = match party {
        Party::First(coordinator) => report_all(args, &coordinator, &log),
        Party::Other(member) => hand_over(member, &log, records.len()),
    };
    drop(children);
    Ok(if stop.is_requested() { ended.map(|_| ExitReason::Interrupted)? } else { ended? })
}

/// How this process takes part in the run.
enum Party {
    First(Coordinator),
    Other(Box<Member>),
}

impl Party {
    /// Listens for the other clients, or joins the first one.
    fn meet(
        args: &RunArgs,
        shard: Shard,
        log: &Path,
        interrupts: &InterruptSignal,
    ) -> Result<Self, CliError> {
        let rendezvous = meeting::rendezvous(&args.shards)?;
        if shard.index() == 0 {
            meeting::check_token(&rendezvous)?;
            let Rendezvous { address, token } = rendezvous;
            let coordinator = Coordinator::listen(&address, shard, token, log).map_err(|error| {
                CliError::usage(format!("--rendezvous {address}: cannot listen there: {error}"))
            })?;
            coordinator.stop_all_with(interrupts.stop_handle());
            if args.shards.local_shards.is_none() {
                print_stderr(format_args!("shard {shard} waits for the others at {}", coordinator.address()));
            }
            return Ok(Self::First(coordinator));
        }
        let timeout = args.shards.shard_timeout;
        let Rendezvous { address, token } = rendezvous;
        let member = Member::join(&address, shard, token, timeout, interrupts.stop_handle())
            .map_err(|error| CliError::failed(format!("cannot join the run: {error}")))?;
        Ok(Self::Other(Box::new(member)))
    }

    /// Tells shard 0 from now on that this client is alive.
    fn begin_beats(&mut self, interrupts: &InterruptSignal) {
        if let Self::Other(member) = self {
            member.begin_beats(interrupts.stop_handle().clone());
        }
    }

    fn share(&self) -> &RunShare {
        match self {
            Self::First(coordinator) => coordinator.share(),
            Self::Other(member) => member.share(),
        }
    }

    /// Warns of hosts from which several clients joined, unless they were asked for.
    fn warn_of_shared_hosts(&self, args: &RunArgs) {
        if let (Self::First(coordinator), None) = (self, args.shards.local_shards) {
            coordinator
                .shared_hosts()
                .iter()
                .for_each(|shared| print_stderr(format_args!("warning: {shared}")));
        }
    }

    fn wait_for_start(
        &self,
        identity: RunIdentity,
        timeout: Duration,
        interrupts: &InterruptSignal,
    ) -> Result<std::time::Instant, String> {
        let stop = interrupts.stop_handle();
        match self {
            Self::First(coordinator) => coordinator.wait_for_start(identity, timeout, stop),
            Self::Other(member) => member.wait_for_start(identity, timeout, stop),
        }
    }
}

/// Refuses what several clients cannot do together.
pub(crate) fn check(args: &RunArgs, spec: &Spec, shard: Shard) -> Result<(), CliError> {
    let refuse = |what: &str| Err(CliError::usage(format!("--shard: {what}")));
    if to_spec::ladder(args, spec).map_err(CliError::usage)?.is_some() || args.measure.repeats.get() > 1 {
        return refuse("several clients send one run, not a ladder or repeats");
    }
    if args.target.sim {
        return refuse(
            "each process would have a simulator of its own; start `servegauge sim` and give its --base-url",
        );
    }
    if args.workload.dry_run {
        return refuse("a dry run sends nothing; leave --shard out");
    }
    let limits = [spec.load.max_concurrency, spec.load.max_active_sessions];
    match limits.into_iter().flatten().find(|limit| limit.get() < shard.count()) {
        Some(limit) => refuse(&format!(
            "a limit of {limit} requests or sessions cannot be split into {} shards; each needs one",
            shard.count()
        )),
        None => Ok(()),
    }
}

/// The flags of one shard: only shard 0 asks the server for its metrics, resets its cache, and profiles it.
fn share_args(args: &RunArgs, shard: Shard) -> RunArgs {
    let mut own = args.clone();
    if shard.index() > 0 {
        own.server.no_server_metrics = true;
        own.load.reset_prefix_cache = false;
        (own.measure.profile, own.measure.profile_after, own.measure.profile_batch_threshold) =
            (false, None, None);
        own.publish.metrics_listen = None;
        own.publish.push_metrics = None;
    }
    own
}

/// The record log of this shard: what the merged Run is made from.
fn log_file(args: &RunArgs, spec: &Spec, shard: Shard, delivery: &Delivery) -> Result<LogFile, CliError> {
    let log = match delivery.record_log(&args.output, spec)? {
        Some(log) => log,
        None => LogFile::beside(&std::env::temp_dir().join("servegauge")),
    };
    Ok(if shard.index() > 0 { log.suffixed(&format!("shard{}", shard.index())) } else { log })
}

/// Waits for the logs of the other clients, and reports the run of all.
fn report_all(args: &RunArgs, coordinator: &Coordinator, log: &LogFile) -> Result<ExitReason, CliError> {
    let ReceivedLogs { files, lost } = coordinator.collect();
    lost.iter().for_each(|lost| print_stderr(format_args!("warning: {lost}")));
    let mut logs = vec![log.path().to_owned()];
    logs.extend(files.iter().cloned());
    let delivered = recover::deliver_logs(&logs, &args.output, args.measure.allow_invalid, false)?;
    if delivered.are_needed {
        return Ok(delivered.exit);
    }
    discard_log(Some(log));
    if args.output.record_log.is_none() {
        // The result has what the logs have.
        files.iter().for_each(|file| _ = std::fs::remove_file(file));
    }
    Ok(delivered.exit)
}

/// Gives this shard's log to shard 0. A log that shard 0 does not take stays, for `servegauge merge`.
fn hand_over(member: Box<Member>, log: &LogFile, requests: usize) -> Result<ExitReason, CliError> {
    let shard = member.share().shard;
    let path: PathBuf = log.path().to_owned();
    match member.send_log(&path) {
        Ok(()) => {
            discard_log(Some(log));
            print_stderr(format_args!("shard {shard}: {requests} requests ended; shard 0 has the report"));
            Ok(ExitReason::Success)
        }
        Err(error) => Err(CliError::invalid(format!(
            "shard {shard}: {error}; its {requests} requests are in {}: `servegauge merge` makes a result of the logs \
             of all shards",
            path.display()
        ))),
    }
}
