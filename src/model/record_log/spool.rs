//! A file that is appended to, with memory as a fallback where the file does not accept the bytes.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

/// The number of bytes that are written to the file at a time.
const BLOCK: usize = 1 << 16;

/// A file that is appended to and can be read back at any position. Writing never fails: after the first error of the
/// file, the written bytes stay in memory.
#[derive(Debug)]
pub(crate) struct Spool {
    /// The file; `None` for a spool that is in memory from the start.
    file: Option<File>,
    /// The number of bytes in the file.
    written: u64,
    /// The bytes that follow those in the file.
    pending: Vec<u8>,
    /// The error after which the file accepts no more bytes.
    error: Option<io::Error>,
    is_broken: bool,
}

impl Spool {
    /// Creates a spool on an empty file that is open for reading and writing, or in memory alone if the file could not
    /// be opened.
    pub(crate) fn new(file: io::Result<File>) -> Self {
        let (file, error) = match file {
            Ok(file) => (Some(file), None),
            Err(error) => (None, Some(error)),
        };
        Self { is_broken: file.is_none(), file, written: 0, pending: Vec::new(), error }
    }

    /// A spool in memory alone.
    pub(crate) fn in_memory() -> Self {
        Self { file: None, written: 0, pending: Vec::new(), error: None, is_broken: true }
    }

    /// A spool with the content of a file, to be read back.
    pub(crate) fn whole(file: File) -> io::Result<Self> {
        let written = file.metadata()?.len();
        Ok(Self { file: Some(file), written, ..Self::in_memory() })
    }

    /// The number of bytes written: the position of the next one.
    pub(crate) fn len(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Returns the error after which the file accepts no more bytes, the first time it is called.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Reads bytes from a position on, as many as are there and fit; none at the end.
    pub(crate) fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        match &self.file {
            Some(file) if at < self.written => {
                let left = usize::try_from(self.written - at).unwrap_or(usize::MAX).min(buf.len());
                file.read_at(&mut buf[..left], at)
            }
            _ => {
                let start = usize::try_from(at.saturating_sub(self.written)).unwrap_or(usize::MAX);
                let rest = self.pending.get(start..).unwrap_or_default();
                let count = rest.len().min(buf.len());
                buf[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }

    /// Reads up to `length` bytes from a position on into an empty buffer: fewer only at the end.
    pub(crate) fn read(&self, at: u64, length: usize, buf: &mut Vec<u8>) -> io::Result<()> {
        let end = self.len().min(at.saturating_add(length as u64));
        let in_file = self.written.min(end).saturating_sub(at);
        buf.resize(usize::try_from(in_file).map_err(io::Error::other)?, 0);
        if let (Some(file), false) = (&self.file, buf.is_empty()) {
            file.read_exact_at(buf, at)?;
        }
        let start = usize::try_from(at.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let rest = usize::try_from(end.saturating_sub(self.written)).unwrap_or(usize::MAX);
        buf.extend_from_slice(self.pending.get(start..rest).unwrap_or_default());
        Ok(())
    }

    /// Writes the pending bytes to the file.
    fn hand_over(&mut self) {
        let Some(file) = self.file.as_mut().filter(|_| !self.is_broken) else { return };
        let mut taken = 0;
        while taken < self.pending.len() {
            match file.write(&self.pending[taken..]) {
                Ok(0) => self.error = Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.error = Some(error),
            }
            if self.error.is_some() {
                self.is_broken = true;
                break;
            }
        }
        self.written += taken as u64;
        self.pending.drain(..taken);
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= BLOCK {
            self.hand_over();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spool: &Spool, at: u64, length: usize) -> Vec<u8> {
        let mut buf = Vec::new();
        spool.read(at, length, &mut buf).unwrap();
        buf
    }

    #[test]
    fn what_a_file_took_and_what_is_pending_are_read_as_one() {
        let mut spool = Spool::new(tempfile::tempfile());
        spool.write_all(b"abc").unwrap();
        spool.flush().unwrap();
        spool.write_all(b"def").unwrap();
        assert_eq!((spool.written, spool.len(), spool.is_broken), (3, 6, false));
        assert_eq!([all(&spool, 0, 6), all(&spool, 1, 4)], [b"abcdef".to_vec(), b"bcde".to_vec()]);
        assert_eq!([all(&spool, 4, 99), all(&spool, 9, 1)], [b"ef".to_vec(), Vec::new()]);
    }

    #[test]
    fn what_a_file_does_not_take_stays_in_memory() {
        let full = File::options().read(true).write(true).open("/dev/full");
        for mut spool in [Spool::new(full), Spool::new(Err(io::ErrorKind::NotFound.into()))] {
            spool.write_all(&vec![b'x'; BLOCK]).unwrap();
            spool.write_all(b"yz").unwrap();
            spool.flush().unwrap();
            assert!(spool.is_broken && spool.take_error().is_some() && spool.take_error().is_none());
            assert_eq!(all(&spool, BLOCK as u64 - 1, 3), b"xyz");
        }
    }
}
