//! Requests to the server that are not measured: its models, its version, its tokenizer.

mod tokenize;

pub(crate) use tokenize::TokenCounter;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use reqwest::{Method, RequestBuilder, Url};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tracing::debug;

use super::ClientError;
use super::endpoint::{USER_AGENT_NAME, headers};
use super::excerpt::{MAX_SCANNED_BYTES, excerpt};
use super::url::{base_url, is_loopback};
use crate::client::proxy;
use crate::client::tls;
use crate::client::transport_error;
use crate::model::run_spec::Target;
use crate::model::secrets;

/// The time limit of one admin request, unless the target's requests have a shorter one.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit of a command, or of a query that a busy server may have to compute.
const LONG_TIMEOUT: Duration = Duration::from_secs(30);

/// The time limit of a `/metrics` request: a run that waits for this page measures nothing.
pub(crate) const METRICS_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest metrics page that the client reads. Pages are smaller than a megabyte for each engine.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

/// The largest answer to any other question.
const MAX_SHORT_RESPONSE_BYTES: usize = 1 << 20;

/// An answer that is larger gets a buffer for the largest one at once. A buffer that grows is copied, and the freed
/// copies stay with the allocator.
const SMALL_RESPONSE_BYTES: usize = 64 << 10;

/// An admin request that failed. Each variant names the URL, so that the user can see a wrong address.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The server sent no HTTP response.
    #[error("{}", transport_error::with_url(url, cause))]
    Unreachable {
        /// The requested URL.
        url: String,
        /// The chain of causes.
        cause: String,
    },
    /// The status is not a success.
    #[error("{url}: HTTP {status}: {body}")]
    Refused {
        /// The requested URL.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The first 300 bytes of the response body.
        body: String,
    },
    /// The response is too large or does not end.
    #[error("{url}: the answer is larger than {}, so it is not read", binary_size(*limit))]
    TooLarge {
        /// The requested URL.
        url: String,
        /// The most bytes that are read.
        limit: usize,
    },
    /// The response does not have the shape that the API defines.
    #[error("{url}: HTTP {status}, but not the expected answer ({cause}){}", after_colon(body))]
    NotUnderstood {
        /// The requested URL.
        url: String,
        /// The HTTP status.
        status: u16,
        /// Why the response could not be parsed.
        cause: String,
        /// The first 300 bytes of the response body.
        body: String,
    },
}

/// A model that the server offers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ModelCard {
    /// The model's name in requests.
    pub id: String,
    /// The name or path that the model was loaded from, by which a tokenizer can be found. Not every server reports it.
    pub root: Option<String>,
    /// The model's longest sequence (prompt and output), in tokens. Not every server reports it.
    pub max_model_len: Option<u32>,
}

#[derive(Deserialize)]
struct ModelsResponse {
    data: Vec<ModelCard>,
}

#[derive(Deserialize)]
struct VersionResponse {
    version: String,
}

fn after_colon(body: &str) -> String {
    if body.is_empty() { String::new() } else { format!(": {body}") }
}

/// A size in the largest unit that is not above it.
fn binary_size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

fn is_json(page: &str) -> bool {
    page.trim_start().starts_with(['[', '{']) && serde_json::from_str::<serde::de::IgnoredAny>(page).is_ok()
}

/// Sends admin requests to a target's server, with the headers and the TLS settings of the measured requests.
#[derive(Debug)]
pub(crate) struct AdminClient {
    http: reqwest::Client,
    base_url: String,
    /// The path of the model list, relative to the base URL.
    models: String,
    /// The URL of the metrics page, if the user gave one.
    metrics: Option<String>,
    /// Whether the metrics are at [`PROMETHEUS_PATH`], because the server's `/metrics` page is JSON.
    at_prometheus: OnceLock<bool>,
    /// The time limit of a measured request.
    timeout: Duration,
}

/// The path of TensorRT-LLM's page in the Prometheus format: its `/metrics` page is a JSON list that each read empties.
const PROMETHEUS_PATH: &str = "/prometheus/metrics";

impl AdminClient {
    /// Creates a client for a target.
    pub(crate) fn new(target: &Target) -> Result<Self, ClientError> {
        let http = http_client(target)?;
        Ok(Self {
            http,
            base_url: target.base_url.clone(),
            models: target.models_path(),
            metrics: None,
            at_prometheus: OnceLock::new(),
            timeout: target.timeout,
        })
    }

    /// Reads the metrics from this URL, query included.
    pub(crate) fn with_metrics_at(self, url: &str) -> Self {
        Self { metrics: Some(url.to_owned()), ..self }
    }

    /// The models that the server offers.
    pub(crate) async fn models(&self) -> Result<Vec<ModelCard>, AdminError> {
        let models =
            self.fetch_json::<ModelsResponse>(Method::GET, &self.models, None, MAX_SHORT_RESPONSE_BYTES);
        models.await.map(|models| models.data)
    }

