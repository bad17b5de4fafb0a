//! Prepares and measures runs on a session.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::info;
use uuid::Uuid;

use super::assemble::{MeasuredRun, assemble};
use super::diagnostics::{PrefixCacheReadings, RunObservations, WorkloadComparison};
use super::error::Error;
use super::event::{Event, Warning};
use super::measure::{MeasureObservers, Measurement, PlannedLoad, StopEarly};
use super::measured_records::{MeasuredRecords, unreadable};
use super::membership::Membership;
use super::options::{Invocation, RecordDetail, RunOptions};
use super::profiler::{Profiler, RunStart};
use super::record_log::{self, LogFile, LogUse, RecordLog};
use super::scraper::Scraper;
use super::session::Session;
use super::shared_run::{check_split, merge_logs, temporary_log};
use super::{prepare, redact};
use crate::dataset::requests::RequestRange;
use crate::dataset::salt::PromptSalter;
use crate::dataset::{PreparedWorkload, fingerprint, sessions};
use crate::loadgen::{LoadResult, LoadShare, StartSignal};
use crate::model::record_log::{PackedRecords, RecordLogHeader, RunShare};
use crate::model::rng::RunRng;
use crate::model::run::{Run, RunInputs};
use crate::model::run_records::RunRecords;
use crate::model::run_spec::{Dataset, Spec, Target};
use crate::model::secrets;
use crate::model::server::ServerMetrics;

/// Prepares and measures runs on one session, all with the same options.
pub(crate) struct Runner<'a> {
    session: &'a Session,
    options: &'a RunOptions,
    membership: Option<&'a dyn Membership>,
}

/// A prepared run, before its first request is sent.
pub(crate) struct PreparedRun {
    /// The Spec of the run, with everything that the session and the preparation resolved.
    pub spec: Spec,
    /// The requests. Those of the warm-up are last.
    pub workload: PreparedWorkload,
    /// Where the requests came from.
    pub inputs: RunInputs,
    /// The RNG after the preparation. The arrivals are drawn from it next.
    dice: RunRng,
    /// Adds a unique prefix to each prompt.
    salter: Option<PromptSalter>,
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

    /// Returns the same requests at the same offsets for another server, or for the same one. Unique prompts get new
    /// prefixes.
    pub(crate) fn with_target(&self, target: Target) -> Self {
        let mut spec = Spec { target, ..self.spec.clone() };
        let salter = self.salter.as_ref().zip(prepare::new_salt(&mut spec, Uuid::new_v4()));
        Self {
            salter: salter.map(|(salter, unique)| salter.for_run(unique)),
            spec,
            workload: self.workload.clone(),
            inputs: self.inputs.clone(),
            dice: self.dice.clone(),
        }
    }
}

impl<'a> Runner<'a> {
    /// Creates a runner on this session.
    pub(crate) fn new(session: &'a Session, options: &'a RunOptions) -> Self {
        Self { session, options, membership: None }
    }

    /// Returns a runner whose runs are shares of runs that several clients send.
    pub(crate) fn with_membership(self, membership: Option<&'a dyn Membership>) -> Self {
        Self { membership, ..self }
    }

