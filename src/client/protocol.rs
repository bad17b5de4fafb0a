//! The field names of every protocol, one row per backend in [`PROTOCOLS`]. A row states where requests go, how their
//! bodies are written ([`body`]), and how answers are parsed into a [`parsed_event`], whose shape is the same for all
//! protocols.

pub(crate) mod audio;
pub(crate) mod body;
pub(crate) mod chunk;
pub(crate) mod data_text;
pub(crate) mod error;
pub(crate) mod error_text;
pub(crate) mod event_template;
pub(crate) mod finish;
pub(crate) mod foreign_error;
pub(crate) mod llama_cpp;
pub(crate) mod multipart;
pub(crate) mod object;
pub(crate) mod ollama;
pub(crate) mod output_deltas;
pub(crate) mod parsed_event;
pub(crate) mod pooling;
pub(crate) mod request_fields;
pub(crate) mod responses;
mod server_times;
pub(crate) mod sglang;
pub(crate) mod small_list;
mod table;
pub(crate) mod text;
pub(crate) mod tgi;
pub(crate) mod triton;
pub(crate) mod unread_text;
pub(crate) mod usage;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::framing::StreamFraming;
use crate::client::protocol::parsed_event::ParseFn;
use crate::client::protocol::request_fields::ContentFieldsFn;
use crate::model::request::{Content, Request};
use crate::model::run_spec::{Backend, Target};
use crate::model::wav;
pub(crate) use table::PROTOCOLS;

/// A protocol: everything that distinguishes one backend from the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    /// The backend that the protocol belongs to.
    pub backend: Backend,
    /// Other names that vLLM has for the backend. vLLM's `-clip` and `-vlm2vec` also change the texts of pictures,
    /// which we send as the dataset has them.
    pub aliases: &'static [&'static str],
    /// The usual path.
    path: &'static str,
    /// The usual path for a non-streamed answer, if it differs.
    whole_path: Option<&'static str>,
    /// Builds the fields of a prompt; returns `None` for a content that the protocol does not accept.
    content_fields: ContentFieldsFn,
    /// Which field holds the model's name.
    model: ModelField,
    /// The object that holds the sampling fields; `None` if they are next to the prompt.
    parameters: Option<&'static str>,
    /// The name of the token limit among the sampling fields; `None` for a protocol that generates nothing.
    limit: Option<&'static str>,
    /// Sampling fields whose names differ from OpenAI's, as pairs of OpenAI's name and this protocol's name.
    names: &'static [(&'static str, &'static str)],
    /// The fields that every request has; the argument states whether the request streams.
    fixed: fn(bool) -> Value,
    /// Rewrites a body where renaming fields is not enough for this protocol.
    adapt: fn(&mut Map<String, Value>),
    /// The encoding of a body.
    encoding: BodyEncoding,
    /// How a stream splits into pieces; a document if the protocol does not stream.
    framing: StreamFraming,
    /// Parses an event.
    event: ParseFn,
    /// Parses a non-streamed answer.
    document: ParseFn,
    /// What marks the end of a complete answer.
    end_marker: EndMarker,
    /// Whether every event repeats the whole output so far.
    repeats: bool,
}

/// What marks the end of a complete answer in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndMarker {
    /// A finish reason, which every server of the protocol sends: an answer without one was cut off.
    Reason,
    /// A finish reason, `[DONE]`, or an event that is marked as the last.
    Mark,
    /// The end of the body.
    Body,
}

/// The largest number of output events that an answer of `tokens` tokens may have. A gateway may split a token into
/// pieces, down to single characters. An answer with more events ignores its token limit.
pub(crate) fn max_events(tokens: u32) -> u32 {
    tokens.saturating_mul(8).saturating_add(64)
}

/// The hosts, or the last parts of hosts, of OpenAI's own API and of Azure's OpenAI service.
const OPENAI_HOSTS: [&str; 4] =
    ["api.openai.com", "openai.azure.com", "openai.azure.us", "cognitiveservices.azure.com"];

