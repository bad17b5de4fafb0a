//! Temporary files for what is too large for memory. They have no name, so they vanish with the process.
//!
//! A run of many requests keeps its prompts and its due times in such files: everything is computed before the clock
//! starts, and memory does not grow with the number of requests.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use sorter::{RecordSorter, SortedRecords};

mod sorter;

/// The number of requests, due times or trace rows that are kept in memory. Where there are more, they are in a
/// temporary file.
pub(crate) const KEPT_IN_MEMORY: usize = 200_000;

/// The number of bytes that are written at a time.
const WRITE_BYTES: usize = 1 << 18;

/// The number of bytes that are read at a time: a few microseconds of copying, if the system has them in memory.
const PAGE_BYTES: u64 = 1 << 14;

/// The number of pages that a reader keeps. Requests end in about the order in which they are sent.
const KEPT_PAGES: usize = 8;

/// Why a temporary file cannot be written.
#[derive(Debug, Error)]
#[error(
    "the requests do not fit into the temporary folder {}: after {} MB: {source}; set TMPDIR to a folder with more space, \
     or send fewer requests", folder.display(), written / 1_000_000
)]
pub struct SpoolError {
    folder: PathBuf,
    written: u64,
    source: io::Error,
}

/// The folder for temporary files: TMPDIR, else /var/tmp, because /tmp is often in memory.
fn spool_folder() -> PathBuf {
    let disk = Path::new("/var/tmp");
    match std::env::var_os("TMPDIR") {
        None if disk.is_dir() => disk.to_owned(),
        _ => std::env::temp_dir(),
    }
}

/// A temporary file that is complete.
#[derive(Debug, Clone)]
pub(crate) struct SpoolFile {
    file: Arc<File>,
    len: u64,
}

impl SpoolFile {
    /// Reads bytes at a position.
    ///
    /// # Panics
    /// If the disk does not return what it took before.
    pub(crate) fn read(&self, at: u64, buf: &mut [u8]) {
        let read = self.file.read_exact_at(buf, at);
        read.unwrap_or_else(|error| panic!("a temporary file of the run cannot be read back: {error}"));
    }

    /// What another process on this host needs to read the file, while this process has it open.
    pub(crate) fn handle(&self) -> SpoolHandle {
        SpoolHandle { descriptor: self.file.as_raw_fd(), len: self.len }
    }
}

/// A complete temporary file of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpoolHandle {
    /// The number of the open file in that process.
    descriptor: i32,
    len: u64,
}

impl SpoolHandle {
    /// Opens the file of the process with this id.
    ///
    /// # Errors
    /// If the system does not let a process open the files of another, or the other process does not have it any more.
    pub(crate) fn open(self, process: u32) -> io::Result<SpoolFile> {
        let file = File::open(format!("/proc/{process}/fd/{}", self.descriptor))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() < self.len {
            return Err(io::Error::other("it is another file"));
        }
        Ok(SpoolFile { file: file.into(), len: self.len })
    }
}

/// Appends to a temporary file.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    folder: PathBuf,
    file: Arc<File>,
    /// The number of bytes in the file, without those of the buffer.
    written: u64,
    buf: Vec<u8>,
}

impl SpoolWriter {
    /// Creates an empty file.
    pub(crate) fn create() -> Result<Self, SpoolError> {
        let folder = spool_folder();
        match tempfile::tempfile_in(&folder) {
            Ok(file) => Ok(Self::on(file, folder)),
            Err(source) => Err(SpoolError { folder, written: 0, source }),
        }
    }

    /// Writes to this file, which is empty.
    pub(crate) fn on(file: File, folder: PathBuf) -> Self {
        Self { folder, file: file.into(), written: 0, buf: Vec::with_capacity(WRITE_BYTES) }
    }

    /// Appends to a complete file. Its readers see no difference.
    pub(crate) fn extend(file: &SpoolFile) -> Self {
        let file = file.clone();
        Self { folder: spool_folder(), file: file.file, written: file.len, buf: Vec::new() }
    }

    /// The number of bytes that are appended.
    pub(crate) fn len(&self) -> u64 {
        self.written + self.buf.len() as u64
    }

    /// Appends bytes, and returns their position.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<u64, SpoolError> {
        let at = self.len();
        self.buf.extend_from_slice(bytes);
        if self.buf.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(at)
    }

    /// Reads appended bytes.
    pub(crate) fn read_back(&mut self, at: u64, buf: &mut [u8]) -> Result<(), SpoolError> {
        if at + buf.len() as u64 > self.written {
            self.flush()?;
        }
        SpoolFile { file: Arc::clone(&self.file), len: self.written }.read(at, buf);
        Ok(())
    }

    /// Completes the file.
    pub(crate) fn finish(mut self) -> Result<SpoolFile, SpoolError> {
        self.flush()?;
        Ok(SpoolFile { file: self.file, len: self.written })
    }

    fn flush(&mut self) -> Result<(), SpoolError> {
        let Self { folder, file, written, buf } = self;
        file.write_all_at(buf, *written).map_err(|source| SpoolError {
            folder: folder.clone(),
            written: *written,
            source,
        })?;
        *written += buf.len() as u64;
        buf.clear();
        Ok(())
    }
}

