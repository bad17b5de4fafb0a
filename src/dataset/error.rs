//! Errors of a workload. Each message is one line with the file, the position, the cause, and a remedy.

use std::fmt;
use std::io;

use serde_json::error::Category;
use thiserror::Error;

use crate::model::dataset::DropCounts;
use crate::model::spool::SpoolError;
use crate::tokenizer::{TokenizeError, TokenizerError};

/// Why the requests of a run cannot be prepared.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The file does not exist.
    #[error("{path}: no such file; check {named_by}")]
    NotFound {
        /// The path of the file.
        path: String,
        /// The setting or the field that names the file.
        named_by: &'static str,
    },
    /// The build cannot read files of this format.
    #[error("{path}: servegauge was built without the feature `{feature}`, which reads this file; enable it")]
    NotBuilt {
        /// The path of the file.
        path: String,
        /// The feature.
        feature: &'static str,
    },
    /// The path is a folder where a file is expected.
    #[error("{path}: is a folder; {named_by} must name a file")]
    Directory {
        /// The path of the folder.
        path: String,
        /// The setting or the field that names the path.
        named_by: &'static str,
    },
    /// The file exists but cannot be read, or its compression is broken.
    #[error("{path}: cannot be read: {source}")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// The file is empty.
    #[error("{path}: is empty; {format}")]
    Empty {
        /// The path of the file.
        path: String,
        /// The expected format of the file.
        format: &'static DatasetFormat,
    },
    /// The content of the file is not in the expected format.
    #[error("{path}: {place}: {fault}{}", fault.format_hint(format))]
    Malformed {
        /// The path of the file.
        path: String,
        /// The position of the fault in the file.
        place: FilePosition,
        /// The fault at that position.
        fault: DatasetFault,
        /// The expected format of the file.
        format: &'static DatasetFormat,
    },
    /// The file is well-formed, but none of its entries can be sent.
    #[error("{path}: none of {candidates} entries can be used (dropped: {dropped}); a usable one has {rule}")]
    Unusable {
        /// The path of the file.
        path: String,
        /// The number of entries in the file.
        candidates: usize,
        /// The number of dropped entries by reason.
        dropped: Box<DropCounts>,
        /// The conditions that a usable entry meets.
        rule: String,
    },
    /// The trace is well-formed, but none of its rows can be sent.
    #[error("{path}: none of {rows} rows can be sent: {why}")]
    NothingToSend {
        /// The path of the file.
        path: String,
        /// The number of rows in the file.
        rows: usize,
        /// The reason, and a remedy.
        why: String,
    },
    /// The requests of one class of a mix cannot be prepared.
    #[error("{path}: class `{class}`: {source}")]
    Class {
        /// The path of the mix file.
        path: String,
        /// The name of the class.
        class: String,
        /// The error of the class.
        source: Box<DatasetError>,
    },
    /// The tokenizer has too few single-token words to write prompts of an exact length.
    #[error(
        "tokenizer {0} has too few words that are one token each, so prompts of exact length cannot be written with it; \
         choose another `workload.tokenizer`"
    )]
    NoWords(String),
    /// Requests of this type cannot have a unique prefix.
    #[error("`workload.unique` puts words in front of prompts, and cannot do that with {0}")]
    Unsalted(&'static str),
    /// The folder does not hold the expected file.
    #[error("{path}: the folder holds no {wanted}; {cure}")]
    NoneInFolder {
        /// The path of the folder.
        path: String,
        /// The file that the folder should hold.
        wanted: String,
        /// The remedy.
        cure: &'static str,
    },
    /// No record has the requested category.
    #[error("{path}: no entry is of category `{wanted}`; there are: {known}")]
    NoSuchCategory {
        /// The path of the file.
        path: String,
        /// The requested category.
        wanted: String,
        /// The categories that the file has.
        known: String,
    },
    /// No column of the file holds prompts.
    #[error("{path}: {missing}")]
    Columns {
        /// The path of the file.
        path: String,
        /// The columns that were searched for, and those that exist.
        missing: Missing,
    },
    /// The dataset cannot be downloaded from the hub.
    #[error(
        "dataset {id}: {url}: {cause}; either set `dataset.path` to a file or folder with Parquet, JSONL or JSON files, or set \
         HF_TOKEN for restricted access, or HF_ENDPOINT for a mirror"
    )]
    Hub {
        /// The dataset's hub id.
        id: String,
        /// The URL that was requested.
        url: String,
        /// The response or the error.
        cause: String,
    },
    /// The Parquet file cannot be read.
    #[error("{path}: {cause}")]
    Parquet {
        /// The path of the file.
        path: String,
        /// The fault, and a remedy.
        cause: String,
    },
    /// The image or recording cannot be sent.
    #[error("{path}: {cause}")]
    Media {
        /// The path or URL of the file.
        path: String,
        /// The fault, and a remedy.
        cause: String,
    },
    /// A file that an entry names cannot be sent.
    #[error("{path}: {place}: {source}")]
    NamedFile {
        /// The path of the dataset.
        path: String,
        /// The position of the entry in the dataset.
        place: FilePosition,
        /// The error of the file.
        source: Box<DatasetError>,
    },
    /// The model's chat template cannot be used.
    #[error("chat template of {origin}: {cause}; `workload.form = text` sends prompts as they are")]
    Template {
        /// The file that the template comes from.
        origin: String,
        /// The fault.
        cause: String,
    },
    /// The files beside the tokenizer are invalid.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The prompts of a generated dataset cannot be made.
    #[error("{dataset} dataset: {cause}")]
    Unmakeable {
        /// vLLM's name of the dataset.
        dataset: &'static str,
        /// The obstacle, and a remedy.
        cause: String,
    },
    /// The tokens of a text could not be counted.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The requests fit neither into memory nor into a temporary file.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl DatasetError {
    pub(super) fn unreadable(path: &str, source: io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), source }
    }

    /// Adds the entry of a dataset that names a file which cannot be sent. Other errors do not concern an entry.
    pub(super) fn with_place(self, path: &str, place: FilePosition) -> Self {
        match self {
            Self::Media { .. } | Self::NotFound { .. } | Self::Directory { .. } | Self::Unreadable { .. } => {
                Self::NamedFile { path: path.to_owned(), place, source: Box::new(self) }
            }
            other => other,
        }
    }

    /// The error for a file that could not be opened.
    pub(super) fn cannot_open(path: &str, source: io::Error, named_by: &'static str) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path, named_by },
            io::ErrorKind::IsADirectory => Self::Directory { path, named_by },
            _ => Self::Unreadable { path, source },
        }
    }
}

