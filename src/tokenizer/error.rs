//! Errors of tokenizers, with messages for users.

use std::io;

use thiserror::Error;

const ALTERNATIVES: &str = "set `workload.tokenizer` to a tokenizer.json or a folder with one, HF_TOKEN for a model with \
                            restricted access, or HF_ENDPOINT for a mirror; without `workload.tokenizer` the server \
                            counts";
const CONVERT: &str = "make a tokenizer.json of the same model with transformers: \
                       AutoTokenizer.from_pretrained(…).save_pretrained(…); without `workload.tokenizer` the server \
                       counts";

/// Why a tokenizer cannot be loaded.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// The build has no tokenizers.
    #[error(
        "tokenizer {name}: servegauge was built without the feature `tokenizers`; let the server count, or enable it"
    )]
    NotBuilt {
        /// The name of the tokenizer.
        name: String,
    },
    /// The path does not exist.
    #[error("tokenizer {path}: no such file or folder; {ALTERNATIVES}")]
    NoSuchPath {
        /// The path as given.
        path: String,
    },
    /// The folder holds no `tokenizer.json`.
    #[error("tokenizer {path}: the folder holds no tokenizer.json{hint}; {}", if hint.is_empty() { ALTERNATIVES } else { CONVERT })]
    NotInFolder {
        /// The path as given.
        path: String,
        /// A description of the other tokenizer files in the folder.
        hint: String,
    },
    /// The file has another format than `tokenizer.json`.
    #[error("tokenizer {path}: not a tokenizer.json, but {what}; {CONVERT}")]
    OtherFormat {
        /// The path as given.
        path: String,
        /// The format of the file.
        what: &'static str,
    },
    /// The name is neither a path nor a hub id.
    #[error(
        "tokenizer `{name}`: neither a file or folder here nor a hub id (`org/name` or `org/name@revision`); {ALTERNATIVES}"
    )]
    BadName {
        /// The name as given.
        name: String,
    },
    /// The file exists but cannot be read.
    #[error("tokenizer {path}: cannot be read: {source}")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// The content is not a usable tokenizer.
    #[error("tokenizer {origin}: not a tokenizer.json that can be used: {cause}")]
    Malformed {
        /// The path or the hub id.
        origin: String,
        /// The fault.
        cause: String,
    },
    /// The file with the chat template is not JSON.
    #[error(
        "{path}: not a tokenizer_config.json: {cause}; download it again; `workload.form = text` needs none"
    )]
    Config {
        /// The path of the file.
        path: String,
        /// The fault.
        cause: String,
    },
    /// The tokenizer is not in the cache, and `HF_HUB_OFFLINE` forbids downloads.
    #[error(
        "tokenizer {id}: not in the cache {cache}{found}, and HF_HUB_OFFLINE forbids the download; {ALTERNATIVES}"
    )]
    Offline {
        /// The hub id.
        id: String,
        /// The cache that was searched.
        cache: String,
        /// A description of the other tokenizer files in the cache.
        found: String,
    },
    /// The hub could not be reached, or the connection broke.
    #[error("tokenizer {id}: {url}: {cause}; {ALTERNATIVES}")]
    Network {
        /// The hub id.
        id: String,
        /// The URL that was requested.
        url: String,
        /// The error with its causes.
        cause: String,
    },
    /// The hub requires a token, or a token with more permissions.
    #[error(
        "tokenizer {id}: {url}: HTTP {status}: the model needs access, or does not exist ({with} token sent); {ALTERNATIVES}"
    )]
    Denied {
        /// The hub id.
        id: String,
        /// The URL that was requested.
        url: String,
        /// The HTTP status: 401 or 403.
        status: u16,
        /// Whether a token was sent: `a` or `no`.
        with: &'static str,
    },
    /// The hub has no such model, revision, or file.
    #[error(
        "tokenizer {id}: {url}: HTTP 404: no such model or revision, or it has no tokenizer.json; {ALTERNATIVES}"
    )]
    NotOnHub {
        /// The hub id.
        id: String,
        /// The URL that was requested.
        url: String,
    },
    /// The hub has the model's tokenizer only in another format.
    #[error("tokenizer {id}: the model has no tokenizer.json, but {found}; {CONVERT}")]
    OtherOnHub {
        /// The hub id.
        id: String,
        /// A description of the tokenizer files that the model has.
        found: String,
    },
    /// The hub answered with another HTTP status.
    #[error("tokenizer {id}: {url}: HTTP {status}; {ALTERNATIVES}")]
    Status {
        /// The hub id.
        id: String,
        /// The URL that was requested.
        url: String,
        /// The HTTP status.
        status: u16,
    },
}

/// Why the tokens of a text could not be counted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenizeError {
    /// The local tokenizer failed.
    #[error("tokenizer {origin}: {cause}")]
    Local {
        /// The path or hub id of the tokenizer.
        origin: String,
        /// The reason.
        cause: String,
    },
    /// The server did not return a count.
    #[error(
        "{origin}: {cause}; with a tokenizer.json, a folder or a hub id as `workload.tokenizer` the client counts"
    )]
    Server {
        /// The URL that was requested.
        origin: String,
        /// The reason.
        cause: String,
    },
}
