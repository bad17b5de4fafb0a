//! A Run of simulated requests.

use std::collections::BTreeMap;

use jiff::Zoned;

use crate::model::metrics::{self, Latency, Metrics};
use crate::model::prediction::Prediction;
use crate::model::record::Record;
use crate::model::run::{
    ReportSelection, Run, RunEnvironment, RunInputs, RunLabels, StreamAnomalies, VllmRequestColumns,
};
use crate::model::run_spec::Spec;
use crate::model::series::RunSeries;
use crate::model::steady_state::NoSteadyState;
use crate::model::validity::Verdict;
use crate::stats::{DurationSketch, PerSecondHistogram};

/// What a predicted Run states besides its metrics.
pub(crate) struct PredictedRunHeader {
    /// When the prediction was made.
    pub at: Zoned,
    /// The command line.
    pub command: Vec<String>,
    /// The run that is predicted.
    pub spec: Spec,
    /// The source of the requests.
    pub inputs: RunInputs,
    /// The metrics that reports show.
    pub selection: ReportSelection,
}

/// Assembles the Run of Records that are in the order of the schedule. Its metrics have no sampling intervals, and its
/// verdict has no checks, because nothing was measured.
pub(crate) fn assemble(
    header: PredictedRunHeader,
    prediction: Prediction,
    records: Vec<Record>,
    itl: &DurationSketch,
) -> Run {
    let PredictedRunHeader { at, command, spec, inputs, selection } = header;
    let mut metrics = Metrics::compute(&records, itl, &spec.slo, &selection.percents);
    metrics.remove_intervals();
    let environment = RunEnvironment {
        host: "simulated".to_owned(),
        system: String::new(),
        cpus: 0,
        server_version: None,
        server_launched: None,
    };
    Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: at,
        t0: None,
        command,
        settings: None,
        interrupted: false,
        notes: RunLabels { label: Some("predicted".to_owned()), ..RunLabels::default() },
        selection,
        inputs,
        environment,
        streams: StreamAnomalies::default(),
        probes: None,
        profile: None,
        server: None,
        unread_metrics: Vec::new(),
        steady: Err(NoSteadyState::NotLookedFor),
        series: RunSeries::compute(&records, &PerSecondHistogram::default()),
        validity: Verdict { valid: true, checks: Vec::new() },
        histograms: histograms(&records, itl),
        metrics,
        sampled: None,
        promotion: None,
        prediction: Some(prediction),
        always: records.iter().map(VllmRequestColumns::from_record).collect(),
        records: Some(records),
        details: None,
        spec,
    }
}

fn histograms(records: &[Record], itl: &DurationSketch) -> BTreeMap<Latency, String> {
    let sketch = |latency: Latency| match latency {
        Latency::Itl => itl.clone(),
        _ => metrics::samples(records, latency).collect(),
    };
    let all = Latency::SELECTABLE.map(|latency| (latency, sketch(latency)));
    let known = all.into_iter().filter(|(_, sketch)| !sketch.is_empty());
    known.map(|(latency, sketch)| (latency, sketch.encode())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metric_id::MetricId;
    use crate::predict::metric_values::metric_values;
    use crate::testing::predictions;

    #[test]
    fn the_values_of_a_simulation_are_the_metrics_of_its_run() {
        let run = predictions::run();
        let (records, slo) = (run.records.as_deref().unwrap(), &run.spec.slo);
        let values = metric_values(records, &predictions::gaps(), slo, &run.selection.percents);
        assert!(values.len() > 20, "{values:?}");
        for (name, value) in values {
            let id: MetricId = name.parse().unwrap();
            let reported = id.value(&run).unwrap_or_else(|| panic!("{name}"));
            assert!(
                (reported - value).abs() <= 1e-6 * reported.abs().max(1.0),
                "{name}: {reported}, {value}"
            );
        }
    }

    #[test]
    fn a_predicted_run_has_no_intervals_but_those_of_the_prediction() {
        let run = predictions::run();
        assert!(run.is_predicted() && run.metrics.rate_intervals.is_empty());
        assert!(run.metrics.latencies.values().all(|found| found.mean_interval.is_none()));
        let ttft: MetricId = "ttft.mean".parse().unwrap();
        let interval = ttft.interval(&run).unwrap();
        assert_eq!((interval.low, interval.high), (90.0, 120.0));
        let other: MetricId = "tpot.p95".parse().unwrap();
        assert_eq!(other.interval(&run), None, "the prediction does not state it");
    }

    #[test]
    fn a_predicted_run_is_read_as_it_was_saved_and_says_so_in_vllms_keys() {
        let run = predictions::run();
        let text = run.to_json();
        assert!(text.contains("\"predicted\":true"), "{text}");
        let file = tempfile::NamedTempFile::new().unwrap();
        run.save(file.path()).unwrap();
        let loaded = Run::load(file.path()).unwrap();
        assert_eq!(loaded.prediction, run.prediction);
        assert_eq!(loaded.metrics, run.metrics);
    }
}
