//! Downloads datasets of the Hugging Face hub into the hub's cache. Only as many files as a run needs are downloaded.
//!
//! The hub converts datasets to Parquet and lists the files by subset and split. That list is used if it exists;
//! otherwise the files of the dataset's repository are used. Files are taken in the order of the list, so that the
//! content of the cache does not affect the selection.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::hf::select_files;
use super::{DatasetError, PrepareProgress, ProgressFn, parquet};
use crate::client::{tls, transport_error};
use crate::model::run_spec::{HfDataset, SpeedBench};
use crate::model::secrets;
use crate::tokenizer::HfHub;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time without received data.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a list, in bytes.
const MAX_LIST_BYTES: usize = 64 << 20;
/// Maximum size of a data file, in bytes. Files that the hub converts have at most 0.5 GB; those of a repository rarely
/// exceed 50 GB.
const MAX_FILE_BYTES: u64 = 64 << 30;
/// Extensions of local dataset files. A path with one of them is not a hub id.
const DATASET_EXTENSIONS: [&str; 4] = [".parquet", ".json", ".jsonl", ".gz"];

/// Makes the dataset available at a local path. A local dataset stays as it is. A hub dataset is downloaded until its
/// files have at least `rows` rows.
///
/// # Errors
/// [`DatasetError::Hub`] when the hub has no such dataset or cannot be reached.
pub(crate) async fn fetch(
    hf: &HfDataset,
    rows: usize,
    hub: &HfHub,
    progress: &ProgressFn<'_>,
) -> Result<HfDataset, DatasetError> {
    let Some(id) = hub_id(&hf.path) else { return Ok(hf.clone()) };
    let folder = hub.cache.join(format!("datasets--{}", id.replace('/', "--")));
    let fetching = HubFetch { id, hf, hub, folder: &folder, progress };
    let (folder, chosen) = match hub.offline {
        true => fetching.cached()?,
        false => fetching.download(rows).await?,
    };
    let (subset, split) = if chosen { (None, None) } else { (hf.subset.clone(), hf.split.clone()) };
    let name = hf.name.clone().or_else(|| Some(id.to_owned()));
    Ok(HfDataset { path: folder, subset, split, name, ..hf.clone() })
}

/// Makes the requested subset of SPEED-Bench available at a local path, as [`fetch`] does. Nothing happens if the user
/// names another path.
///
/// # Errors
/// Fails as [`fetch`] does.
pub(crate) async fn fetch_speed_bench(
    bench: &SpeedBench,
    rows: usize,
    hub: &HfHub,
    progress: &ProgressFn<'_>,
) -> Result<SpeedBench, DatasetError> {
    if bench.path != Path::new(SpeedBench::HUB_ID) {
        return Ok(bench.clone());
    }
    let hf = HfDataset {
        path: bench.path.clone(),
        subset: Some(bench.subset.clone()),
        split: None,
        output_len: None,
        name: None,
        text_column: None,
    };
    Ok(SpeedBench { path: fetch(&hf, rows, hub, progress).await?.path, ..bench.clone() })
}

/// The hub id, if the path does not exist locally and has the form `org/name`.
fn hub_id(path: &Path) -> Option<&str> {
    let text = path.to_str().filter(|_| !path.exists())?;
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '~'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let is_id = text.split('/').count() == 2 && text.split('/').all(plain);
    (is_id && !DATASET_EXTENSIONS.iter().any(|kind| text.ends_with(kind))).then_some(text)
}

struct HubFetch<'a> {
    id: &'a str,
    hf: &'a HfDataset,
    hub: &'a HfHub,
    /// The folder of this dataset in the cache.
    folder: &'a Path,
    progress: &'a ProgressFn<'a>,
}

/// The hub's list of converted files: subset, split, URLs.
type ConvertedFiles = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// An entry of a repository's file list.
#[derive(Deserialize)]
struct RepoFile {
    path: String,
}

