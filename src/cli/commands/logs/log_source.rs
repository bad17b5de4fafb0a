//! Opens a log.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use thiserror::Error;

use crate::model::decompression::GzipReader;

const BUFFER: usize = 256 << 10;
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Why a log cannot be read.
#[derive(Debug, Error)]
pub(super) enum LogSourceError {
    /// The file does not exist, or access is denied.
    #[error("{path}: cannot open the log: {source}")]
    Unopened {
        /// The log's name.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// The path is a folder.
    #[error("{path} is a folder: name the log file in it")]
    Folder {
        /// The log's name.
        path: String,
    },
    /// Reading failed.
    #[error("{path}: cannot read the log any further: {source}")]
    Unreadable {
        /// The log's name.
        path: String,
        /// The error of the system or of the decompressor.
        source: io::Error,
    },
}

impl LogSourceError {
    /// Wraps an error that occurred while reading `path`.
    pub(super) fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable { path: display_name(path), source }
    }
}

/// A log, opened at its start.
pub(super) struct LogSource {
    /// The decompressed text.
    pub text: Box<dyn BufRead + Send>,
}

impl LogSource {
    /// Opens a file, plain or gzip, or stdin for `-`.
    pub(super) fn open(path: &Path) -> Result<Self, LogSourceError> {
        let raw: Box<dyn Read + Send> =
            if is_stdin(path) { Box::new(io::stdin()) } else { Box::new(open_file(path)?) };
        let text = decompress(raw).map_err(|error| LogSourceError::unreadable(path, error))?;
        Ok(Self { text })
    }
}

/// Opens a file without decompression.
pub(super) fn open_file(path: &Path) -> Result<File, LogSourceError> {
    let unopened = |source| LogSourceError::Unopened { path: display_name(path), source };
    let file = File::open(path).map_err(unopened)?;
    if file.metadata().map_err(unopened)?.is_dir() {
        return Err(LogSourceError::Folder { path: display_name(path) });
    }
    Ok(file)
}

/// Whether the path means stdin.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Returns the display name of a log.
pub(super) fn display_name(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() }
}

fn decompress(mut raw: Box<dyn Read + Send>) -> io::Result<Box<dyn BufRead + Send>> {
    let mut head = Vec::with_capacity(GZIP.len());
    raw.by_ref().take(GZIP.len() as u64).read_to_end(&mut head)?;
    let is_gzip = head == GZIP;
    let whole = Cursor::new(head).chain(raw);
    Ok(if is_gzip {
        Box::new(BufReader::with_capacity(BUFFER, GzipReader::new(BufReader::new(whole))))
    } else {
        Box::new(BufReader::with_capacity(BUFFER, whole))
    })
}
