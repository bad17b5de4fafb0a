//! A part that is still written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A part that is still written, and that nobody finds under its name in the store. It is removed with this value.
#[derive(Debug)]
pub(crate) struct UnfinishedPart {
    file: File,
    /// The path of the file; `None` if it has no name.
    path: Option<PathBuf>,
}

impl UnfinishedPart {
    /// Begins a part of a folder, in that folder. Readers of folders leave out names that begin with a dot.
    pub(super) fn in_folder(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(format!(".{name}.{}.unfinished", std::process::id()));
        Ok(Self { file: File::create(&path)?, path: Some(path) })
    }

    /// Begins a part of a bucket, in a file without a name, which only this process can read.
    #[cfg(feature = "object-store")]
    pub(super) fn without_name() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, path: None })
    }

    /// The file, for an upload.
    #[cfg(feature = "object-store")]
    pub(super) fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the complete part its name in its folder, unless that is taken.
    pub(super) fn rename(mut self, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        if to.try_exists()? {
            return Err(io::Error::other("another run has written a file of this name"));
        }
        if let Some(path) = &self.path {
            fs::rename(path, to)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Write for UnfinishedPart {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for UnfinishedPart {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // A file that cannot be removed has a name that readers leave out.
            let _ = fs::remove_file(path);
        }
    }
}
