//! SGLang's own `/generate`: every event repeats the text so far, with the count of its tokens.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::meaning::{Meaning, Output, Text, Usage, describe_error};
use crate::core::record::Finish;

/// Reads the data of one event, or a document.
pub fn read(data: &[u8]) -> serde_json::Result<Meaning<'_>> {
    let Event { text, meta_info, error } = serde_json::from_slice(data)?;
    let Meta { prompt_tokens, completion_tokens, cached_tokens, finish_reason } =
        meta_info.unwrap_or_default();
    let (finish, aborted) = finish_reason.map_or((None, None), |reason| ended(reason.get()));
    Ok(Meaning {
        output: Output::SoFar { text, tokens: completion_tokens },
        usage: Usage::of(prompt_tokens, completion_tokens).map(|usage| usage.with_cached(cached_tokens)),
        finish,
        error: error.map(|error| describe_error(error.get())).or(aborted),
        is_end: false,
    })
}

/// How an answer ended, or why it was aborted.
fn ended(json: &str) -> (Option<Finish>, Option<String>) {
    let Ok(reason) = serde_json::from_str::<Reason<'_>>(json) else {
        return (Some(Finish::from_reason(json.trim_matches('"'))), None);
    };
    match &*reason.kind.decode() {
        "abort" => (None, Some(describe_error(json))),
        kind => (Some(Finish::from_reason(kind)), None),
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    meta_info: Option<Meta<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Meta<'a> {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    cached_tokens: Option<u32>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Reason<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
}
