//! Datasets of the Hugging Face hub: as many of their files as a run needs, downloaded into the hub's cache.
//!
//! The hub converts datasets to Parquet and lists the files by subset and split; that list is used where there is one, and
//! else the files of the dataset's repository. Files are taken in the order of the list, so that what is already in the
//! cache changes nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::hf::choose;
use super::{OnProgress, Progress, WorkloadError, parquet};
use crate::core::spec::{Hf, SpeedBench};
use crate::drive::tls;
use crate::drive::tokenizer::Hub;

const CONNECT: Duration = Duration::from_secs(5);
/// The longest silence.
const SILENCE: Duration = Duration::from_secs(30);
/// What a file here may be called; such a path is no hub id.
const FILES: [&str; 4] = [".parquet", ".json", ".jsonl", ".gz"];

/// The dataset with a path on this machine: what lies here stays as it is, what the hub has is downloaded until there are
/// so many rows.
///
/// # Errors
/// [`WorkloadError::Hub`] when the hub has no such dataset or cannot be reached.
pub async fn fetch(hf: &Hf, rows: usize, hub: &Hub, progress: &OnProgress<'_>) -> Result<Hf, WorkloadError> {
    let Some(id) = hub_id(&hf.path) else { return Ok(hf.clone()) };
    let folder = hub.cache.join(format!("datasets--{}", id.replace('/', "--")));
    let fetching = Fetching { id, hf, hub, folder: &folder, progress };
    let (folder, chosen) = match hub.offline {
        true => fetching.cached()?,
        false => fetching.download(rows).await?,
    };
    let (subset, split) = if chosen { (None, None) } else { (hf.subset.clone(), hf.split.clone()) };
    let name = hf.name.clone().or_else(|| Some(id.to_owned()));
    Ok(Hf { path: folder, subset, split, name, ..hf.clone() })
}

/// The same for the wanted subset of SPEED-Bench, where no other place is named.
///
/// # Errors
/// As of [`fetch`].
pub async fn fetch_speed_bench(
    bench: &SpeedBench,
    rows: usize,
    hub: &Hub,
    progress: &OnProgress<'_>,
) -> Result<SpeedBench, WorkloadError> {
    if bench.path != Path::new(SpeedBench::HUB_ID) {
        return Ok(bench.clone());
    }
    let hf = Hf {
        path: bench.path.clone(),
        subset: Some(bench.subset.clone()),
        split: None,
        output_len: None,
        name: None,
        text_column: None,
    };
    Ok(SpeedBench { path: fetch(&hf, rows, hub, progress).await?.path, ..bench.clone() })
}

/// A path that is none here, and reads `org/name`.
fn hub_id(path: &Path) -> Option<&str> {
    let text = path.to_str().filter(|_| !path.exists())?;
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '~'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let is_id = text.split('/').count() == 2 && text.split('/').all(plain);
    (is_id && !FILES.iter().any(|kind| text.ends_with(kind))).then_some(text)
}

struct Fetching<'a> {
    id: &'a str,
    hf: &'a Hf,
    hub: &'a Hub,
    /// Of this dataset in the cache.
    folder: &'a Path,
    progress: &'a OnProgress<'a>,
}

/// The hub's list of converted files: by subset, by split.
type Listing = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// An entry of a repository.
#[derive(Deserialize)]
struct Entry {
    path: String,
}

