//! Where requests go.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::units::{Secret, seconds};

/// The server under test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The protocol.
    pub backend: Backend,
    /// Scheme, host and port, without a path: `http://localhost:8000`.
    pub base_url: String,
    /// The path of the measured endpoint: `/v1/completions`.
    pub endpoint: String,
    /// The model's name or path; the tokenizer's default name.
    pub model: String,
    /// The name sent in the `model` field, where it differs from `model`.
    pub served_model_name: Option<String>,
    /// Extra request headers; their values are never stored.
    pub headers: Vec<(String, Secret)>,
    /// How every `x-request-id` begins; `None` is something new for each run.
    #[serde(default)]
    pub request_id_prefix: Option<String>,
    /// Accept any TLS certificate.
    pub insecure: bool,
    /// How measured connections are made.
    #[serde(default)]
    pub connection: Connection,
    /// The time one request may take.
    #[serde(rename = "timeout_s", with = "seconds")]
    pub timeout: Duration,
}

impl Target {
    /// The `model` field of a request.
    pub fn model_field(&self) -> &str {
        self.served_model_name.as_deref().unwrap_or(&self.model)
    }

    /// The measured URL.
    pub fn url(&self) -> String {
        format!("{}{}", self.base_url, self.endpoint)
    }
}

/// How connections to the server are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// PEM file with certificates of authorities to trust beside the system's.
    pub ca_cert: Option<PathBuf>,
    /// PEM file with the certificate (and its chain) that we show to the server.
    pub client_cert: Option<PathBuf>,
    /// PEM file with the private key of `client_cert`.
    pub client_key: Option<PathBuf>,
    /// Use a connection for one request after another.
    pub keepalive: bool,
    /// Take the kernel's receive time of a token instead of our own, where the system has it.
    pub kernel_stamps: bool,
}

impl Default for Connection {
    fn default() -> Self {
        Self { ca_cert: None, client_cert: None, client_key: None, keepalive: true, kernel_stamps: true }
    }
}

/// The protocols, under vLLM's names for them where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// OpenAI completions.
    Openai,
    /// The same: vLLM's older name.
    Vllm,
    /// OpenAI chat completions.
    OpenaiChat,
    /// OpenAI responses.
    OpenaiResponses,
    /// OpenAI transcriptions; its translations are another path.
    OpenaiAudio,
    /// OpenAI embeddings.
    OpenaiEmbeddings,
    /// vLLM's embeddings of chat messages.
    OpenaiEmbeddingsChat,
    /// vLLM's pooling of any kind.
    VllmPooling,
    /// vLLM's (and Jina's) reranking.
    VllmRerank,
    /// Embeddings as infinity has them, images included.
    InfinityEmbeddings,
    /// SGLang's own endpoint.
    Sglang,
    /// Text Generation Inference's own endpoint.
    Tgi,
    /// TensorRT-LLM behind Triton.
    #[serde(rename = "tensorrt-llm")]
    TensorrtLlm,
    /// llama.cpp's own endpoint.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// ollama's own endpoint.
    Ollama,
}

/// What a server makes of a request, which decides what there is to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Tokens, one after the other.
    Generation,
    /// One value for each input: a vector, a score.
    Pooling,
}

impl Backend {
    /// Whether it takes chat messages, which the server puts through the model's chat template.
    pub fn takes_chats(self) -> bool {
        matches!(self, Self::OpenaiChat | Self::OpenaiResponses | Self::OpenaiEmbeddingsChat | Self::Ollama)
    }

    /// All of them, in the order of the help.
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

    /// The name on the command line and in JSON.
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

    /// What its server does.
    pub fn task(self) -> Task {
        match self {
            Self::OpenaiEmbeddings
            | Self::OpenaiEmbeddingsChat
            | Self::VllmPooling
            | Self::VllmRerank
            | Self::InfinityEmbeddings => Task::Pooling,
            _ => Task::Generation,
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
