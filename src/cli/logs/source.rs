//! Where a log comes from.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use thiserror::Error;

const BUFFER: usize = 256 << 10;
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Why a log cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// It is not there, or not for us.
    #[error("{path}: cannot open the log: {source}")]
    Unopened {
        /// Its name.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// It is a folder.
    #[error("{path} is a folder: name the log file in it")]
    Folder {
        /// Its name.
        path: String,
    },
    /// Reading ended with an error.
    #[error("{path}: cannot read the log any further: {source}")]
    Unreadable {
        /// Its name.
        path: String,
        /// What the system, or the unpacker, says.
        source: io::Error,
    },
}

impl SourceError {
    /// Reading ended with an error.
    pub fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable { path: name(path), source }
    }
}

/// A log to be read from its start.
pub struct Source {
    /// Its text, unpacked.
    pub text: Box<dyn BufRead + Send>,
}

impl Source {
    /// Opens a file, plain or gzip, or stdin for `-`.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let raw: Box<dyn Read + Send> =
            if is_stdin(path) { Box::new(io::stdin()) } else { Box::new(file(path)?) };
        let text = unpacked(raw).map_err(|error| SourceError::unreadable(path, error))?;
        Ok(Self { text })
    }
}

/// Opens a file as it is.
pub fn file(path: &Path) -> Result<File, SourceError> {
    let unopened = |source| SourceError::Unopened { path: name(path), source };
    let file = File::open(path).map_err(unopened)?;
    if file.metadata().map_err(unopened)?.is_dir() {
        return Err(SourceError::Folder { path: name(path) });
    }
    Ok(file)
}

/// Whether stdin is meant.
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// How a log is called.
pub fn name(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() }
}

fn unpacked(mut raw: Box<dyn Read + Send>) -> io::Result<Box<dyn BufRead + Send>> {
    let mut head = Vec::with_capacity(GZIP.len());
    raw.by_ref().take(GZIP.len() as u64).read_to_end(&mut head)?;
    let is_gzip = head == GZIP;
    let whole = Cursor::new(head).chain(raw);
    Ok(if is_gzip {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(BufReader::new(whole))))
    } else {
        Box::new(BufReader::with_capacity(BUFFER, whole))
    })
}
