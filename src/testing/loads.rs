//! Loads of requests that no dataset makes, and what the load generator keeps of them, against a simulator.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::client::protocol::Protocol;
use crate::client::request_timer::{Capture, CaptureGaps, CaptureText};
use crate::dataset::bundled;
use crate::loadgen::{self, LoadEvent, LoadPhase, LoadPlan, LoadResult, LoadShare, StopHandle};
use crate::model::arrival::Schedule;
use crate::model::metrics::{Metrics, scalar};
use crate::model::record::OutputGaps;
use crate::model::request::{Content, Request};
use crate::model::run_spec::{Backend, HistoryMode, Sampling, Slo, Target};
use crate::model::wav;
use crate::sim::{self, OutputSpec, SimSpec, Speed};

/// Starts a simulator that answers for as long as the test process lives, and returns its URL.
fn simulator() -> String {
    let spec = SimSpec {
        served_names: vec!["*".into()],
        tokenizer_json: Some(bundled::tokenizer_json().into()),
        timing: Speed::Instant.step_time(),
        output: OutputSpec { eos_mean: None, ..OutputSpec::default() },
        ..SimSpec::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(sim::listen("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || runtime.block_on(sim::serve(listener, spec, std::future::pending())));
    url
}

/// Sends requests to a simulator, two at a time.
fn send(
    backend: Backend,
    whole: bool,
    requests: &[Request],
    capture: Capture,
    see: &mut dyn FnMut(LoadEvent<'_>),
) -> LoadResult {
    let target = Target {
        endpoint: Protocol::for_backend(backend).path(whole).into(),
        model: "tiny".into(),
        ..Target::at(&simulator(), backend)
    };
    let plan = LoadPlan {
        target: &target,
        sampling: &Sampling { whole, ..Sampling::default() },
        warmup: None,
        measured: LoadPhase {
            requests: requests.into(),
            schedule: Schedule::Closed,
            cycle: false,
            duration: None,
        },
        cap: Some(2),
        max_active: None,
        history: HistoryMode::Real,
        capture,
        most_records: None,
        preconnect: 0,
        workers: NonZeroUsize::MIN,
        keep_going: false,
        salter: None,
        share: LoadShare::default(),
    };
    let mut see = |event: LoadEvent<'_>| see(event);
    loadgen::run_load(&plan, &bundled::tokenizer(), &StopHandle::default(), &mut see).unwrap()
}

fn metrics(backend: Backend, whole: bool, requests: &[Request]) -> Metrics {
    let capture = Capture { text: CaptureText::UntilUsage, gaps: CaptureGaps::Never };
    let outcome = send(backend, whole, requests, capture, &mut |_| {});
    for record in &outcome.records {
        assert!(record.is_success(), "{:?}", record.outcome);
    }
    Metrics::compute(&outcome.records, &outcome.observed.stream_stats.itl, &Slo::default(), &[99.0])
}

#[test]
fn documents_are_ranked_and_counted() {
    let documents = ["one document", "another one", "a third"].map(Into::into);
    let content = Content::Rerank { query: "which?".into(), documents: documents.as_slice().into() };
    let requests = [Request::of(content.clone(), 9, 1), Request::of(content, 9, 1)];
    let metrics = metrics(Backend::VllmRerank, false, &requests);
    assert_eq!((metrics.completed, metrics.input_sequences), (2, Some(6)));
    assert!(metrics.input_tokens.total > 0);
}

#[test]
fn texts_of_a_batch_are_counted_one_by_one() {
    let texts = ["one text", "another one"].map(Into::into);
    let batch = Request::of(Content::Batch(texts.as_slice().into()), 5, 1);
    let metrics = metrics(Backend::OpenaiEmbeddings, false, std::slice::from_ref(&batch));
    assert_eq!((metrics.completed, metrics.input_sequences), (1, Some(2)));
}

#[test]
fn recordings_are_written_down_and_give_rtfx() {
    let seconds = Duration::from_secs(3);
    let recording = Content::Audio { wav: wav::silence(seconds).into(), prompt: "names".into() };
    for whole in [false, true] {
        let metrics = metrics(Backend::OpenaiAudio, whole, &[Request::of(recording.clone(), 0, 12)]);
        assert_eq!((metrics.completed, metrics.input_audio), (1, Some(seconds)), "{:?}", metrics.failures);
        assert_eq!(metrics.output_tokens.total, 12, "whole: {whole}");
        let rtfx = (scalar("rtfx").unwrap().value)(&metrics).unwrap();
        assert!((rtfx - 3.0 / metrics.duration.as_secs_f64()).abs() < 1e-9);
    }
}

#[test]
fn gaps_that_are_only_looked_at_do_not_stay_in_memory() {
    let requests = [Request::text("Hi", 1, 6), Request::text("Ho", 1, 6)];
    let capture = Capture { text: CaptureText::Never, gaps: CaptureGaps::UntilEnded };
    let mut seen = Vec::new();
    let mut see = |event: LoadEvent<'_>| {
        if let LoadEvent::Done(record) = event {
            seen.push(record.events.gaps.as_ref().map(OutputGaps::len));
        }
    };
    let outcome = send(Backend::Openai, false, &requests, capture, &mut see);
    assert_eq!(seen, [Some(5), Some(5)]);
    assert!(outcome.records.iter().all(|record| record.events.gaps.is_none()));
}
