//! Hugging Face hub ids, and the hub's cache on disk.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::TokenizerError;
use crate::model::bounded_file::{self, FileLimit};
use crate::model::secrets;
use crate::model::units::Secret;
use crate::tokenizer::other_formats;

/// The file that a usable model must have.
pub(super) const FILE: &str = "tokenizer.json";

/// The location of the Hugging Face hub and of its cache on this machine.
#[derive(Debug, Clone)]
pub struct HfHub {
    /// The cache folder, which holds folders such as `models--org--name`.
    pub cache: PathBuf,
    /// The hub's scheme and host, without a trailing slash.
    pub endpoint: String,
    /// The bearer token. It is sent only to the endpoint.
    pub token: Option<Secret>,
    /// If true, the network is never used.
    pub offline: bool,
}

/// A downloaded file.
pub(super) struct DownloadedFile {
    pub bytes: Vec<u8>,
    /// The commit of the revision, if the hub reported it.
    pub commit: Option<String>,
}

impl HfHub {
    /// Reads the settings from the environment variables of the `huggingface_hub` library: `HF_HUB_CACHE`, `HF_HOME`,
    /// `XDG_CACHE_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        Self::from_vars(&|name| std::env::var(name).ok())
    }

    /// Reads the settings from variables that a function provides. An empty variable counts as absent.
    pub fn from_vars(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let get =
            |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let home = get("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let cache = get("XDG_CACHE_HOME").map(PathBuf::from);
            cache
                .unwrap_or_else(|| Path::new(&get("HOME").unwrap_or_default()).join(".cache"))
                .join("huggingface")
        });
        let token_file = get("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let stored = || {
            bounded_file::read_text(&token_file, FileLimit::CONFIG).ok().map(|text| text.trim().to_owned())
        };
        let token = get("HF_TOKEN").or_else(stored).filter(|token| !token.is_empty());
        token.iter().for_each(|token| secrets::remember(token));
        Self {
            cache: get("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: get("HF_ENDPOINT")
                .map_or("https://huggingface.co".into(), |url| url.trim_end_matches('/').to_owned()),
            token: token.map(Secret::new),
            offline: get("HF_HUB_OFFLINE")
                .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())),
        }
    }

    /// The path of the cached file, if it exists.
    pub(super) fn cached(&self, id: &HubId) -> Option<PathBuf> {
        self.snapshot(id).map(|folder| folder.join(FILE)).filter(|file| file.is_file())
    }

    /// The folder with the cached files of a revision, if it exists.
    fn snapshot(&self, id: &HubId) -> Option<PathBuf> {
        let folder = self.folder(id);
        let commit = bounded_file::read_text(&folder.join("refs").join(&id.revision), FileLimit::CONFIG).ok();
        let commit = commit.as_deref().map(str::trim).filter(|commit| is_commit(commit));
        Some(folder.join("snapshots").join(commit.unwrap_or(&id.revision))).filter(|folder| folder.is_dir())
    }

    /// Stores a download where `huggingface_hub` expects it. A download without a commit is not stored.
    pub(super) fn store(&self, id: &HubId, file: &str, download: &DownloadedFile) -> io::Result<()> {
        let Some(commit) = download.commit.as_deref().filter(|commit| is_commit(commit)) else {
            return Ok(());
        };
        let folder = self.folder(id);
        write_whole(&folder.join("snapshots").join(commit).join(file), &download.bytes)?;
        match id.revision == commit {
            true => Ok(()),
            false => write_whole(&folder.join("refs").join(&id.revision), commit.as_bytes()),
        }
    }

    fn folder(&self, id: &HubId) -> PathBuf {
        self.cache.join(format!("models--{}", id.model.replace('/', "--")))
    }
}

/// Writes a temporary file beside the target and renames it, so that no process ever sees a partially written file.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{}.part", Uuid::new_v4()));
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Whether a text can be a commit. A commit becomes a file name in the cache, so only hexadecimal digits are allowed.
fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A model on the hub at a revision: `org/name`, or an old-style `name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubId {
    pub model: String,
    pub revision: String,
}

impl HubId {
    /// The revision of an id that names none.
    const MAIN_REVISION: &str = "main";

    /// Parses an id. Its parts may contain only letters, digits, `.`, `_` and `-`, so that they are safe in URLs and
    /// paths.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (model, revision) = text.split_once('@').unwrap_or((text, Self::MAIN_REVISION));
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let valid = model.split('/').count() <= 2 && model.split('/').chain(revision.split('/')).all(plain);
        valid.then(|| Self { model: model.into(), revision: revision.into() })
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.model)?;
        if self.revision == Self::MAIN_REVISION { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// The location of a tokenizer.
pub(super) enum TokenizerSource {
    /// A file that the user named.
    File(PathBuf),
    /// A file in the cache.
    Cached(PathBuf, HubId),
    /// A model that is not on this machine but may be downloaded.
    NotCached(HubId),
}

/// Searches for a tokenizer on this machine.
pub(super) fn locate(name: &str, hub: &HfHub) -> Result<TokenizerSource, TokenizerError> {
    let path = Path::new(name);
    if path.is_dir() {
        return tokenizer_in_folder(path).map(TokenizerSource::File);
    }
    if path.exists() {
        return Ok(TokenizerSource::File(path.to_owned()));
    }
    if name.starts_with(['/', '.', '~']) || name.ends_with(".json") {
        return Err(TokenizerError::NoSuchPath { path: name.to_owned() });
    }
    let id = HubId::parse(name).ok_or_else(|| TokenizerError::BadName { name: name.to_owned() })?;
    match hub.cached(&id) {
        Some(path) => Ok(TokenizerSource::Cached(path, id)),
        None if hub.offline => {
            let found = hub.snapshot(&id).and_then(|folder| other_formats::find_in_folder(&folder));
            let found = found.map(|found| format!(" (it holds {found})")).unwrap_or_default();
            Err(TokenizerError::Offline { id: id.to_string(), cache: hub.cache.display().to_string(), found })
        }
        None => Ok(TokenizerSource::NotCached(id)),
    }
}

fn tokenizer_in_folder(folder: &Path) -> Result<PathBuf, TokenizerError> {
    let file = folder.join(FILE);
    if file.is_file() {
        return Ok(file);
    }
    let hint =
        other_formats::find_in_folder(folder).map(|found| format!(", but {found}")).unwrap_or_default();
    Err(TokenizerError::NotInFolder { path: folder.display().to_string(), hint })
}
