//! A predicted run.

use std::time::Duration;

use crate::dataset::shapes::RequestShape;
use crate::model::digest::Digest;
use crate::model::prediction::{
    COVERAGE, Extrapolation, PredictedFleet, PredictedKnee, PredictedValue, Prediction, PredictionModel,
    SeenBound, ShareOf,
};
use crate::model::run::Run;
use crate::predict::predicted_run::{PredictedRunHeader, assemble};
use crate::predict::records::{AnswerTimes, record};
use crate::stats::DurationSketch;
use crate::testing::sample_run;

/// The gaps between the tokens of the run.
pub(crate) fn gaps() -> DurationSketch {
    let mut gaps = DurationSketch::default();
    gaps.record_times(Duration::from_millis(20), 900);
    gaps.record_times(Duration::from_millis(35), 100);
    gaps
}

/// A run of 100 requests at 10 requests a second, with a limit on TTFT that half of them meet.
pub(crate) fn run() -> Run {
    let ms = Duration::from_millis;
    let answer = |at: u64| {
        let request = RequestShape { prompt: 100 + at as u32, output: 11, contents: [].into(), turn: None };
        let sent = ms(100 * at);
        let first_token = sent + ms(50 + at);
        record(
            at as usize,
            &request,
            AnswerTimes { sent, first_token, last_token: first_token + ms(200 + at) },
            0,
        )
    };
    let measured = sample_run::run(false);
    let mut spec = measured.spec;
    spec.slo.ttft = Some(ms(100));
    spec.workload.num_prompts = 100;
    let header = PredictedRunHeader {
        at: measured.started,
        command: vec!["servegauge".into(), "predict".into()],
        spec,
        inputs: measured.inputs,
        selection: measured.selection,
    };
    assemble(header, prediction(), (0..100).map(answer).collect(), &gaps())
}

fn prediction() -> Prediction {
    let value = |low, point, high| PredictedValue { low, point, high };
    Prediction {
        model: PredictionModel {
            path: "model.json".into(),
            sha256: Digest::from_bytes(b"model"),
            calibrated_on: vec!["a.json".into(), "b.json".into()],
        },
        coverage: COVERAGE,
        members: 20,
        fleet: PredictedFleet { replicas: 1, router: None, properties: Vec::new() },
        metrics: [
            ("ttft.mean".to_owned(), value(90.0, 99.5, 120.0)),
            ("tpot.mean".to_owned(), value(24.0, 24.95, 26.0)),
            ("output_throughput".to_owned(), value(100.0, 108.0, 111.0)),
        ]
        .into(),
        utilization: Some(value(0.62, 0.66, 0.69)),
        stages: Vec::new(),
        knee: Some(PredictedKnee {
            limit: "capacity".into(),
            load: value(14.4, 15.2, 16.1),
            unit: "req/s".into(),
            extrapolations: Vec::new(),
        }),
        saturated_extrapolations: Vec::new(),
        extrapolations: vec![Extrapolation {
            share: 0.38,
            of: ShareOf::StepTime,
            what: "decoding sequences".into(),
            bound: SeenBound::Most,
            seen: 64.0,
            needed: 120.0,
        }],
        notes: vec!["no reuse known: every prompt is computed whole".into()],
    }
}