/// The expected format of a dataset file, for error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetFormat {
    /// The name of the format, as in `a … is`.
    pub name: &'static str,
    /// The shape of the format, as an example.
    pub shape: &'static str,
    /// The setting that names the file.
    pub named_by: &'static str,
}

impl fmt::Display for DatasetFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} is {}", self.name, self.shape)
    }
}

/// A position in a dataset file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePosition {
    /// The conversation, counted from 1; `None` if the position is outside of all conversations.
    pub entry: Option<usize>,
    /// The line, counted from 1; 0 if the file has no lines.
    pub line: usize,
    /// The number of bytes of the line that had been read; 0 if the fault concerns the whole line.
    pub column: usize,
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry {
            Some(entry) if self.line == 0 => return write!(f, "entry {entry}"),
            Some(entry) => write!(f, "entry {entry}, ")?,
            None => {}
        }
        write!(f, "line {}", self.line)?;
        if self.column == 0 { Ok(()) } else { write!(f, " column {}", self.column) }
    }
}

/// A fault in the content of a dataset file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatasetFault {
    /// The text is not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// The JSON ends before it is complete.
    #[error("the file ends in the middle ({0}); download it again")]
    Truncated(String),
    /// The text is not UTF-8.
    #[error("not UTF-8; convert the file to UTF-8")]
    Encoding,
    /// The text is JSON, but its top level is not an array.
    #[error("{0}; for one JSON object a line (JSONL) make an array with `jq -s . FILE`")]
    NotArray(String),
    /// The value is well-formed, but does not have the expected shape.
    #[error("{0}")]
    Shape(String),
    /// The record is well-formed, but belongs to another type of file than the user named.
    #[error("{0}")]
    OtherKind(String),
    /// A line is longer than the limit, which is given in MiB.
    #[error("the line is longer than {0} MiB; is this a file of one record a line?")]
    LongLine(usize),
    /// An entry of a JSON array is longer than the limit, which is given in MiB.
    #[error("the entry is longer than {0} MiB; is each entry of the array one record?")]
    LongEntry(usize),
    /// A text is longer than the limit, which is given in KiB.
    #[error(
        "a text of more than {0} KiB, which is not tokenized; a larger `workload.max_model_len` allows it"
    )]
    LongText(usize),
}

impl DatasetFault {
    /// The fault that a serde_json error reports.
    pub(super) fn from_json(error: &serde_json::Error) -> Self {
        let text = strip_position(error);
        match error.classify() {
            Category::Eof => Self::Truncated(text),
            Category::Syntax if text == "invalid unicode code point" => Self::Encoding,
            Category::Io | Category::Syntax => Self::Syntax(text),
            Category::Data => Self::Shape(in_words(&text)),
        }
    }

    /// Whether only this row is wrong, so that other rows of the file may be valid.
    pub(super) fn is_row_fault(&self) -> bool {
        match self {
            Self::Syntax(_) | Self::Encoding | Self::Shape(_) | Self::LongText(_) => true,
            Self::Truncated(_)
            | Self::NotArray(_)
            | Self::OtherKind(_)
            | Self::LongLine(_)
            | Self::LongEntry(_) => false,
        }
    }

    /// The fault for a line. A line that has its line end (`whole`) is malformed, not truncated.
    pub(super) fn for_line(self, whole: bool) -> Self {
        match self {
            Self::Truncated(text) if whole => Self::Syntax(text),
            other => other,
        }
    }

    /// The expected format of the file, for faults where it helps.
    fn format_hint(&self, format: &'static DatasetFormat) -> String {
        match self {
            Self::Syntax(_) | Self::NotArray(_) | Self::Shape(_) => format!("; {format}"),
            Self::Truncated(_)
            | Self::Encoding
            | Self::OtherKind(_)
            | Self::LongLine(_)
            | Self::LongEntry(_)
            | Self::LongText(_) => String::new(),
        }
    }
}

/// serde_json's message without its trailing `at line 3 column 7`.
fn strip_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// Rewrites `invalid type: map, expected an array` as `expected an array, found an object`. The result uses JSON's
/// names for types and quotes no content of unbounded length. Other messages stay unchanged.
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

/// No column of the table holds prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The columns that were searched for.
    pub wanted: String,
    /// The columns that the table has.
    pub present: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} among the columns {}; `hf.text_column` names the one with the prompts",
            self.wanted, self.present
        )
    }
}
