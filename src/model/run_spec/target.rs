//! The server under test and the connections to it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::secrets;
use crate::model::units::Secret;
use crate::seconds;

/// The server under test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Target {
    /// The protocol of the server.
    pub backend: Backend,
    /// The server's URL without the path of its API: `http://localhost:8000`.
    pub base_url: String,
    /// The path of the measured endpoint, including a query: `/v1/completions`.
    pub endpoint: String,
    /// The model's name or path, which is also the default tokenizer's name.
    pub model: String,
    /// The name sent in the `model` field, where it differs from `model`.
    pub served_model_name: Option<String>,
    /// Additional request headers; their values are never stored.
    pub(crate) headers: Vec<(String, Secret)>,
    /// The prefix of every `x-request-id`; `None` generates a UUID for each request.
    #[serde(default)]
    pub request_id_prefix: Option<String>,
    /// Send no `x-request-id`.
    #[serde(default)]
    pub no_request_id: bool,
    /// Finish reasons that count as successes besides the known ones; `none` is an answer without a finish reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted_finish_reasons: Vec<String>,
    /// Accept any TLS certificate.
    pub insecure: bool,
    /// The options of the measured connections.
    #[serde(default)]
    pub connection: ConnectionOptions,
    /// The time limit of one request.
    #[serde(rename = "timeout_s", with = "seconds")]
    pub timeout: Duration,
}

impl Target {
    /// The value of a request's `model` field.
    pub(crate) fn model_field(&self) -> &str {
        self.served_model_name.as_deref().unwrap_or(&self.model)
    }

    /// The measured URL.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.base_url, self.endpoint)
    }

    /// The measured URL with secrets masked.
    pub(crate) fn display_url(&self) -> String {
        secrets::mask_url(&self.url())
    }

    /// The path below the base URL that lists the models: in the same API as the measured endpoint.
    pub(crate) fn models_path(&self) -> String {
        let (path, query) =
            self.endpoint.split_once('?').map_or((&*self.endpoint, ""), |(path, query)| (path, query));
        // Azure's deployments and models have the same parent path.
        let root = api_root(path).and_then(|root| root.split("/deployments/").next());
        let root = root.filter(|root| !root.is_empty()).unwrap_or("/v1");
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{root}/models{mark}{query}")
    }
}

/// The operations of OpenAI's API (and closely related ones), the longer first.
const OPERATIONS: [&str; 10] = [
    "/chat/completions",
    "/completions",
    "/responses",
    "/embeddings",
    "/audio/transcriptions",
    "/audio/translations",
    "/rerank",
    "/messages",
    "/images/generations",
    "/models",
];

/// The path of the API that an operation belongs to: `/v1` for `/v1/chat/completions`; `None` for another path.
pub(crate) fn api_root(path: &str) -> Option<&str> {
    OPERATIONS.iter().find_map(|operation| path.strip_suffix(operation))
}

/// The options of connections to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionOptions {
    /// The PEM file with certificates of authorities to trust besides the system's.
    pub ca_cert: Option<PathBuf>,
    /// The PEM file with the client certificate (and its chain).
    pub client_cert: Option<PathBuf>,
    /// The PEM file with the private key of `client_cert`.
    pub client_key: Option<PathBuf>,
    /// Reuse a connection for several requests.
    pub keepalive: bool,
    /// Use the kernel's receive time of a token instead of the client's, where the system supports it.
    pub kernel_stamps: bool,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self { ca_cert: None, client_cert: None, client_key: None, keepalive: true, kernel_stamps: true }
    }
}

/// The protocols, under vLLM's names where vLLM has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Backend {
    /// OpenAI completions.
    Openai,
    /// OpenAI completions, under vLLM's older name.
    Vllm,
    /// OpenAI chat completions.
    OpenaiChat,
    /// OpenAI responses.
    OpenaiResponses,
    /// OpenAI transcriptions; translations use another path.
    OpenaiAudio,
    /// OpenAI embeddings.
    OpenaiEmbeddings,
    /// vLLM's embeddings for chat messages.
    OpenaiEmbeddingsChat,
    /// vLLM's pooling of any kind.
    VllmPooling,
    /// vLLM's (and Jina's) reranking.
    VllmRerank,
    /// Embeddings in infinity's protocol, images included.
    InfinityEmbeddings,
    /// SGLang's native endpoint.
    Sglang,
    /// Text Generation Inference's native endpoint.
    Tgi,
    /// TensorRT-LLM behind Triton.
    #[serde(rename = "tensorrt-llm")]
    TensorrtLlm,
    /// llama.cpp's native endpoint.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// Ollama's native endpoint.
    Ollama,
}

/// The task of a server, which determines the applicable metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackendTask {
    /// Generates tokens one after the other.
    Generation,
    /// Returns one value for each input: a vector or a score.
    Pooling,
}

impl Backend {
    /// Returns whether the backend takes chat messages, to which the server applies the model's chat template.
    pub(crate) fn supports_chat(self) -> bool {
        matches!(self, Self::OpenaiChat | Self::OpenaiResponses | Self::OpenaiEmbeddingsChat | Self::Ollama)
    }

    /// Returns whether the backend takes prompts unchanged, so that server and client count the same tokens.
    pub(crate) fn supports_raw_prompts(self) -> bool {
        matches!(
            self,
            Self::Openai
                | Self::Vllm
                | Self::OpenaiEmbeddings
                | Self::InfinityEmbeddings
                | Self::Sglang
                | Self::Tgi
                | Self::LlamaCpp
        )
    }

    /// All backends, in the order of the help.
    pub const ALL: [Self; 15] = [
        Self::Openai,
        Self::Vllm,
        Self::OpenaiChat,
        Self::OpenaiResponses,
        Self::OpenaiAudio,
        Self::OpenaiEmbeddings,
        Self::OpenaiEmbeddingsChat,
        Self::VllmPooling,
        Self::VllmRerank,
        Self::InfinityEmbeddings,
        Self::Sglang,
        Self::Tgi,
        Self::TensorrtLlm,
        Self::LlamaCpp,
        Self::Ollama,
    ];

    /// The backend's name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Vllm => "vllm",
            Self::OpenaiChat => "openai-chat",
            Self::OpenaiResponses => "openai-responses",
            Self::OpenaiAudio => "openai-audio",
            Self::OpenaiEmbeddings => "openai-embeddings",
            Self::OpenaiEmbeddingsChat => "openai-embeddings-chat",
            Self::VllmPooling => "vllm-pooling",
            Self::VllmRerank => "vllm-rerank",
            Self::InfinityEmbeddings => "infinity-embeddings",
            Self::Sglang => "sglang",
            Self::Tgi => "tgi",
            Self::TensorrtLlm => "tensorrt-llm",
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "ollama",
        }
    }

    /// The backend with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }

    /// The task of the backend's server.
    pub(crate) fn task(self) -> BackendTask {
        match self {
            Self::OpenaiEmbeddings
            | Self::OpenaiEmbeddingsChat
            | Self::VllmPooling
            | Self::VllmRerank
            | Self::InfinityEmbeddings => BackendTask::Pooling,
            _ => BackendTask::Generation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_found_by_their_names_which_are_those_in_json() {
        for (place, backend) in Backend::ALL.into_iter().enumerate() {
            assert_eq!(backend as usize, place, "the order of the variants");
            assert_eq!(Backend::from_name(backend.name()), Some(backend));
            assert_eq!(serde_json::to_value(backend).unwrap(), backend.name());
        }
        assert_eq!(Backend::from_name("triton"), None);
    }
}
