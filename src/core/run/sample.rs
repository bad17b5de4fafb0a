//! A small run for tests: two requests, of which one failed.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::*;
use crate::core::dataset::Drops;
use crate::core::metrics::{gaps, samples};
use crate::core::record::{Events, Failure, FailureClass, Finish, Input, Times, TokenCount};
use crate::core::simulated::{self, open_load};
use crate::core::spec::Load;
use crate::core::stats::{Tally, TallyBySecond};
use crate::core::units::Secret;
use crate::core::validity::Evidence;

/// Twenty requests a second, two of them.
pub fn spec() -> Spec {
    let load = open_load(20.0);
    let mut spec = simulated::spec(Load {
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

/// An answer and a failure.
pub fn records() -> Vec<Record> {
    let ms = Duration::from_millis;
    let good = Record {
        ordinal: 0,
        id: String::new(),
        times: Times {
            due: ms(10),
            released: None,
            sent: Some(ms(12)),
            headers: Some(ms(20)),
            first_chunk: Some(ms(20)),
            first_token: Some(ms(112)),
            last_token: Some(ms(212)),
            done: Some(ms(213)),
            ..Times::default()
        },
        prompt_tokens: TokenCount { count: 9, source: TokenSource::Tokenizer },
        cached_tokens: None,
        hidden_tokens: 0,
        first_event_tokens: None,
        leaves_after: None,
        output_tokens: TokenCount { count: 3, source: TokenSource::Usage },
        events: Events { count: 3, by_second: vec![(0, 3)], gaps: Some(vec![ms(40), ms(60)]) },
        outcome: Ok(Finish::Stop),
        input: Input::default(),
        facets: None,
        text: Some("Gut so.".into()),
    };
    let mut bad = good.clone();
    bad.ordinal = 1;
    bad.times = Times { due: ms(20), sent: Some(ms(21)), done: Some(ms(30)), ..Times::default() };
    bad.events = Events { gaps: Some(Vec::new()), ..Events::default() };
    bad.outcome = Err(Failure::new(FailureClass::Status(503), "busy"));
    bad.text = Some(String::new());
    vec![good, bad]
}

/// The run of these records, with or without them.
pub fn run(detailed: bool) -> Run {
    of_records(spec(), records(), vec![50.0, 99.0, 99.9], detailed)
}

/// A run of any records.
pub fn of_records(spec: Spec, records: Vec<Record>, percents: Vec<Percent>, detailed: bool) -> Run {
    let itl: Tally = gaps(&records).collect();
    let metrics = Metrics::of(&records, &itl, &spec.slo, &percents);
    let tally = |latency: Latency| match latency {
        Latency::Itl => itl.clone(),
        _ => samples(&records, latency).collect(),
    };
    let histograms = Latency::SELECTABLE.map(|latency| (latency, tally(latency)));
    let histograms = histograms.into_iter().filter(|(_, tally)| !tally.is_empty());
    Run {
        schema: SCHEMA,
        version: "0.1.0".into(),
        t0: None,
        started: "2026-11-22T09:44:51+01:00[Europe/Berlin]".parse().unwrap(),
        command: vec!["servebench".into(), "run".into()],
        settings: Some([("seed".to_owned(), 7.into())].into_iter().collect()),
        interrupted: false,
        notes: Notes { label: None, metadata: [("gpu".to_owned(), "none".to_owned())].into() },
        selection: Selection { latencies: Latency::SELECTABLE.to_vec(), percents: percents.clone() },
        inputs: Inputs {
            dataset: Provenance {
                dataset: "sharegpt".into(),
                path: Some("bundled".into()),
                sha256: Some(Digest::of(b"data")),
                candidates: 3,
                dropped: Drops { few_turns: 1, ..Drops::default() },
                repeated: 0,
                inexact: 0,
            },
            tokenizer: TokenizerOrigin {
                origin: "bundled".into(),
                sha256: None,
                source: TokenSource::Tokenizer,
            },
            prompts: Some(Digest::of(b"prompts")),
        },
        environment: Environment {
            host: "h".into(),
            system: "Linux".into(),
            cpus: 2,
            server_version: None,
            server_launched: None,
        },
        probes: None,
        profile: None,
        server: None,
        steady: Steady::of(&spec, &records, &percents),
        series: Series::of(&records, &TallyBySecond::default()),
        validity: Verdict::of(&Evidence::default(), &spec, &records, &metrics),
        metrics,
        histograms: histograms.map(|(latency, tally)| (latency, tally.encode())).collect(),
        spec,
        promotion: None,
        always: records.iter().map(Always::of).collect(),
        records: detailed.then_some(records),
    }
}
