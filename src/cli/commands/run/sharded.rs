//! Runs that several clients send: this process sends its share, and shard 0 reports the whole.

use std::num::NonZeroUsize;

use super::local_shards::LocalShards;
use super::{meeting, meeting_tls};
use crate::cli::args::{RunArgs, ShardChoice};
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::to_spec;
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use crate::model::step_load::StepLoad;
use crate::runner::Membership;
use crate::shards::{Coordinator, Member, RunIdentity, launcher_shard};

/// The shard of this process; `None` for a run of one client.
fn shard_of(args: &RunArgs) -> Result<Option<Shard>, CliError> {
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

/// How this process takes part in the runs of several clients.
pub(super) enum Party {
    /// It is shard 0. The others of `--local-shards` end after it.
    First { coordinator: Box<Coordinator>, _processes: LocalShards },
    /// It is another shard.
    Other(Box<Member>),
}

impl Party {
    /// Listens for the other clients, or joins the first one; `None` for runs of one client.
    pub(super) fn meet(
        args: &RunArgs,
        spec: &Spec,
        interrupts: &InterruptSignal,
    ) -> Result<Option<Self>, CliError> {
        let Some(shard) = shard_of(args)? else { return Ok(None) };
        check(args, spec, shard)?;
        let rendezvous = meeting::rendezvous(&args.shards)?;
        let limits = (args.shards.shard_timeout, interrupts.stop_handle());
        if shard.index() > 0 {
            let member = Member::join(rendezvous, shard, meeting_tls::of_other(&args.shards)?, limits);
            let mut member = member.map_err(|error| {
                CliError::failed(format!("cannot join the run: {}", meeting_tls::with_advice(&error)))
            })?;
            if args.shards.local_shards.is_some() {
                member.set_child();
            }
            return Ok(Some(Self::Other(Box::new(member))));
        }
        meeting::check_token(&rendezvous)?;
        let (address, tls) = (rendezvous.address.clone(), meeting_tls::of_first(&args.shards)?);
        let scheme = if tls.is_some() { "https://" } else { "" };
        let mut coordinator = Coordinator::listen(rendezvous, shard, tls, limits).map_err(|error| {
            CliError::usage(format!("--rendezvous {address}: cannot listen there: {error}"))
        })?;
        if args.shards.local_shards.is_some() {
            coordinator.expect_one_host();
        } else {
            let address = coordinator.address();
            print_stderr(format_args!("shard {shard} waits for the others at {scheme}{address}"));
        }
        let processes = LocalShards::start(args, &coordinator)?;
        Ok(Some(Self::First { coordinator: Box::new(coordinator), _processes: processes }))
    }

    /// Sets what all clients must have been asked for: the Spec, and the model of the second server if there is one.
    pub(super) fn require_equal(&mut self, spec: &Spec, second: Option<&Spec>) {
        let mut identity = RunIdentity::from_spec(spec);
        if let Some(second) = second {
            identity.add("model of the second server", &second.target.model);
        }
        match self {
            Self::First { coordinator, .. } => coordinator.set_identity(identity),
            Self::Other(member) => member.set_identity(identity),
        }
    }

    /// What the runner needs.
    pub(super) fn membership(&self) -> &dyn Membership {
        match self {
            Self::First { coordinator, .. } => &**coordinator,
            Self::Other(member) => &**member,
        }
    }

    /// This process, if it follows shard 0.
    pub(super) fn follower(&self) -> Option<&Member> {
        match self {
            Self::First { .. } => None,
            Self::Other(member) => Some(member),
        }
    }

    /// The flags of this shard: only shard 0 asks the server for its metrics, resets its cache, and profiles it.
    pub(super) fn own_args(&self, args: &RunArgs) -> RunArgs {
        let mut own = args.clone();
        if self.follower().is_some() {
            own.server.no_server_metrics = true;
            own.load.reset_prefix_cache = false;
            (own.measure.profile, own.measure.profile_after, own.measure.profile_batch_threshold) =
                (false, None, None);
            own.publish.metrics_listen = None;
            own.publish.push_metrics = None;
        }
        own
    }
}

/// Refuses what several clients cannot do together.
pub(crate) fn check(args: &RunArgs, spec: &Spec, shard: Shard) -> Result<(), CliError> {
    let refuse = |what: &str| Err(CliError::usage(format!("--shard: {what}")));
    if args.target.sim {
        return refuse(
            "each process would have a simulator of its own; start `servegauge sim` and give its --base-url",
        );
    }
    if args.workload.dry_run {
        return refuse("a dry run sends nothing; leave --shard out");
    }
    meeting_tls::check(&args.shards, shard)?;
    let ladder = to_spec::ladder(args, spec).map_err(CliError::usage)?;
    let steps = ladder.iter().flat_map(|plan| &plan.loads);
    let caps = steps.filter_map(|load| match load {
        StepLoad::Concurrency(cap) => Some(*cap),
        StepLoad::Rate(_) => None,
    });
    let limits = [spec.load.max_concurrency, spec.load.max_active_sessions].into_iter().flatten();
    match limits.chain(caps).find(|limit| limit.get() < shard.count()) {
        Some(limit) => refuse(&format!(
            "a limit of {limit} requests or sessions cannot be split into {} shards; each needs one",
            shard.count()
        )),
        None => Ok(()),
    }
}
