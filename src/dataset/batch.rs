//! Random texts, several in one request: batches for embeddings, and the query and documents of `random-rerank`.
//!
//! `random-rerank` has the shape of vLLM's `RandomDatasetForReranking`: one query for the whole run. A reranker reads
//! the query with one document at a time and a separator between them. Query, separator and document together have the
//! requested length.

use std::borrow::Cow;
use std::sync::Arc;

use super::{DatasetError, PrepareContext, PreparedWorkload, random};
use crate::model::request::{Content, Request};
use crate::model::rng::RunRng;
use crate::model::run_spec::{LengthBounds, RandomBatch, RandomLengths, RandomRerank};

/// Number of tokens that a model puts between a query and a document.
const SEPARATOR: u32 = 1;

/// Writes the texts of all requests.
pub(super) fn prepare(
    batch: &RandomBatch,
    job: &PrepareContext<'_>,
    dice: &RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let size = batch.batch_size.max(1) as usize;
    let mut workload = texts(&batch.text, size, job, dice)?;
    regroup(&mut workload, size, job, |requests| {
        let content = Content::Batch(requests.iter().map(text).collect());
        let output = requests.iter().map(|request| request.max_tokens).max();
        Request::of(content, tokens(requests), output.unwrap_or(0))
    })?;
    Ok(workload)
}

/// Makes one request of each `size` requests.
fn regroup(
    workload: &mut PreparedWorkload,
    size: usize,
    job: &PrepareContext<'_>,
    join: impl Fn(&[Request]) -> Request,
) -> Result<(), DatasetError> {
    let mut joined = job.request_sink();
    let mut texts = workload.requests.iter().map(Cow::into_owned);
    loop {
        let group: Vec<Request> = texts.by_ref().take(size).collect();
        if group.is_empty() {
            break;
        }
        joined.push(join(&group))?;
    }
    drop(texts);
    workload.requests = joined.finish()?;
    Ok(())
}

/// Writes the query and the documents of all requests.
pub(super) fn prepare_rerank(
    rerank: &RandomRerank,
    job: &PrepareContext<'_>,
    dice: &RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let (length, documents) = match rerank.is_reranker {
        true => ((rerank.input_len / 2).saturating_sub(SEPARATOR), rerank.batch_size.max(1)),
        false => (rerank.input_len, rerank.batch_size.saturating_sub(1)),
    };
    if documents == 0 {
        return Err(DatasetError::Unmakeable {
            dataset: "random-rerank",
            cause: "with `random-rerank.is_reranker = false` the query is one of the texts of a batch: `random-rerank.batch_size` \
                    must be at least 2"
                .into(),
        });
    }
    // The query uses another seed, so that the documents do not begin like the query.
    let query_job = PrepareContext {
        num_prompts: 1,
        measured: 1,
        seed: !job.seed,
        bounds: LengthBounds::default(),
        ..*job
    };
    let query = texts(&lengths(length, rerank), 1, &query_job, dice)?;
    let query = query.requests.all().reader().get(0).into_owned();
    let specials = job.tokenizer.special_token_count()?;
    let query_tokens = query.prompt_tokens.saturating_sub(specials);
    let document_len = match rerank.is_reranker {
        true => rerank.input_len.saturating_sub(query_tokens + SEPARATOR),
        false => rerank.input_len,
    };
    let mut workload = texts(&lengths(document_len, rerank), documents as usize, job, dice)?;
    regroup(&mut workload, documents as usize, job, |documents| match rerank.is_reranker {
        true => rerank_pair(&query, query_tokens + SEPARATOR, documents),
        false => batched_pair(&query, documents),
    })?;
    workload.provenance.dataset = "random-rerank".into();
    Ok(workload)
}

/// Writes `per_request` random texts for each request.
fn texts(
    lengths: &RandomLengths,
    per_request: usize,
    job: &PrepareContext<'_>,
    dice: &RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let times = |n: usize| n.saturating_mul(per_request);
    random::prepare(
        lengths,
        &PrepareContext {
            num_prompts: times(job.num_prompts),
            measured: times(job.measured),
            bounds: LengthBounds::default(),
            ..*job
        },
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

/// Builds a rerank request. The model reads the query again for each document.
fn rerank_pair(query: &Request, query_tokens: u32, documents: &[Request]) -> Request {
    let tokens = tokens(documents).saturating_add(query_tokens.saturating_mul(documents.len() as u32));
    let content = Content::Rerank { query: text(query), documents: documents.iter().map(text).collect() };
    Request::of(content, tokens, 0)
}

/// Builds a batch request. The query is the first of its texts.
fn batched_pair(query: &Request, documents: &[Request]) -> Request {
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
