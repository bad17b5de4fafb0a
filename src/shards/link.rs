//! The connection of a client to the first one.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::messages::{PATH, Refusal};
use crate::client::{tls, transport_error};

/// The timeout of a message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection to shard 0.
#[derive(Clone)]
pub(super) struct Link {
    http: Client,
    base: String,
    token: Option<String>,
}

/// Why a message has no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Shard 0 does not answer.
    Silent(Silence),
    /// Shard 0 refuses.
    Refused(String),
}

/// Why shard 0 does not answer.
#[derive(Debug)]
pub(super) struct Silence {
    why: String,
    /// Whether shard 0 cannot be reached with TLS, as it is set up: another attempt to join would fail too.
    pub is_lasting: bool,
}

impl Silence {
    fn new(error: reqwest::Error) -> Self {
        match transport_error::tls_cause(&error) {
            Some(why) => Self { why, is_lasting: true },
            None => Self { why: transport_error::causes(error), is_lasting: false },
        }
    }
}

impl NoAnswer {
    /// A sentence.
    pub(super) fn into_message(self) -> String {
        match self {
            Self::Silent(Silence { why, is_lasting: true }) => format!("no TLS connection to shard 0: {why}"),
            Self::Silent(Silence { why, .. }) => format!("shard 0 does not answer: {why}"),
            Self::Refused(why) => why,
        }
    }
}

impl Link {
    /// The connection to an address, with TLS if there is a configuration for it.
    ///
    /// # Errors
    /// Why there is no HTTP client, in a sentence.
    pub(super) fn new(
        address: &str,
        token: Option<String>,
        tls: Option<ClientConfig>,
    ) -> Result<Self, String> {
        tls::install_provider();
        let scheme = if tls.is_some() { "https" } else { "http" };
        // A proxy is for the server under test.
        let mut builder = Client::builder().no_proxy();
        if let Some(config) = tls {
            builder = builder.tls_backend_preconfigured(config).https_only(true);
        }
        let http = builder.build().map_err(transport_error::causes)?;
        Ok(Self { http, base: format!("{scheme}://{address}{PATH}"), token })
    }

    /// Asks a question.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        self.answer(self.http.get(format!("{}{path}", self.base))).await
    }

    /// Sends a message.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        message: &impl Serialize,
    ) -> Result<T, NoAnswer> {
        self.answer(self.http.post(format!("{}{path}", self.base)).json(message)).await
    }

    /// Sends bytes.
    pub(super) async fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<T, NoAnswer> {
        self.answer(self.http.post(format!("{}{path}", self.base)).body(bytes)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, NoAnswer> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let silent = |error| NoAnswer::Silent(Silence::new(error));
        let response = request.timeout(MESSAGE_TIMEOUT).send().await.map_err(silent)?;
        let status = response.status();
        let body = response.bytes().await.map_err(silent)?;
        let other = |error: &dyn std::fmt::Display| {
            NoAnswer::Refused(format!("this is not shard 0 of a run: {error}"))
        };
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| other(&error));
        }
        let refusal = serde_json::from_slice(&body).map(|Refusal { error }| NoAnswer::Refused(error));
        Err(refusal.unwrap_or_else(|_| other(&format_args!("HTTP {status}"))))
    }
}
