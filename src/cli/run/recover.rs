//! `--recover`: from the record log of a run that was killed to its report and result.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::args::RunArgs;
use super::assemble::Assembly;
use super::deliver::Delivery;
use crate::cli::exit::{Exit, Halt, say};
use crate::core::metrics;
use crate::core::record::Record;
use crate::core::record_log::Log;
use crate::core::validity::{Evidence, Stamps};
use crate::drive::client::stopwatch::Meters;
use crate::drive::engine::{Agreement, Outcome, WarmupCount};

/// Reads the log, reports and saves. The result is INVALID, unless the run had ended and its log was kept.
pub fn recover(path: &Path, args: &RunArgs) -> Result<Exit, Halt> {
    let halt = |why: &dyn std::fmt::Display| Halt::usage(format!("--recover: {}: {why}", path.display()));
    let log = File::open(path).map_err(|error| halt(&error))?;
    let log = Log::read(log).map_err(|error| halt(&error))?;
    let (Some(t0), false) = (log.t0, log.records.is_empty()) else {
        return Err(halt(&"the run was killed before its first measured request had ended"));
    };
    let delivery = Delivery::recovered(&args.output, path)?;
    let lost = what_is_lost(&log);
    lost.iter().for_each(|lost| say(format_args!("warning: {lost}")));
    let meters = meters(&log.records);
    let outcome = Outcome {
        t0,
        records: log.records,
        meters,
        stamps: Stamps::Kernel,
        clock_step: Duration::ZERO,
        descriptors: None,
        agreement: Agreement::default(),
        warmup: WarmupCount::default(),
        efforts: Vec::new(),
        interrupted: log.ended != Some(false),
        client_errors: Vec::new(),
        wrong_setup: None,
    };
    let header = log.header;
    let assembly = Assembly {
        command: header.command,
        settings: header.settings,
        spec: header.spec,
        notes: header.notes,
        selection: header.selection,
        inputs: header.inputs,
        // What the client saw of itself and of the server is not in a log: those checks are not judged.
        evidence: Evidence { client_errors: lost.into_iter().collect(), ..Evidence::default() },
        probes: None,
        profile: None,
        server: None,
        server_version: header.server_version,
    };
    let (mut run, records) = assembly.run(outcome);
    delivery.deliver(&mut run, records)?;
    let is_believed = run.validity.valid || args.measure.allow_invalid;
    Ok(if is_believed { Exit::Fine } else { Exit::Invalid })
}

/// What the run's end took with it; `None` for a run that ended by itself.
fn what_is_lost(log: &Log) -> Option<String> {
    if log.ended.is_some() {
        return None;
    }
    let at = log.mark.map_or(Duration::ZERO, |mark| mark.at).as_secs_f64();
    let sent = log.mark.map_or(0, |mark| mark.sent);
    let (kept, missing) = (log.records.len(), log.missing());
    let cut = match log.lost_bytes {
        0 => String::new(),
        bytes => format!("; the last {bytes} bytes of its record log are cut or damaged"),
    };
    Some(format!(
        "the client was killed {at:.1} s or a little more after t0: {kept} requests had ended and are kept, {missing} of \
         the {sent} sent by then were in flight or ended too late to be written{cut}"
    ))
}

/// The gaps, where the log has them.
fn meters(records: &[Record]) -> Meters {
    let mut meters = Meters::default();
    meters.itl = metrics::gaps(records).collect();
    for record in records {
        let mut at = record.times.first_token.unwrap_or_default();
        for gap in record.events.gaps.iter().flatten() {
            at += *gap;
            meters.itl_by_second.record(at, *gap);
        }
    }
    meters
}
