//! What can be wrong with a tokenizer, in words for people.

use std::io;

use thiserror::Error;

const WAYS_OUT: &str = "ways out: --tokenizer PATH (a tokenizer.json or a folder with one), HF_TOKEN for a model \
                        with restricted access, HF_ENDPOINT for a mirror, or no --tokenizer to let the server count";

/// Why there is no tokenizer.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// A path was given and nothing is there.
    #[error("tokenizer {path}: no such file or folder; {WAYS_OUT}")]
    NoSuchPath {
        /// As given.
        path: String,
    },
    /// A directory was given that holds no `tokenizer.json`.
    #[error("tokenizer {path}: the folder holds no tokenizer.json{hint}; {WAYS_OUT}")]
    NotInFolder {
        /// As given.
        path: String,
        /// What is there instead.
        hint: &'static str,
    },
    /// The name is neither a path nor a hub id.
    #[error(
        "tokenizer `{name}`: neither a file or folder here nor a hub id (`org/name` or `org/name@revision`); {WAYS_OUT}"
    )]
    BadName {
        /// As given.
        name: String,
    },
    /// The file is there but cannot be read.
    #[error("tokenizer {path}: cannot be read: {source}")]
    Unreadable {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The content is not a tokenizer.
    #[error("tokenizer {origin}: not a tokenizer.json that can be used: {cause}")]
    Malformed {
        /// The path or hub id.
        origin: String,
        /// What is wrong.
        cause: String,
    },
    /// The file with the chat template is not JSON.
    #[error("{path}: not a tokenizer_config.json: {cause}; download it again, or --skip-chat-template")]
    Config {
        /// The file.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// Not in the cache, and the network is off limits.
    #[error(
        "tokenizer {id}: not in the cache {cache}, and HF_HUB_OFFLINE forbids to download it; {WAYS_OUT}"
    )]
    Offline {
        /// The hub id.
        id: String,
        /// Where it was looked for.
        cache: String,
    },
    /// The hub could not be reached or broke off.
    #[error("tokenizer {id}: {url}: {cause}; {WAYS_OUT}")]
    Network {
        /// The hub id.
        id: String,
        /// What was asked.
        url: String,
        /// The error with its causes.
        cause: String,
    },
    /// The hub wants a (better) token.
    #[error(
        "tokenizer {id}: {url}: HTTP {status}: the model needs access, or does not exist ({with} token sent); {WAYS_OUT}"
    )]
    Denied {
        /// The hub id.
        id: String,
        /// What was asked.
        url: String,
        /// 401 or 403.
        status: u16,
        /// `a` or `no`.
        with: &'static str,
    },
    /// The hub has no such model, revision, or file.
    #[error(
        "tokenizer {id}: {url}: HTTP 404: no such model or revision, or it has no tokenizer.json; {WAYS_OUT}"
    )]
    NotOnHub {
        /// The hub id.
        id: String,
        /// What was asked.
        url: String,
    },
    /// The hub answered with another status.
    #[error("tokenizer {id}: {url}: HTTP {status}; {WAYS_OUT}")]
    Status {
        /// The hub id.
        id: String,
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
}

/// Why a text could not be counted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenizeError {
    /// Our tokenizer gave up.
    #[error("tokenizer {origin}: {cause}")]
    Local {
        /// Which one.
        origin: String,
        /// Why.
        cause: String,
    },
    /// The server did not count.
    #[error("{origin}: {cause}; give --tokenizer a tokenizer.json, a folder or a hub id to count here")]
    Server {
        /// What was asked.
        origin: String,
        /// Why there is no answer.
        cause: String,
    },
}
