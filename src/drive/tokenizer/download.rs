//! One file from the hub.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};

use super::TokenizerError;
use super::chat;
use super::hub::{Download, Hub, HubId};
use crate::drive::tls;

const CONNECT: Duration = Duration::from_secs(5);
/// The longest silence.
const SILENCE: Duration = Duration::from_secs(20);
const TOTAL: Duration = Duration::from_secs(300);
/// Far above every tokenizer.json there is.
const SIZE_LIMIT: usize = 256 << 20;
const REDIRECTS: usize = 8;

/// Downloads a file of a model.
pub(super) async fn file(id: &HubId, hub: &Hub, file: &str) -> Result<Download, TokenizerError> {
    let url = format!("{}/{}/resolve/{}/{file}", hub.endpoint, id.model, id.revision.replace('/', "%2F"));
    let fetch = Fetch { id, hub, url: &url };
    fetch.run().await
}

/// Puts the files with a model's chat template into the cache, those that there are: most datasets need none.
pub(super) async fn chat(id: &HubId, hub: &Hub) {
    for name in [chat::CONFIG, chat::TEMPLATE] {
        if let Ok(download) = file(id, hub, name).await {
            let _ = hub.store(id, name, &download);
        }
    }
}

struct Fetch<'a> {
    id: &'a HubId,
    hub: &'a Hub,
    url: &'a str,
}

impl Fetch<'_> {
    async fn run(&self) -> Result<Download, TokenizerError> {
        let client = client().map_err(|error| self.network(&error))?;
        let mut url = Url::parse(self.url).map_err(|error| self.network(&error))?;
        let home = url.origin();
        let mut commit = None;
        // Redirects are followed by hand: the commit is told by the hub, not by the file server it points to, and the
        // token is for the hub alone.
        for _ in 0..REDIRECTS {
            let mut request = client.get(url.clone());
            if let Some(token) = self.hub.token.as_ref().filter(|_| url.origin() == home) {
                request = request.bearer_auth(token.reveal());
            }
            let response = request.send().await.map_err(|error| self.network(&error.without_url()))?;
            commit = commit.or_else(|| header(response.headers(), "x-repo-commit"));
            if !response.status().is_redirection() {
                return Ok(Download { bytes: self.body(response).await?, commit });
            }
            let target = header(response.headers(), LOCATION.as_str()).unwrap_or_default();
            url = url.join(&target).map_err(|error| self.network(&error))?;
        }
        Err(self.network_text(format!("more than {REDIRECTS} redirects")))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, TokenizerError> {
        self.check(response.status())?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.network(&error.without_url()))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > SIZE_LIMIT {
                return Err(self.network_text(format!("the file is larger than {} MiB", SIZE_LIMIT >> 20)));
            }
        }
        Ok(bytes)
    }

    fn check(&self, status: StatusCode) -> Result<(), TokenizerError> {
        let (id, url, code) = (self.id.to_string(), self.url.to_owned(), status.as_u16());
        match code {
            200 => Ok(()),
            401 | 403 => {
                let with = if self.hub.token.is_some() { "a" } else { "no" };
                Err(TokenizerError::Denied { id, url, status: code, with })
            }
            404 => Err(TokenizerError::NotOnHub { id, url }),
            status => Err(TokenizerError::Status { id, url, status }),
        }
    }

    fn network(&self, error: &dyn Error) -> TokenizerError {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            cause = format!("{cause}: {inner}");
            source = inner.source();
        }
        self.network_text(cause)
    }

    fn network_text(&self, cause: String) -> TokenizerError {
        TokenizerError::Network { id: self.id.to_string(), url: self.url.to_owned(), cause }
    }
}

fn client() -> reqwest::Result<Client> {
    tls::install_provider();
    Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .timeout(TOTAL)
        .user_agent(concat!("servebench/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
