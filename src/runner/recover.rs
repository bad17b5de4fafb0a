//! Recovers a Run from the record log of a run that was killed.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::assemble::RunBuilder;
use super::error::Error;
use crate::client::request_timer::StreamStats;
use crate::loadgen::{LoadResult, TokenAgreement, UncountedAnswers, WarmupCount};
use crate::model::metrics;
use crate::model::record::Record;
use crate::model::record_log::{RecordLogContent, RecordLogError};
use crate::model::run::Run;
use crate::model::validity::{RunDiagnostics, TextClaims, TimestampSource};

/// A run that was killed, as recovered from its record log.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The Run. It is INVALID, unless the run had ended and its log was kept.
    pub run: Run,
    /// The requests that had ended.
    pub records: Vec<Record>,
    /// A sentence that says what is missing; `None` for a run that ended normally.
    pub lost: Option<String>,
}

/// Recovers a run from a record log.
///
/// # Errors
/// If the log cannot be read, or if it contains no measured request.
pub(crate) fn recover(path: &Path) -> Result<Recovered, Error> {
    let log = File::open(path).map_err(RecordLogError::from)?;
    let log = RecordLogContent::read(log)?;
    let (Some(t0), false) = (log.t0, log.records.is_empty()) else { return Err(Error::EmptyRecordLog) };
    let lost = what_is_lost(&log);
    let stream_stats = stream_stats(&log.records);
    let outcome = LoadResult {
        t0,
        records: log.records,
        stream_stats,
        timestamp_source: TimestampSource::Kernel,
        clock_step: Duration::ZERO,
        descriptors: None,
        agreement: TokenAgreement::default(),
        claims: TextClaims::default(),
        warmup: WarmupCount::default(),
        worker_cpu: Vec::new(),
        interrupted: log.ended != Some(false),
        client_errors: Vec::new(),
        setup_failure: None,
        uncounted: UncountedAnswers::default(),
    };
    let builder = RunBuilder {
        header: log.header,
        // A log does not contain what the client observed of itself and of the server, so those checks are not judged.
        diagnostics: RunDiagnostics {
            client_errors: lost.clone().into_iter().collect(),
            ..RunDiagnostics::default()
        },
        probes: None,
        profile: None,
        server: None,
        unread_metrics: Vec::new(),
        details: None,
    };
    let (run, records) = builder.build(outcome);
    Ok(Recovered { run, records, lost })
}

/// What is missing of a run that was killed; `None` for a run that ended normally.
fn what_is_lost(log: &RecordLogContent) -> Option<String> {
    if log.ended.is_some() {
        return None;
    }
    let at = log.mark.map_or(Duration::ZERO, |mark| mark.at).as_secs_f64();
    let sent = log.mark.map_or(0, |mark| mark.sent);
    let (kept, missing) = (log.records.len(), log.missing_requests());
    let cut = match log.lost_bytes {
        0 => String::new(),
        bytes => format!("; the last {bytes} bytes of its record log are cut or damaged"),
    };
    Some(format!(
        "the client was killed {at:.1} s or a little more after t0: {kept} requests had ended and are kept, {missing} of \
         the {sent} sent by then were in flight or ended too late to be written{cut}"
    ))
}

/// The statistics of the gaps, if the log has them.
fn stream_stats(records: &[Record]) -> StreamStats {
    let mut stream_stats = StreamStats::default();
    stream_stats.itl = metrics::gaps(records).collect();
    for record in records {
        let mut at = record.times.first_token().unwrap_or_default();
        for gap in record.events.gaps.iter().flatten() {
            at += gap;
            stream_stats.itl_by_second.record(at, gap);
        }
    }
    stream_stats
}
