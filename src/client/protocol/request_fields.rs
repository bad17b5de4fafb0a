//! Converts the content of requests to the fields of each protocol.

use serde_json::{Value, json};

use crate::model::request::Content;

/// Builds the fields of a content; returns `None` for a content that the protocol does not accept.
pub(crate) type ContentFieldsFn = fn(&Content) -> Option<Vec<(&'static str, Value)>>;

type ContentFields = Option<Vec<(&'static str, Value)>>;

fn single_field(name: &'static str, value: Value) -> ContentFields {
    Some(vec![(name, value)])
}

/// A text or token ids as `prompt`.
pub(crate) fn completion(content: &Content) -> ContentFields {
    text_or_ids(content).and_then(|prompt| single_field("prompt", prompt))
}

/// Messages; a text becomes one message of the user.
pub(crate) fn chat(content: &Content) -> ContentFields {
    match content {
        Content::Text(text) => single_field("messages", json!([{ "role": "user", "content": **text }])),
        Content::Messages(messages) => single_field("messages", json!(**messages)),
        _ => None,
    }
}

/// A text or messages as `input`.
pub(crate) fn response(content: &Content) -> ContentFields {
    match content {
        Content::Text(text) => single_field("input", json!(**text)),
        Content::Messages(messages) => single_field("input", json!(**messages)),
        _ => None,
    }
}

/// One text, token ids or several texts as `input`.
pub(crate) fn inputs(content: &Content) -> ContentFields {
    match content {
        Content::Batch(texts) => {
            single_field("input", json!(texts.iter().map(|text| &**text).collect::<Vec<_>>()))
        }
        _ => text_or_ids(content).and_then(|input| single_field("input", input)),
    }
}

/// One text, token ids or several texts as `inputs`.
pub(crate) fn tei_inputs(content: &Content) -> ContentFields {
    let (_, texts) = inputs(content)?.pop()?;
    single_field("inputs", texts)
}

/// Any content that [`inputs`] accepts, or messages.
pub(crate) fn pooled(content: &Content) -> ContentFields {
    match content {
        Content::Messages(_) => chat(content),
        _ => inputs(content),
    }
}

/// A query and its documents. A text becomes the query; the extra body then supplies the documents, as in vLLM's Rust
/// client.
pub(crate) fn ranking(content: &Content) -> ContentFields {
    match content {
        Content::Rerank { query, documents } => {
            let documents: Vec<_> = documents.iter().map(|document| &**document).collect();
            Some(vec![("query", json!(**query)), ("documents", json!(documents))])
        }
        Content::Text(query) => single_field("query", json!(**query)),
        _ => None,
    }
}

/// A query and its documents, under both names that servers have at `/rerank`: vLLM takes only `documents`
/// (`vllm/entrypoints/pooling`, `RerankRequest`), Text Embeddings Inference only `texts` (`router/src/http/types.rs`,
/// `RerankRequest`). Both have this path, and nothing else in the target tells them apart. A user who knows the server
/// leaves the other name out with `null` in the extra body.
pub(crate) fn tei_ranking(content: &Content) -> ContentFields {
    let mut fields = ranking(content)?;
    let documents =
        fields.iter().find(|(name, _)| *name == "documents").map(|(_, documents)| documents.clone());
    fields.extend(documents.map(|documents| ("texts", documents)));
    Some(fields)
}

/// Texts as `input`. From messages, the first picture or sound that has an address.
pub(crate) fn modal(content: &Content) -> ContentFields {
    let messages = match content {
        Content::Text(_) | Content::Batch(_) => return inputs(content),
        Content::Messages(messages) => messages,
        _ => return None,
    };
    let parts = messages.iter().filter_map(|message| message["content"].as_array()).flatten();
    parts.into_iter().find_map(|part| {
        let kind = part["type"].as_str()?.strip_suffix("_url")?;
        let url = part[format!("{kind}_url")].get("url")?;
        Some(vec![("input", url.clone()), ("modality", kind.into())])
    })
}

/// The prompt that accompanies a recording. The recording itself is a file of the form.
pub(crate) fn recording(content: &Content) -> ContentFields {
    match content {
        Content::Audio { prompt, .. } if prompt.is_empty() => Some(Vec::new()),
        Content::Audio { prompt, .. } => single_field("prompt", json!(**prompt)),
        _ => None,
    }
}

/// A text as `text`, token ids as `input_ids`.
pub(crate) fn sglang(content: &Content) -> ContentFields {
    match content {
        Content::Text(text) => single_field("text", json!(**text)),
        Content::TokenIds(ids) => single_field("input_ids", json!(**ids)),
        _ => None,
    }
}

/// A text as `inputs`.
pub(crate) fn tgi(content: &Content) -> ContentFields {
    single_field("inputs", content.as_text()?.into())
}

/// A text as `text_input`.
pub(crate) fn triton(content: &Content) -> ContentFields {
    single_field("text_input", content.as_text()?.into())
}

/// A text as `prompt`, for `/api/generate`; messages as such, for `/api/chat`.
pub(crate) fn ollama(content: &Content) -> ContentFields {
    match content {
        Content::Text(text) => single_field("prompt", json!(**text)),
        Content::Messages(_) => chat(content),
        _ => None,
    }
}

fn text_or_ids(content: &Content) -> Option<Value> {
    match content {
        Content::Text(text) => Some(json!(**text)),
        Content::TokenIds(ids) => Some(json!(**ids)),
        _ => None,
    }
}
