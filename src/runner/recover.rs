//! Makes a Run from record logs: from that of a run that was killed, or from those of the clients that sent one run
//! together.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::assemble::{MeasuredRun, assemble};
use super::diagnostics::RunObservations;
use super::error::Error;
use super::measured_records::unreadable;
use crate::client::request_timer::StreamStats;
use crate::loadgen::ClientObservations;
use crate::model::metrics;
use crate::model::record::Record;
use crate::model::record_log::{
    ClientLog, ClockOffset, LoggedRecords, RecordLogError, RecordLogSummary, RunShare,
};
use crate::model::run::{Run, RunInputs};
use crate::model::run_records::RunRecords;
use crate::model::run_spec::WorkloadSpec;
use crate::model::validity::{RunDiagnostics, ScheduleFold, ShardDiagnostics};
use crate::model::wall_time::WallTime;

/// The number of requests that a message names.
const NAMED_REQUESTS: usize = 10;

/// A run, as read from its record logs.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The Run. It is INVALID if something of it is missing.
    pub run: Run,
    /// The requests that had ended.
    pub records: RunRecords,
    /// A sentence for each thing that is missing; empty for a run that ended normally.
    pub lost: Vec<String>,
}

/// Reads a run from its record logs: one, or one of each client that sent a share of it, in any order. At most
/// `most_records` Records are in memory; `None` keeps all, with their details.
///
/// # Errors
/// If a log cannot be read, if the logs are not of one run, or if they contain no measured request.
pub(crate) fn recover(paths: &[PathBuf], most_records: Option<usize>) -> Result<Recovered, Error> {
    let mut parts = paths.iter().map(|path| ClientPart::read(path)).collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(ClientPart::index);
    check_one_run(&parts)?;
    merge(parts, most_records.unwrap_or(usize::MAX))
}

/// One client's part of a run.
struct ClientPart {
    path: PathBuf,
    summary: RecordLogSummary,
    log: ClientLog,
    /// What the client observed besides its Records; `None` if it was killed before it wrote that.
    observed: Option<RunObservations>,
}

impl ClientPart {
    fn read(path: &Path) -> Result<Self, Error> {
        let in_log = |source| Error::RecordLog { path: path.to_owned(), source };
        let file = File::open(path).map_err(|error| in_log(RecordLogError::from(error)))?;
        let (summary, log) = ClientLog::read(file).map_err(in_log)?;
        let observed = summary.observed.as_deref().and_then(|json| serde_json::from_slice(json).ok());
        Ok(Self { path: path.to_owned(), summary, log, observed })
    }

    fn share(&self) -> Option<&RunShare> {
        self.summary.header.share.as_ref()
    }

    /// The index of the client's shard.
    fn index(&self) -> usize {
        self.share().map_or(0, |share| share.shard.index())
    }

    /// How the client's clocks relate to the first client's, measured as late as possible before the load.
    fn clock_before(&self) -> Option<ClockOffset> {
        let relation = self.observed.as_ref().and_then(|observed| observed.clocks);
        relation.map(|clocks| clocks.before).or(self.share()?.clock)
    }

    /// The largest error of the relation of the clocks: of the measurement before the load or after it, whichever is
    /// worse, and what one clock gained on the other in between.
    fn clock_doubt(&self) -> Option<Duration> {
        let clocks = self.observed.as_ref().and_then(|observed| observed.clocks);
        let doubt = clocks.map(|clocks| {
            let drift = u128::from(clocks.drift_ppb.unsigned_abs()) * u128::from(clocks.apart_ns);
            let drift = u64::try_from(drift / 1_000_000_000).unwrap_or(u64::MAX);
            clocks.before.doubt_ns.max(clocks.after.doubt_ns).saturating_add(drift)
        });
        doubt.or(self.clock_before().map(|clock| clock.doubt_ns)).map(Duration::from_nanos)
    }

    /// When the measured load began, on the first client's clock, in nanoseconds since the Unix epoch.
    fn common_t0(&self) -> Option<i128> {
        let ahead = self.clock_before().map_or(0, |clock| clock.ahead_ns);
        Some(i128::from(self.summary.t0?.unix_ns) - i128::from(ahead))
    }

    /// Shifts every time of the Records and observations.
    fn shift(&mut self, by: Duration) {
        self.log.shift(by);
        if let Some(observed) = &mut self.observed {
            let by_second = &mut observed.client.stream_stats.itl_by_second;
            *by_second = by_second.shifted(by);
        }
    }

    /// What the client observed, or what its Records still say of it.
    fn observations(&mut self, t0: WallTime) -> Result<RunObservations, Error> {
        if let Some(observed) = self.observed.take() {
            return Ok(observed);
        }
        let mut stream_stats = StreamStats::default();
        self.for_each(&mut |record| add_gaps(&mut stream_stats, &record))?;
        Ok(RunObservations::of_client(ClientObservations {
            stream_stats,
            interrupted: self.summary.ended != Some(false),
            ..ClientObservations::new(self.summary.t0.unwrap_or(t0))
        }))
    }