/// Whether a base URL is that of OpenAI's own API or of Azure's OpenAI service.
fn is_openai(base_url: &str) -> bool {
    let host = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    let host = host.split(['/', ':', '?']).next().unwrap_or_default().to_ascii_lowercase();
    OPENAI_HOSTS.iter().any(|known| {
        host.strip_suffix(known).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

/// Which field holds the model's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelField {
    /// This field holds the name: the run's or the request's own.
    Field(&'static str),
    /// The server has one model. If a request has its own model name, this field holds it.
    Own(&'static str),
    /// The server has one model and accepts no name.
    Unnamed,
}

/// The encoding of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyEncoding {
    Json,
    Form,
}

/// How answers are read.
#[derive(Debug, Clone, Copy)]
pub struct ResponseFormat {
    /// How the body splits into pieces.
    pub framing: StreamFraming,
    /// Parses a piece of the body.
    pub read: ParseFn,
    /// What marks the end of a complete answer.
    pub end_marker: EndMarker,
    /// Whether every event repeats the whole output so far.
    pub repeats: bool,
}

impl Default for ResponseFormat {
    /// The format of streamed completions, which also reads chat streams.
    fn default() -> Self {
        Protocol::for_backend(Backend::Openai).response_format(false)
    }
}

impl Protocol {
    /// The protocol of a backend.
    pub(crate) fn for_backend(backend: Backend) -> &'static Self {
        &PROTOCOLS[backend as usize]
    }

    /// The protocol of a target. It is the backend's protocol, with two exceptions: paths of Text Embeddings Inference
    /// use that server's protocol, and chats on OpenAI's hosts use OpenAI's.
    ///
    /// vLLM also has a path `/rerank`, so requests to that path hold the documents under the names of both servers.
    pub(crate) fn for_target(target: &Target) -> &'static Self {
        let path = target.endpoint.split(['?', '#']).next().unwrap_or_default();
        let mut parts = path.trim_end_matches('/').rsplit('/');
        let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match (target.backend, last) {
            (Backend::OpenaiEmbeddings | Backend::VllmPooling, "embed" | "embed_all" | "embed_sparse") => {
                &table::TEI_EMBED
            }
            (Backend::VllmRerank, "rerank") if !["v1", "v2"].contains(&before) => &table::TEI_RERANK,
            (Backend::OpenaiChat, _) if is_openai(&target.base_url) => &table::OPENAI_CHAT,
            (backend, _) => Self::for_backend(backend),
        }
    }

    /// The protocol with this name; `None` if no protocol has it.
    pub(crate) fn from_name(name: &str) -> Option<&'static Self> {
        PROTOCOLS.iter().find(|wire| wire.backend.name() == name || wire.aliases.contains(&name))
    }

    /// A small request that the protocol accepts. It checks whether a server responds.
    pub(crate) fn probe_request(&self) -> Request {
        let text = || Arc::from("Are you ready?");
        let contents = [
            Content::Text(text()),
            Content::Rerank { query: text(), documents: [text()].into() },
            Content::Audio { wav: wav::silence(Duration::from_millis(100)).into(), prompt: "".into() },
        ];
        let taken = contents.into_iter().find(|content| (self.content_fields)(content).is_some());
        Request::of(taken.expect("every protocol takes one of them"), 4, 1)
    }

    /// The usual path of streamed answers, or of non-streamed ones if `whole` is true.
    pub(crate) fn path(&self, whole: bool) -> &'static str {
        self.whole_path.filter(|_| whole).unwrap_or(self.path)
    }

    /// The feature of a request that the protocol cannot express; `None` if the request can be sent.
    pub(crate) fn unsupported_feature(&self, request: &Request) -> Option<&'static str> {
        let names_model = request.own.as_ref().is_some_and(|own| own.model.is_some());
        match (self.content_fields)(&request.content) {
            None => Some(request.content.kind()),
            Some(_) if names_model && self.model == ModelField::Unnamed => Some("the name of an adapter"),
            Some(_) => None,
        }
    }

    /// Whether the protocol accepts a conversation as messages.
    pub(crate) fn supports_messages(&self) -> bool {
        (self.content_fields)(&Content::Messages([].into())).is_some()
    }

    /// The content type of the protocol's bodies.
    pub(crate) fn content_type(&self) -> &'static str {
        match self.encoding {
            BodyEncoding::Json => "application/json",
            BodyEncoding::Form => multipart::CONTENT_TYPE,
        }
    }

    /// How streamed answers are read, or non-streamed ones if `whole` is true.
    pub(crate) fn response_format(&self, whole: bool) -> ResponseFormat {
        let document = whole || self.framing == StreamFraming::Document;
        ResponseFormat {
            framing: if document { StreamFraming::Document } else { self.framing },
            read: if document { self.document } else { self.event },
            end_marker: self.end_marker,
            repeats: self.repeats,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run_spec::BackendTask;

    #[test]
    fn every_backend_has_its_row() {
        for backend in Backend::ALL {
            let wire = Protocol::for_backend(backend);
            assert_eq!(wire.backend, backend);
            assert!(wire.path(false).starts_with('/') && wire.path(true).starts_with('/'));
            assert_eq!(wire.unsupported_feature(&wire.probe_request()), None, "{}", backend.name());
            assert_eq!(Protocol::from_name(backend.name()).map(|wire| wire.backend), Some(backend));
        }
    }

    #[test]
    fn paths_of_text_embeddings_inference_get_its_fields() {
        let fields = |backend, endpoint: &str, request: &Request| {
            let target = Target {
                backend,
                endpoint: endpoint.into(),
                ..crate::testing::scripted_server::target("http", 1)
            };
            let body = body::RequestTemplate::new(
                Protocol::for_target(&target),
                "m",
                &crate::model::run_spec::Sampling::default(),
            );
            let body: Map<String, Value> = serde_json::from_slice(&body.body(request)).unwrap();
            body.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
        };
        let text = Request::text("a", 1, 1);
        let batch = Request::of(Content::Batch(["a".into(), "b".into()].into()), 2, 1);
        let ranking = Content::Rerank { query: "q".into(), documents: ["d".into(), "e".into()].into() };
        let ranking = Request::of(ranking, 3, 1);
        let (embeddings, rerank) = (Backend::OpenaiEmbeddings, Backend::VllmRerank);
        for (backend, endpoint, request, expected) in [
            (embeddings, "/embed", &text, "inputs truncate"),
            (embeddings, "/tei/embed/?x=1", &batch, "inputs truncate"),
            (Backend::VllmPooling, "/embed_all", &text, "inputs truncate"),
            (embeddings, "/v1/embeddings", &text, "input model truncate_prompt_tokens"),
            (rerank, "/rerank", &ranking, "documents model query texts truncate truncate_prompt_tokens"),
            (rerank, "/v1/rerank", &ranking, "documents model query truncate_prompt_tokens"),
            (rerank, "/v2/rerank", &ranking, "documents model query truncate_prompt_tokens"),
        ] {
            assert_eq!(fields(backend, endpoint, request), expected, "{endpoint}");
        }
        for (left_out, sent) in [("documents", "texts"), ("texts", "documents")] {
            let extra_body = [(left_out.to_owned(), Value::Null)].into_iter().collect();
            let sampling = crate::model::run_spec::Sampling { extra_body, ..Default::default() };
            let body = body::RequestTemplate::new(&table::TEI_RERANK, "m", &sampling).body(&ranking);
            let body: Map<String, Value> = serde_json::from_slice(&body).unwrap();
            assert!(body.contains_key(sent) && !body.contains_key(left_out), "{body:?}");
        }
    }

    #[test]
    fn openais_own_hosts_get_one_name_of_the_limit() {
        let limits = |base_url: &str| {
            let target = Target {
                backend: Backend::OpenaiChat,
                base_url: base_url.into(),
                ..crate::testing::scripted_server::target("http", 1)
            };
            let sampling = crate::model::run_spec::Sampling { logprobs: Some(2), ..Default::default() };
            let template = body::RequestTemplate::new(Protocol::for_target(&target), "m", &sampling);
            let request = Request::text("a", 1, 7);
            assert_eq!(template.max_output_tokens(&request), Some(7), "{base_url}");
            let body: Value = serde_json::from_slice(&template.body(&request)).unwrap();
            assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&true.into(), &2.into()));
            (body["max_completion_tokens"] == 7, body["max_tokens"] == 7)
        };
        for openai in [
            "https://api.openai.com",
            "https://eu.api.openai.com:443",
            "https://team.openai.azure.com",
            "https://Team.cognitiveservices.azure.com/",
        ] {
            assert_eq!(limits(openai), (true, false), "{openai}");
        }
        for other in [
            "http://127.0.0.1:8000",
            "https://api.openai.com.example.org",
            "https://notapi.openai.com",
            "http://x/api.openai.com",
        ] {
            assert_eq!(limits(other), (true, true), "{other}");
        }
    }

    #[test]
    fn vllms_other_names_are_known() {
        let backend = |name| Protocol::from_name(name).map(|wire| wire.backend);
        assert_eq!(backend("openai-embeddings-clip"), Some(Backend::OpenaiEmbeddingsChat));
        assert_eq!(backend("openai-embeddings-vlm2vec"), Some(Backend::OpenaiEmbeddingsChat));
        assert_eq!(backend("infinity-embeddings-clip"), Some(Backend::InfinityEmbeddings));
        assert_eq!(backend("scalellm"), None);
    }

    #[test]
    fn what_pools_answers_with_documents_and_has_no_token_limit() {
        for wire in &PROTOCOLS {
            let pools = wire.backend.task() == BackendTask::Pooling;
            assert_eq!(wire.framing == StreamFraming::Document, pools, "{}", wire.backend.name());
            assert_eq!(wire.limit.is_none(), pools, "{}", wire.backend.name());
        }
    }
}