    /// The session of the runs.
    pub(crate) fn session(&self) -> &'a Session {
        self.session
    }

    /// The options of the runs.
    pub(crate) fn options(&self) -> &'a RunOptions {
        self.options
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
            membership.begin_run(&spec);
        }
        let mut dice = RunRng::new(spec.rng, spec.seed);
        prepare::resolve_chat_template(&mut spec, session)?;
        let mut workload = prepare::workload(&mut spec, &mut dice, session)?;
        prepare::check(&spec, &workload)?;
        prepare::apply_user_behavior(&spec, &mut workload)?;
        let salter = prepare::salter(&mut spec, &mut workload, session, self.run_id())?;
        let inputs = RunInputs {
            dataset: workload.provenance.clone(),
            tokenizer: session.tokenizer().describe(),
            prompts: Some(fingerprint::request_digest(workload.requests.all())),
        };
        Ok(PreparedRun { spec, workload, inputs, dice, salter })
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
        let (options, session) = (self.options, self.session);
        let temporary = self.membership.filter(|_| invocation.record_log.is_none()).map(temporary_log);
        let record_log = temporary.as_ref().or(invocation.record_log.as_ref());
        let detail = if record_log.is_some() { options.detail.logged() } else { options.detail };
        let start = || match self.membership {
            Some(membership) => {
                let log = record_log.map(LogFile::path).unwrap_or_else(|| Path::new(""));
                let start = membership.wait_for_start(&prepared.inputs, log)?;
                let remarks = membership.remarks().into_iter().map(Warning::Shards);
                remarks.for_each(|remark| session.emit(&Event::Warning(remark)));
                Ok(start)
            }
            None => Ok(Instant::now()),
        };
        let measurement = Measurement {
            spec: &prepared.spec,
            session,
            detail,
            most_records: self.most_records(&prepared, invocation, detail),
            keep_going: options.keep_going,
            salter: prepared.salter.as_ref(),
            share: self.load_share(&start),
            membership: self.membership,
        };
        info!("waiting for the server to answer a small request");
        measurement.wait_until_ready(options.ready_timeout)?;
        if options.reset_prefix_cache {
            session.reset_prefix_cache()?;
        }
        let before = session.runtime().block_on(session.prefix_cache());
        let schedule = measurement.arrivals(&prepared.workload, &mut prepared.dice.clone())?;
        let workload = WorkloadComparison::of_prompts(&prepared.spec, &prepared.workload)?;
        let (requests, warmup) = prepared.requests();
        let (sender, in_flight) = watch::channel(None);
        let after_warm_up = !warmup.is_empty();
        let start = RunStart { in_flight: in_flight.clone(), after_warm_up };
        let target = &prepared.spec.target;
        let profiler = Profiler::start(options, target, session, start)?;
        session.emit(&Event::Phase(measurement.first_phase(requests, warmup)));
        let (scraper, unread_metrics) =
            Scraper::start(options, target, session, after_warm_up.then_some(in_flight))?;
        let command = secrets::mask_args(&invocation.command);
        let header = self.header(&prepared, &command, invocation);
        let mut log = self.begin_log(record_log, &header, detail, measurement.most_records);
        let load = PlannedLoad { requests, warmup, schedule };
        let own = &mut |event: &Event<'_>| log.iter_mut().for_each(|log| log.take(event));
        let observers = MeasureObservers { in_flight: sender, own, all: observe };
        let outcome = measurement.measure(load, observers);
        let (recorder, after) = session.runtime().block_on(async {
            let stop = async { Some(scraper?.stop().await) };
            tokio::join!(stop, session.prefix_cache())
        });
        let profile = profiler.map(|profiler| profiler.stop(session));
        // A run that measured nothing leaves no record log.
        let (mut outcome, probes) = outcome.inspect_err(|_| record_log::discard(record_log))?;
        let path = log.as_ref().map(|log| log.path().to_owned()).unwrap_or_default();
        let unread = |error| unreadable(path.clone(), error);
        let mut records = MeasuredRecords::new(std::mem::take(&mut outcome.records), log);
        let workload = self.compare(workload, &prepared, &mut outcome, &mut records).map_err(unread)?;
        let client = outcome.observed;
        let cache = PrefixCacheReadings { before, after };
        let server = recorder.map(|recorder| ServerMetrics {
            warmup: client.warmup.sent,
            ..recorder.finish(client.t0.timestamp())
        });
        let observed = RunObservations {
            client,
            workload,
            cache: cache.moves(),
            probes,
            profile,
            server,
            unread_metrics,
            clocks: self.membership.and_then(Membership::clocks),
            shards: Vec::new(),
        };
        // A run may have millions of requests, and memory does not suffice for the workload beside the unpacked Records.
        drop(prepared.workload);
        let shared = self.membership.zip(record_log);
        let interrupted = observed.client.interrupted;
        let limit = options.most_records.unwrap_or(usize::MAX);
        let (records, details) = records.finish(&observed, interrupted, limit)?;
        let merged = shared
            .map(|(membership, log)| merge_logs(membership, log, interrupted, session, options.most_records));
        let merged = merged.transpose()?;
        let (mut run, records) = match merged.flatten() {
            Some(merged) => merged,
            None => assemble(header, MeasuredRun { records, observed, details, diagnostics: None })
                .map_err(unread)?,
        };
        record_log::discard(temporary.as_ref());
        run.validity.name_settings(options.setting_names);
        if let Some(unread) = run.streams.unread_fields() {
            session.emit(&Event::Warning(Warning::UnreadOutput(unread)));
        }
        let reason = run.validity.reason();
        info!(valid = run.validity.valid, reason, completed = run.metrics.completed, "the run is assembled");
        Ok((run, records))
    }

    /// Lets the server count the answers that only it can count, since nothing is measured any more, and compares the
    /// Records with the workload.
    fn compare(
        &self,
        workload: WorkloadComparison,
        prepared: &PreparedRun,
        outcome: &mut LoadResult<PackedRecords>,
        records: &mut MeasuredRecords,
    ) -> io::Result<WorkloadComparison> {
        let late = self.session.count_answers(outcome, &mut |take| records.for_each(take))?;
        records.replace_counts(late);
        workload.with_records(&prepared.spec, &prepared.workload, &mut |take| records.for_each(take))
    }

    /// The number of Records above which only the record log has them; `None` if they stay in memory, because they have
    /// details or the run has no such log.
    fn most_records(
        &self,
        prepared: &PreparedRun,
        invocation: &Invocation,
        detail: RecordDetail,
    ) -> Option<usize> {
        let limit = self.options.most_records.filter(|_| detail.fits_in_log())?;
        let load = &prepared.spec.load;
        let may_be_more = load.cycle || load.duration.is_some() || prepared.requests().0.len() > limit;
        (invocation.record_log.is_some() || may_be_more).then_some(limit)
    }

    /// Starts the record log: the user's, or a temporary one for a run whose Records may be too many for memory.
    fn begin_log(
        &self,
        file: Option<&LogFile>,
        header: &RecordLogHeader,
        detail: RecordDetail,
        most_records: Option<usize>,
    ) -> Option<RecordLog> {
        let observer = self.session.observer().clone();
        let used_for = match most_records {
            Some(_) => LogUse::Records,
            None if detail.in_log => LogUse::Details,
            None => LogUse::Nothing,
        };
        match file {
            Some(file) => Some(RecordLog::begin(file, header, used_for, observer)),
            None => most_records.map(|_| RecordLog::temporary(header, observer)),
        }
    }

    /// What all clients of the run have in common.
    fn run_id(&self) -> Uuid {
        self.membership.map_or_else(Uuid::new_v4, |membership| membership.share().run)
    }

    /// This client's share of the load, which begins when `start` says.
    fn load_share<'s>(&self, start: StartSignal<'s>) -> LoadShare<'s> {
        let Some(membership) = self.membership else { return LoadShare::default() };
        let RunShare { shard, run, .. } = membership.share();
        LoadShare { shard, nonce: run, start: Some(start) }
    }

    /// The metadata of a run before it is measured, without secrets.
    fn header(&self, prepared: &PreparedRun, command: &[String], invocation: &Invocation) -> RecordLogHeader {
        RecordLogHeader {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_vec(),
            settings: invocation.settings.clone(),
            spec: redact::spec(&prepared.spec),
            notes: redact::notes(self.options.notes.clone()),
            selection: self.options.selection.clone(),
            inputs: prepared.inputs.clone(),
            server_version: self.session.server_version().map(ToOwned::to_owned),
            share: self.membership.map(Membership::share),
        }
    }
}