    /// What is missing of a client that was killed, or whose log did not arrive whole; `None` if it ended normally.
    fn what_is_lost(&self) -> Option<String> {
        let log = &self.summary;
        if log.ended.is_some() {
            return None;
        }
        let end = match self.share().filter(|share| !share.shard.is_whole()) {
            Some(share) => format!("the record log of shard {} on {} ends", share.shard.index(), share.host),
            None => "the client was killed".to_owned(),
        };
        let at = log.mark.map_or(Duration::ZERO, |mark| mark.at).as_secs_f64();
        let (kept, missing) = (log.records, log.missing_requests());
        // A request may end between the last mark and the end of the log.
        let sent = log.mark.map_or(0, |mark| mark.sent).max(kept);
        let cut = match log.lost_bytes {
            0 => String::new(),
            bytes => format!("; the last {bytes} bytes of its record log are cut or damaged"),
        };
        Some(format!(
            "{end} {at:.1} s or a little more after t0: {kept} requests had ended and are kept, {missing} of the {sent} sent \
             by then were in flight or ended too late to be written{cut}"
        ))
    }

    fn for_each(&self, take: &mut dyn FnMut(Record)) -> Result<(), Error> {
        self.log.for_each(take).map_err(|error| unreadable(self.path.clone(), error))
    }
}

/// Merges the parts of a run, in the order of the shards.
fn merge(mut parts: Vec<ClientPart>, limit: usize) -> Result<Recovered, Error> {
    let mut lost: Vec<String> = parts.iter().filter_map(ClientPart::what_is_lost).collect();
    lost.extend(missing_shards(&parts));
    lost.extend(cut_shards(&parts));
    if !lost.is_empty() {
        lost.extend(missing_requests(&parts)?);
    }
    let is_observed = parts.iter().all(|part| part.observed.is_some());
    let mut shards = shard_diagnostics(&parts);
    align(&mut parts);
    let t0 = parts.iter().find_map(|part| part.summary.t0).ok_or(Error::EmptyRecordLog)?;
    let observed = parts.iter_mut().map(|part| part.observations(t0)).reduce(|all, part| {
        let mut all = all?;
        all.merge(part?);
        Ok(all)
    });
    let (Some(observed), Some(first)) = (observed, parts.first()) else {
        return Err(Error::EmptyRecordLog);
    };
    let (mut observed, header, path) = (observed?, first.summary.header.clone(), first.path.clone());
    let unread = |error| unreadable(path.clone(), error);
    let logs = LoggedRecords::new(parts.into_iter().map(|part| part.log).collect());
    let mut lags: Vec<ScheduleFold> = shards.iter().map(|_| ScheduleFold::default()).collect();
    let mut note =
        |client: usize, record: &Record| lags.get_mut(client).into_iter().for_each(|lag| lag.add(record));
    let records = RunRecords::read(logs, limit, &mut note).map_err(unread)?;
    if records.is_empty() {
        return Err(Error::EmptyRecordLog);
    }
    shards.iter_mut().zip(&lags).for_each(|(shard, lag)| shard.lag = lag.own_lag());
    observed.shards = shards;
    observed.client.client_errors.extend(lost.iter().cloned());
    // If a client was killed before it wrote what it had observed, those checks are not judged.
    let diagnostics =
        (!is_observed).then(|| RunDiagnostics { client_errors: lost.clone(), ..RunDiagnostics::default() });
    let measured = MeasuredRun { records, observed, details: None, diagnostics };
    let (run, records) = assemble(header, measured).map_err(unread)?;
    Ok(Recovered { run, records, lost })
}

/// What the verdict needs of each client, without its lag, which its Records say; empty for a run of one client.
fn shard_diagnostics(parts: &[ClientPart]) -> Vec<ShardDiagnostics> {
    if parts.len() < 2 {
        return Vec::new();
    }
    let has_schedule = parts.iter().all(|part| !part.summary.header.spec.load.is_closed_loop());
    let earliest = parts.iter().filter_map(ClientPart::common_t0).min().filter(|_| has_schedule);
    let of_part = |part: &ClientPart| {
        let later = part.common_t0().zip(earliest).map(|(t0, earliest)| t0 - earliest);
        ShardDiagnostics {
            index: part.index(),
            start: later.map(|later| Duration::from_nanos(u64::try_from(later).unwrap_or(u64::MAX))),
            clock_doubt: part.clock_doubt(),
            lag: None,
        }
    };
    parts.iter().map(of_part).collect()
}

