//! Assembles a Run from what was measured.

use std::collections::BTreeMap;
use std::io;

use super::diagnostics::{AnswerSums, RunObservations};
use crate::client::request_timer::StreamStats;
use crate::loadgen::ClientObservations;
use crate::model::concurrency::{FlightStart, Peak, PeakSearch};
use crate::model::metrics::{Latency, MetricsFold, MetricsInput};
use crate::model::record::Record;
use crate::model::record_log::RecordLogHeader;
use crate::model::record_log::details::LoggedDetails;
use crate::model::run::{Run, RunEnvironment, SteadyFold, StreamAnomalies, VllmRequestColumns};
use crate::model::run_records::{RunRecords, RunView};
use crate::model::run_spec::Spec;
use crate::model::series::SeriesFold;
use crate::model::steady_state::NoSteadyState;
use crate::model::validity::{RunDiagnostics, ScheduleFold, Verdict};
use crate::stats::DurationSketch;

/// What a Run is assembled from besides its header.
pub(super) struct MeasuredRun {
    /// The Records.
    pub records: RunRecords,
    /// What the clients observed besides.
    pub observed: RunObservations,
    /// The gaps and texts of the Records, if the Records do not have them.
    pub details: Option<LoggedDetails>,
    /// The diagnostics that the validity is judged by, if not those that were observed.
    pub diagnostics: Option<RunDiagnostics>,
}

/// Assembles a Run. Also returns the Records: the caller decides whether to save them with the Run.
///
/// # Errors
/// The Records are in a record log that cannot be read.
pub(super) fn assemble(header: RecordLogHeader, measured: MeasuredRun) -> io::Result<(Run, RunRecords)> {
    let RecordLogHeader { command, settings, spec, notes, selection, inputs, server_version, .. } = header;
    let MeasuredRun { records, observed, details, diagnostics } = measured;
    let percents = &selection.percents;
    let curves = records.curves();
    let kept = records.view(&curves);
    let mut folds = RunFolds::new(&spec, &records, kept, &observed);
    records.for_each(&mut |record| folds.add(record))?;
    let RunFolds { metrics, peak, steady, series, schedule, answers } = folds;
    let diagnostics = diagnostics.unwrap_or_else(|| observed.diagnostics(&spec, &answers));
    let RunObservations { client, probes, profile, server, unread_metrics, .. } = observed;
    let ClientObservations { t0, stream_stats, interrupted, .. } = client;
    let streams = anomalies(&stream_stats);
    let StreamStats { itl, itl_by_second, .. } = stream_stats;
    let histograms = histograms(&metrics, &itl);
    let peak = peak.map_or_else(
        || Peak { level: kept.in_flight(FlightStart::Sent).peak(), is_exact: true },
        PeakSearch::finish,
    );
    let metrics = metrics.finish(&MetricsInput { kept, itl: Some(&itl), percents, peak });
    let run = Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: t0.zoned(),
        t0: Some(t0),
        command,
        settings: Some(settings),
        interrupted,
        streams,
        steady: steady.map(|steady| steady.finish(kept, details.as_ref(), percents)),
        series: series.finish(kept, &itl_by_second),
        validity: Verdict::judge(&diagnostics, &spec, &schedule.finish(kept), &metrics, percents),
        metrics,
        probes,
        profile,
        server,
        unread_metrics,
        histograms,
        spec,
        notes,
        selection,
        inputs,
        environment: environment(server_version),
        promotion: None,
        prediction: None,
        always: match kept.is_whole() {
            true => kept.records.iter().map(VllmRequestColumns::from_record).collect(),
            false => Vec::new(),
        },
        sampled: records.sampled(),
        records: None,
        details,
    };
    Ok((run, records))
}

/// What one pass over the Records adds up.
struct RunFolds<'a> {
    metrics: MetricsFold<'a>,
    peak: Option<PeakSearch>,
    steady: Result<SteadyFold<'a>, NoSteadyState>,
    series: SeriesFold,
    schedule: ScheduleFold,
    answers: AnswerSums,
}

impl<'a> RunFolds<'a> {
    fn new(spec: &'a Spec, records: &RunRecords, kept: RunView<'_>, observed: &RunObservations) -> Self {
        Self {
            metrics: MetricsFold::whole_run(&spec.slo),
            peak: records.peak_search(&spec.load, None),
            steady: SteadyFold::new(spec, records, kept),
            series: SeriesFold::default(),
            schedule: ScheduleFold::default(),
            answers: observed.answer_sums(),
        }
    }

    fn add(&mut self, record: &Record) {
        self.metrics.add(record);
        self.peak.iter_mut().for_each(|peak| peak.add_request(record));
        self.steady.iter_mut().for_each(|steady| steady.add(record));
        self.series.add(record);
        self.schedule.add(record);
        self.answers.add(record);
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
fn histograms(metrics: &MetricsFold<'_>, itl: &DurationSketch) -> BTreeMap<Latency, String> {
    let values = |latency: Latency| match latency {
        Latency::Itl => Some(itl),
        _ => metrics.latency(latency),
    };
    Latency::SELECTABLE
        .into_iter()
        .filter_map(|latency| Some((latency, values(latency).filter(|values| !values.is_empty())?.encode())))
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
