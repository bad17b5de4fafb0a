use super::*;
use crate::dataset::bundled;
use crate::model::rng::RunRng;
use crate::model::run_spec::{self, Dataset};

fn made(dataset: Dataset, num_prompts: usize) -> Result<PreparedWorkload, String> {
    let wanted = run_spec::WorkloadSpec::new(dataset, num_prompts);
    super::super::prepare(&wanted, &mut RunRng::native(3), &bundled::tokenizer(), &|_| {})
        .map_err(|error| error.to_string())
}

fn rerank(input_len: u32, batch_size: u32, is_reranker: bool) -> RandomRerank {
    RandomRerank { input_len, range_ratio: 0.0, batch_size, is_reranker }
}

fn count(text: &str) -> u32 {
    bundled::tokenizer().count(text).unwrap()
}

#[test]
fn a_reranker_reads_query_and_document_together_in_the_asked_length() {
    let workload = made(Dataset::RandomRerank(rerank(64, 3, true)), 5).unwrap();
    let mut queries = std::collections::HashSet::new();
    for request in &workload.requests.to_vec() {
        let Content::Rerank { query, documents } = &request.content else { panic!("{request:?}") };
        assert_eq!((count(query), documents.len()), (31, 3));
        assert!(documents.iter().all(|document| count(document) == 32 && document != query));
        assert_eq!((request.prompt_tokens, request.max_tokens), (3 * 64, 0));
        queries.insert(query.clone());
    }
    assert_eq!((workload.requests.to_vec().len(), queries.len()), (5, 1), "one query for the run");
    assert_eq!(workload.provenance.dataset, "random-rerank");
}

#[test]
fn without_a_reranker_the_query_is_one_of_the_texts() {
    let workload = made(Dataset::RandomRerank(rerank(20, 4, false)), 2).unwrap();
    for request in &workload.requests.to_vec() {
        let Content::Batch(texts) = &request.content else { panic!("{request:?}") };
        assert!(texts.len() == 4 && texts.iter().all(|text| count(text) == 20), "{texts:?}");
        assert_eq!(request.prompt_tokens, 80);
    }
    let error = made(Dataset::RandomRerank(rerank(20, 1, false)), 2).unwrap_err();
    assert!(error.contains("`random-rerank.batch_size` must be at least 2"), "{error}");
}

#[test]
fn lengths_that_leave_no_room_are_told() {
    let error = made(Dataset::RandomRerank(rerank(2, 1, true)), 2).unwrap_err();
    assert!(error.contains("choose a greater length"), "{error}");
}

#[test]
fn a_batch_holds_texts_of_the_asked_length() {
    let batch = RandomBatch { text: lengths(9, &rerank(9, 1, true)), batch_size: 4 };
    let workload = made(Dataset::RandomBatch(batch), 3).unwrap();
    for request in &workload.requests.to_vec() {
        let Content::Batch(texts) = &request.content else { panic!("{request:?}") };
        assert!(texts.len() == 4 && texts.iter().all(|text| count(text) == 9), "{texts:?}");
        assert_eq!(request.prompt_tokens, 36);
    }
}

#[test]
fn prompts_are_counted_as_vllm_counts_them() {
    let batch = RandomBatch { text: lengths(9, &rerank(9, 1, true)), batch_size: 4 };
    assert_eq!([1, 4, 5, 1000].map(|texts| batch.request_count(texts)), [1, 1, 2, 250]);
    assert_eq!([1, 4, 5].map(|texts| rerank(9, 4, true).request_count(texts)), [1, 1, 2]);
    assert_eq!([1, 4, 5, 1000].map(|texts| rerank(9, 4, false).request_count(texts)), [1, 1, 2, 333]);
}
