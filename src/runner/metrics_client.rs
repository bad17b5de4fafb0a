//! Reads the `/metrics` pages of several servers together.

use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::client::admin::{AdminClient, AdminError};
use crate::model::secrets;
use crate::server::metrics_text::{PageOrigin, describe};
use crate::server::signals::MetricsSnapshot;

/// The message for an engine's page that has no metrics. Only TensorRT-LLM has such a page.
pub(crate) const EMPTY: &str = "TensorRT-LLM's list of iterations is empty: nothing was computed since the last reading, or the server runs \
                         without `enable_iter_perf_stats: true`, and it has no /prometheus/metrics";

/// Reads the `/metrics` pages of one or more servers.
pub(crate) struct MetricsClient(Vec<(String, Arc<AdminClient>)>);

/// Why a metrics page could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScrapeError {
    /// The server does not answer, for this reason.
    NoAnswer(String),
    /// The server answers that it has no such page, or shows none: the status and its text.
    Refused(String),
    /// There is a page, but it cannot be read, for this reason.
    Unreadable(String),
    /// The server requires an API key, or a different one.
    NoKey,
    /// The page is too large, or endless.
    TooLarge,
    /// The page is not of a known engine: a description of it, and what probably serves it.
    Unknown(String, PageOrigin),
}

impl fmt::Display for ScrapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(cause) => write!(f, "no metrics: {cause}; is the server running?"),
            Self::Refused(answer) => write!(f, "no metrics: {answer}"),
            Self::Unreadable(cause) => write!(f, "there is a page, but it cannot be read: {cause}"),
            Self::NoKey => f.write_str(
                "HTTP 401: the server needs an API key: set OPENAI_API_KEY, or give it as a header",
            ),
            Self::TooLarge => f.write_str("the page is larger than 8 MiB or endless, so it is not read"),
            Self::Unknown(looks, origin) => {
                let advice = match origin {
                    PageOrigin::Router => "; use the metrics page of an engine behind it",
                    PageOrigin::Process => {
                        "; engine metrics are probably disabled (SGLang needs --enable-metrics, llama.cpp needs --metrics, and vLLM \
                         must run without --disable-log-stats)"
                    }
                    PageOrigin::Other => "",
                };
                write!(f, "no metrics of an engine: {looks}{advice}")
            }
        }
    }
}

impl MetricsClient {
    /// Creates a client for the pages at these URLs, each with its own HTTP client.
    pub(crate) fn new(places: Vec<(String, Arc<AdminClient>)>) -> Self {
        Self(places.into_iter().map(|(url, control)| (secrets::mask_url(&url), control)).collect())
    }

    /// The URLs of the pages, without secrets.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(url, _)| url.as_str())
    }

    /// Reads all pages at once. The readings are in the order of the URLs.
    pub(crate) async fn read(&self) -> Vec<Result<MetricsSnapshot, ScrapeError>> {
        let read = async |control: &Arc<AdminClient>| {
            let page = control.metrics_page().await.map_err(|error| match error {
                AdminError::Refused { status: 401, .. } => ScrapeError::NoKey,
                AdminError::TooLarge { .. } => ScrapeError::TooLarge,
                AdminError::Refused { status, body, .. } => {
                    ScrapeError::Refused(format!("HTTP {status}: {body}"))
                }
                AdminError::NotUnderstood { cause, .. } => ScrapeError::Unreadable(cause),
                AdminError::Unreachable { cause, .. } => ScrapeError::NoAnswer(cause),
            })?;
            let reading = MetricsSnapshot::parse(&page);
            if reading.is_empty() { Err(unknown(&page)) } else { Ok(reading) }
        };
        join_all(self.0.iter().map(|(_, control)| read(control))).await
    }
}

fn unknown(page: &str) -> ScrapeError {
    let (looks, origin) = describe(page);
    ScrapeError::Unknown(looks, origin)
}
