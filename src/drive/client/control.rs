//! Questions to the server that are not measured: its models, its version, its tokenizer.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use super::ClientError;
use super::excerpt::excerpt;
use super::fault;
use super::transport::http_client;
use crate::core::spec::Target;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(30);

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
        let http = http_client(target, 1)?;
        Ok(Self { http, base_url: target.base_url.clone() })
    }

    /// The models it serves.
    pub async fn models(&self) -> Result<Vec<ModelCard>, ControlError> {
        self.ask::<Models>(Method::GET, "/v1/models", None).await.map(|models| models.data)
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

    async fn ask<T>(&self, method: Method, path: &str, question: Option<Value>) -> Result<T, ControlError>
    where
        T: DeserializeOwned,
    {
        let url = format!("{}{path}", self.base_url);
        let unreachable = |error| ControlError::Unreachable { url: url.clone(), cause: fault::causes(error) };
        let mut request = self.http.request(method, &url).timeout(PATIENCE);
        if let Some(question) = question {
            request = request.body(question.to_string());
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(ControlError::Refused { url, status: status.as_u16(), body: excerpt(&body) });
        }
        serde_json::from_slice(&body).map_err(|error| ControlError::NotUnderstood {
            url,
            status: status.as_u16(),
            cause: error.to_string(),
            body: excerpt(&body),
        })
    }
}

#[cfg(test)]
mod tests;
