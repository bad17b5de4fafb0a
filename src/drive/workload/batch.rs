//! Random texts, several in a request: batches for embeddings, and `random-rerank`'s queries with documents.
//!
//! The shape of the latter is vLLM's (`RandomDatasetForReranking`): one query for the whole run; a reranker reads it with
//! one document at a time and a separator between them, so that together they have the asked length.

use std::sync::Arc;

use super::{Content, Job, Request, Workload, WorkloadError, random};
use crate::core::rng::Dice;
use crate::core::spec::{RandomBatch, RandomLengths, RandomRerank};

/// What a model puts between a query and a document.
const SEPARATOR: u32 = 1;

/// Writes the texts of all requests.
pub(super) fn prepare(batch: &RandomBatch, job: &Job<'_>, dice: &Dice) -> Result<Workload, WorkloadError> {
    let size = batch.batch_size.max(1) as usize;
    let mut workload = texts(&batch.text, size, job, dice)?;
    let batches = workload.requests.chunks(size).map(|requests| {
        let content = Content::Batch(requests.iter().map(text).collect());
        Request::of(
            content,
            tokens(requests),
            requests.iter().map(|request| request.max_tokens).max().unwrap_or(0),
        )
    });
    workload.requests = batches.collect();
    Ok(workload)
}

/// Writes the query and the documents of all requests.
pub(super) fn prepare_rerank(
    rerank: &RandomRerank,
    job: &Job<'_>,
    dice: &Dice,
) -> Result<Workload, WorkloadError> {
    let (length, documents) = match rerank.is_reranker {
        true => ((rerank.input_len / 2).saturating_sub(SEPARATOR), rerank.batch_size.max(1)),
        false => (rerank.input_len, rerank.batch_size.saturating_sub(1)),
    };
    if documents == 0 {
        return Err(WorkloadError::Unmakeable {
            dataset: "random-rerank",
            cause: "with --no-reranker the query is one of the texts of a batch: --random-batch-size must be at least 2"
                .into(),
        });
    }
    // A seed of its own: the documents must not begin like the query.
    let query_job = Job { num_prompts: 1, measured: 1, seed: !job.seed, ..*job };
    let query = texts(&lengths(length, rerank), 1, &query_job, dice)?.requests.remove(0);
    let specials = job.tokenizer.specials()?;
    let query_tokens = query.prompt_tokens.saturating_sub(specials);
    let document_len = match rerank.is_reranker {
        true => rerank.input_len.saturating_sub(query_tokens + SEPARATOR),
        false => rerank.input_len,
    };
    let mut workload = texts(&lengths(document_len, rerank), documents as usize, job, dice)?;
    let chunks = workload.requests.chunks(documents as usize);
    workload.requests = match rerank.is_reranker {
        true => chunks.map(|documents| ranked(&query, query_tokens + SEPARATOR, documents)).collect(),
        false => chunks.map(|documents| side_by_side(&query, documents)).collect(),
    };
    workload.provenance.dataset = "random-rerank".into();
    Ok(workload)
}

/// As many random texts as so many a request are.
fn texts(
    lengths: &RandomLengths,
    per_request: usize,
    job: &Job<'_>,
    dice: &Dice,
) -> Result<Workload, WorkloadError> {
    let times = |n: usize| n.saturating_mul(per_request);
    random::prepare(
        lengths,
        &Job { num_prompts: times(job.num_prompts), measured: times(job.measured), ..*job },
        dice,
    )
}

fn lengths(input_len: u32, rerank: &RandomRerank) -> RandomLengths {
    let ratio = rerank.range_ratio;
    RandomLengths {
        input_len,
        output_len: 1,
        prefix_len: 0,
        input_range_ratio: ratio,
        output_range_ratio: 0.0,
        token_ids: false,
    }
}

/// Each document is read behind the query.
fn ranked(query: &Request, query_tokens: u32, documents: &[Request]) -> Request {
    let tokens = tokens(documents).saturating_add(query_tokens.saturating_mul(documents.len() as u32));
    let content = Content::Rerank { query: text(query), documents: documents.iter().map(text).collect() };
    Request::of(content, tokens, 0)
}

/// The query is the first of the texts.
fn side_by_side(query: &Request, documents: &[Request]) -> Request {
    let all = [query].into_iter().chain(documents);
    Request::of(
        Content::Batch(all.map(text).collect()),
        query.prompt_tokens.saturating_add(tokens(documents)),
        0,
    )
}

fn text(request: &Request) -> Arc<str> {
    request.content.as_text().expect("random prompts without token ids are texts").into()
}

fn tokens(requests: &[Request]) -> u32 {
    requests.iter().fold(0, |sum, request| sum.saturating_add(request.prompt_tokens))
}

#[cfg(test)]
mod tests;