    /// Whether the server is ready for requests: `/health` reports it, or `/v1/models` where `/health` does not exist.
    pub(crate) async fn is_healthy(&self) -> bool {
        let request = self.request(Method::GET, "/health", TIMEOUT);
        match self.fetch(request, "/health", MAX_SHORT_RESPONSE_BYTES).await {
            Ok(_) => true,
            Err(AdminError::Refused { status: 404 | 405, .. }) => self.models().await.is_ok(),
            Err(_) => false,
        }
    }

    /// The server's version; `None` if the server does not report one.
    pub(crate) async fn version(&self) -> Option<String> {
        let version =
            self.fetch_json::<VersionResponse>(Method::GET, "/version", None, MAX_SHORT_RESPONSE_BYTES);
        // It is stored in results, and a gateway may repeat there what it received.
        version.await.ok().map(|answer| excerpt(answer.version.as_bytes()))
    }

    /// The text of the server's `/metrics` page.
    ///
    /// # Errors
    /// When the server does not respond, or when its status is not a success.
    pub(crate) async fn metrics_page(&self) -> Result<String, AdminError> {
        if self.at_prometheus.get() == Some(&true) {
            return self.fetch_text(&self.prometheus_path()).await;
        }
        let page = self.fetch_text(self.metrics.as_deref().unwrap_or("/metrics")).await?;
        if !is_json(&page) || self.at_prometheus.get().is_some() {
            return Ok(page);
        }
        match self.fetch_text(&self.prometheus_path()).await {
            // The server has counted nothing yet, so the next call asks again.
            Ok(other) if other.trim().is_empty() => Ok(page),
            Ok(other) if !is_json(&other) && !other.trim_start().starts_with('<') => {
                let _ = self.at_prometheus.set(true);
                Ok(other)
            }
            // No answer says nothing about the page.
            Err(AdminError::Unreachable { .. }) => Ok(page),
            _ => {
                let _ = self.at_prometheus.set(false);
                Ok(page)
            }
        }
    }

    /// The URL of [`PROMETHEUS_PATH`] on the server that holds the metrics.
    fn prometheus_path(&self) -> String {
        let Some(url) = &self.metrics else { return PROMETHEUS_PATH.to_owned() };
        let (path, query) = url.split_at(url.find('?').unwrap_or(url.len()));
        format!("{}{PROMETHEUS_PATH}{query}", path.strip_suffix("/metrics").unwrap_or(path))
    }

    async fn fetch_text(&self, path: &str) -> Result<String, AdminError> {
        let request = self.request(Method::GET, path, METRICS_TIMEOUT);
        let (_, body) = self.fetch(request, path, MAX_RESPONSE_BYTES).await?;
        // A page is not copied: it may be large.
        let page = String::from_utf8(body)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(secrets::scrubbed(page, secrets::scrub))
    }

