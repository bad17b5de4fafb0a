//! What a request wants to know of each token: ids and log-probabilities, in vLLM's formats.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::chunks::{CompletionApi, TokenFields, quoted};
use super::response_writer::OutputChunk;
use crate::sim::tokens::Vocabulary;

/// The most alternatives of a token, as in vLLM.
pub(super) const MAX_LOGPROBS: usize = 20;

/// What a request wants to know of each token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TokenDetails {
    /// The prompt's ids, if the answer is to have ids; empty until the prompt is encoded.
    pub prompt_ids: Option<Vec<u32>>,
    /// The number of alternatives of each token, if the answer is to have log-probabilities.
    pub logprobs: Option<usize>,
}

impl TokenDetails {
    /// The fields of these tokens. `offset` is the number of characters before them.
    pub(super) fn fields(&self, kind: CompletionApi, chunk: &OutputChunk, offset: usize) -> TokenFields {
        if *self == Self::default() {
            return TokenFields::NULL;
        }
        let logprobs = self.logprobs.map(|alternatives| {
            let tokens = TokenLogprobs::of_chunk(chunk, alternatives);
            match kind {
                CompletionApi::Chat => chat_logprobs(&tokens),
                CompletionApi::Completions => completion_logprobs(&tokens, offset),
            }
        });
        let token_ids = self.prompt_ids.as_ref().map(|_| ids_json(&chunk.ids()));
        TokenFields {
            logprobs: logprobs.map_or(Cow::Borrowed("null"), Cow::Owned),
            token_ids: token_ids.map_or(Cow::Borrowed("null"), Cow::Owned),
            prompt_token_ids: Cow::Borrowed("null"),
        }
    }

    /// The prompt's ids as JSON.
    pub(super) fn prompt_json(&self) -> Cow<'static, str> {
        self.prompt_ids.as_deref().map_or(Cow::Borrowed("null"), |ids| Cow::Owned(ids_json(ids)))
    }
}

/// A token with its alternatives, itself first: text and log-probability of each.
struct TokenLogprobs {
    token: (String, f64),
    top: Vec<(String, f64)>,
}

impl TokenLogprobs {
    fn of_chunk(chunk: &OutputChunk, alternatives: usize) -> Vec<Self> {
        let texts = chunk.range.clone().map(|index| chunk.plan.text(chunk.vocabulary, index));
        let ids = chunk.ids();
        let tokens = ids.iter().zip(texts);
        tokens.map(|(id, text)| Self::new(*id, text, chunk.vocabulary, alternatives)).collect()
    }

    /// Made-up values that depend on the token alone: the alternatives are less likely words.
    fn new(id: u32, text: &str, vocabulary: &Vocabulary, alternatives: usize) -> Self {
        let own = -f64::from(id % 997) / 1000.0;
        let word = |n: usize| vocabulary.word_text((id as usize + n) % vocabulary.word_count()).to_owned();
        let others = (1..alternatives).map(|n| (word(n), own - n as f64));
        let first = (alternatives > 0).then(|| (text.to_owned(), own));
        Self { token: (text.to_owned(), own), top: first.into_iter().chain(others).collect() }
    }
}

fn chat_logprobs(tokens: &[TokenLogprobs]) -> String {
    let one = |(text, value): &(String, f64)| {
        let bytes: Vec<u32> = text.bytes().map(u32::from).collect();
        format!(r#""token":{},"logprob":{value:.3},"bytes":{}"#, quoted(text), ids_json(&bytes))
    };
    let entries = tokens.iter().map(|entry| {
        let top = list(entry.top.iter().map(|other| format!("{{{}}}", one(other))));
        format!(r#"{{{},"top_logprobs":{top}}}"#, one(&entry.token))
    });
    format!(r#"{{"content":{}}}"#, list(entries))
}

fn completion_logprobs(tokens: &[TokenLogprobs], offset: usize) -> String {
    let mut at = offset;
    let offsets = list(tokens.iter().map(|entry| {
        let own = at.to_string();
        at += entry.token.0.chars().count();
        own
    }));
    let values = list(tokens.iter().map(|entry| format!("{:.3}", entry.token.1)));
    let texts = list(tokens.iter().map(|entry| quoted(&entry.token.0)));
    let top = list(tokens.iter().map(|entry| {
        let others: Vec<String> =
            entry.top.iter().map(|(text, value)| format!("{}:{value:.3}", quoted(text))).collect();
        format!("{{{}}}", others.join(","))
    }));
    format!(r#"{{"text_offset":{offsets},"token_logprobs":{values},"tokens":{texts},"top_logprobs":{top}}}"#)
}

fn ids_json(ids: &[u32]) -> String {
    let mut text = String::with_capacity(2 + 6 * ids.len());
    text.push('[');
    for (n, id) in ids.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        // Writing to a text cannot fail.
        let _ = write!(text, "{comma}{id}");
    }
    text.push(']');
    text
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}
