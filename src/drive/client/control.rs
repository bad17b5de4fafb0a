//! Questions to the server that are not measured: its models, its version, its tokenizer.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, Url};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use super::ClientError;
use super::endpoint::{AGENT, base_url, headers, is_loopback};
use super::excerpt::excerpt;
use super::fault;
use crate::core::spec::Target;
use crate::drive::tls;

/// How long one question may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A question that was not answered. Each names the URL, so that a wrong address can be seen.
#[derive(Debug, Error)]
pub enum ControlError {
    /// No HTTP answer.
    #[error("{url}: {cause}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// The causes.
        cause: String,
    },
    /// A status other than success.
    #[error("{url}: HTTP {status}: {body}")]
    Refused {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// The first 300 bytes of the answer.
        body: String,
    },
    /// An answer of another shape than the API's.
    #[error("{url}: HTTP {status}, but not the expected answer ({cause}): {body}")]
    NotUnderstood {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// What was missing.
        cause: String,
        /// The first 300 bytes of the answer.
        body: String,
    },
}

/// A model that the server offers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ModelCard {
    /// Its name in requests.
    pub id: String,
    /// What it was loaded from: the name that a tokenizer can be found by. Not every server tells.
    pub root: Option<String>,
    /// The longest prompt with answer, in tokens. Not every server tells.
    pub max_model_len: Option<u32>,
}

#[derive(Deserialize)]
struct Models {
    data: Vec<ModelCard>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Tokens {
    count: u32,
}

/// Asks a target's server, with the headers and the TLS of the measured requests.
#[derive(Debug)]
pub struct Control {
    http: reqwest::Client,
    base_url: String,
}

impl Control {
    /// For a target.
    pub fn new(target: &Target) -> Result<Self, ClientError> {
        let http = http_client(target)?;
        Ok(Self { http, base_url: target.base_url.clone() })
    }

    /// The models it serves.
    pub async fn models(&self) -> Result<Vec<ModelCard>, ControlError> {
        self.ask::<Models>(Method::GET, "/v1/models", None).await.map(|models| models.data)
    }

    /// Whether it is ready for requests: `/health` says so, or where there is none, `/v1/models`.
    pub async fn is_healthy(&self) -> bool {
        let request = self.http.get(self.url("/health")).timeout(PATIENCE);
        match self.exchange(request, "/health").await {
            Ok(_) => true,
            Err(ControlError::Refused { status: 404 | 405, .. }) => self.models().await.is_ok(),
            Err(_) => false,
        }
    }

    /// Its version, from a server that tells.
    pub async fn version(&self) -> Option<String> {
        self.ask::<Version>(Method::GET, "/version", None).await.ok().map(|answer| answer.version)
    }

    /// How many tokens a text is to a model (by its served name), with or without those it adds by itself.
    pub async fn tokenize(&self, model: &str, prompt: &str, specials: bool) -> Result<u32, ControlError> {
        let question = json!({ "model": model, "prompt": prompt, "add_special_tokens": specials });
        self.ask::<Tokens>(Method::POST, "/tokenize", Some(question)).await.map(|tokens| tokens.count)
    }

    /// Its `/metrics` page, from a server that has one.
    pub async fn metrics(&self) -> Option<String> {
        self.metrics_page().await.ok()
    }

    /// The same, with why there is none.
    ///
    /// # Errors
    /// When there is no answer, or one that is no success.
    pub async fn metrics_page(&self) -> Result<String, ControlError> {
        let path = "/metrics";
        let (_, body) = self.exchange(self.http.get(self.url(path)).timeout(PATIENCE), path).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Orders the server to do what a path stands for, and returns what it answers: `HTTP 200`, and a text if it says one.
    pub async fn order(&self, path: &str, patience: Duration) -> Result<String, ControlError> {
        let request = self.http.request(Method::POST, self.url(path)).timeout(patience);
        let (status, body) = self.exchange(request, path).await?;
        let text = excerpt(&body);
        Ok(if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") })
    }

    /// Orders the server to forget the prompts that it has seen. vLLM obeys when it was started with `VLLM_SERVER_DEV_MODE=1`.
    ///
    /// # Errors
    /// When there is no answer, or one that is no success.
    pub async fn reset_prefix_cache(&self) -> Result<(), ControlError> {
        self.order("/reset_prefix_cache", PATIENCE).await.map(drop)
    }

    /// Puts a text of this type where the path is.
    ///
    /// # Errors
    /// When there is no answer, or one that is no success.
    pub async fn put(
        &self,
        path: &str,
        content_type: &'static str,
        text: String,
    ) -> Result<(), ControlError> {
        let request = self.http.put(self.url(path)).timeout(PATIENCE);
        self.exchange(request.header(CONTENT_TYPE, content_type).body(text), path).await.map(drop)
    }

    async fn ask<T>(&self, method: Method, path: &str, question: Option<Value>) -> Result<T, ControlError>
    where
        T: DeserializeOwned,
    {
        let mut request = self.http.request(method, self.url(path)).timeout(PATIENCE);
        if let Some(question) = question {
            request = request.body(question.to_string());
        }
        let (status, body) = self.exchange(request, path).await?;
        serde_json::from_slice(&body).map_err(|error| ControlError::NotUnderstood {
            url: self.url(path),
            status,
            cause: error.to_string(),
            body: excerpt(&body),
        })
    }

    /// The status and the body of a success.
    async fn exchange(&self, request: RequestBuilder, path: &str) -> Result<(u16, Bytes), ControlError> {
        let url = self.url(path);
        let unreachable = |error| ControlError::Unreachable { url: url.clone(), cause: fault::causes(error) };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        match status.is_success() {
            true => Ok((status.as_u16(), body)),
            false => Err(ControlError::Refused { url, status: status.as_u16(), body: excerpt(&body) }),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }
}

/// reqwest: nothing is followed, retried or unpacked behind our back.
fn http_client(target: &Target) -> Result<reqwest::Client, ClientError> {
    let url = base_url(target)?;
    tls::install_provider();
    let mut builder = reqwest::Client::builder()
        .user_agent(AGENT)
        .default_headers(headers(target, "application/json")?)
        .http1_only()
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(1)
        .tls_backend_preconfigured(tls_config(target, &url)?);
    if is_loopback(&url) {
        // A proxy from the environment would look for the server on its own machine.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| ClientError::Setup(fault::causes(error)))
}

/// The TLS of measured requests. To our own machine without TLS there is none to set up: reading the system's
/// certificates takes longer than the rest of a start.
fn tls_config(target: &Target, url: &Url) -> Result<ClientConfig, ClientError> {
    if url.scheme() == "http" && is_loopback(url) {
        let nobody = RootCertStore::empty();
        return Ok(ClientConfig::builder().with_root_certificates(nobody).with_no_client_auth());
    }
    tls::client_config(target).map_err(|error| ClientError::Setup(error.to_string()))
}

#[cfg(test)]
mod tests;