/// Reads a temporary file at any position, and fast in about ascending order.
#[derive(Debug)]
pub(crate) struct SpoolReader<'a> {
    file: &'a SpoolFile,
    /// Pages by their number, the latest first.
    pages: Vec<(u64, Vec<u8>)>,
}

impl<'a> SpoolReader<'a> {
    /// Creates a reader without pages.
    pub(crate) fn new(file: &'a SpoolFile) -> Self {
        Self { file, pages: Vec::new() }
    }

    /// Reads bytes at a position.
    ///
    /// # Panics
    /// If the disk does not return what it took before.
    pub(crate) fn read(&mut self, at: u64, mut buf: &mut [u8]) {
        if buf.len() as u64 > PAGE_BYTES {
            return self.file.read(at, buf);
        }
        let mut at = at;
        while !buf.is_empty() {
            let begin = (at % PAGE_BYTES) as usize;
            let page = self.page(at / PAGE_BYTES);
            let count = buf.len().min(page.len() - begin);
            let (now, later) = buf.split_at_mut(count);
            now.copy_from_slice(&page[begin..begin + count]);
            at += count as u64;
            buf = later;
        }
    }

    fn page(&mut self, number: u64) -> &[u8] {
        match self.pages.iter().position(|(kept, _)| *kept == number) {
            Some(0) => {}
            Some(place) => self.pages[..=place].rotate_right(1),
            None => {
                let mut page = if self.pages.len() < KEPT_PAGES { Vec::new() } else { self.oldest() };
                let at = number * PAGE_BYTES;
                page.resize(PAGE_BYTES.min(self.file.len.saturating_sub(at)) as usize, 0);
                self.file.read(at, &mut page);
                self.pages.insert(0, (number, page));
            }
        }
        &self.pages[0].1
    }

    fn oldest(&mut self) -> Vec<u8> {
        self.pages.pop().map(|(_, page)| page).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_at_any_position() {
        let mut writer = SpoolWriter::create().unwrap();
        let bytes: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
        for piece in bytes.chunks(1013) {
            let at = writer.append(piece).unwrap() as usize;
            let mut back = vec![0; piece.len()];
            writer.read_back(at as u64, &mut back).unwrap();
            assert_eq!(back, piece);
        }
        let file = writer.finish().unwrap();
        assert_eq!(file.len, bytes.len() as u64);
        let mut reader = SpoolReader::new(&file);
        for at in (0..bytes.len() - 40_000).step_by(7919).rev().chain([0, 16_380, 16_384, 1_000_000, 5]) {
            for len in [0, 1, 4, 17, 39_000] {
                let mut buf = vec![0; len];
                reader.read(at as u64, &mut buf);
                assert_eq!(buf, bytes[at..at + len], "{len} bytes at {at}");
            }
        }
    }

    #[test]
    fn a_file_is_extended_without_a_change_for_its_readers() {
        let mut writer = SpoolWriter::create().unwrap();
        writer.append(b"one").unwrap();
        let before = writer.finish().unwrap();
        let mut writer = SpoolWriter::extend(&before);
        assert_eq!(writer.append(b"two").unwrap(), 3);
        let after = writer.finish().unwrap();
        let mut buf = [0; 6];
        after.read(0, &mut buf);
        assert_eq!((&buf, before.len, after.len), (b"onetwo", 3, 6));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_is_read_through_its_handle_and_another_one_is_refused() {
        let mut writer = SpoolWriter::create().unwrap();
        writer.append(b"one").unwrap();
        let file = writer.finish().unwrap();
        let process = std::process::id();
        let opened = file.handle().open(process).unwrap();
        let mut buf = [0; 3];
        opened.read(0, &mut buf);
        assert_eq!((&buf, opened.len), (b"one", 3));
        assert!(SpoolHandle { len: 4, ..file.handle() }.open(process).is_err());
        assert!(SpoolHandle { descriptor: -1, ..file.handle() }.open(process).is_err());
    }

    #[test]
    fn a_full_disk_is_an_error_of_one_line_with_the_folder_and_what_to_do() {
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        let mut writer = SpoolWriter::on(full, "/scratch".into());
        let error = (0..).find_map(|_| writer.append(&[7; 1000]).err()).unwrap().to_string();
        assert!(error.contains("/scratch") && error.contains("TMPDIR") && !error.contains('\n'), "{error}");
    }
}
