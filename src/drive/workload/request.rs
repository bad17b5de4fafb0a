//! One request to make, of any kind.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

/// One request to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is sent.
    pub content: Content,
    /// Its length in tokens by our count, special tokens included.
    pub prompt_tokens: u32,
    /// How many tokens to ask for.
    pub max_tokens: u32,
    /// What sets it apart from the run's other requests; `None` for most.
    pub own: Option<Arc<Own>>,
}

/// What is sent. Cloning is cheap: requests that repeat share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text(Arc<str>),
    /// A text by the ids of its tokens.
    TokenIds(Arc<[u32]>),
    /// Chat messages, in the API's shape: what is no single user message (a system prompt, a history, images).
    Messages(Arc<[Value]>),
    /// Several texts in one request, for embeddings.
    Batch(Arc<[Arc<str>]>),
    /// A query and the documents to rank by it.
    Rerank {
        /// What the documents are held against.
        query: Arc<str>,
        /// What is ranked.
        documents: Arc<[Arc<str>]>,
    },
    /// A recording to write down.
    Audio {
        /// The file, as it is sent.
        wav: Arc<[u8]>,
        /// What is said along with it; may be empty.
        prompt: Arc<str>,
    },
}

/// What sets a request apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// The name in the `model` field instead of the run's: a LoRA adapter.
    pub model: Option<String>,
    /// Merged last into its body.
    pub body: Map<String, Value>,
    /// The class of a mixed workload that it belongs to.
    pub class: Option<String>,
    /// Its place in a session of several turns. Its content and its length are then what the turn adds.
    pub turn: Option<Turn>,
    /// Its user leaves this long after it was sent, whether or not the answer is over.
    pub patience: Option<Duration>,
}

/// A place in a session of several turns. The turns of a session follow one another in a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// From 0, which begins a session.
    pub index: u32,
    /// How many turns the session has.
    pub of: u32,
    /// Between the end of the answer before and this turn.
    pub think: Duration,
    /// What the dataset answers, for a history that is fixed.
    pub answer: Option<Arc<str>>,
}

impl Request {
    /// A text with nothing that sets it apart.
    pub fn text(prompt: impl Into<Arc<str>>, prompt_tokens: u32, max_tokens: u32) -> Self {
        Self::of(Content::Text(prompt.into()), prompt_tokens, max_tokens)
    }

    /// Any content with nothing that sets it apart.
    pub fn of(content: Content, prompt_tokens: u32, max_tokens: u32) -> Self {
        Self { content, prompt_tokens, max_tokens, own: None }
    }

    /// Its place in a session of several turns.
    pub fn turn(&self) -> Option<&Turn> {
        self.own.as_deref()?.turn.as_ref()
    }

    /// How long its user waits for the end of the answer, if not for ever.
    pub fn patience(&self) -> Option<Duration> {
        self.own.as_deref()?.patience
    }

    /// The same request, with something of its own.
    pub fn with(mut self, change: impl FnOnce(&mut Own)) -> Self {
        change(Arc::make_mut(self.own.get_or_insert_default()));
        self
    }
}

impl Content {
    /// A text or its like as bytes, for what is the same at the beginning of two requests.
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

    /// What kind it is, in words.
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

    /// The text, where it is one.
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
