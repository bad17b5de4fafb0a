//! Prepares and measures runs on a session.

use std::path::Path;
use std::time::Duration;

use tracing::info;
use uuid::Uuid;

use super::error::Error;
use super::event::{Event, Warning};
use super::measure::StopEarly;
use super::membership::Membership;
use super::options::{Invocation, RunOptions};
use super::prepare;
use super::record_log::{LogFile, discard as discard_log};
use super::session::Session;
use super::shared_run::{check_split, hand_over, merge_logs, temporary_log};
use super::shared_workload::SharedWorkload;
use crate::dataset::requests::RequestRange;
use crate::dataset::salt::PromptSalter;
use crate::dataset::{PreparedWorkload, sessions};
use crate::loadgen::LoadError;
use crate::model::rng::RunRng;
use crate::model::run::{Run, RunInputs};
use crate::model::run_records::RunRecords;
use crate::model::run_spec::{Dataset, Spec};
use crate::model::shard::Shard;

/// Prepares and measures runs on one session, all with the same options.
pub(crate) struct Runner<'a> {
    session: &'a Session,
    options: &'a RunOptions,
    membership: Option<&'a dyn Membership>,
    /// The index of the session's server among those that the clients of shared runs measure in turn.
    server: usize,
    copy_log: Option<&'a CopyLog>,
}

/// Begins to copy the record log of a shard of a run to another place while it grows. What it returns copies the rest of
/// the log when that has ended. An error says why nothing can be copied.
pub(crate) type CopyLog = dyn Fn(Uuid, Shard, &Path) -> Result<Box<dyn FnOnce()>, String> + Send + Sync;

/// A prepared run, before its first request is sent.
#[derive(Clone)]
pub(crate) struct PreparedRun {
    /// The Spec of the run, with everything that the session and the preparation resolved.
    pub spec: Spec,
    /// The requests. Those of the warm-up are last.
    pub workload: PreparedWorkload,
    /// Where the requests came from.
    pub inputs: RunInputs,
    /// The RNG after the preparation. The arrivals are drawn from it next.
    pub(super) dice: RunRng,
    /// Adds a unique prefix to each prompt.
    pub(super) salter: Option<PromptSalter>,
}

impl PreparedRun {
    /// The measured requests, and the requests of the warm-up.
    pub(crate) fn requests(&self) -> (RequestRange<'_>, RequestRange<'_>) {
        sessions::split_last(self.workload.requests.all(), self.spec.load.warmup_prompts())
    }

    /// The time between the first and the last measured arrival of a trace that is sent at its own times.
    pub(crate) fn trace_span(&self) -> Option<Duration> {
        let arrivals = self.workload.arrivals.as_ref()?;
        let last = self.spec.workload.num_prompts.checked_sub(1)?;
        arrivals.get(last).filter(|_| matches!(self.spec.workload.dataset, Dataset::Trace(_)))
    }
}

impl<'a> Runner<'a> {
    /// Creates a runner on this session.
    pub(crate) fn new(session: &'a Session, options: &'a RunOptions) -> Self {
        Self { session, options, membership: None, server: 0, copy_log: None }
    }

    /// Returns a runner whose runs are shares of runs that several clients send. `server` is the index of the session's
    /// server among those that they measure in turn.
    pub(crate) fn with_membership(self, membership: Option<&'a dyn Membership>, server: usize) -> Self {
        Self { membership, server, ..self }
    }

    /// Returns a runner that copies the record logs of its runs.
    pub(crate) fn with_copied_logs(self, copy_log: Option<&'a CopyLog>) -> Self {
        Self { copy_log, ..self }
    }

