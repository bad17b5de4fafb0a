//! What can be wrong with a workload, in words for people: one line with file, place, cause and what to do.

use std::fmt;
use std::io;

use serde_json::error::Category;
use thiserror::Error;

use super::columns::Missing;
use crate::core::dataset::Drops;
use crate::drive::tokenizer::{TokenizeError, TokenizerError};

/// Why there are no requests.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// Nothing is there.
    #[error("{path}: no such file; check {flag}")]
    NotFound {
        /// The file.
        path: String,
        /// The flag that names it.
        flag: &'static str,
    },
    /// A directory was given.
    #[error("{path}: is a folder; give {flag} the file in it")]
    Directory {
        /// The folder.
        path: String,
        /// The flag that names it.
        flag: &'static str,
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
    #[error("{path}: is empty; {format}")]
    Empty {
        /// The file.
        path: String,
        /// What it should be.
        format: &'static Format,
    },
    /// The content is not what it should be.
    #[error("{path}: {place}: {fault}{}", fault.reminder(format))]
    Malformed {
        /// The file.
        path: String,
        /// Where in it.
        place: Place,
        /// What is wrong there.
        fault: Fault,
        /// What it should be.
        format: &'static Format,
    },
    /// The file is in order, but nothing in it can be sent.
    #[error("{path}: none of {candidates} entries can be used (dropped: {dropped}); a usable one has {rule}")]
    Unusable {
        /// The file.
        path: String,
        /// Entries in it.
        candidates: usize,
        /// Why each was dropped.
        dropped: Drops,
        /// What a usable one has.
        rule: String,
    },
    /// The trace is in order, but nothing in it can be sent.
    #[error("{path}: none of {rows} rows can be sent: {why}")]
    NothingToSend {
        /// The file.
        path: String,
        /// Rows in it.
        rows: usize,
        /// Why not, and what to do.
        why: String,
    },
    /// A class of a mix has no requests.
    #[error("{path}: class `{class}`: {source}")]
    Class {
        /// The file of the mix.
        path: String,
        /// The class.
        class: String,
        /// Why.
        source: Box<WorkloadError>,
    },
    /// No words were found to write prompts of an exact length with.
    #[error(
        "tokenizer {0} has too few words that are one token each, so prompts of exact length cannot be written with it; \
         give another --tokenizer"
    )]
    NoWords(String),
    /// Requests that cannot be given a beginning of their own.
    #[error("--unique-prompts puts words in front of prompts, and cannot do so with {0}")]
    Unsalted(&'static str),
    /// A folder without the file that is looked for in it.
    #[error("{path}: the folder holds no {wanted}; {cure}")]
    NoneInFolder {
        /// The folder.
        path: String,
        /// What it should hold.
        wanted: String,
        /// What to do.
        cure: &'static str,
    },
    /// No record is of the category that is asked for.
    #[error("{path}: no entry is of category `{wanted}`; there are: {known}")]
    NoSuchCategory {
        /// The file.
        path: String,
        /// The category asked for.
        wanted: String,
        /// Those that there are.
        known: String,
    },
    /// No column holds prompts.
    #[error("{path}: {missing}")]
    Columns {
        /// The file.
        path: String,
        /// What is missing.
        missing: Missing,
    },
    /// A dataset cannot be had from the hub.
    #[error(
        "dataset {id}: {url}: {cause}; ways out: --dataset-path FILE or FOLDER with Parquet, JSONL or JSON files, HF_TOKEN for \
         restricted access, HF_ENDPOINT for a mirror"
    )]
    Hub {
        /// The dataset's id.
        id: String,
        /// What was asked.
        url: String,
        /// What came back.
        cause: String,
    },
    /// A Parquet file that cannot be read.
    #[error("{path}: {cause}")]
    Parquet {
        /// The file.
        path: String,
        /// What is wrong, and what to do.
        cause: String,
    },
    /// An image or a recording that cannot be sent.
    #[error("{path}: {cause}")]
    Media {
        /// The file or URL.
        path: String,
        /// What is wrong, and what to do.
        cause: String,
    },
    /// The model's chat template cannot be used.
    #[error("chat template of {origin}: {cause}; --skip-chat-template sends prompts as they are")]
    Template {
        /// The file it is from.
        origin: String,
        /// What is wrong.
        cause: String,
    },
    /// The files beside the tokenizer are broken.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The file is in order, but none of its conversations is a session.
    #[error("{path}: none of {candidates} conversations can be used; a usable one has {rule}")]
    NoSessions {
        /// The file.
        path: String,
        /// Conversations in it.
        candidates: usize,
        /// What they lack.
        rule: &'static str,
    },
    /// The prompts of a generated dataset cannot be made.
    #[error("{dataset} dataset: {cause}")]
    Unmakeable {
        /// vLLM's name of the dataset.
        dataset: &'static str,
        /// What stands in the way, and what to do.
        cause: String,
    },
    /// A text could not be counted.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
}

