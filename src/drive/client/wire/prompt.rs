//! What requests carry, in the fields of each protocol.

use serde_json::{Value, json};

use crate::drive::workload::Content;

/// The fields of a content; `None` for one that a protocol does not take.
pub type Fields = fn(&Content) -> Option<Vec<(&'static str, Value)>>;

type Found = Option<Vec<(&'static str, Value)>>;

fn one(name: &'static str, value: Value) -> Found {
    Some(vec![(name, value)])
}

/// A text or token ids as `prompt`.
pub fn completion(content: &Content) -> Found {
    text_or_ids(content).and_then(|prompt| one("prompt", prompt))
}

/// Messages; a text is one of the user's.
pub fn chat(content: &Content) -> Found {
    match content {
        Content::Text(text) => one("messages", json!([{ "role": "user", "content": **text }])),
        Content::Messages(messages) => one("messages", json!(**messages)),
        _ => None,
    }
}

/// A text or messages as `input`.
pub fn response(content: &Content) -> Found {
    match content {
        Content::Text(text) => one("input", json!(**text)),
        Content::Messages(messages) => one("input", json!(**messages)),
        _ => None,
    }
}

/// One text, token ids or several texts as `input`.
pub fn inputs(content: &Content) -> Found {
    match content {
        Content::Batch(texts) => one("input", json!(texts.iter().map(|text| &**text).collect::<Vec<_>>())),
        _ => text_or_ids(content).and_then(|input| one("input", input)),
    }
}

/// The same, or messages.
pub fn pooled(content: &Content) -> Found {
    match content {
        Content::Messages(_) => chat(content),
        _ => inputs(content),
    }
}

/// A query and its documents; of a text, the query: the documents are then the extra body's, as in vLLM's Rust client.
pub fn ranking(content: &Content) -> Found {
    match content {
        Content::Rerank { query, documents } => {
            let documents: Vec<_> = documents.iter().map(|document| &**document).collect();
            Some(vec![("query", json!(**query)), ("documents", json!(documents))])
        }
        Content::Text(query) => one("query", json!(**query)),
        _ => None,
    }
}

/// Texts as `input`; of messages, the first picture or sound that has an address.
pub fn modal(content: &Content) -> Found {
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

/// What is said along with a recording; the recording itself is a file of the form.
pub fn recording(content: &Content) -> Found {
    match content {
        Content::Audio { prompt, .. } if prompt.is_empty() => Some(Vec::new()),
        Content::Audio { prompt, .. } => one("prompt", json!(**prompt)),
        _ => None,
    }
}

/// A text as `text`, token ids as `input_ids`.
pub fn sglang(content: &Content) -> Found {
    match content {
        Content::Text(text) => one("text", json!(**text)),
        Content::TokenIds(ids) => one("input_ids", json!(**ids)),
        _ => None,
    }
}

/// A text as `inputs`.
pub fn tgi(content: &Content) -> Found {
    one("inputs", content.as_text()?.into())
}

/// A text as `text_input`.
pub fn triton(content: &Content) -> Found {
    one("text_input", content.as_text()?.into())
}

/// A text as `prompt`, for `/api/generate`; messages as such, for `/api/chat`.
pub fn ollama(content: &Content) -> Found {
    match content {
        Content::Text(text) => one("prompt", json!(**text)),
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
