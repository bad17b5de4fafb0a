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
use crate::model::record_log::{ClientLog, LoggedRecords, RecordLogError, RecordLogSummary, RunShare};
use crate::model::run::Run;
use crate::model::run_records::{MANY_REQUESTS, RunRecords};
use crate::model::validity::{RunDiagnostics, ScheduleFold, ShardDiagnostics};
use crate::model::wall_time::WallTime;

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

/// Reads a run from its record logs: one, or one of each client that sent a share of it, in any order.
///
/// # Errors
/// If a log cannot be read, if the logs are not of one run, or if they contain no measured request.
pub(crate) fn recover(paths: &[PathBuf]) -> Result<Recovered, Error> {
    let mut parts = paths.iter().map(|path| ClientPart::read(path)).collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(ClientPart::index);
    check_one_run(&parts)?;
    merge(parts, MANY_REQUESTS)
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

    /// When the measured load began, on the first client's clock, in nanoseconds since the Unix epoch.
    fn common_t0(&self) -> Option<i128> {
        let ahead = self.share().and_then(|share| share.clock).map_or(0, |clock| clock.ahead_ns);
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

    /// The 99th percentile of the lag that the client itself caused.
    fn own_lag(&self) -> Result<Option<Duration>, Error> {
        let mut schedule = ScheduleFold::default();
        self.for_each(&mut |record| schedule.add(&record))?;
        Ok(schedule.own_lag())
    }

    fn for_each(&self, take: &mut dyn FnMut(Record)) -> Result<(), Error> {
        self.log.for_each(take).map_err(|error| unreadable(self.path.clone(), error))
    }
}

/// Merges the parts of a run, in the order of the shards.
fn merge(mut parts: Vec<ClientPart>, limit: usize) -> Result<Recovered, Error> {
    let mut lost: Vec<String> = parts.iter().filter_map(|part| what_is_lost(&part.summary)).collect();
    lost.extend(missing_shards(&parts));
    let is_observed = parts.iter().all(|part| part.observed.is_some());
    let shards = shard_diagnostics(&parts)?;
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
    let records = RunRecords::read(logs, limit).map_err(unread)?;
    if records.is_empty() {
        return Err(Error::EmptyRecordLog);
    }
    observed.shards = shards;
    observed.client.client_errors.extend(lost.iter().cloned());
    // If a client was killed before it wrote what it had observed, those checks are not judged.
    let diagnostics =
        (!is_observed).then(|| RunDiagnostics { client_errors: lost.clone(), ..RunDiagnostics::default() });
    let measured = MeasuredRun { records, observed, details: None, diagnostics };
    let (run, records) = assemble(header, measured).map_err(unread)?;
    Ok(Recovered { run, records, lost })
}

/// What the verdict needs of each client; empty for a run of one client.
fn shard_diagnostics(parts: &[ClientPart]) -> Result<Vec<ShardDiagnostics>, Error> {
    if parts.len() < 2 {
        return Ok(Vec::new());
    }
    let has_schedule = parts.iter().all(|part| !part.summary.header.spec.load.is_closed_loop());
    let earliest = parts.iter().filter_map(ClientPart::common_t0).min().filter(|_| has_schedule);
    let of_part = |part: &ClientPart| {
        let later = part.common_t0().zip(earliest).map(|(t0, earliest)| t0 - earliest);
        let clock = part.share().and_then(|share| share.clock);
        Ok(ShardDiagnostics {
            index: part.index(),
            start: later.map(|later| Duration::from_nanos(u64::try_from(later).unwrap_or(u64::MAX))),
            clock_doubt: clock.map(|clock| Duration::from_nanos(clock.doubt_ns)),
            lag: part.own_lag()?,
        })
    };
    parts.iter().map(of_part).collect()
}

/// Checks whether the parts, in the order of the shards, are of one run, and each of another client.
fn check_one_run(parts: &[ClientPart]) -> Result<(), Error> {
    let Some((first, others)) = parts.split_first() else { return Ok(()) };
    for (before, part) in parts.iter().zip(others) {
        let why = match (part.share(), first.share()) {
            (Some(share), Some(of_first)) if share.run != of_first.run => "it is of another run than",
            (Some(share), Some(of_first)) if share.shard.count() != of_first.shard.count() => {
                "it has another number of shards than"
            }
            (Some(_), Some(_)) if part.summary.header.inputs != first.summary.header.inputs => {
                "it has other prompts than"
            }
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

/// What is missing of a run that was killed; `None` for a run that ended normally.
fn what_is_lost(log: &RecordLogSummary) -> Option<String> {
    if log.ended.is_some() {
        return None;
    }
    let at = log.mark.map_or(Duration::ZERO, |mark| mark.at).as_secs_f64();
    let sent = log.mark.map_or(0, |mark| mark.sent);
    let (kept, missing) = (log.records, log.missing_requests());
    let cut = match log.lost_bytes {
        0 => String::new(),
        bytes => format!("; the last {bytes} bytes of its record log are cut or damaged"),
    };
    Some(format!(
        "the client was killed {at:.1} s or a little more after t0: {kept} requests had ended and are kept, {missing} of \
         the {sent} sent by then were in flight or ended too late to be written{cut}"
    ))
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
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::model::record_log::{ClockOffset, RecordLogHeader, RecordLogWriter, Spool};
    use crate::model::run_spec::Spec;
    use crate::model::shard::Shard;
    use crate::model::validity::{CheckName, CheckOutcome};
    use crate::testing::queue::{self, Queue};
    use crate::testing::sample_run;

    const T0: WallTime = WallTime { unix_ns: 1_764_426_428_123_456_789, doubt_ns: 70 };

    fn header(spec: &Spec, share: Option<RunShare>) -> RecordLogHeader {
        RecordLogHeader { spec: spec.clone(), server_version: None, share, ..sample_run::log_header() }
    }

    /// The part of a client that sent these requests.
    fn part(spec: &Spec, share: Option<RunShare>, records: &[Record]) -> ClientPart {
        let mut stream_stats = StreamStats::default();
        records.iter().for_each(|record| add_gaps(&mut stream_stats, record));
        let client = ClientObservations { stream_stats, ..ClientObservations::new(T0) };
        let mut writer = RecordLogWriter::new(Spool::in_memory(), &header(spec, share)).unwrap();
        writer.write_start(T0).unwrap();
        for record in records {
            writer.write_record(record).unwrap();
        }
        writer.write_end(false).unwrap();
        let (summary, log) = ClientLog::from_spool(writer.into_spool()).unwrap();
        let observed = Some(RunObservations::of_client(client));
        ClientPart { path: "a.reclog".into(), summary, log, observed }
    }

    fn share(index: usize, count: usize) -> RunShare {
        let shard = Shard::new(index, NonZeroUsize::new(count).unwrap()).unwrap();
        RunShare { shard, run: Uuid::from_u128(7), host: format!("node{index}"), clock: None }
    }

    /// The parts of a run that `count` clients sent.
    fn parts(spec: &Spec, records: &[Record], count: usize) -> Vec<ClientPart> {
        let of = |index: usize| -> Vec<Record> {
            records.iter().filter(|record| record.ordinal % count == index).cloned().collect()
        };
        (0..count).map(|index| part(spec, Some(share(index, count)), &of(index))).collect()
    }

    fn records(n: usize) -> Vec<Record> {
        let mut records = Queue::default().open(n, 18.0);
        for record in &mut records {
            let gap = Duration::from_micros(7_000 + 13 * record.ordinal as u64);
            record.events.gaps = Some(std::iter::repeat_n(gap, record.ordinal % 5 + 1).collect());
        }
        records
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn the_merged_run_is_that_of_one_client(count in 1..17_usize, rotation in 0..16_usize) {
            let spec = queue::spec(queue::open_load(18.0));
            let records = records(120);
            let alone = merge(vec![part(&spec, None, &records)], MANY_REQUESTS).unwrap();
            let mut parts = parts(&spec, &records, count);
            parts.rotate_left(rotation % count);
            parts.sort_by_key(ClientPart::index);
            prop_assert!(check_one_run(&parts).is_ok());
            let together = merge(parts, MANY_REQUESTS).unwrap();
            prop_assert_eq!(together.lost, Vec::<String>::new());
            prop_assert_eq!(together.records.sample(), alone.records.sample());
            let json = |mut run: Run| {
                run.environment.host = String::new();
                serde_json::to_string(&run).unwrap()
            };
            let names = |run: &Run| run.validity.checks.iter().map(|check| check.name).collect::<Vec<_>>();
            let of_shards = [CheckName::ShardLag, CheckName::StartSkew];
            prop_assert_eq!(count > 1, of_shards.iter().all(|name| names(&together.run).contains(name)));
            let mut together = together.run;
            together.validity.checks.retain(|check| !of_shards.contains(&check.name));
            prop_assert_eq!(json(together), json(alone.run));
        }
    }

    #[test]
    fn a_missing_client_makes_the_run_invalid_and_its_share_is_named() {
        let spec = queue::spec(queue::open_load(18.0));
        let mut parts = parts(&spec, &records(40), 4);
        parts.remove(2);
        let merged = merge(parts, MANY_REQUESTS).unwrap();
        assert_eq!(merged.lost, ["of 4 shards, 2 left no record log: 25 % of the load was not measured"]);
        assert!(!merged.run.validity.valid);
        assert_eq!(merged.run.metrics.completed, 30);
    }

    #[test]
    fn shards_that_begin_apart_or_whose_clocks_are_not_related_are_invalid() {
        let spec = queue::spec(queue::open_load(18.0));
        let outcomes = |later_ns: u64, doubt_ns: u64| {
            let mut parts = parts(&spec, &records(40), 2);
            parts[1].summary.t0 = Some(WallTime { unix_ns: T0.unix_ns + later_ns, ..T0 });
            parts[1].summary.header.share.as_mut().unwrap().clock =
                Some(ClockOffset { ahead_ns: 0, doubt_ns });
            let run = merge(parts, MANY_REQUESTS).unwrap().run;
            [CheckName::StartSkew, CheckName::ClockUncertainty]
                .map(|name| run.validity.checks.iter().find(|check| check.name == name).unwrap().outcome)
        };
        assert_eq!(outcomes(20_000, 30_000), [CheckOutcome::Passed; 2]);
        assert_eq!(outcomes(20_000_000, 0), [CheckOutcome::Warning, CheckOutcome::Passed]);
        assert_eq!(outcomes(900_000_000, 900_000_000), [CheckOutcome::Invalid; 2]);
    }

    #[test]
    fn logs_of_two_runs_and_two_logs_of_one_client_are_refused() {
        let spec = queue::spec(queue::open_load(18.0));
        let error = |change: fn(&mut ClientPart)| {
            let mut parts = parts(&spec, &records(20), 2);
            change(&mut parts[1]);
            parts.sort_by_key(ClientPart::index);
            check_one_run(&parts).unwrap_err().to_string()
        };
        let other_run = error(|part| part.summary.header.share.as_mut().unwrap().run = Uuid::from_u128(8));
        assert!(other_run.contains("another run than a.reclog"), "{other_run}");
        let twice = error(|part| part.summary.header.share = Some(share(0, 2)));
        assert!(twice.contains("of the same shard as"), "{twice}");
        let alone = error(|part| part.summary.header.share = None);
        assert!(alone.contains("one client sent a whole run"), "{alone}");
        let prompts = error(|part| part.summary.header.inputs.prompts = None);
        assert!(prompts.contains("other prompts than"), "{prompts}");
    }

    #[test]
    fn clients_without_a_schedule_meet_on_one_axis_by_their_clocks() {
        let spec = queue::spec(queue::closed_load(4));
        let records = Queue::default().closed(20, 4);
        let mut parts = parts(&spec, &records, 2);
        // Its load began 250 ms later, and its wall clock is an hour ahead.
        let hour = 3_600_000_000_000;
        parts[1].summary.t0 = Some(WallTime { unix_ns: T0.unix_ns + hour + 250_000_000, ..T0 });
        let clock = ClockOffset { ahead_ns: hour as i64, doubt_ns: 1000 };
        parts[1].summary.header.share.as_mut().unwrap().clock = Some(clock);
        let merged = merge(parts, MANY_REQUESTS).unwrap();
        for (merged, record) in merged.records.sample().iter().zip(&records) {
            let later = Duration::from_millis(250) * (record.ordinal as u32 % 2);
            assert_eq!(merged.times.sent(), record.times.sent().map(|at| at + later));
            assert_eq!(merged.ttft(), record.ttft());
        }
    }
}
