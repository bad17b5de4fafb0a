//! The table of protocols.

use serde_json::{Map, Value, json};

use super::super::framing::StreamFraming;
use super::{
    BodyEncoding, EndMarker, ModelField, Protocol, audio, chunk, llama_cpp, ollama, pooling, responses,
    sglang, tgi, triton,
};
use crate::client::protocol::request_fields;
use crate::model::run_spec::Backend;

/// Every protocol, in the order of [`Backend::ALL`].
pub(crate) static PROTOCOLS: [Protocol; Backend::ALL.len()] = [
    COMPLETIONS,
    Protocol { backend: Backend::Vllm, ..COMPLETIONS },
    CHAT,
    RESPONSES,
    AUDIO,
    EMBEDDINGS,
    EMBEDDINGS_CHAT,
    POOLING,
    RERANK,
    INFINITY,
    SGLANG,
    TGI,
    TENSORRT_LLM,
    LLAMA_CPP,
    OLLAMA,
];

const COMPLETIONS: Protocol = Protocol {
    backend: Backend::Openai,
    aliases: &[],
    path: "/v1/completions",
    whole_path: None,
    content_fields: request_fields::completion,
    model: ModelField::Field("model"),
    parameters: None,
    limit: Some("max_tokens"),
    names: &[],
    fixed: |stream| match stream {
        true => json!({ "stream": true, "stream_options": { "include_usage": true } }),
        false => json!({ "stream": false }),
    },
    adapt: |_| {},
    encoding: BodyEncoding::Json,
    framing: StreamFraming::Events,
    event: chunk::parse,
    document: chunk::parse,
    end_marker: EndMarker::Reason,
    repeats: false,
};

const CHAT: Protocol = Protocol {
    backend: Backend::OpenaiChat,
    path: "/v1/chat/completions",
    content_fields: request_fields::chat,
    // The newer name of the limit. The request also has the older one, for servers that ignore the newer (transformers
    // serve, TGI): their answers would otherwise not end.
    limit: Some("max_completion_tokens"),
    adapt: |body| {
        if let Some(limit) = body.get("max_completion_tokens").cloned() {
            body.insert("max_tokens".into(), limit);
        }
        split_logprobs(body);
    },
    ..COMPLETIONS
};

/// Chats of OpenAI's own API, which rejects a request with both names of the limit.
pub(super) static OPENAI_CHAT: Protocol = Protocol { adapt: split_logprobs, ..CHAT };

/// Splits the number of log probabilities into the two fields that chats use.
fn split_logprobs(body: &mut Map<String, Value>) {
    if let Some(count) = body.remove("logprobs") {
        body.insert("logprobs".into(), true.into());
        body.insert("top_logprobs".into(), count);
    }
}

const RESPONSES: Protocol = Protocol {
    backend: Backend::OpenaiResponses,
    path: "/v1/responses",
    content_fields: request_fields::response,
    limit: Some("max_output_tokens"),
    names: &[("logprobs", "top_logprobs")],
    // A server that stores answers would need more memory with every request.
    fixed: |stream| json!({ "stream": stream, "store": false }),
    event: responses::parse,
    document: responses::parse_document,
    ..COMPLETIONS
};

const AUDIO: Protocol = Protocol {
    backend: Backend::OpenaiAudio,
    path: "/v1/audio/transcriptions",
    content_fields: request_fields::recording,
    limit: Some("max_completion_tokens"),
    fixed: |stream| match stream {
        true => json!({
            "stream": true, "language": "en", "stream_include_usage": true, "stream_continuous_usage_stats": true,
        }),
        false => json!({ "stream": false, "language": "en" }),
    },
    encoding: BodyEncoding::Form,
    event: audio::parse,
    document: audio::parse,
    end_marker: EndMarker::Mark,
    ..COMPLETIONS
};

const EMBEDDINGS: Protocol = Protocol {
    backend: Backend::OpenaiEmbeddings,
    path: "/v1/embeddings",
    content_fields: request_fields::inputs,
    limit: None,
    // Embedding models have short contexts, so the server truncates a long prompt and does not reject it.
    fixed: |_| json!({ "truncate_prompt_tokens": -1 }),
    framing: StreamFraming::Document,
    event: pooling::parse,
    document: pooling::parse,
    end_marker: EndMarker::Mark,
    ..COMPLETIONS
};

const EMBEDDINGS_CHAT: Protocol = Protocol {
    backend: Backend::OpenaiEmbeddingsChat,
    aliases: &["openai-embeddings-clip", "openai-embeddings-vlm2vec"],
    content_fields: request_fields::chat,
    ..EMBEDDINGS
};

const POOLING: Protocol = Protocol {
    backend: Backend::VllmPooling,
    path: "/pooling",
    content_fields: request_fields::pooled,
    ..EMBEDDINGS
};

