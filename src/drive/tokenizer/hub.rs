//! Hub ids, and the Hugging Face cache on disk.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::TokenizerError;
use crate::core::units::Secret;

/// The one file that must be there of a model.
pub(super) const FILE: &str = "tokenizer.json";

/// Where the Hugging Face hub is, and where its files are kept on this machine.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The cache directory, with folders such as `models--org--name`.
    pub cache: PathBuf,
    /// Scheme and host, without a trailing slash.
    pub endpoint: String,
    /// Sent as bearer to the endpoint, and nowhere else.
    pub token: Option<Secret>,
    /// Never use the network.
    pub offline: bool,
}

/// A downloaded file.
pub(super) struct Download {
    pub bytes: Vec<u8>,
    /// The commit that the revision stands for, if the hub told.
    pub commit: Option<String>,
}

impl Hub {
    /// What the environment says, by the variables of the `huggingface_hub` library: `HF_HUB_CACHE`, `HF_HOME`,
    /// `XDG_CACHE_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        Self::from_vars(&|name| std::env::var(name).ok())
    }

    /// The same with the variables from elsewhere. An empty variable counts as absent.
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
        let stored = || fs::read_to_string(token_file).ok().map(|text| text.trim().to_owned());
        Self {
            cache: get("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            endpoint: get("HF_ENDPOINT")
                .map_or("https://huggingface.co".into(), |url| url.trim_end_matches('/').to_owned()),
            token: get("HF_TOKEN").or_else(stored).filter(|token| !token.is_empty()).map(Secret::new),
            offline: get("HF_HUB_OFFLINE")
                .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())),
        }
    }

    /// The cached file, if there is one.
    pub(super) fn cached(&self, id: &HubId) -> Option<PathBuf> {
        self.snapshot(id).map(|folder| folder.join(FILE)).filter(|file| file.is_file())
    }

    /// The folder with the cached files of a revision, if there is one.
    fn snapshot(&self, id: &HubId) -> Option<PathBuf> {
        let folder = self.folder(id);
        let commit = fs::read_to_string(folder.join("refs").join(&id.revision)).ok();
        let commit = commit.as_deref().map(str::trim).filter(|commit| is_commit(commit));
        Some(folder.join("snapshots").join(commit.unwrap_or(&id.revision))).filter(|folder| folder.is_dir())
    }

    /// Keeps a download where `huggingface_hub` would look for it. What names no commit is not kept.
    pub(super) fn store(&self, id: &HubId, file: &str, download: &Download) -> io::Result<()> {
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

/// Writes beside the target and renames, so that nobody ever sees half a file.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = folder.join(format!(".{}.part", Uuid::new_v4()));
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// A commit is a file name in the cache: only hexadecimal digits may become one.
fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A model on the hub: `org/name`, or an old `name`, at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubId {
    pub model: String,
    pub revision: String,
}

impl HubId {
    /// The revision of an id that names none.
    const MAIN: &str = "main";

    /// Parts are made of letters, digits, `.`, `_` and `-`, so that an id can be put into URLs and paths.
    pub fn parse(text: &str) -> Option<Self> {
        let (model, revision) = text.split_once('@').unwrap_or((text, Self::MAIN));
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
        if self.revision == Self::MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// What a tokenizer's name stands for.
pub(super) enum Found {
    /// A file that the user named.
    File(PathBuf),
    /// A file of the cache.
    Cached(PathBuf, HubId),
    /// Nothing on this machine, but it may be downloaded.
    Nowhere(HubId),
}

/// Looks for a tokenizer on this machine.
pub(super) fn locate(name: &str, hub: &Hub) -> Result<Found, TokenizerError> {
    let path = Path::new(name);
    if path.is_dir() {
        return in_folder(path).map(Found::File);
    }
    if path.exists() {
        return Ok(Found::File(path.to_owned()));
    }
    if name.starts_with(['/', '.', '~']) || name.ends_with(".json") {
        return Err(TokenizerError::NoSuchPath { path: name.to_owned() });
    }
    let id = HubId::parse(name).ok_or_else(|| TokenizerError::BadName { name: name.to_owned() })?;
    match hub.cached(&id) {
        Some(path) => Ok(Found::Cached(path, id)),
        None if hub.offline => {
            Err(TokenizerError::Offline { id: id.to_string(), cache: hub.cache.display().to_string() })
        }
        None => Ok(Found::Nowhere(id)),
    }
}

fn in_folder(folder: &Path) -> Result<PathBuf, TokenizerError> {
    let file = folder.join(FILE);
    if file.is_file() {
        return Ok(file);
    }
    let older = ["tokenizer.model", "vocab.json", "vocab.txt"].iter().any(|name| folder.join(name).exists());
    let hint = if older {
        " (only an older format, which transformers can convert with save_pretrained)"
    } else {
        ""
    };
    Err(TokenizerError::NotInFolder { path: folder.display().to_string(), hint })
}
