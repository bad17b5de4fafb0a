//! `/rerank`: the relevance of documents for a query, computed for each pair as a cross-encoder does.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::ApiState, PoolingEndpoint, PoolingInput, PoolingRequest, PoolingResult, PoolingTask,
    truncate_limit,
};
use crate::sim::api::{
    api_error::ApiError,
    generate_request::{RawRequest, read_object, required, served_model},
};
use crate::sim::tokens::{PromptSegment, SpecialMarkers};

pub(super) static RERANK: PoolingEndpoint =
    PoolingEndpoint { paths: &["/rerank", "/v1/rerank", "/v2/rerank"], read, write };

#[derive(Deserialize)]
struct RerankBody {
    model: Option<String>,
    query: Option<String>,
    documents: Option<RerankDocuments>,
    top_n: Option<i64>,
    truncate_prompt_tokens: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RerankDocuments {
    One(String),
    Many(Vec<RerankDocument>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RerankDocument {
    Bare(String),
    Object { text: String },
}

fn read(call: &RawRequest, parts: &ApiState) -> Result<PoolingRequest, ApiError> {
    let body: RerankBody = read_object(call)?;
    let model = served_model(body.model, &parts.spec)?;
    let query = required(body.query, "query")?;
    let documents: Vec<String> = match required(body.documents, "documents")? {
        RerankDocuments::One(text) => vec![text],
        RerankDocuments::Many(many) => {
            let text = |document| match document {
                RerankDocument::Bare(text) | RerankDocument::Object { text } => text,
            };
            many.into_iter().map(text).collect()
        }
    };
    if documents.is_empty() {
        return Err(ApiError::bad_parameter(
            "documents",
            "At least one document is needed. (parameter=documents)".to_owned(),
        ));
    }
    let pair = |document: &String| {
        let pair = [&query, document].map(|text| PromptSegment::Text(text.clone()));
        PoolingInput::Segments(pair.into(), SpecialMarkers::Add)
    };
    let prompts = documents.iter().map(pair).collect();
    // vLLM interprets zero as "all documents".
    let best = body.top_n.and_then(|top| usize::try_from(top).ok()).filter(|top| *top > 0);
    let best = best.unwrap_or(documents.len());
    let truncate = truncate_limit(body.truncate_prompt_tokens, &parts.spec)?;
    Ok(PoolingRequest { model, prompts, truncate, wish: PoolingTask::Ranking { documents, best } })
}

fn write(inquiry: &PoolingRequest, pooled: &PoolingResult) -> Value {
    let PoolingTask::Ranking { documents, best } = &inquiry.wish else { return Value::Null };
    let scores = pooled.prompts.iter().map(|prompt| relevance_score(prompt, pooled.seed));
    let mut ranking: Vec<_> = scores.enumerate().zip(documents).collect();
    ranking.sort_by(|((_, a), _), ((_, b), _)| b.total_cmp(a));
    let results = ranking.into_iter().take(*best).map(|((index, score), document)| {
        json!({
            "index": index, "document": { "text": document, "multi_modal": null }, "relevance_score": score,
        })
    });
    let results: Vec<_> = results.collect();
    let mut answer =
        json!({ "id": format!("rerank-{}", pooled.id), "model": inquiry.model, "results": results });
    if pooled.tells {
        let tokens = pooled.prompt_tokens();
        answer["usage"] = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    }
    answer
}

/// A score from 0 to 1 that depends only on the pair.
fn relevance_score(pair: &[u32], seed: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, pair).hash(&mut hasher);
    hasher.finish() as f64 / u64::MAX as f64
}