const RERANK: Protocol = Protocol {
    backend: Backend::VllmRerank,
    path: "/v1/rerank",
    content_fields: request_fields::ranking,
    ..EMBEDDINGS
};

/// Text Embeddings Inference, which has one model and the paths `/embed`, `/embed_all` and `/embed_sparse`.
pub(super) static TEI_EMBED: Protocol = Protocol {
    path: "/embed",
    content_fields: request_fields::tei_inputs,
    model: ModelField::Unnamed,
    fixed: |_| json!({ "truncate": true }),
    ..EMBEDDINGS
};

/// The form of `/rerank` that both vLLM and Text Embeddings Inference accept: each ignores the other's fields.
pub(super) static TEI_RERANK: Protocol = Protocol {
    path: "/rerank",
    content_fields: request_fields::tei_ranking,
    fixed: |_| json!({ "truncate": true, "truncate_prompt_tokens": -1 }),
    ..RERANK
};

const INFINITY: Protocol = Protocol {
    backend: Backend::InfinityEmbeddings,
    aliases: &["infinity-embeddings-clip"],
    path: "/embeddings",
    content_fields: request_fields::modal,
    fixed: |_| json!({}),
    ..EMBEDDINGS
};

const SGLANG: Protocol = Protocol {
    backend: Backend::Sglang,
    path: "/generate",
    content_fields: request_fields::sglang,
    model: ModelField::Own("lora_path"),
    parameters: Some("sampling_params"),
    limit: Some("max_new_tokens"),
    fixed: |stream| json!({ "stream": stream }),
    adapt: |body| {
        if let Some(count) = take_parameter(body, "sampling_params", "logprobs") {
            body.insert("return_logprob".into(), true.into());
            body.insert("top_logprobs_num".into(), count);
        }
    },
    event: sglang::parse,
    document: sglang::parse,
    repeats: true,
    ..COMPLETIONS
};

const TGI: Protocol = Protocol {
    backend: Backend::Tgi,
    path: "/generate_stream",
    whole_path: Some("/generate"),
    content_fields: request_fields::tgi,
    model: ModelField::Unnamed,
    parameters: Some("parameters"),
    limit: Some("max_new_tokens"),
    names: &[("ignore_eos", "ignore_eos_token"), ("logprobs", "top_n_tokens")],
    fixed: |_| json!({ "parameters": { "details": true } }),
    // TGI rejects a temperature of zero, and expresses it by another field.
    adapt: |body| {
        let Some(Value::Object(parameters)) = body.get_mut("parameters") else { return };
        if parameters.get("temperature").and_then(Value::as_f64) == Some(0.0) {
            parameters.remove("temperature");
            parameters.insert("do_sample".into(), false.into());
        }
    },
    event: tgi::parse,
    document: tgi::parse,
    ..COMPLETIONS
};

const TENSORRT_LLM: Protocol = Protocol {
    backend: Backend::TensorrtLlm,
    path: "/v2/models/ensemble/generate_stream",
    whole_path: Some("/v2/models/ensemble/generate"),
    content_fields: request_fields::triton,
    model: ModelField::Unnamed,
    limit: Some("max_tokens"),
    fixed: |stream| json!({ "stream": stream }),
    // The server cannot ignore the end-of-sequence token, but a minimum length delays it.
    adapt: |body| {
        if body.remove("ignore_eos").is_some() {
            let limit = body.get("max_tokens").cloned().unwrap_or_default();
            body.insert("min_length".into(), limit);
        }
    },
    event: triton::parse,
    document: triton::parse,
    end_marker: EndMarker::Body,
    ..COMPLETIONS
};

const LLAMA_CPP: Protocol = Protocol {
    backend: Backend::LlamaCpp,
    path: "/completion",
    content_fields: request_fields::completion,
    model: ModelField::Unnamed,
    limit: Some("n_predict"),
    names: &[("repetition_penalty", "repeat_penalty"), ("logprobs", "n_probs")],
    fixed: |stream| json!({ "stream": stream }),
    event: llama_cpp::parse,
    document: llama_cpp::parse,
    ..COMPLETIONS
};

const OLLAMA: Protocol = Protocol {
    backend: Backend::Ollama,
    path: "/api/generate",
    content_fields: request_fields::ollama,
    parameters: Some("options"),
    limit: Some("num_predict"),
    names: &[("repetition_penalty", "repeat_penalty")],
    fixed: |stream| json!({ "stream": stream }),
    framing: StreamFraming::Lines,
    event: ollama::parse,
    document: ollama::parse,
    // Old versions send no finish reason.
    end_marker: EndMarker::Mark,
    ..COMPLETIONS
};

/// Removes a field from the object that holds the sampling fields.
fn take_parameter(body: &mut Map<String, Value>, object: &str, name: &str) -> Option<Value> {
    body.get_mut(object)?.as_object_mut()?.remove(name)
}
