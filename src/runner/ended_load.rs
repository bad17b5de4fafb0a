//! The load of a run, from the last check of the server to the end of the last request.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::sync::watch;
use tracing::info;

use super::assemble::{MeasuredRun, assemble};
use super::diagnostics::{PrefixCacheReadings, RunObservations, WorkloadComparison};
use super::error::Error;
use super::event::{Event, Warning};
use super::measure::{MeasureObservers, Measurement, PlannedLoad, StopEarly};
use super::measured_records::{MeasuredRecords, unreadable};
use super::membership::Membership;
use super::options::{Invocation, RecordDetail};
use super::prepared_run::{PreparedRun, Runner};
use super::profiler::{Profiler, RunStart};
use super::record_log::{self, LogFile, LogUse, RecordLog};
use super::redact;
use super::scraper::Scraper;
use crate::loadgen::{LoadResult, LoadShare, StartSignal};
use crate::model::record_log::{PackedRecords, RecordLogHeader, RunShare};
use crate::model::run::Run;
use crate::model::run_records::RunRecords;
use crate::model::secrets;
use crate::model::server::ServerMetrics;

/// A load that has ended, before a Run is made of it.
pub(super) struct EndedLoad {
    header: RecordLogHeader,
    records: MeasuredRecords,
    /// What the client observed besides the Records.
    pub observed: RunObservations,
    /// The record log, for messages.
    path: PathBuf,
}

impl EndedLoad {
    /// Ends the record log. Returns the number of Records.
    pub(super) fn end_log(self) -> usize {
        self.records.end_log(&self.observed, self.observed.client.interrupted)
    }

    /// Makes the Run, with at most `most_records` Records in memory.
    ///
    /// # Errors
    /// If the record log cannot be read.
    pub(super) fn assemble(self, most_records: Option<usize>) -> Result<(Run, RunRecords), Error> {
        let Self { header, records, observed, path } = self;
        let limit = most_records.unwrap_or(usize::MAX);
        let (records, details) = records.finish(&observed, observed.client.interrupted, limit)?;
        assemble(header, MeasuredRun { records, observed, details, diagnostics: None })
            .map_err(|error| unreadable(path, error))
    }
}

impl Runner<'_> {
    /// Sends the requests of a prepared run. `record_log` is the invocation's, or a temporary one.
    ///
    /// # Errors
    /// If the server is not ready in time, or if no measured request has ended.
    pub(super) fn send(
        &self,
        prepared: PreparedRun,
        (invocation, record_log): (&Invocation, Option<&LogFile>),
        observe: StopEarly<'_>,
    ) -> Result<EndedLoad, Error> {
        let (options, session) = (self.options(), self.session());
        let detail = if record_log.is_some() { options.detail.logged() } else { options.detail };
        let start = || self.wait_for_start(&prepared, record_log);
        let measurement = Measurement {
            spec: &prepared.spec,
            session,
            detail,
            most_records: self.most_records(&prepared, record_log, detail),
            keep_going: options.keep_going,
            salter: prepared.salter.as_ref(),
            share: self.load_share(&start),
            membership: self.membership(),
        };
        info!("waiting for the server to answer a small request");
        measurement.wait_until_ready(options.ready_timeout)?;
        if options.reset_prefix_cache {
            session.reset_prefix_cache()?;
        }
        let before = session.runtime().block_on(session.prefix_cache());
        let schedule = measurement.arrivals(&prepared.workload, &mut prepared.dice.clone())?;
        let shard = measurement.share.shard;
        let workload = WorkloadComparison::of_prompts(&prepared.spec, &prepared.workload, shard)?;
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
        let mut records = MeasuredRecords::new(std::mem::take(&mut outcome.records), log);
        let workload = self.compare(workload, &prepared, &mut outcome, &mut records);
        let workload = workload.map_err(|error| unreadable(path.clone(), error))?;
        let client = outcome.observed;
        let server = recorder.map(|recorder| ServerMetrics {
            warmup: client.warmup.sent,
            ..recorder.finish(client.t0.timestamp())
        });
        let observed = RunObservations {
            client,
            workload,
            cache: PrefixCacheReadings { before, after }.moves(),
            probes,
            profile,
            server,
            unread_metrics,
            clocks: self.membership().and_then(Membership::clocks),
            shards: Vec::new(),
        };
        Ok(EndedLoad { header, records, observed, path })
    }

    /// The instant at which the load begins: when all clients of the run are ready, if there are several.
    fn wait_for_start(&self, prepared: &PreparedRun, log: Option<&LogFile>) -> Result<Instant, String> {
        let Some(membership) = self.membership() else { return Ok(Instant::now()) };
        let log = log.map_or_else(|| Path::new(""), LogFile::path);
        let warn = |sentence| self.session().emit(&Event::Warning(Warning::Shards(sentence)));
        let start = membership.wait_for_start(&prepared.inputs, log, &warn)?;
        membership.remarks().into_iter().for_each(warn);
        Ok(start)
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
        let late = self.session().count_answers(outcome, &mut |take| records.for_each(take))?;
        records.replace_counts(late);
        workload.with_records(&prepared.spec, &prepared.workload, &mut |take| records.for_each(take))
    }

    /// The number of Records above which only the record log has them; `None` if they stay in memory, because they have
    /// details or the run has no such log.
    fn most_records(
        &self,
        prepared: &PreparedRun,
        log: Option<&LogFile>,
        detail: RecordDetail,
    ) -> Option<usize> {
        let limit = self.options().most_records.filter(|_| detail.fits_in_log())?;
        let load = &prepared.spec.load;
        let may_be_more = load.cycle || load.duration.is_some() || prepared.requests().0.len() > limit;
        (log.is_some() || may_be_more).then_some(limit)
    }

    /// Starts the record log: the user's, or a temporary one for a run whose Records may be too many for memory.
    fn begin_log(
        &self,
        file: Option<&LogFile>,
        header: &RecordLogHeader,
        detail: RecordDetail,
        most_records: Option<usize>,
    ) -> Option<RecordLog> {
        let observer = self.session().observer().clone();
        let used_for = match most_records {
            Some(_) => LogUse::Records,
            None if detail.in_log => LogUse::Details,
            None => LogUse::Nothing,
        };
        match file {
            Some(file) => Some(RecordLog::begin(file, header, used_for, observer)),
            None => most_records.map(|limit| RecordLog::temporary(header, limit, observer)),
        }
    }

    /// This client's share of the load, which begins when `start` says.
    fn load_share<'s>(&self, start: StartSignal<'s>) -> LoadShare<'s> {
        let Some(membership) = self.membership() else { return LoadShare::default() };
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
            notes: redact::notes(self.options().notes.clone()),
            selection: self.options().selection.clone(),
            inputs: prepared.inputs.clone(),
            server_version: self.session().server_version().map(ToOwned::to_owned),
            share: self.membership().map(Membership::share),
        }
    }
}
