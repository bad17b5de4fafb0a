//! Downloads single files from the hub.

use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use super::TokenizerError;
use super::chat;
use super::hub::{DownloadedFile, HfHub, HubId};
use crate::client::{tls, transport_error};
use crate::model::secrets;
use crate::tokenizer::{other_formats, special_tokens};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time without received data.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum size of a file, in bytes. It is far above the size of every existing tokenizer.json.
const MAX_FILE_BYTES: usize = 256 << 20;
const MAX_REDIRECTS: usize = 8;

/// Downloads a file of a model.
pub(super) async fn download_file(
    id: &HubId,
    hub: &HfHub,
    file: &str,
) -> Result<DownloadedFile, TokenizerError> {
    let url = format!("{}/{}/resolve/{}/{file}", hub.endpoint, id.model, id.revision.replace('/', "%2F"));
    let fetch = HubDownload { id, hub, url: &url };
    fetch.run().await
}

/// Downloads the files with a model's chat template and special tokens into the cache. Files that do not exist are
/// skipped.
pub(super) async fn download_companions(id: &HubId, hub: &HfHub) {
    for name in [chat::CONFIG, chat::TEMPLATE, special_tokens::MAP, special_tokens::MODEL] {
        if let Ok(download) = download_file(id, hub, name).await {
            let _ = hub.store(id, name, &download);
        }
    }
}

/// Describes the tokenizer files that a model without `tokenizer.json` has, from the hub's list of its files.
pub(super) async fn find_other_format(id: &HubId, hub: &HfHub) -> Option<String> {
    #[derive(Deserialize)]
    struct HubModel {
        siblings: Vec<HubFile>,
    }
    #[derive(Deserialize)]
    struct HubFile {
        rfilename: String,
    }
    let revision = id.revision.replace('/', "%2F");
    let url = format!("{}/api/models/{}/revision/{revision}", hub.endpoint, id.model);
    let list = HubDownload { id, hub, url: &url }.run().await.ok()?;
    let model: HubModel = serde_json::from_slice(&list.bytes).ok()?;
    other_formats::find_in_names(model.siblings.iter().map(|file| file.rfilename.as_str()))
}

struct HubDownload<'a> {
    id: &'a HubId,
    hub: &'a HfHub,
    url: &'a str,
}

impl HubDownload<'_> {
    async fn run(&self) -> Result<DownloadedFile, TokenizerError> {
        let client = client().map_err(|error| self.network(error))?;
        let mut url = Url::parse(self.url).map_err(|error| self.network_text(error.to_string()))?;
        let home = url.origin();
        let mut commit = None;
        // Redirects are followed here, because only the hub reports the commit, not the file server that it redirects
        // to, and because only the hub may receive the token.
        for _ in 0..MAX_REDIRECTS {
            let mut request = client.get(url.clone());
            if let Some(token) = self.hub.token.as_ref().filter(|_| url.origin() == home) {
                request = request.bearer_auth(token.reveal());
            }
            let response = request.send().await.map_err(|error| self.network(error))?;
            commit = commit.or_else(|| header(response.headers(), "x-repo-commit"));
            if !response.status().is_redirection() {
                return Ok(DownloadedFile { bytes: self.body(response).await?, commit });
            }
            let target = header(response.headers(), LOCATION.as_str()).unwrap_or_default();
            url = url.join(&target).map_err(|error| self.network_text(error.to_string()))?;
        }
        Err(self.network_text(format!("more than {MAX_REDIRECTS} redirects")))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, TokenizerError> {
        self.check(response.status())?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.network(error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_FILE_BYTES {
                return Err(
                    self.network_text(format!("the file is larger than {} MiB", MAX_FILE_BYTES >> 20))
                );
            }
        }
        Ok(bytes)
    }

    fn check(&self, status: StatusCode) -> Result<(), TokenizerError> {
        let (id, url, code) = (self.id.to_string(), secrets::mask_url(self.url), status.as_u16());
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

    fn network(&self, error: reqwest::Error) -> TokenizerError {
        self.network_text(transport_error::causes(error))
    }

    fn network_text(&self, cause: String) -> TokenizerError {
        TokenizerError::Network { id: self.id.to_string(), url: secrets::mask_url(self.url), cause }
    }
}

fn client() -> reqwest::Result<Client> {
    tls::install_provider();
    Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .user_agent(concat!("servegauge/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
