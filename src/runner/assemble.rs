//! Assembles a Run from what was measured.

use std::collections::BTreeMap;

use super::diagnostics::RunObservations;
use crate::client::request_timer::StreamStats;
use crate::loadgen::ClientObservations;
use crate::model::metrics::{Latency, Metrics, samples};
use crate::model::record::Record;
use crate::model::record_log::RecordLogHeader;
use crate::model::record_log::details::LoggedDetails;
use crate::model::run::{Run, RunEnvironment, SteadyState, StreamAnomalies, VllmRequestColumns};
use crate::model::series::RunSeries;
use crate::model::validity::{RunDiagnostics, Verdict};
use crate::stats::DurationSketch;

/// Assembles a Run from its header, its Records in the order of the schedule, and what the clients observed besides.
/// `details` has the gaps and texts of the Records, if the Records do not. Also returns the Records: the caller decides
/// whether to save them with the Run.
pub(super) fn assemble(
    header: RecordLogHeader,
    records: Vec<Record>,
    observed: RunObservations,
    details: Option<LoggedDetails>,
) -> (Run, Vec<Record>) {
    let diagnostics = observed.diagnostics(&header.spec, &records);
    assemble_judged(header, records, observed, details, &diagnostics)
}

/// Assembles a Run whose validity is judged by these diagnostics.
pub(super) fn assemble_judged(
    header: RecordLogHeader,
    records: Vec<Record>,
    observed: RunObservations,
    details: Option<LoggedDetails>,
    diagnostics: &RunDiagnostics,
) -> (Run, Vec<Record>) {
    let RecordLogHeader { command, settings, spec, notes, selection, inputs, server_version, .. } = header;
    let RunObservations { client, probes, profile, server, unread_metrics, .. } = observed;
    let ClientObservations { t0, stream_stats, interrupted, .. } = client;
    let streams = anomalies(&stream_stats);
    let StreamStats { itl, itl_by_second, .. } = stream_stats;
    let percents = &selection.percents;
    let metrics = Metrics::compute(&records, &itl, &spec.slo, percents);
    let run = Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: t0.zoned(),
        t0: Some(t0),
        command,
        settings: Some(settings),
        interrupted,
        streams,
        steady: SteadyState::find(&spec, &records, details.as_ref(), percents),
        series: RunSeries::compute(&records, &itl_by_second),
        validity: Verdict::judge(diagnostics, &spec, &records, &metrics, percents),
        metrics,
        probes,
        profile,
        server,
        unread_metrics,
        histograms: histograms(&records, &itl),
        spec,
        notes,
        selection,
        inputs,
        environment: environment(server_version),
        promotion: None,
        always: records.iter().map(VllmRequestColumns::from_record).collect(),
        records: None,
        details,
    };
    (run, records)
}

fn anomalies(stream_stats: &StreamStats) -> StreamAnomalies {
    StreamAnomalies {
        ignored_events: stream_stats.ignored,
        repeating_streams: stream_stats.repeating,
        unknown_events: stream_stats.unknown,
        first_unknown_event: stream_stats.first_unknown.as_deref().map(ToOwned::to_owned),
        unread_fields: stream_stats.unread.iter().map(|(name, events)| (name.to_owned(), events)).collect(),
    }
}

/// The histograms of the latencies that people compare. A latency without samples has none.
fn histograms(records: &[Record], itl: &DurationSketch) -> BTreeMap<Latency, String> {
    let tally = |latency: Latency| match latency {
        Latency::Itl => itl.clone(),
        _ => samples(records, latency).collect(),
    };
    Latency::SELECTABLE
        .into_iter()
        .map(|latency| (latency, tally(latency)))
        .filter(|(_, tally)| !tally.is_empty())
        .map(|(latency, tally)| (latency, tally.encode()))
        .collect()
}

fn environment(server_version: Option<String>) -> RunEnvironment {
    let names = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    RunEnvironment {
        host: text(names.nodename()),
        system: [names.sysname(), names.release(), names.machine()].map(text).join(" "),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        server_version,
        server_launched: None,
    }
}