impl Fetching<'_> {
    /// What an earlier run, or the hub's own tools, left here.
    fn cached(&self) -> Result<(PathBuf, bool), WorkloadError> {
        let converted = self.folder.join("converted");
        let subset = self.hf.subset.as_deref().map(safe).or_else(|| first_folder(&converted, &["default"]));
        let within = converted.join(subset.unwrap_or_default());
        let split = self.hf.split.as_deref().map(safe).or_else(|| first_folder(&within, &SPLITS));
        let split = split.map(|split| within.join(split)).filter(|folder| folder.is_dir());
        let snapshots = self.folder.join("snapshots");
        let snapshot = || first_folder(&snapshots, &[]).map(|commit| snapshots.join(commit));
        let repository = Some(self.folder.join("repository")).filter(|folder| folder.is_dir());
        match (split, repository.or_else(snapshot)) {
            (Some(split), _) => Ok((split, true)),
            (None, Some(repository)) => Ok((repository, false)),
            (None, None) => {
                let place = self.folder.display().to_string();
                Err(self.failed(place, "not in the cache, and HF_HUB_OFFLINE is set".into()))
            }
        }
    }

    /// The folder with the downloaded files, and whether they are all of the subset and split.
    async fn download(&self, rows: usize) -> Result<(PathBuf, bool), WorkloadError> {
        let client = client().map_err(|error| self.failed(self.hub.endpoint.clone(), causes(&error)))?;
        let url = format!("{}/api/datasets/{}/parquet", self.hub.endpoint, self.id);
        match self.json::<Listing>(&client, &url).await? {
            Some(listing) if !listing.is_empty() => {
                Ok((self.converted(&client, &listing, &url, rows).await?, true))
            }
            _ => Ok((self.repository(&client, rows).await?, false)),
        }
    }

    async fn converted(
        &self,
        client: &Client,
        listing: &Listing,
        asked: &str,
        rows: usize,
    ) -> Result<PathBuf, WorkloadError> {
        let absent = |what: &str, known: Vec<&String>| {
            let known = known.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.failed(asked.to_owned(), format!("no such {what}; there are: {known}"))
        };
        let subset = pick(listing.keys(), self.hf.subset.as_deref(), &["default"])
            .ok_or_else(|| absent("--hf-subset", listing.keys().collect()))?;
        let splits = &listing[subset];
        let split = pick(splits.keys(), self.hf.split.as_deref(), &SPLITS)
            .ok_or_else(|| absent("--hf-split", splits.keys().collect()))?;
        let folder = self.folder.join("converted").join(safe(subset)).join(safe(split));
        let mut there = 0;
        for (index, url) in splits[split].iter().enumerate() {
            let file = folder.join(format!("{index:05}.parquet"));
            self.file(client, url, &file).await?;
            there += parquet::rows(&file)?;
            if there >= rows {
                break;
            }
        }
        Ok(folder)
    }

    /// The data files of the repository itself.
    async fn repository(&self, client: &Client, rows: usize) -> Result<PathBuf, WorkloadError> {
        let url = format!("{}/api/datasets/{}/tree/main?recursive=true", self.hub.endpoint, self.id);
        let entries: Option<Vec<Entry>> = self.json(client, &url).await?;
        let no_dataset = || self.failed(url.clone(), "HTTP 404: no such dataset".into());
        let names: Vec<String> =
            entries.ok_or_else(no_dataset)?.into_iter().map(|entry| entry.path).collect();
        let mut chosen = choose(&names, self.hf.subset.as_deref(), self.hf.split.as_deref());
        chosen.retain(|name| name.split('/').all(|part| !part.is_empty() && part != ".."));
        chosen.sort_unstable();
        if chosen.is_empty() {
            return Err(
                self.failed(url, "it holds no Parquet, JSONL or JSON file of that subset and split".into())
            );
        }
        let (folder, mut there) = (self.folder.join("repository"), 0);
        for name in chosen {
            let file = folder.join(name);
            self.file(
                client,
                &format!("{}/datasets/{}/resolve/main/{name}", self.hub.endpoint, self.id),
                &file,
            )
            .await?;
            // How many rows a JSON file has is known only when it has been read; one is taken for enough.
            there += if name.ends_with(".parquet") { parquet::rows(&file)? } else { rows };
            if there >= rows {
                break;
            }
        }
        Ok(folder)
    }

    /// A JSON answer; `None` where there is none of that name.
    async fn json<T: DeserializeOwned>(
        &self,
        client: &Client,
        url: &str,
    ) -> Result<Option<T>, WorkloadError> {
        let response = self.get(client, url).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let bytes = self.checked(url, response)?.bytes().await;
        let bytes = bytes.map_err(|error| self.failed(url.to_owned(), causes(&error.without_url())))?;
        let unreadable =
            |error: serde_json::Error| self.failed(url.to_owned(), format!("no answer of a hub: {error}"));
        serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
    }

    /// Downloads a file unless it is there. Nobody ever sees half of one.
    async fn file(&self, client: &Client, url: &str, to: &Path) -> Result<(), WorkloadError> {
        if to.is_file() {
            return Ok(());
        }
        let response = self.get(client, url).await?;
        let response = self.checked(url, response)?;
        let folder = to.parent().unwrap_or(Path::new("."));
        let part = folder.join(format!(".{}.part", Uuid::new_v4()));
        let result = match fs::create_dir_all(folder) {
            Ok(()) => self.save(url, response, &part).await,
            Err(error) => Err(unwritable(folder, error)),
        };
        let result = result.and_then(|()| fs::rename(&part, to).map_err(|error| unwritable(to, error)));
        result.inspect_err(|_| drop(fs::remove_file(&part)))
    }

    async fn save(&self, url: &str, mut response: Response, to: &Path) -> Result<(), WorkloadError> {
        let mut file = File::create(to).map_err(|error| unwritable(to, error))?;
        let (mut bytes, total) = (0, response.content_length());
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| self.failed(url.to_owned(), causes(&error.without_url())))?;
            let Some(chunk) = chunk else { return Ok(()) };
            file.write_all(&chunk).map_err(|error| unwritable(to, error))?;
            bytes += chunk.len() as u64;
            (self.progress)(Progress::Reading { bytes, total });
        }
    }

    /// Asks, with the token for the hub itself alone: reqwest leaves it behind when a redirect goes elsewhere.
    async fn get(&self, client: &Client, url: &str) -> Result<Response, WorkloadError> {
        let mut request = client.get(url);
        if let Some(token) = self.hub.token.as_ref().filter(|_| url.starts_with(&self.hub.endpoint)) {
            request = request.bearer_auth(token.reveal());
        }
        request.send().await.map_err(|error| self.failed(url.to_owned(), causes(&error.without_url())))
    }

    fn checked(&self, url: &str, response: Response) -> Result<Response, WorkloadError> {
        let status = response.status();
        match status.as_u16() {
            200 => Ok(response),
            401 | 403 => Err(self.failed(
                url.to_owned(),
                format!("HTTP {}: the dataset needs access, or does not exist", status.as_u16()),
            )),
            code => Err(self.failed(url.to_owned(), format!("HTTP {code}"))),
        }
    }

    fn failed(&self, url: String, cause: String) -> WorkloadError {
        WorkloadError::Hub { id: self.id.to_owned(), url, cause }
    }
}

/// The splits that are taken where none is asked for.
const SPLITS: [&str; 3] = ["train", "test", "validation"];

/// The one asked for; else the first of the usual ones that is there; else the first.
fn pick<'n>(
    mut names: impl Iterator<Item = &'n String> + Clone,
    asked: Option<&str>,
    usual: &[&str],
) -> Option<&'n String> {
    match asked {
        Some(asked) => names.find(|name| *name == asked),
        None => {
            usual.iter().find_map(|usual| names.clone().find(|name| name == usual)).or_else(|| names.next())
        }
    }
}

/// The same among the folders in one.
fn first_folder(within: &Path, usual: &[&str]) -> Option<String> {
    let entries = fs::read_dir(within).ok()?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    pick(names.iter(), None, usual).cloned()
}

/// A name as one part of a path.
fn safe(name: &str) -> String {
    let name: String = name.chars().map(|c| if c == '/' || c == '\\' { '-' } else { c }).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

fn client() -> reqwest::Result<Client> {
    tls::install_provider();
    Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .user_agent(concat!("servebench/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn unwritable(path: &Path, source: io::Error) -> WorkloadError {
    WorkloadError::Unreadable { path: path.display().to_string(), source }
}

/// An error with what is behind it: reqwest's own text does not name the cause.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
