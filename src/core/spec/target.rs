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

/// The protocols, under vLLM's names for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// OpenAI completions.
    Openai,
    /// The same: vLLM's older name.
    Vllm,
    /// OpenAI chat completions.
    OpenaiChat,
}

impl Backend {
    /// Whether it takes chat messages, which the server puts through the model's chat template.
    pub fn takes_chats(self) -> bool {
        match self {
            Self::OpenaiChat => true,
            Self::Openai | Self::Vllm => false,
        }
    }

    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Vllm => "vllm",
            Self::OpenaiChat => "openai-chat",
        }
    }
}
