use super::super::calibration::measured::{MeasuredRequest, MeasuredRun};
use super::super::calibration::{CalibrationInput, calibrate};
use super::*;
use crate::predict::router::RouterPolicy;

/// A model of forty requests that are alike.
fn model() -> ServerModel {
    let fact = |value| EngineFact { value, source: FactSource::Assumed };
    let request = |at: u32| MeasuredRequest {
        start: f64::from(at) * 0.1,
        prompt: 100 + at,
        output: 10,
        ttft: 0.05,
        decode: 0.1,
    };
    let input = CalibrationInput {
        runs: vec![MeasuredRun { requests: (0..40).map(request).collect(), ..MeasuredRun::default() }],
        points: Vec::new(),
        holdout: Vec::new(),
        facts: EngineFacts {
            max_num_seqs: fact(8),
            max_num_batched_tokens: fact(2048),
            num_gpu_blocks: fact(1000),
            block_size: fact(16),
            version: None,
        },
        fleet: CalibrationFleet { replicas: 1, router: RouterPolicy::RoundRobin },
        fit_first: None,
        seed: 3,
        served_model: Some("a model".to_owned()),
    };
    calibrate(&input).unwrap()
}

fn parse(text: &str) -> Result<ServerModel, String> {
    ServerModel::parse(text.as_bytes(), Path::new("m.json")).map_err(|error| error.to_string())
}

#[test]
fn a_saved_model_is_read_back_as_it_was() {
    let model = model();
    let read = parse(&model.to_json()).unwrap();
    assert_eq!((&read.facts, read.fleet, read.hull), (&model.facts, model.fleet, model.hull));
    // A number that is read may differ from the written one in its last bit.
    let is_close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs();
    for (read, written) in read.members.iter().zip(&model.members) {
        assert!(is_close(read.step_time.mixed_base, written.step_time.mixed_base), "{read:?}");
        assert!(is_close(read.overhead.base, written.overhead.base), "{read:?}");
    }
    assert_eq!((read.intake.len(), read.runs.len()), (40, 1));
    assert_eq!(read.servers(read.facts.limits()).unwrap().1.len(), 24);
}

#[test]
fn what_is_no_model_is_refused_with_the_reason() {
    let text = model().to_json();
    let later = text.replace("\"servegauge_model\": 1", "\"servegauge_model\": 2");
    assert!(parse(&later).unwrap_err().contains("format 2"), "{:?}", parse(&later).err());
    assert!(parse("{\"a\": 1}").unwrap_err().contains("no servegauge_model"));
    assert!(parse("[").unwrap_err().starts_with("m.json is not a model"));
    let no_blocks = text.replacen("\"value\": 1000", "\"value\": 0", 1);
    assert!(parse(&no_blocks).unwrap_err().contains("num_gpu_blocks is 0"));
    let mut few = model();
    few.members.truncate(3);
    assert!(parse(&few.to_json()).unwrap_err().contains("3 members"));
    let mut negative = model();
    negative.members[0].step_time.kv_token = -1.0;
    assert!(parse(&negative.to_json()).unwrap_err().contains("kv_token"));
}
