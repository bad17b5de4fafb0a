//! Reads whole files that a user names. A device, a pipe that does not end, or a wrong file must not fill the memory.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The largest size of a file that is read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileLimit(u64);

impl FileLimit {
    /// A configuration: flags, rules, a sweep, a workload, a model's config, certificates. The largest known ones, lists
    /// of weights, have a megabyte.
    pub(crate) const CONFIG: Self = Self(64 << 20);
    /// A tokenizer. The largest known one has 33 MB.
    pub(crate) const TOKENIZER: Self = Self(256 << 20);
    /// An image or a recording.
    pub(crate) const MEDIA: Self = Self(256 << 20);
    /// A result: about 15 KB for each thousand requests, with all tokens' times and texts up to a thousand times more.
    pub(crate) const RESULT: Self = Self(4 << 30);

    /// Reads a text of at most this size to its end.
    pub(crate) fn read_all(self, text: impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(text, &mut bytes)?;
        Ok(bytes)
    }

    fn read_into(self, text: impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
        text.take(self.0 + 1 - bytes.len() as u64).read_to_end(bytes)?;
        if bytes.len() as u64 > self.0 { Err(self.error()) } else { Ok(()) }
    }

    fn error(self) -> io::Error {
        let limit = match self.0 >> 30 {
            0 => format!("{} MiB", self.0 >> 20),
            gigabytes => format!("{gigabytes} GiB"),
        };
        io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it is larger than {limit}, the maximum for such a file"),
        )
    }
}

/// Reads a file of at most this size.
pub(crate) fn read(path: &Path, limit: FileLimit) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    if size > limit.0 {
        return Err(limit.error());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // A file without a size may be endless. The size is no bound either: the file may grow.
    limit.read_into(file, &mut bytes)?;
    Ok(bytes)
}

/// Reads a file of UTF-8 text of at most this size.
pub(crate) fn read_text(path: &Path, limit: FileLimit) -> io::Result<String> {
    let not_text = |_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read(path, limit)?).map_err(not_text)
}

/// Reads a file of JSON text of at most this size. If its first bytes cannot be JSON, only they are returned: the parser
/// knows best what is wrong with them.
pub(crate) fn read_json(path: &Path, limit: FileLimit) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if size > limit.0 {
        return Err(limit.error());
    }
    let mut bytes = Vec::new();
    file.by_ref().take(FIRST_BYTES).read_to_end(&mut bytes)?;
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_none_or(|first| b"{[".contains(first)) {
        bytes.reserve_exact(usize::try_from(size).unwrap_or_default().saturating_sub(bytes.len()));
        limit.read_into(file, &mut bytes)?;
    }
    Ok(bytes)
}

/// How much of a file is read to learn whether it is JSON.
const FIRST_BYTES: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_above_the_limit_is_not_read_whether_it_has_a_size_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "{\"a\": 1}").unwrap();
        assert_eq!(read_text(&path, FileLimit(8)).unwrap(), "{\"a\": 1}");
        assert_eq!(read(&path, FileLimit(7)).unwrap_err().kind(), ErrorKind::FileTooLarge);
        let error = read(Path::new("/dev/zero"), FileLimit(2 << 20)).unwrap_err().to_string();
        assert_eq!(error, "it is larger than 2 MiB, the maximum for such a file");
        assert_eq!(read_json(&path, FileLimit(8)).unwrap(), b"{\"a\": 1}");
        assert_eq!(read_json(Path::new("/dev/zero"), FileLimit::RESULT).unwrap().len(), 4096);
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path, FileLimit(8)).unwrap_err().to_string(), "it is not UTF-8 text");
    }
}