impl WorkloadError {
    pub(super) fn unreadable(path: &str, source: io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), source }
    }

    /// A file that could not be opened.
    pub(super) fn unopened(path: &str, source: io::Error, flag: &'static str) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path, flag },
            io::ErrorKind::IsADirectory => Self::Directory { path, flag },
            _ => Self::Unreadable { path, source },
        }
    }
}

/// What a dataset file should be, for those who gave another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Its name, in `a … is`.
    pub name: &'static str,
    /// Its shape, by example.
    pub shape: &'static str,
    /// The flag that names the file.
    pub flag: &'static str,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} is {}", self.name, self.shape)
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
    #[error("not JSON: {0}")]
    Syntax(String),
    /// JSON that stops in the middle.
    #[error("the file ends in the middle ({0}); download it again")]
    Truncated(String),
    /// Text that is not UTF-8.
    #[error("not UTF-8; convert the file to UTF-8")]
    Encoding,
    /// JSON, but not an array at the top.
    #[error("{0}; for one JSON object a line (JSONL) make an array with `jq -s . FILE`")]
    NotArray(String),
    /// In order, but not what it should be.
    #[error("{0}")]
    Shape(String),
    /// No end of line for so many MiB.
    #[error("the line is longer than {0} MiB; is this a file of one record a line?")]
    LongLine(usize),
}

impl Fault {
    /// What serde_json found wrong.
    pub(super) fn of_json(error: &serde_json::Error) -> Self {
        let text = without_position(error);
        match error.classify() {
            Category::Eof => Self::Truncated(text),
            Category::Syntax if text == "invalid unicode code point" => Self::Encoding,
            Category::Io | Category::Syntax => Self::Syntax(text),
            Category::Data => Self::Shape(in_words(&text)),
        }
    }

    /// The same for a line: one that has its end is not cut off, it is wrong.
    pub(super) fn of_line(self, whole: bool) -> Self {
        match self {
            Self::Truncated(text) if whole => Self::Syntax(text),
            other => other,
        }
    }

    /// What the file should be, where that helps.
    fn reminder(&self, format: &'static Format) -> String {
        match self {
            Self::Syntax(_) | Self::NotArray(_) | Self::Shape(_) => format!("; {format}"),
            Self::Truncated(_) | Self::Encoding | Self::LongLine(_) => String::new(),
        }
    }
}

/// serde_json's message without its own `at line 3 column 7`.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// `invalid type: map, expected an array` as `expected an array, found an object`: JSON's words, and no content of
/// unbounded length. Other messages stay.
fn in_words(message: &str) -> String {
    let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return message.to_owned();
    };
    let found = match found.split([' ', ':']).next() {
        Some("map") => "an object",
        Some("sequence") => "an array",
        Some("string") => "a string",
        Some("integer" | "floating" | "number") => "a number",
        Some("boolean") => "true or false",
        _ => "null",
    };
    let expected = expected.replace("a sequence", "an array").replace("a map", "an object");
    format!("expected {expected}, found {found}")
}
