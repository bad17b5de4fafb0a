//! The table of protocols.

use serde_json::{Map, Value, json};

use super::super::framing::Framing;
use super::{
    Encoding, Model, Wire, audio, chunk, llama_cpp, ollama, pooling, prompt, responses, sglang, tgi, triton,
};
use crate::core::spec::Backend;

/// Every protocol, in the order of [`Backend::ALL`].
pub static TABLE: [Wire; Backend::ALL.len()] = [
    COMPLETIONS,
    Wire { backend: Backend::Vllm, ..COMPLETIONS },
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

const COMPLETIONS: Wire = Wire {
    backend: Backend::Openai,
    aliases: &[],
    path: "/v1/completions",
    whole_path: None,
    prompt: prompt::completion,
    model: Model::Field("model"),
    parameters: None,
    limit: Some("max_tokens"),
    names: &[],
    fixed: |stream| match stream {
        true => json!({ "stream": true, "stream_options": { "include_usage": true } }),
        false => json!({ "stream": false }),
    },
    adapt: |_| {},
    encoding: Encoding::Json,
    framing: Framing::Events,
    event: chunk::read,
    document: chunk::read,
    ends_unmarked: false,
};

const CHAT: Wire = Wire {
    backend: Backend::OpenaiChat,
    path: "/v1/chat/completions",
    prompt: prompt::chat,
    // The newer name of the limit: its older one is refused by some servers.
    limit: Some("max_completion_tokens"),
    adapt: |body| {
        if let Some(count) = body.remove("logprobs") {
            body.insert("logprobs".into(), true.into());
            body.insert("top_logprobs".into(), count);
        }
    },
    ..COMPLETIONS
};

const RESPONSES: Wire = Wire {
    backend: Backend::OpenaiResponses,
    path: "/v1/responses",
    prompt: prompt::response,
    limit: Some("max_output_tokens"),
    names: &[("logprobs", "top_logprobs")],
    // A server that stores answers would grow with every request.
    fixed: |stream| json!({ "stream": stream, "store": false }),
    event: responses::read,
    document: responses::read_document,
    ..COMPLETIONS
};

const AUDIO: Wire = Wire {
    backend: Backend::OpenaiAudio,
    path: "/v1/audio/transcriptions",
    prompt: prompt::recording,
    limit: Some("max_completion_tokens"),
    fixed: |stream| match stream {
        true => json!({
            "stream": true, "language": "en", "stream_include_usage": true, "stream_continuous_usage_stats": true,
        }),
        false => json!({ "stream": false, "language": "en" }),
    },
    encoding: Encoding::Form,
    event: audio::read,
    document: audio::read,
    ..COMPLETIONS
};

const EMBEDDINGS: Wire = Wire {
    backend: Backend::OpenaiEmbeddings,
    path: "/v1/embeddings",
    prompt: prompt::inputs,
    limit: None,
    // Embedding models are short of context: a long prompt is cut, not refused.
    fixed: |_| json!({ "truncate_prompt_tokens": -1 }),
    framing: Framing::Document,
    event: pooling::read,
    document: pooling::read,
    ..COMPLETIONS
};

const EMBEDDINGS_CHAT: Wire = Wire {
    backend: Backend::OpenaiEmbeddingsChat,
    aliases: &["openai-embeddings-clip", "openai-embeddings-vlm2vec"],
    prompt: prompt::chat,
    ..EMBEDDINGS
};

const POOLING: Wire =
    Wire { backend: Backend::VllmPooling, path: "/pooling", prompt: prompt::pooled, ..EMBEDDINGS };

const RERANK: Wire =
    Wire { backend: Backend::VllmRerank, path: "/v1/rerank", prompt: prompt::ranking, ..EMBEDDINGS };

const INFINITY: Wire = Wire {
    backend: Backend::InfinityEmbeddings,
    aliases: &["infinity-embeddings-clip"],
    path: "/embeddings",
    prompt: prompt::modal,
    fixed: |_| json!({}),
    ..EMBEDDINGS
};

const SGLANG: Wire = Wire {
    backend: Backend::Sglang,
    path: "/generate",
    prompt: prompt::sglang,
    model: Model::Own("lora_path"),
    parameters: Some("sampling_params"),
    limit: Some("max_new_tokens"),
    fixed: |stream| json!({ "stream": stream }),
    adapt: |body| {
        if let Some(count) = parameter(body, "sampling_params", "logprobs") {
            body.insert("return_logprob".into(), true.into());
            body.insert("top_logprobs_num".into(), count);
        }
    },
    event: sglang::read,
    document: sglang::read,
    ..COMPLETIONS
};

const TGI: Wire = Wire {
    backend: Backend::Tgi,
    path: "/generate_stream",
    whole_path: Some("/generate"),
    prompt: prompt::tgi,
    model: Model::Unnamed,
    parameters: Some("parameters"),
    limit: Some("max_new_tokens"),
    names: &[("ignore_eos", "ignore_eos_token"), ("logprobs", "top_n_tokens")],
    fixed: |_| json!({ "parameters": { "details": true } }),
    // It refuses a temperature of zero, which it has another name for.
    adapt: |body| {
        let Some(Value::Object(parameters)) = body.get_mut("parameters") else { return };
        if parameters.get("temperature").and_then(Value::as_f64) == Some(0.0) {
            parameters.remove("temperature");
            parameters.insert("do_sample".into(), false.into());
        }
    },
    event: tgi::read,
    document: tgi::read,
    ..COMPLETIONS
};

const TENSORRT_LLM: Wire = Wire {
    backend: Backend::TensorrtLlm,
    path: "/v2/models/ensemble/generate_stream",
    whole_path: Some("/v2/models/ensemble/generate"),
    prompt: prompt::triton,
    model: Model::Unnamed,
    limit: Some("max_tokens"),
    fixed: |stream| json!({ "stream": stream }),
    // It cannot ignore the end of the text, but put it off.
    adapt: |body| {
        if body.remove("ignore_eos").is_some() {
            let limit = body.get("max_tokens").cloned().unwrap_or_default();
            body.insert("min_length".into(), limit);
        }
    },
    event: triton::read,
    document: triton::read,
    ends_unmarked: true,
    ..COMPLETIONS
};

const LLAMA_CPP: Wire = Wire {
    backend: Backend::LlamaCpp,
    path: "/completion",
    prompt: prompt::completion,
    model: Model::Unnamed,
    limit: Some("n_predict"),
    names: &[("repetition_penalty", "repeat_penalty"), ("logprobs", "n_probs")],
    fixed: |stream| json!({ "stream": stream }),
    event: llama_cpp::read,
    document: llama_cpp::read,
    ..COMPLETIONS
};

const OLLAMA: Wire = Wire {
    backend: Backend::Ollama,
    path: "/api/generate",
    prompt: prompt::ollama,
    parameters: Some("options"),
    limit: Some("num_predict"),
    names: &[("repetition_penalty", "repeat_penalty")],
    fixed: |stream| json!({ "stream": stream }),
    framing: Framing::Lines,
    event: ollama::read,
    document: ollama::read,
    ..COMPLETIONS
};

/// Takes a field out of the object that the sampling fields lie in.
fn parameter(body: &mut Map<String, Value>, object: &str, name: &str) -> Option<Value> {
    body.get_mut(object)?.as_object_mut()?.remove(name)
}
