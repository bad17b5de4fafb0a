//! Assembles a Run from what was measured.

use std::collections::BTreeMap;

use crate::client::request_timer::StreamStats;
use crate::loadgen::LoadResult;
use crate::model::metrics::{Latency, Metrics, samples};
use crate::model::probes::ProbeSummary;
use crate::model::profile::ProfileReport;
use crate::model::record::Record;
use crate::model::record_log::RecordLogHeader;
use crate::model::record_log::details::LoggedDetails;
use crate::model::run::{Run, RunEnvironment, SteadyState, StreamAnomalies, VllmRequestColumns};
use crate::model::series::RunSeries;
use crate::model::server::ServerMetrics;
use crate::model::validity::{RunDiagnostics, Verdict};
use crate::stats::DurationSketch;

/// The parts of a Run other than its measurements.
pub(super) struct RunBuilder {
    pub header: RecordLogHeader,
    pub diagnostics: RunDiagnostics,
    pub probes: Option<ProbeSummary>,
    pub profile: Option<ProfileReport>,
    pub server: Option<ServerMetrics>,
    pub unread_metrics: Vec<String>,
    /// The gaps and texts of the Records, if the Records do not contain them.
    pub details: Option<LoggedDetails>,
}

impl RunBuilder {
    /// Summarizes the result of the load. The Records are returned separately: the caller decides whether to save them
    /// with the Run.
    pub(super) fn build(self, outcome: LoadResult) -> (Run, Vec<Record>) {
        let RecordLogHeader { command, settings, spec, notes, selection, inputs, server_version, .. } =
            self.header;
        let LoadResult { t0, records, stream_stats, interrupted, .. } = outcome;
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
            steady: SteadyState::find(&spec, &records, self.details.as_ref(), percents),
            series: RunSeries::compute(&records, &itl_by_second),
            validity: Verdict::judge(&self.diagnostics, &spec, &records, &metrics, percents),
            metrics,
            probes: self.probes,
            profile: self.profile,
            server: self.server,
            unread_metrics: self.unread_metrics,
            histograms: histograms(&records, &itl),
            spec,
            notes,
            selection,
            inputs,
            environment: environment(server_version),
            promotion: None,
            always: records.iter().map(VllmRequestColumns::from_record).collect(),
            records: None,
            details: self.details,
        };
        (run, records)
    }
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
