//! A request to send, of any kind.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The content to send.
    pub content: Content,
    /// The prompt's length in tokens by the client's count, special tokens included.
    pub prompt_tokens: u32,
    /// The number of output tokens to request.
    pub max_tokens: u32,
    /// The properties that distinguish it from the run's other requests; `None` for most requests.
    pub own: Option<Arc<Own>>,
}

/// The content of a request. Cloning is cheap: repeated requests share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text(Arc<str>),
    /// A text as token IDs.
    TokenIds(Arc<[u32]>),
    /// Chat messages in the API's shape, where a single user message is not enough (a system prompt, a history,
    /// images).
    Messages(Arc<[Value]>),
    /// Several texts in one request, for embeddings.
    Batch(Arc<[Arc<str>]>),
    /// A query and the documents to rank for it.
    Rerank {
        /// The query.
        query: Arc<str>,
        /// The documents to rank.
        documents: Arc<[Arc<str>]>,
    },
    /// A recording to transcribe.
    Audio {
        /// The file, as it is sent.
        wav: Arc<[u8]>,
        /// The prompt that accompanies the recording; may be empty.
        prompt: Arc<str>,
    },
}

/// The properties that distinguish a request from the run's others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// The name sent in the `model` field instead of the run's: a LoRA adapter.
    pub model: Option<String>,
    /// Merged into the request's body last.
    pub body: Map<String, Value>,
    /// The request's class in a mixed workload.
    pub class: Option<String>,
    /// The request's position in a session of several turns. Its content and its length are then those that the turn
    /// adds.
    pub turn: Option<Turn>,
    /// The time after sending at which the user leaves, whether or not the answer is complete.
    pub patience: Option<Duration>,
}

/// A position in a session of several turns. The turns of a session are consecutive in a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// The index of the turn, from 0, which starts a session.
    pub index: u32,
    /// The number of turns of the session.
    pub of: u32,
    /// The time between the end of the previous answer and this turn.
    pub think: Duration,
    /// The dataset's answer, for a fixed history.
    pub answer: Option<Arc<str>>,
}

impl Request {
    /// Creates a request for a text without distinguishing properties.
    pub fn text(prompt: impl Into<Arc<str>>, prompt_tokens: u32, max_tokens: u32) -> Self {
        Self::of(Content::Text(prompt.into()), prompt_tokens, max_tokens)
    }

    /// Creates a request for any content without distinguishing properties.
    pub fn of(content: Content, prompt_tokens: u32, max_tokens: u32) -> Self {
        Self { content, prompt_tokens, max_tokens, own: None }
    }

    /// The request's position in a session of several turns.
    pub fn turn(&self) -> Option<&Turn> {
        self.own.as_deref()?.turn.as_ref()
    }

    /// Whether the request is a later turn of the session of the request before it.
    pub fn is_later_turn(&self) -> bool {
        self.turn().is_some_and(|turn| turn.index > 0)
    }

    /// How long the user waits for the end of the answer; `None` for a user who stays.
    pub fn patience(&self) -> Option<Duration> {
        self.own.as_deref()?.patience
    }

    /// Returns the request with changed properties.
    pub fn with(mut self, change: impl FnOnce(&mut Own)) -> Self {
        change(Arc::make_mut(self.own.get_or_insert_default()));
        self
    }
}

impl Content {
    /// The content as bytes, for finding the common beginning of two requests.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Text(text) => text.as_bytes().into(),
            Self::TokenIds(ids) => ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
            Self::Messages(messages) => {
                serde_json::to_vec(&**messages).expect("a JSON value can be written").into()
            }
            Self::Batch(texts) => texts.join("\0").into_bytes().into(),
            Self::Rerank { query, documents } => {
                [query, "\0", &documents.join("\0")].concat().into_bytes().into()
            }
            Self::Audio { wav, prompt } => [prompt.as_bytes(), &**wav].concat().into(),
        }
    }

    /// Whether one is a clone of the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Arc::ptr_eq(one, other),
            (Self::TokenIds(one), Self::TokenIds(other)) => Arc::ptr_eq(one, other),
            (Self::Messages(one), Self::Messages(other)) => Arc::ptr_eq(one, other),
            (Self::Batch(one), Self::Batch(other)) => Arc::ptr_eq(one, other),
            (Self::Rerank { query, documents }, Self::Rerank { query: other, documents: others }) => {
                Arc::ptr_eq(query, other) && Arc::ptr_eq(documents, others)
            }
            (Self::Audio { wav, prompt }, Self::Audio { wav: other, prompt: others }) => {
                Arc::ptr_eq(wav, other) && Arc::ptr_eq(prompt, others)
            }
            _ => false,
        }
    }

    /// The kind of the content, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "texts",
            Self::TokenIds(_) => "token ids",
            Self::Messages(_) => "chat messages",
            Self::Batch(_) => "batches of texts",
            Self::Rerank { .. } => "queries with documents",
            Self::Audio { .. } => "recordings",
        }
    }

    /// The text; `None` for other content.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_requests_own_is_not_its_copies() {
        let plain = Request::text("hello", 1, 2);
        let lora = plain.clone().with(|own| own.model = Some("sql".into()));
        let both = lora.clone().with(|own| own.class = Some("chat".into()));
        assert_eq!(plain.own, None);
        assert_eq!(lora.own.as_ref().and_then(|own| own.class.clone()), None);
        assert_eq!(both.own.as_ref().and_then(|own| own.model.as_deref()), Some("sql"));
    }

    #[test]
    fn contents_that_begin_alike_have_bytes_that_begin_alike() {
        let ids = |ids: &[u32]| Content::TokenIds(ids.into());
        assert!(ids(&[1, 2, 3]).bytes().starts_with(&ids(&[1, 2]).bytes()));
        let texts = |texts: &[&str]| Content::Batch(texts.iter().map(|text| (*text).into()).collect());
        assert!(texts(&["a", "b"]).bytes().starts_with(&texts(&["a"]).bytes()));
    }
}
