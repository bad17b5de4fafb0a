//! The field names of every protocol: one row a backend in [`TABLE`], which says where requests go, how their bodies are
//! written ([`body`]), and how answers are read into a [`meaning`] that is the same for all.

pub mod audio;
pub mod body;
pub mod chunk;
pub mod few;
pub mod form;
pub mod llama_cpp;
pub mod meaning;
pub mod ollama;
pub mod pooling;
pub mod prompt;
pub mod refrain;
pub mod responses;
pub mod sglang;
mod table;
pub mod tgi;
pub mod triton;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::framing::Framing;
use crate::core::spec::Backend;
use crate::drive::workload::{Content, Request, wav};
use meaning::Read;
use prompt::Fields;
pub use table::TABLE;

/// A protocol: everything that sets one backend apart.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
    /// Whose it is.
    pub backend: Backend,
    /// Other names that vLLM has for it. Its `-clip` and `-vlm2vec` also change the texts of pictures, which we send as the
    /// dataset has them.
    pub aliases: &'static [&'static str],
    /// The usual path.
    path: &'static str,
    /// The usual path for an answer in one piece, where that is another.
    whole_path: Option<&'static str>,
    /// The fields of a prompt; `None` for a content that it does not take.
    prompt: Fields,
    /// Where the names of models go.
    model: Model,
    /// The object that the sampling fields lie in; they lie beside the prompt without.
    parameters: Option<&'static str>,
    /// The field of the token limit, among the sampling fields; what generates nothing has none.
    limit: Option<&'static str>,
    /// Sampling fields that are called otherwise here than in OpenAI's API.
    names: &'static [(&'static str, &'static str)],
    /// The fields that all requests have, with and without a stream.
    fixed: fn(bool) -> Value,
    /// Says in this protocol's way what its names alone do not say.
    adapt: fn(&mut Map<String, Value>),
    /// How a body is put on the wire.
    encoding: Encoding,
    /// How a stream is cut; a document for what does not stream.
    framing: Framing,
    /// What an event says.
    event: Read,
    /// What an answer in one piece says.
    document: Read,
    /// Whether the end of a stream is all that marks it.
    ends_unmarked: bool,
}

/// Where the names of models go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    /// Into this field, the run's or the request's own.
    Field(&'static str),
    /// The server has one model; a request's own goes into this field.
    Own(&'static str),
    /// The server has one model, and that is all.
    Unnamed,
}

/// How a body is put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    Form,
}

/// How answers are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// How the body is cut.
    pub framing: Framing,
    /// What a piece says.
    pub read: Read,
    /// Whether the end of a stream is all that marks it.
    pub ends_unmarked: bool,
}

impl Default for Reading {
    /// Of completions, which chat streams are read like.
    fn default() -> Self {
        Wire::of(Backend::Openai).reading(false)
    }
}

impl Wire {
    /// The protocol of a backend.
    pub fn of(backend: Backend) -> &'static Self {
        &TABLE[backend as usize]
    }

    /// The protocol with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|wire| wire.backend.name() == name || wire.aliases.contains(&name))
    }

    /// A small request that it takes, to see whether a server answers.
    pub fn question(&self) -> Request {
        let text = || Arc::from("Are you ready?");
        let contents = [
            Content::Text(text()),
            Content::Rerank { query: text(), documents: [text()].into() },
            Content::Audio { wav: wav::silence(Duration::from_millis(100)).into(), prompt: "".into() },
        ];
        let taken = contents.into_iter().find(|content| (self.prompt)(content).is_some());
        Request::of(taken.expect("every protocol takes one of them"), 4, 1)
    }

    /// The usual path, for answers as a stream or `whole`.
    pub fn path(&self, whole: bool) -> &'static str {
        self.whole_path.filter(|_| whole).unwrap_or(self.path)
    }

    /// What it has no way to say of a request, in words; `None` if it can be sent.
    pub fn cannot_say(&self, request: &Request) -> Option<&'static str> {
        let names_model = request.own.as_ref().is_some_and(|own| own.model.is_some());
        match (self.prompt)(&request.content) {
            None => Some(request.content.kind()),
            Some(_) if names_model && self.model == Model::Unnamed => Some("the name of an adapter"),
            Some(_) => None,
        }
    }

    /// Whether it takes a conversation as messages.
    pub fn takes_messages(&self) -> bool {
        (self.prompt)(&Content::Messages([].into())).is_some()
    }

    /// The type of its bodies.
    pub fn content_type(&self) -> &'static str {
        match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Form => form::CONTENT_TYPE,
        }
    }

    /// How its answers are read, as a stream or `whole`.
    pub fn reading(&self, whole: bool) -> Reading {
        let document = whole || self.framing == Framing::Document;
        Reading {
            framing: if document { Framing::Document } else { self.framing },
            read: if document { self.document } else { self.event },
            ends_unmarked: self.ends_unmarked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::spec::Task;

    #[test]
    fn every_backend_has_its_row() {
        for backend in Backend::ALL {
            let wire = Wire::of(backend);
            assert_eq!(wire.backend, backend);
            assert!(wire.path(false).starts_with('/') && wire.path(true).starts_with('/'));
            assert_eq!(wire.cannot_say(&wire.question()), None, "{}", backend.name());
            assert_eq!(Wire::named(backend.name()).map(|wire| wire.backend), Some(backend));
        }
    }

    #[test]
    fn vllms_other_names_are_known() {
        let backend = |name| Wire::named(name).map(|wire| wire.backend);
        assert_eq!(backend("openai-embeddings-clip"), Some(Backend::OpenaiEmbeddingsChat));
        assert_eq!(backend("openai-embeddings-vlm2vec"), Some(Backend::OpenaiEmbeddingsChat));
        assert_eq!(backend("infinity-embeddings-clip"), Some(Backend::InfinityEmbeddings));
        assert_eq!(backend("scalellm"), None);
    }

    #[test]
    fn what_pools_answers_with_documents_and_has_no_token_limit() {
        for wire in &TABLE {
            let pools = wire.backend.task() == Task::Pooling;
            assert_eq!(wire.framing == Framing::Document, pools, "{}", wire.backend.name());
            assert_eq!(wire.limit.is_none(), pools, "{}", wire.backend.name());
        }
    }
}
