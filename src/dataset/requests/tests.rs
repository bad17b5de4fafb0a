use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::dataset::fingerprint::request_digest;
use crate::dataset::{PreparedWorkload, bundled, prepare_keeping};
use crate::model::digest::DigestHasher;
use crate::model::request::{Content, Turn};
use crate::model::rng::RunRng;
use crate::model::run_spec::{Dataset, LengthBounds, LoraAdapters, LoraAssignment, RngKind, WorkloadSpec};
use crate::testing::datasets::DatasetFolder;
use crate::tokenizer::Tokenizer;

/// One request of each kind of content, some with properties.
fn every_kind() -> Vec<Request> {
    let texts = || ["one".into(), "".into(), "drei — ü".into()].into();
    let contents = vec![
        Content::Text("".into()),
        Content::Text("zwölf Boxkämpfer\u{0}\n".into()),
        Content::TokenIds([0, 1, u32::MAX].into()),
        Content::Messages([json!({ "role": "user", "content": [{ "n": 0.1, "big": u64::MAX }] })].into()),
        Content::Batch(texts()),
        Content::Rerank { query: "q".into(), documents: texts() },
        Content::Audio { wav: [0, 255, 7].into(), prompt: "say".into() },
    ];
    let turn = Turn { index: 1, of: 3, think: Duration::new(5, 17), answer: Some("ja".into()) };
    let plain =
        contents.into_iter().zip(1..).map(|(content, tokens)| Request::of(content, tokens, 9 * tokens));
    plain
        .flat_map(|request| {
            let own = request.clone().with(|own| {
                own.model = Some("adapter".into());
                own.class = Some("class".into());
                own.patience = Some(Duration::from_nanos(1));
                own.turn = Some(turn.clone());
                own.body = serde_json::from_value(json!({ "z": 1.5, "a": [null] })).unwrap();
            });
            [request, own]
        })
        .collect()
}

fn spooled(requests: &[Request]) -> Requests {
    let mut sink = RequestSink::new(0);
    sink.extend(requests.iter().cloned()).unwrap();
    let spooled = sink.finish().unwrap();
    assert!(spooled.is_spooled());
    spooled
}

#[test]
#[cfg(target_os = "linux")]
fn shared_requests_are_the_same_whether_they_were_in_memory_or_in_a_file() {
    let requests = every_kind();
    for shared in [Requests::from(requests.clone()), spooled(&requests)] {
        let (_files, handle) = shared.share().unwrap();
        let handle = serde_json::from_str(&serde_json::to_string(&handle).unwrap()).unwrap();
        let opened = Requests::open(handle, std::process::id()).unwrap();
        assert_eq!(opened.to_vec(), requests);
    }
}

#[test]
fn every_kind_of_request_is_the_same_after_a_temporary_file() {
    let requests = every_kind();
    let spooled = spooled(&requests);
    assert_eq!(spooled.to_vec(), requests);
    assert_eq!(request_digest(spooled.all()), request_digest((&requests).into()));
    assert!(spooled.all().outlines().eq(requests.iter().map(RequestOutline::from)));
}

#[test]
fn requests_are_read_in_any_order_from_any_part() {
    let requests: Vec<Request> = every_kind()
        .into_iter()
        .cycle()
        .take(3000)
        .zip(0..)
        .map(|(mut request, at)| {
            request.prompt_tokens = at;
            request
        })
        .collect();
    let spooled = spooled(&requests);
    let (first, rest) = spooled.all().split_at(1000);
    assert_eq!((first.len(), rest.len()), (1000, 2000));
    assert!(first.iter().chain(rest.iter()).eq(requests.iter().map(Cow::Borrowed)));
    let mut reader = rest.reader();
    for index in (0..2000).step_by(3).chain((0..2000).rev().step_by(7)).chain([0, 1999, 1, 1998]) {
        assert_eq!(*reader.get(index), requests[1000 + index]);
        assert_eq!(reader.outline(index), Some((&requests[1000 + index]).into()));
        let without = reader.without_content(index).unwrap();
        assert_eq!((without.prompt_tokens, &without.own), (1000 + index as u32, &requests[1000 + index].own));
    }
    assert_eq!((reader.outline(2000), reader.without_content(2000).is_none()), (None, true));
}

