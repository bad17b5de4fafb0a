//! The documents of embeddings, pooling and reranking: how many results, of how many tokens. The numbers are skipped.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::meaning::{Meaning, Output, Usage, describe_error};

/// Reads a document.
pub fn read(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    let Document { data, results, usage, error } = serde_json::from_slice(data)?;
    let results = [data, results].into_iter().flatten().map(|list| list.len()).sum();
    // Jina's rerankers tell only the sum, which is the prompts'.
    let tokens = usage.and_then(|usage| usage.prompt_tokens.or(usage.total_tokens));
    Ok(Meaning {
        output: Output::Results(results),
        usage: Usage::of(tokens, None),
        error: error.map(|error| describe_error(error.get())),
        ..Meaning::default()
    })
}

#[derive(Deserialize)]
struct Document<'a> {
    data: Option<Vec<IgnoredAny>>,
    results: Option<Vec<IgnoredAny>>,
    usage: Option<Counts>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Counts {
    prompt_tokens: Option<u32>,
    total_tokens: Option<u32>,
}