    /// Sends a command, which the path identifies, and returns the response: `HTTP 200`, and a text if the server sends
    /// one.
    pub(crate) async fn post(&self, path: &str, patience: Duration) -> Result<String, AdminError> {
        let request = self.http.request(Method::POST, self.url(path)).timeout(patience);
        let (status, body) = self.fetch(request, path, MAX_SHORT_RESPONSE_BYTES).await?;
        let text = excerpt(&body);
        Ok(if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") })
    }

    /// Orders the server to empty its prefix cache. vLLM obeys if it was started with `VLLM_SERVER_DEV_MODE=1`.
    ///
    /// # Errors
    /// When the server does not respond, or when its status is not a success.
    pub(crate) async fn reset_prefix_cache(&self) -> Result<(), AdminError> {
        self.post("/reset_prefix_cache", LONG_TIMEOUT.min(self.timeout)).await.map(drop)
    }

    /// Sends a text of this content type to a path with PUT.
    ///
    /// # Errors
    /// When the server does not respond, or when its status is not a success.
    pub(crate) async fn put(
        &self,
        path: &str,
        content_type: &'static str,
        text: String,
    ) -> Result<(), AdminError> {
        let request = self.request(Method::PUT, path, TIMEOUT);
        let request = request.header(CONTENT_TYPE, content_type).body(text);
        self.fetch(request, path, MAX_SHORT_RESPONSE_BYTES).await.map(drop)
    }

    fn request(&self, method: Method, path: &str, patience: Duration) -> RequestBuilder {
        self.http.request(method, self.url(path)).timeout(patience.min(self.timeout))
    }

    async fn fetch_json<T>(
        &self,
        method: Method,
        path: &str,
        question: Option<Value>,
        limit: usize,
    ) -> Result<T, AdminError>
    where
        T: DeserializeOwned,
    {
        let has_question = question.is_some();
        let patience = if has_question { LONG_TIMEOUT } else { TIMEOUT };
        let mut request = self.request(method, path, patience);
        if let Some(question) = question {
            request = request.body(question.to_string());
        }
        // A request with a body asks for the token count of a text. There is one for each prompt, too many to log.
        let (status, body) = match has_question {
            true => self.send(request, path, limit).await?,
            false => self.fetch(request, path, limit).await?,
        };
        serde_json::from_slice(&body).map_err(|error| AdminError::NotUnderstood {
            url: secrets::mask_url(&self.url(path)),
            status,
            cause: error.to_string(),
            body: excerpt(&body),
        })
    }

    /// Returns the status and the body of a successful response, of at most `limit` bytes.
    async fn fetch(
        &self,
        request: RequestBuilder,
        path: &str,
        limit: usize,
    ) -> Result<(u16, Vec<u8>), AdminError> {
        let asked = Instant::now();
        let answer = self.send(request, path, limit).await;
        let (took, url) = (asked.elapsed(), || secrets::mask_url(&self.url(path)));
        match &answer {
            Ok((status, body)) => debug!(url = url(), status, bytes = body.len(), ?took, "answered"),
            Err(error) => debug!(%error, ?took, "not answered"),
        }
        answer
    }

    async fn send(
        &self,
        request: RequestBuilder,
        path: &str,
        limit: usize,
    ) -> Result<(u16, Vec<u8>), AdminError> {
        let url = secrets::mask_url(&self.url(path));
        let unreachable =
            |error| AdminError::Unreachable { url: url.clone(), cause: transport_error::causes(error) };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let headers = response.headers().clone();
        let (is_success, status) = (status.is_success(), status.as_u16());
        let mut body = Vec::new();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // What came is enough to say what is wrong.
                Err(_) if !is_success => break,
                Err(error) if error.is_timeout() => {
                    let cause = format!("it did not end in time, after {} bytes", body.len());
                    return Err(AdminError::NotUnderstood { url, status, cause, body: String::new() });
                }
                Err(error) => return Err(unreachable(error)),
            };
            let length = body.len() + chunk.len();
            if is_success && length > limit {
                return Err(AdminError::TooLarge { url, limit });
            }
            if length > SMALL_RESPONSE_BYTES && length > body.capacity() {
                body.reserve_exact(limit.max(length) - body.len());
            }
            body.extend_from_slice(&chunk);
            // No message shows more than this.
            if !is_success && length > MAX_SCANNED_BYTES {
                break;
            }
        }
        match content_encoding(&headers) {
            _ if !is_success => {
                Err(AdminError::Refused { url, status, body: error_message(status, &headers, &body) })
            }
            Some(coding) => Err(AdminError::NotUnderstood {
                url,
                status,
                cause: format!("it is {coding}-encoded, though it was requested without compression"),
                body: String::new(),
            }),
            None => Ok((status, body)),
        }
    }

    /// The URL of a path relative to the base URL. A whole URL stays as it is.
    fn url(&self, path: &str) -> String {
        if path.contains("://") { path.to_owned() } else { format!("{}{path}", self.base_url) }
    }
}

/// The error message in a response whose status is not a success.
fn error_message(status: u16, headers: &HeaderMap, body: &[u8]) -> String {
    match (header_value(headers, LOCATION), excerpt(body)) {
        (Some(place), _) if (300..400).contains(&status) => {
            format!("redirects to {}", secrets::mask_url(&place))
        }
        (_, text) if text.is_empty() => "no text".to_owned(),
        (_, text) => text,
    }
}

/// The compression of a body; `None` if the body is not compressed.
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    header_value(headers, CONTENT_ENCODING)
        .filter(|coding| !matches!(&*coding.to_lowercase(), "" | "identity"))
}

fn header_value(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| excerpt(value.as_bytes()))
}

/// A reqwest client that does not follow redirects, retry or decompress on its own.
fn http_client(target: &Target) -> Result<reqwest::Client, ClientError> {
    let url = base_url(target)?;
    proxy::remember_credentials();
    tls::install_provider();
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT_NAME)
        .default_headers(headers(target, "application/json")?)
        .http1_only()
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(1)
        .tls_backend_preconfigured(tls_config(target, &url)?);
    if is_loopback(&url) {
        // A proxy from the environment would look for the server on the proxy's own machine.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| ClientError::Setup(transport_error::causes(error)))
}

/// The TLS settings of measured requests. A loopback target without TLS needs none: reading the system's certificates
/// takes longer than the rest of the startup.
fn tls_config(target: &Target, url: &Url) -> Result<ClientConfig, ClientError> {
    if url.scheme() == "http" && is_loopback(url) {
        tls::check_files(target).map_err(|error| ClientError::Setup(error.to_string()))?;
        let nobody = RootCertStore::empty();
        return Ok(ClientConfig::builder().with_root_certificates(nobody).with_no_client_auth());
    }
    tls::client_config(target).map_err(|error| ClientError::Setup(error.to_string()))
}

#[cfg(test)]
mod tests;