#[test]
fn requests_change_and_end_in_a_file_as_in_memory() {
    let change = |request: &mut Request| {
        request.max_tokens += 1;
        if request.prompt_tokens.is_multiple_of(2) {
            request.content = Content::Text(format!("{} tokens", request.prompt_tokens).into());
        }
        *request = request.clone().with(|own| own.class = Some("changed".into()));
        Ok::<(), SpoolError>(())
    };
    let mut kept = Requests::from(every_kind());
    let mut spooled = spooled(kept.kept());
    for requests in [&mut kept, &mut spooled] {
        requests.update(change).unwrap();
        requests.truncate(9);
    }
    assert_eq!((spooled.len(), spooled == kept), (9, true));
}

#[test]
fn a_sink_moves_to_a_file_at_its_limit_and_repeats_requests_from_either() {
    for limit in [0, 1, 7, 8, 20, 100] {
        let mut sink = RequestSink::new(limit);
        let mut expected = Vec::new();
        for request in every_kind() {
            expected.push(request.clone());
            sink.push(request).unwrap();
            let again = expected.len() / 2;
            expected.push(expected[again].clone());
            sink.push_copy(again).unwrap();
            assert_eq!(sink.len(), expected.len());
        }
        let requests = sink.finish().unwrap();
        assert_eq!((requests.to_vec(), requests.is_spooled()), (expected, limit < 28));
    }
}

/// The workload, and the next number of the RNG after it.
fn prepare(kept: usize, wanted: &WorkloadSpec, rng: RngKind) -> (PreparedWorkload, Option<usize>) {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(bundled::tokenizer);
    let mut dice = RunRng::new(rng, 11);
    let made = prepare_keeping(kept, wanted, &mut dice, &TOKENIZER, &|_| {});
    let made = made.unwrap_or_else(|error| panic!("{:?}: {error}", wanted.dataset));
    (made, dice.python_mut().map(|globals| globals.random.below(1 << 30)))
}

#[test]
fn every_dataset_makes_the_same_requests_in_a_file_as_in_memory() {
    let folder = DatasetFolder::new();
    let modules = ["red", "green"].map(String::from).into();
    let lora = LoraAdapters { modules, assignment: LoraAssignment::Random };
    let limits = LengthBounds { max_prompt_len: Some(160), ..LengthBounds::default() };
    for (dataset, rng) in folder
        .datasets()
        .into_iter()
        .flat_map(|dataset| [(dataset.clone(), RngKind::Native), (dataset, RngKind::Python)])
    {
        for (lora, bounds) in [(Some(lora.clone()), LengthBounds::default()), (None, limits)] {
            // More than the 30 entries of the files, so that entries repeat.
            let wanted = WorkloadSpec { spare: 5, lora, bounds, ..WorkloadSpec::new(dataset.clone(), 40) };
            let (kept, next) = prepare(usize::MAX, &wanted, rng);
            assert!(!kept.requests.is_spooled() && !kept.requests.is_empty());
            let limit = if wanted.lora.is_some() { 0 } else { 17 };
            let (spooled, next_too) = prepare(limit, &wanted, rng);
            assert!(spooled.requests.is_spooled() || kept.requests.len() <= limit, "{dataset:?}");
            assert_eq!(spooled.requests.to_vec(), kept.requests.to_vec(), "{dataset:?} {rng:?}");
            assert_eq!((spooled, next_too), (kept.clone(), next), "{dataset:?} {rng:?}");
        }
    }
}

#[test]
fn a_file_that_repeats_many_times_is_stored_once() {
    let folder = DatasetFolder::new();
    let custom = folder.datasets().into_iter().find(|dataset| matches!(dataset, Dataset::Custom { .. }));
    let (made, _) = prepare(10, &WorkloadSpec::new(custom.unwrap(), 2000), RngKind::Native);
    assert_eq!((made.requests.all().originals().count(), made.requests.all().copies().count()), (30, 1970));
}

#[test]
fn the_prompts_of_a_seed_stay_the_same() {
    let folder = DatasetFolder::new();
    let digests = [RngKind::Native, RngKind::Python].map(|rng| {
        let mut digests = DigestHasher::default();
        for dataset in folder.datasets() {
            let wanted = WorkloadSpec { spare: 3, ..WorkloadSpec::new(dataset, 20) };
            let (made, _) = prepare(usize::MAX, &wanted, rng);
            digests.update(request_digest(made.requests.all()).to_string().as_bytes());
        }
        digests.finish().to_string()
    });
    let pinned = [
        "d77077f48a746b5c783405667b9fecbcf34940881409ed24c1e9563057c246c1",
        "ba359124f3a85ac63e9a4d8fafbd0a344c2efc29a4f390d9970479c4d05c5d99",
    ];
    assert_eq!(digests, pinned);
}
