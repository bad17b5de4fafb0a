//! `/rerank`: how well documents fit a query, computed of each pair as a cross-encoder does.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        Parts,
        ask::{Call, read_object, required, served_model},
        refusal::Refusal,
    },
    Input, Inquiry, Pooled, Pooler, Wish, truncation,
};
use crate::sim::tokens::{Markers, Segment};

pub(super) static RERANK: Pooler = Pooler { paths: &["/rerank", "/v1/rerank", "/v2/rerank"], read, write };

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    query: Option<String>,
    documents: Option<Documents>,
    top_n: Option<i64>,
    truncate_prompt_tokens: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Documents {
    One(String),
    Many(Vec<Document>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Bare(String),
    Object { text: String },
}

fn read(call: &Call, parts: &Parts) -> Result<Inquiry, Refusal> {
    let body: Body = read_object(call)?;
    let model = served_model(body.model, &parts.spec)?;
    let query = required(body.query, "query")?;
    let documents: Vec<String> = match required(body.documents, "documents")? {
        Documents::One(text) => vec![text],
        Documents::Many(many) => {
            let text = |document| match document {
                Document::Bare(text) | Document::Object { text } => text,
            };
            many.into_iter().map(text).collect()
        }
    };
    if documents.is_empty() {
        return Err(Refusal::bad(
            "documents",
            "At least one document is needed. (parameter=documents)".to_owned(),
        ));
    }
    let pair = |document: &String| {
        let pair = [&query, document].map(|text| Segment::Text(text.clone()));
        Input::Segments(pair.into(), Markers::Add)
    };
    let prompts = documents.iter().map(pair).collect();
    // vLLM takes zero for all.
    let best = body.top_n.and_then(|top| usize::try_from(top).ok()).filter(|top| *top > 0);
    let best = best.unwrap_or(documents.len());
    let truncate = truncation(body.truncate_prompt_tokens, &parts.spec)?;
    Ok(Inquiry { model, prompts, truncate, wish: Wish::Ranking { documents, best } })
}

fn write(inquiry: &Inquiry, pooled: &Pooled) -> Value {
    let Wish::Ranking { documents, best } = &inquiry.wish else { return Value::Null };
    let scores = pooled.prompts.iter().map(|prompt| score(prompt, pooled.seed));
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

/// A number from 0 to 1 that depends on the pair only.
fn score(pair: &[u32], seed: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, pair).hash(&mut hasher);
    hasher.finish() as f64 / u64::MAX as f64
}
