use std::io::Write as _;

use super::*;
use crate::dataset::{bundled, prepare};
use crate::model::run_spec::{
    self, PrefixRepetition, RandomBatch, RandomLengths, RandomTurns, RngKind, SonnetDataset, TraceKind,
    TurnCount,
};
use crate::testing::datasets;

const LIMIT: u32 = 130;

fn bounds() -> LengthBounds {
    LengthBounds { max_model_len: Some(LIMIT), ..LengthBounds::default() }
}

fn made(
    dataset: &Dataset,
    rng: RngKind,
    bounds: LengthBounds,
    num_prompts: usize,
) -> Result<PreparedWorkload, String> {
    let wanted =
        run_spec::WorkloadSpec { bounds, ..run_spec::WorkloadSpec::new(dataset.clone(), num_prompts) };
    let made = prepare(&wanted, &mut RunRng::new(rng, 3), &bundled::tokenizer(), &|_| {});
    made.map_err(|error| error.to_string())
}

fn random(input_len: u32, input_range_ratio: f64) -> RandomLengths {
    RandomLengths { input_range_ratio, ..datasets::random(input_len, 20) }
}

fn trace(path: &std::path::Path, session: Option<&str>) -> Dataset {
    let mut trace = datasets::trace(TraceKind::Trace, path);
    trace.columns.session = session.map(str::to_owned);
    Dataset::Trace(trace)
}

/// Datasets in which some requests are within the limit and others are not. The faults were reported for the random
/// prompts of vLLM (PR #17408: 4,106 tokens for 4,000), SGLang (PR #15732), aiperf (PR #850) and guidellm, and for the
/// filter of Rust vllm-bench.
fn datasets() -> Vec<Dataset> {
    let turns = |min, max| RandomTurns {
        first: random(30, 0.0),
        input_len: 15,
        turns: TurnCount { min, max },
        global_ratio: 0.0,
        session_ratio: 0.0,
    };
    vec![
        Dataset::Random(random(100, 0.5)),
        Dataset::Random(RandomLengths { token_ids: true, ..random(100, 0.9) }),
        Dataset::Random(RandomLengths { prefix_len: 40, ..random(70, 0.4) }),
        Dataset::Random(random(110, 0.0)),
        Dataset::PrefixRepetition(PrefixRepetition {
            prefix_len: 55,
            suffix_len: 55,
            num_prefixes: 2,
            output_len: 20,
        }),
        Dataset::Sonnet(SonnetDataset { path: None, input_len: 112, output_len: 20, prefix_len: 20 }),
        Dataset::RandomTurns(turns(2, 5)),
        Dataset::RandomBatch(RandomBatch { text: random(110, 0.0), batch_size: 4 }),
    ]
}

/// The longest sequence of each session: the history, the prompt, and the answer.
fn longest(workload: &PreparedWorkload) -> u32 {
    let parties = workload.requests.kept().chunk_by(|_, next| next.is_later_turn());
    let all = parties.map(|party| party.iter().map(|it| sequence_tokens(it) + it.max_tokens).sum::<u32>());
    all.max().unwrap_or(0)
}

#[test]
fn what_exceeds_the_models_length_is_never_sent() {
    for dataset in datasets() {
        for rng in [RngKind::Python, RngKind::Native] {
            let made =
                made(&dataset, rng, bounds(), 24).unwrap_or_else(|error| panic!("{dataset:?}: {error}"));
            assert!(longest(&made) <= LIMIT, "{dataset:?}, {rng:?}: {}", longest(&made));
            assert_eq!(sessions::session_count(made.requests.all()), 24, "{dataset:?}, {rng:?}");
            // The model's length limit is the only reason for dropping requests.
            assert!(made.provenance.dropped.total() == made.provenance.dropped.long_total, "{dataset:?}");
        }
    }
}

#[test]
fn the_limit_changes_none_of_the_requests_that_it_lets_in() {
    for rng in [RngKind::Python, RngKind::Native] {
        let dataset = Dataset::Random(random(100, 0.5));
        let all = made(&dataset, rng, LengthBounds::default(), 24).unwrap().requests.to_vec();
        let kept = made(&dataset, rng, bounds(), 24).unwrap().requests.to_vec();
        let fitting: Vec<_> =
            all.iter().filter(|request| request.prompt_tokens + request.max_tokens <= LIMIT).collect();
        assert!(fitting.len() < 24 && !fitting.is_empty());
        assert!(kept.iter().zip(&fitting).all(|(kept, fitting)| kept == *fitting), "{rng:?}");
    }
}

#[test]
fn where_nothing_fits_the_reason_is_told() {
    for rng in [RngKind::Python, RngKind::Native] {
        let error = made(&Dataset::Random(random(500, 0.0)), rng, bounds(), 5).unwrap_err();
        assert!(error.contains("none of 5 entries") && error.contains("too long together"), "{error}");
        let short = LengthBounds { min_prompt_len: Some(600), ..LengthBounds::default() };
        let error = made(&Dataset::Random(random(500, 0.0)), rng, short, 5).unwrap_err();
        assert!(error.contains("5 prompt too short"), "{error}");
    }
}

#[test]
fn rows_of_a_trace_are_left_out_with_their_times() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"timestamp,input_length,output_length,s\n0,100,40,a\n5,20,10,b\n7,60,10,c\n9,90,10,b\n")
        .unwrap();
    let rows = made(&trace(file.path(), None), RngKind::Python, bounds(), 3).unwrap();
    let lengths: Vec<_> = rows.requests.to_vec().iter().map(|it| (it.prompt_tokens, it.max_tokens)).collect();
    assert_eq!(lengths, [(20, 10), (60, 10), (90, 10)]);
    let seconds: Vec<_> = rows.arrivals.unwrap().iter().map(|at| at.as_secs()).collect();
    assert_eq!((seconds, rows.provenance.dropped.long_total), (vec![0, 2, 4], 1));
    let sessions = made(&trace(file.path(), Some("s")), RngKind::Python, bounds(), 9).unwrap();
    assert_eq!((sessions.requests.to_vec().len(), sessions.arrivals.unwrap().len()), (3, 2));
}

#[test]
fn differences_from_the_asked_length_are_told_of_what_is_sent() {
    let shape = PrefixRepetition { prefix_len: 55, suffix_len: 55, num_prefixes: 2, output_len: 20 };
    let all = made(&Dataset::PrefixRepetition(shape), RngKind::Python, LengthBounds::default(), 24)
        .unwrap()
        .provenance;
    let kept = made(&Dataset::PrefixRepetition(shape), RngKind::Python, bounds(), 24).unwrap().provenance;
    assert!(kept.inexact <= all.inexact && kept.inexact_by <= 0, "{kept:?}");
}