/// Checks whether the parts, in the order of the shards, are of one run, and each of another client.
fn check_one_run(parts: &[ClientPart]) -> Result<(), Error> {
    let Some((first, others)) = parts.split_first() else { return Ok(()) };
    let prompts = |part: &ClientPart| {
        // The tokenizer may be at another place in each client, as the server may.
        let RunInputs { dataset, tokenizer, prompts } = part.summary.header.inputs.clone();
        (dataset, tokenizer.sha256, prompts)
    };
    for (before, part) in parts.iter().zip(others) {
        let why = match (part.share(), first.share()) {
            (Some(share), Some(of_first)) if share.run != of_first.run => "it is of another run than",
            (Some(share), Some(of_first)) if share.shard.count() != of_first.shard.count() => {
                "it has another number of shards than"
            }
            (Some(_), Some(_)) if prompts(part) != prompts(first) => "it has other prompts than",
            (Some(_), Some(_)) if part.index() == before.index() => "it is a log of the same shard as",
            (Some(_), Some(_)) => continue,
            _ => "one client sent a whole run: it, or that of",
        };
        let why = format!("{why} {}", before.path.display());
        return Err(Error::NotOneRun { path: part.path.clone(), why });
    }
    Ok(())
}

/// The clients without a log, and the share of the load that they were to send; `None` if there are none.
fn missing_shards(parts: &[ClientPart]) -> Option<String> {
    let count = parts.first()?.share()?.shard.count();
    let has = |index: &usize| parts.iter().any(|part| part.index() == *index);
    let missing: Vec<String> =
        (0..count).filter(|index| !has(index)).map(|index| index.to_string()).collect();
    let share = 100.0 * missing.len() as f64 / count as f64;
    (!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        format!("of {count} shards, {missing} left no record log: {share:.0} % of the load was not measured")
    })
}

/// The clients whose share ended early although the run went on; `None` if there are none.
fn cut_shards(parts: &[ClientPart]) -> Option<String> {
    let goes_on = parts.first()?.summary.ended == Some(false);
    let cut: Vec<String> = parts
        .iter()
        .filter(|part| goes_on && part.summary.ended == Some(true))
        .map(|part| part.index().to_string())
        .collect();
    (!cut.is_empty()).then(|| format!("of the shards, {} stopped before the end of the run", cut.join(", ")))
}

/// The requests of shards without a whole log that were not measured, by their numbers; `None` if there are none, or if
/// the turns of sessions or a duration decide what is sent.
fn missing_requests(parts: &[ClientPart]) -> Result<Option<String>, Error> {
    let Some((header, count)) = parts.first().and_then(|part| {
        let header = &part.summary.header;
        Some((header, header.share.as_ref()?.shard.count()))
    }) else {
        return Ok(None);
    };
    let spec = &header.spec;
    let planned = spec.workload.num_prompts;
    if spec.workload.dataset.has_sessions() || spec.load.duration.is_some() || planned == WorkloadSpec::ALL {
        return Ok(None);
    }
    // A bit for each request: a run may have millions.
    let mut measured = vec![0_u64; planned.div_ceil(64)];
    let mut note = |ordinal: usize| {
        if let Some(word) = measured.get_mut(ordinal / 64) {
            *word |= 1 << (ordinal % 64);
        }
    };
    for part in parts {
        match part.summary.ended {
            Some(false) => (part.index()..planned).step_by(count).for_each(&mut note),
            _ => part.for_each(&mut |record| note(record.ordinal))?,
        }
    }
    let missing = || (0..planned).filter(|ordinal| measured[ordinal / 64] >> (ordinal % 64) & 1 == 0);
    let number = missing().count();
    let named =
        missing().take(NAMED_REQUESTS).map(|ordinal| ordinal.to_string()).collect::<Vec<_>>().join(", ");
    let more = if number > NAMED_REQUESTS { ", …" } else { "" };
    let share = 100.0 * number as f64 / planned as f64;
    Ok((number > 0).then(|| {
        format!("{number} of {planned} requests ({share:.1} %) were not measured: numbers {named}{more}")
    }))
}

/// Puts everything on the time axis of the client whose load began first. With a schedule, all clients have one t0, by
/// the common start. Without one, each has its own, and the offsets of their clocks relate them.
fn align(parts: &mut [ClientPart]) {
    if parts.iter().any(|part| !part.summary.header.spec.load.is_closed_loop()) {
        return;
    }
    let Some(earliest) = parts.iter().filter_map(ClientPart::common_t0).min() else { return };
    for part in parts {
        let later = part.common_t0().map_or(0, |t0| t0 - earliest);
        let later = Duration::from_nanos(u64::try_from(later).unwrap_or_default());
        if !later.is_zero() {
            part.shift(later);
        }
    }
}

/// Adds the gaps of a Record to the statistics of the gaps, if the log has them.
fn add_gaps(stream_stats: &mut StreamStats, record: &Record) {
    metrics::gaps(std::slice::from_ref(record)).for_each(|gap| stream_stats.itl.record(gap));
    let mut at = record.times.first_token().unwrap_or_default();
    for gap in record.events.gaps.iter().flatten() {
        at += gap;
        stream_stats.itl_by_second.record(at, gap);
    }
}

#[cfg(test)]
mod tests;
