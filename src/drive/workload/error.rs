//! What can be wrong with a workload, in words for people: one line with file, place, cause and what to do.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::core::dataset::Drops;
use crate::drive::tokenizer::TokenizeError;

/// Why there are no requests.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// Nothing is there.
    #[error("{path}: no such file; check --dataset-path (datasets/README.md tells how to get ShareGPT)")]
    NotFound {
        /// The file.
        path: String,
    },
    /// A directory was given.
    #[error("{path}: is a folder; give --dataset-path the JSON file in it")]
    Directory {
        /// The folder.
        path: String,
    },
    /// The file is there but cannot be read, or its compression is broken.
    #[error("{path}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Not one byte.
    #[error("{path}: is empty; a ShareGPT file is {FORMAT}")]
    Empty {
        /// The file.
        path: String,
    },
    /// The content is not a ShareGPT file.
    #[error("{path}: {place}: {fault}")]
    Malformed {
        /// The file.
        path: String,
        /// Where in it.
        place: Place,
        /// What is wrong there.
        fault: Fault,
    },
    /// The file is in order, but nothing in it can be sent.
    #[error(
        "{path}: none of {candidates} conversations can be used (dropped: {dropped}); a usable one has {RULE}"
    )]
    Unusable {
        /// The file.
        path: String,
        /// Conversations in it.
        candidates: usize,
        /// Why each was dropped.
        dropped: Drops,
    },
    /// The lengths of the `random` dataset cannot be met.
    #[error("random dataset: {0}")]
    Lengths(String),
    /// A text could not be counted.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
}

const FORMAT: &str =
    r#"[{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}, …]"#;
const RULE: &str =
    "two turns or more, a prompt of 4 to 1024 tokens, an output of at least 4, and at most 2048 together";

impl WorkloadError {
    pub(super) fn unreadable(path: &str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::IsADirectory => Self::Directory { path },
            _ => Self::Unreadable { path, source },
        }
    }
}

/// A place in a dataset file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The conversation, from 1; `None` outside of any.
    pub entry: Option<usize>,
    /// The line, from 1.
    pub line: usize,
    /// How many bytes of the line had been read.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(entry) = self.entry {
            write!(f, "entry {entry}, ")?;
        }
        write!(f, "line {} column {}", self.line, self.column)
    }
}

/// What is wrong with a dataset file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// Not JSON.
    #[error("not JSON: {0}; a ShareGPT file is {FORMAT}")]
    Syntax(String),
    /// JSON that stops in the middle.
    #[error("the file ends in the middle ({0}); download it again")]
    Truncated(String),
    /// Text that is not UTF-8.
    #[error("not UTF-8; convert the file to UTF-8")]
    Encoding,
    /// JSON, but not an array at the top.
    #[error(
        "{0}; for one JSON object a line (JSONL) make an array with `jq -s . FILE`; a ShareGPT file is {FORMAT}"
    )]
    NotArray(String),
    /// An array, but not of conversations.
    #[error("{0}; a ShareGPT file is {FORMAT}")]
    Shape(String),
}
