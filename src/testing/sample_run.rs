//! A small run of two requests: one was answered, and one failed.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::model::dataset::{DropCounts, Provenance};
use crate::model::digest::Digest;
use crate::model::metrics::{Latency, Metrics, gaps, samples};
use crate::model::record::{
    Events, Failure, FailureClass, FinishReason, Milestone, OutputGaps, Record, Timestamps, TokenCount,
    TokenSource,
};
use crate::model::record_log::RecordLogHeader;
use crate::model::run::{
    ReportSelection, Run, RunEnvironment, RunInputs, RunLabels, SteadyState, StreamAnomalies,
    TokenizerOrigin, VllmRequestColumns,
};
use crate::model::run_spec::{Load, Spec};
use crate::model::series::RunSeries;
use crate::model::units::Secret;
use crate::model::validity::{RunDiagnostics, SentLoad, Verdict};
use crate::stats::{DurationSketch, PerSecondHistogram, Percent};
use crate::testing::queue::{self, open_load};

/// Two requests at twenty requests a second.
pub(crate) fn spec() -> Spec {
    let load = open_load(20.0);
    let mut spec = queue::spec(Load {
        burstiness: f64::INFINITY,
        normalize_arrivals: true,
        max_concurrency: NonZeroUsize::new(8),
        ..load
    });
    spec.target.model = "meta-llama/Llama-3-8B-Instruct".into();
    spec.target.headers = vec![("authorization".into(), Secret::new("Bearer sk-secret"))];
    spec.workload.num_prompts = 2;
    spec.seed = 7;
    spec
}

/// The Records of an answer and a failure.
pub(crate) fn records() -> Vec<Record> {
    let ms = Duration::from_millis;
    let good = Record {
        ordinal: 0,
        id: None,
        times: Timestamps::new(ms(10))
            .with_time(Milestone::Sent, ms(12))
            .with_time(Milestone::Headers, ms(20))
            .with_time(Milestone::FirstChunk, ms(20))
            .with_time(Milestone::FirstToken, ms(112))
            .with_time(Milestone::LastToken, ms(212))
            .with_time(Milestone::Done, ms(213)),
        prompt_tokens: TokenCount { count: 9, source: TokenSource::Tokenizer },
        cached_tokens: None,
        hidden_tokens: 0,
        first_event_tokens: None,
        server_times: None,
        output_tokens: TokenCount { count: 3, source: TokenSource::Usage },
        events: Events {
            count: 3,
            by_second: vec![(0, 3)],
            gaps: Some([ms(40), ms(60)].into_iter().collect()),
        },
        outcome: Ok(FinishReason::Stop),
        traits: None,
        facets: None,
        text: Some("Gut so.".into()),
    };
    let mut bad = good.clone();
    bad.ordinal = 1;
    bad.times = Timestamps::new(ms(20)).with_time(Milestone::Sent, ms(21)).with_time(Milestone::Done, ms(30));
    bad.events = Events { gaps: Some(OutputGaps::default()), ..Events::default() };
    bad.outcome = Err(Failure::new(FailureClass::Status(503), "busy").into());
    bad.text = Some(Box::default());
    vec![good, bad]
}

/// The run of these Records. With `detailed`, it contains them.
pub(crate) fn run(detailed: bool) -> Run {
    of_records(spec(), records(), vec![50.0, 99.0, 99.9], detailed)
}

/// The header of the record log of that run.
pub(crate) fn log_header() -> RecordLogHeader {
    let run = run(false);
    RecordLogHeader {
        version: run.version,
        command: run.command,
        settings: run.settings.unwrap_or_default(),
        spec: run.spec,
        notes: run.notes,
        selection: run.selection,
        inputs: run.inputs,
        share: None,
        server_version: Some("0.33.0".into()),
    }
}

/// Creates a run from any Records.
pub(crate) fn of_records(spec: Spec, records: Vec<Record>, percents: Vec<Percent>, detailed: bool) -> Run {
    let itl: DurationSketch = gaps(&records).collect();
    let metrics = Metrics::compute(&records, &itl, &spec.slo, &percents);
    let tally = |latency: Latency| match latency {
        Latency::Itl => itl.clone(),
        _ => samples(&records, latency).collect(),
    };
    let histograms = Latency::SELECTABLE.map(|latency| (latency, tally(latency)));
    let histograms = histograms.into_iter().filter(|(_, tally)| !tally.is_empty());
    Run {
        version: "0.1.0".into(),
        t0: None,
        started: "2026-11-22T09:44:51+01:00[Europe/Berlin]".parse().unwrap(),
        command: vec!["servegauge".into(), "run".into()],
        settings: Some([("seed".to_owned(), 7.into())].into_iter().collect()),
        interrupted: false,
        notes: RunLabels { label: None, metadata: [("gpu".to_owned(), "none".to_owned())].into() },
        selection: ReportSelection { latencies: Latency::SELECTABLE.to_vec(), percents: percents.clone() },
        inputs: RunInputs {
            dataset: Provenance {
                path: Some("bundled".into()),
                sha256: Some(Digest::from_bytes(b"data")),
                candidates: 3,
                dropped: DropCounts { few_turns: 1, ..DropCounts::default() },
                ..Provenance::from_generator("sharegpt")
            },
            tokenizer: TokenizerOrigin {
                origin: "bundled".into(),
                sha256: None,
                source: TokenSource::Tokenizer,
            },
            prompts: Some(Digest::from_bytes(b"prompts")),
        },
        environment: RunEnvironment {
            host: "h".into(),
            system: "Linux".into(),
            cpus: 2,
            server_version: None,
            server_launched: None,
        },
        probes: None,
        profile: None,
        server: None,
        streams: StreamAnomalies::default(),
        unread_metrics: Vec::new(),
        steady: SteadyState::find(&spec, &records, None, &percents),
        series: RunSeries::compute(&records, &PerSecondHistogram::default()),
        validity: Verdict::judge(
            &RunDiagnostics::default(),
            &spec,
            &SentLoad::of_records(&records),
            &metrics,
            &percents,
        ),
        metrics,
        histograms: histograms.map(|(latency, tally)| (latency, tally.encode())).collect(),
        spec,
        promotion: None,
        prediction: None,
        sampled: None,
        always: records.iter().map(VllmRequestColumns::from_record).collect(),
        records: detailed.then_some(records),
        details: None,
    }
}

/// Returns the run as if it was measured on the server start with this number.
pub(crate) fn on_start(run: Run, start: u64) -> Run {
    let mut run = run;
    run.environment.server_launched =
        Some(jiff::Timestamp::from_second(1_700_000_000 + start as i64).unwrap());
    run
}