impl HubFetch<'_> {
    /// The folder of files that an earlier run or the hub's own tools left in the cache.
    fn cached(&self) -> Result<(PathBuf, bool), DatasetError> {
        let converted = self.folder.join("converted");
        let subset =
            self.hf.subset.as_deref().map(safe_name).or_else(|| first_folder(&converted, &["default"]));
        let within = converted.join(subset.unwrap_or_default());
        let split = self.hf.split.as_deref().map(safe_name).or_else(|| first_folder(&within, &SPLITS));
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

    /// Downloads the files. Returns their folder, and whether the folder holds only files of the subset and split.
    async fn download(&self, rows: usize) -> Result<(PathBuf, bool), DatasetError> {
        let client = client()
            .map_err(|error| self.failed(self.hub.endpoint.clone(), transport_error::causes(error)))?;
        let url = format!("{}/api/datasets/{}/parquet", self.hub.endpoint, self.id);
        match self.json::<ConvertedFiles>(&client, &url).await? {
            Some(listing) if !listing.is_empty() => {
                Ok((self.converted(&client, &listing, &url, rows).await?, true))
            }
            _ => Ok((self.repository(&client, rows).await?, false)),
        }
    }

    async fn converted(
        &self,
        client: &Client,
        listing: &ConvertedFiles,
        asked: &str,
        rows: usize,
    ) -> Result<PathBuf, DatasetError> {
        let absent = |what: &str, known: Vec<&String>| {
            let known = known.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.failed(asked.to_owned(), format!("no such {what}; there are: {known}"))
        };
        let subset = pick_name(listing.keys(), self.hf.subset.as_deref(), &["default"])
            .ok_or_else(|| absent("`hf.subset`", listing.keys().collect()))?;
        let splits = &listing[subset];
        let split = pick_name(splits.keys(), self.hf.split.as_deref(), &SPLITS)
            .ok_or_else(|| absent("`hf.split`", splits.keys().collect()))?;
        let folder = self.folder.join("converted").join(safe_name(subset)).join(safe_name(split));
        let mut there = 0;
        for (index, url) in splits[split].iter().enumerate() {
            let file = folder.join(format!("{index:05}.parquet"));
            self.file(client, url, &file).await?;
            there += parquet::row_count(&file)?;
            if there >= rows {
                break;
            }
        }
        Ok(folder)
    }

    /// Downloads the data files of the dataset's repository.
    async fn repository(&self, client: &Client, rows: usize) -> Result<PathBuf, DatasetError> {
        let url = format!("{}/api/datasets/{}/tree/main?recursive=true", self.hub.endpoint, self.id);
        let entries: Option<Vec<RepoFile>> = self.json(client, &url).await?;
        let no_dataset = || self.failed(url.clone(), "HTTP 404: no such dataset".into());
        let names: Vec<String> =
            entries.ok_or_else(no_dataset)?.into_iter().map(|entry| entry.path).collect();
        let mut chosen = select_files(&names, self.hf.subset.as_deref(), self.hf.split.as_deref());
        chosen.retain(|name| name.split('/').all(|part| !part.is_empty() && part != ".."));
        chosen.sort_unstable();
        if chosen.is_empty() {
            return Err(self.failed(
                url,
                "the dataset has no Parquet, JSONL or JSON file of that subset and split".into(),
            ));
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
            // The number of rows of a JSON file is known only after reading it, so one file is assumed to be enough.
            there += if name.ends_with(".parquet") { parquet::row_count(&file)? } else { rows };
            if there >= rows {
                break;
            }
        }
        Ok(folder)
    }

    /// Fetches a JSON document; `None` if the URL does not exist.
    async fn json<T: DeserializeOwned>(&self, client: &Client, url: &str) -> Result<Option<T>, DatasetError> {
        let response = self.get(client, url).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let mut response = self.checked(url, response)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(url, &mut response).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_LIST_BYTES {
                let cause = format!("the response is larger than {} MiB", MAX_LIST_BYTES >> 20);
                return Err(self.failed(url.to_owned(), cause));
            }
        }
        let unreadable = |error: serde_json::Error| {
            self.failed(url.to_owned(), format!("unexpected response from the hub: {error}"))
        };
        serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
    }

    /// Downloads a file unless it exists. No process ever sees a partially written file.
    async fn file(&self, client: &Client, url: &str, to: &Path) -> Result<(), DatasetError> {
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

    async fn save(&self, url: &str, mut response: Response, to: &Path) -> Result<(), DatasetError> {
        let mut file = File::create_new(to).map_err(|error| unwritable(to, error))?;
        let (mut bytes, total) = (0, response.content_length());
        while let Some(chunk) = self.chunk(url, &mut response).await? {
            file.write_all(&chunk).map_err(|error| unwritable(to, error))?;
            bytes += chunk.len() as u64;
            if bytes > MAX_FILE_BYTES {
                let cause = format!("the file is larger than {} GiB", MAX_FILE_BYTES >> 30);
                return Err(self.failed(url.to_owned(), cause));
            }
            (self.progress)(PrepareProgress::Reading { bytes, total });
        }
        Ok(())
    }

    async fn chunk(&self, url: &str, response: &mut Response) -> Result<Option<Bytes>, DatasetError> {
        let chunk = response.chunk().await;
        chunk.map_err(|error| self.failed(url.to_owned(), transport_error::causes(error)))
    }

    /// Sends a GET request. Only the hub itself receives the token: reqwest drops it when a redirect leads to another
    /// host.
    async fn get(&self, client: &Client, url: &str) -> Result<Response, DatasetError> {
        let mut request = client.get(url);
        if let Some(token) = self.hub.token.as_ref().filter(|_| url.starts_with(&self.hub.endpoint)) {
            request = request.bearer_auth(token.reveal());
        }
        request.send().await.map_err(|error| self.failed(url.to_owned(), transport_error::causes(error)))
    }

    fn checked(&self, url: &str, response: Response) -> Result<Response, DatasetError> {
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

    fn failed(&self, url: String, cause: String) -> DatasetError {
        DatasetError::Hub { id: self.id.to_owned(), url: secrets::mask_url(&url), cause }
    }
}

/// The splits to use if the user names none, in order of precedence.
const SPLITS: [&str; 3] = ["train", "test", "validation"];

/// Returns the requested name. Without a request, returns the first of the usual names that exists, or else the first
/// name.
fn pick_name<'n>(
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

/// Returns the first of the usual names among the subfolders of a folder, or else the first subfolder.
fn first_folder(within: &Path, usual: &[&str]) -> Option<String> {
    let entries = fs::read_dir(within).ok()?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    pick_name(names.iter(), None, usual).cloned()
}

/// Turns a name into a single path component.
fn safe_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if c == '/' || c == '\\' { '-' } else { c }).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

fn client() -> reqwest::Result<Client> {
    tls::install_provider();
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("servegauge/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn unwritable(path: &Path, source: io::Error) -> DatasetError {
    DatasetError::Unreadable { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests;