    /// The session of the runs.
    pub(crate) fn session(&self) -> &'a Session {
        self.session
    }

    /// The options of the runs.
    pub(crate) fn options(&self) -> &'a RunOptions {
        self.options
    }

    /// The membership in runs that several clients send.
    pub(super) fn membership(&self) -> Option<&'a dyn Membership> {
        self.membership
    }

    /// Prepares the requests of one run.
    ///
    /// # Errors
    /// If the dataset, the tokenizer or the protocol cannot provide them, or if a limit of the load cannot be split over
    /// the clients.
    pub(crate) fn prepare(&self, mut spec: Spec) -> Result<PreparedRun, Error> {
        let session = self.session;
        if let Some(membership) = self.membership {
            check_split(&spec, membership.share().shard)?;
            membership.begin_run(&spec, self.server);
        }
        prepare::resolve_chat_template(&mut spec, session)?;
        if let Some(prepared) = self.shared(&spec)? {
            return Ok(prepared);
        }
        let mut dice = RunRng::new(spec.rng, spec.seed);
        let mut workload = prepare::workload(&mut spec, &mut dice, session)?;
        let prompts = prepare::check(&spec, &workload)?;
        prepare::apply_user_behavior(&spec, &mut workload)?;
        let salter = prepare::salter(&mut spec, &mut workload, session, self.run_id())?;
        let inputs = RunInputs {
            dataset: workload.provenance.clone(),
            tokenizer: session.tokenizer().describe(),
            prompts: Some(prompts),
        };
        let prepared = PreparedRun { spec, workload, inputs, dice, salter };
        let PreparedRun { spec, workload, inputs, dice, .. } = &prepared;
        let shared = || SharedWorkload::of(spec, workload, inputs.prompts.as_ref(), dice);
        self.membership.iter().for_each(|first| first.offer_workload(&shared));
        Ok(prepared)
    }

    /// The requests of a run that the process that started this one has prepared; `None` if this one is to prepare them.
    fn shared(&self, spec: &Spec) -> Result<Option<PreparedRun>, Error> {
        let membership = self.membership.filter(|_| SharedWorkload::may_be_of(spec));
        let shared = membership.map(Membership::shared_workload).transpose();
        let shared = shared.map_err(|why| Error::Load(LoadError::NotStarted(why)))?.flatten();
        let mut spec = spec.clone();
        let opened = shared.map(|shared| shared.open(&mut spec)).transpose();
        let opened = opened.inspect_err(|error| info!(%error, "the requests are prepared here too"));
        Ok(opened.unwrap_or_default().map(|(workload, prompts)| PreparedRun {
            inputs: RunInputs {
                dataset: workload.provenance.clone(),
                tokenizer: self.session.tokenizer().describe(),
                prompts,
            },
            dice: RunRng::new(spec.rng, spec.seed),
            salter: None,
            workload,
            spec,
        }))
    }

    /// Prepares the requests of another prepared run for this runner's server, at the same offsets. Unique prompts get
    /// new prefixes.
    pub(crate) fn prepare_again(&self, prepared: PreparedRun) -> PreparedRun {
        let PreparedRun { mut spec, salter, .. } = prepared;
        spec.target = self.session.target().clone();
        if let Some(membership) = self.membership {
            membership.begin_run(&spec, self.server);
        }
        let salter = salter.zip(prepare::new_salt(&mut spec, self.run_id()));
        let salter = salter.map(|(salter, unique)| salter.for_run(unique));
        PreparedRun { spec, salter, ..prepared }
    }

    /// Prepares a run and measures it.
    ///
    /// # Errors
    /// The same as for [`Runner::prepare`] and [`Runner::measure`].
    pub(crate) fn run(&self, spec: Spec, invocation: &Invocation) -> Result<(Run, RunRecords), Error> {
        self.measure(self.prepare(spec)?, invocation, &mut |_, _| {})
    }

    /// Sends the requests of a prepared run and assembles the Run. `observe` receives the load's events on this thread,
    /// after the session's observer, and may end the run early. The Records are returned separately from the Run.
    ///
    /// # Errors
    /// If the server is not ready in time, or if no measured request has ended.
    pub(crate) fn measure(
        &self,
        prepared: PreparedRun,
        invocation: &Invocation,
        observe: StopEarly<'_>,
    ) -> Result<(Run, RunRecords), Error> {
        let temporary = self.temporary_log(invocation);
        let log = temporary.as_ref().or(invocation.record_log.as_ref());
        let end_copy = self.begin_copy(log)?;
        let ended = self.send(prepared, (invocation, log), observe)?;
        let (mut run, records) = match self.membership.zip(log) {
            Some((membership, log)) => {
                let interrupted = ended.observed.client.interrupted;
                ended.end_log();
                end_copy();
                merge_logs(membership, log, interrupted, (self.session, self.options.most_records))?
            }
            None => {
                let made = ended.assemble(self.options.most_records)?;
                end_copy();
                made
            }
        };
        discard_log(temporary.as_ref());
        run.validity.name_settings(self.options.setting_names);
        if let Some(unread) = run.streams.unread_fields() {
            self.session.emit(&Event::Warning(Warning::UnreadOutput(unread)));
        }
        let reason = run.validity.reason();
        info!(valid = run.validity.valid, reason, completed = run.metrics.completed, "the run is assembled");
        Ok((run, records))
    }

    /// Sends this client's share of a prepared run, and hands its record log to the first client, which makes the Run.
    /// Returns the number of requests that ended.
    ///
    /// # Errors
    /// The same as for [`Runner::measure`], or if the first client does not take the log.
    pub(crate) fn send_share(&self, prepared: PreparedRun, invocation: &Invocation) -> Result<usize, Error> {
        let temporary = self.temporary_log(invocation);
        let log = temporary.as_ref().or(invocation.record_log.as_ref());
        let end_copy = self.begin_copy(log)?;
        let ended = self.send(prepared, (invocation, log), &mut |_, _| {})?;
        let requests = ended.end_log();
        end_copy();
        if let Some((membership, log)) = self.membership.zip(log) {
            hand_over(membership, log)?;
        }
        discard_log(temporary.as_ref());
        Ok(requests)
    }

    /// The record log of a run that needs one although the user asked for none.
    fn temporary_log(&self, invocation: &Invocation) -> Option<LogFile> {
        let is_needed = self.membership.is_some() || self.copy_log.is_some();
        (is_needed && invocation.record_log.is_none()).then(|| match self.membership {
            Some(membership) => temporary_log(membership),
            None => LogFile::temporary(),
        })
    }

    /// Begins to copy a record log, if that is wanted. Returns what ends the copy.
    fn begin_copy(&self, log: Option<&LogFile>) -> Result<Box<dyn FnOnce()>, Error> {
        let Some((copy, log)) = self.copy_log.zip(log) else { return Ok(Box::new(|| ())) };
        let shard = self.membership.map_or(Shard::WHOLE, |membership| membership.share().shard);
        copy(self.run_id(), shard, log.path()).map_err(Error::RecordsNotCopied)
    }

    /// What all clients of the run have in common.
    fn run_id(&self) -> Uuid {
        self.membership.map_or_else(Uuid::new_v4, |membership| membership.share().run)
    }
}
