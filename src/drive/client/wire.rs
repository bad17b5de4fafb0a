//! The OpenAI API's field names: the requests we write and, in [`chunk`], the stream events we read.

pub mod chunk;
pub mod refrain;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::core::spec::{Backend, Sampling};
use crate::drive::workload::{Content, Request};

/// The measured endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/v1/completions`.
    Completions,
    /// `/v1/chat/completions`.
    Chat,
}

impl From<Backend> for Api {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Openai | Backend::Vllm => Self::Completions,
            Backend::OpenaiChat => Self::Chat,
        }
    }
}

impl Api {
    /// The usual path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
        }
    }

    /// The name of the token limit. Chat has the newer one: its older name is refused by some servers.
    fn limit_field(self) -> &'static str {
        match self {
            Self::Completions => "max_tokens",
            Self::Chat => "max_completion_tokens",
        }
    }

    /// Whether the endpoint takes requests of this kind.
    pub fn takes(self, content: &Content) -> bool {
        self.prompt_field(content).is_some()
    }

    /// The field that carries the prompt, and the prompt in it.
    fn prompt_field(self, content: &Content) -> Option<(&'static str, Value)> {
        match (self, content) {
            (Self::Completions, Content::Text(prompt)) => Some(("prompt", json!(**prompt))),
            (Self::Completions, Content::TokenIds(ids)) => Some(("prompt", json!(**ids))),
            (Self::Chat, Content::Text(prompt)) => {
                Some(("messages", json!([{ "role": "user", "content": **prompt }])))
            }
            (Self::Chat, Content::Messages(messages)) => Some(("messages", json!(**messages))),
            _ => None,
        }
    }
}

/// What the bodies of a run have in common.
#[derive(Debug, Clone)]
pub struct Template {
    api: Api,
    common: Map<String, Value>,
    extra: Map<String, Value>,
}

impl Template {
    /// Bodies for an endpoint, a model by its served name, and a way of sampling.
    pub fn new(api: Api, model: &str, sampling: &Sampling) -> Self {
        let mut common = sampling_fields(sampling);
        common.insert("model".into(), model.into());
        common.insert("stream".into(), true.into());
        common.insert("stream_options".into(), json!({ "include_usage": true }));
        Self { api, common, extra: sampling.extra_body.clone() }
    }

    /// Whether the endpoint takes a conversation as messages.
    pub fn takes_messages(&self) -> bool {
        self.api.takes(&Content::Messages([].into()))
    }

    /// The body of one request. The extra fields, then the request's own, come last and replace what is there.
    ///
    /// # Panics
    /// On content that the endpoint does not [take](Api::takes).
    pub fn body(&self, request: &Request) -> Bytes {
        let prompt = self.api.prompt_field(&request.content);
        let (field, prompt) = prompt.expect("a run's requests are checked before it");
        let mut body = self.common.clone();
        body.insert(field.into(), prompt);
        body.insert(self.api.limit_field().into(), request.max_tokens.into());
        body.extend(self.extra.clone());
        if let Some(own) = &request.own {
            body.extend(own.model.as_deref().map(|model| ("model".to_owned(), model.into())));
            body.extend(own.body.clone());
        }
        Value::Object(body).to_string().into()
    }
}

/// The sampling fields that are set; an absent one leaves the server its default.
fn sampling_fields(sampling: &Sampling) -> Map<String, Value> {
    let fields = [
        ("ignore_eos", sampling.ignore_eos.then_some(Value::Bool(true))),
        ("temperature", sampling.temperature.map(Value::from)),
        ("top_p", sampling.top_p.map(Value::from)),
        ("top_k", sampling.top_k.map(Value::from)),
        ("min_p", sampling.min_p.map(Value::from)),
        ("frequency_penalty", sampling.frequency_penalty.map(Value::from)),
        ("presence_penalty", sampling.presence_penalty.map(Value::from)),
        ("repetition_penalty", sampling.repetition_penalty.map(Value::from)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(api: Api, sampling: &Sampling) -> Value {
        serde_json::from_slice(&Template::new(api, "tiny", sampling).body(&Request::text("Hi \"you\"", 3, 7)))
            .unwrap()
    }

    #[test]
    fn a_completions_body_asks_for_a_stream_with_usage() {
        let expected = json!({
            "model": "tiny", "prompt": "Hi \"you\"", "max_tokens": 7, "stream": true,
            "stream_options": { "include_usage": true },
        });
        assert_eq!(body(Api::Completions, &Sampling::default()), expected);
    }

    #[test]
    fn a_chat_body_has_one_user_message() {
        let expected = json!({
            "model": "tiny", "messages": [{ "role": "user", "content": "Hi \"you\"" }],
            "max_completion_tokens": 7, "stream": true, "stream_options": { "include_usage": true },
        });
        assert_eq!(body(Api::Chat, &Sampling::default()), expected);
    }

    #[test]
    fn sampling_is_sent_only_where_set() {
        let sampling =
            Sampling { ignore_eos: true, temperature: Some(0.0), top_k: Some(-1), ..Sampling::default() };
        let body = body(Api::Completions, &sampling);
        assert_eq!(
            (&body["ignore_eos"], &body["temperature"], &body["top_k"]),
            (&json!(true), &json!(0.0), &json!(-1))
        );
        assert_eq!(body.get("top_p"), None);
    }

    #[test]
    fn the_extra_body_wins_over_every_field() {
        let extra = json!({ "stream_options": null, "max_tokens": 1, "prompt": "other", "n": 2 });
        let Value::Object(extra_body) = extra.clone() else { unreachable!() };
        let body = body(Api::Completions, &Sampling { extra_body, ..Sampling::default() });
        for (name, value) in extra.as_object().unwrap() {
            assert_eq!(&body[name], value, "{name}");
        }
    }

    #[test]
    fn backends_name_their_endpoint() {
        let paths = [Backend::Openai, Backend::Vllm, Backend::OpenaiChat].map(|it| Api::from(it).path());
        assert_eq!(paths, ["/v1/completions", "/v1/completions", "/v1/chat/completions"]);
    }
}
