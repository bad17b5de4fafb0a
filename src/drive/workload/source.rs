//! Bytes from a file or from the program, unpacked, counted and digested on the way.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use super::{Format, OnProgress, Progress, WorkloadError};
use crate::core::digest::{Digest, Hasher};

const BUFFER: usize = 128 << 10;
const GZIP: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// An opened dataset.
pub(super) struct Source<'a> {
    /// How errors and reports call it.
    pub name: String,
    /// What it should be.
    pub format: &'static Format,
    /// Its text, unpacked.
    pub text: BufReader<Box<dyn Read + 'a>>,
    hasher: Rc<RefCell<Hasher>>,
}

impl<'a> Source<'a> {
    /// Opens a file, plain or gzip.
    pub fn open(
        path: &Path,
        format: &'static Format,
        progress: &'a OnProgress<'a>,
    ) -> Result<Self, WorkloadError> {
        let name = path.display().to_string();
        let unopened = |source| WorkloadError::unopened(&name, source, format.flag);
        let file = File::open(path).map_err(unopened)?;
        let meta = file.metadata().map_err(unopened)?;
        if meta.is_dir() {
            return Err(WorkloadError::Directory { path: name, flag: format.flag });
        }
        let total = meta.is_file().then_some(meta.len());
        Self::of(name, file, total, format, progress)
    }

    /// Takes any bytes; `total` is how many there are, if that is known.
    pub fn of(
        name: String,
        bytes: impl Read + 'a,
        total: Option<u64>,
        format: &'static Format,
        progress: &'a OnProgress<'a>,
    ) -> Result<Self, WorkloadError> {
        let hasher = Rc::new(RefCell::new(Hasher::default()));
        let tap = Tap { inner: bytes, bytes: 0, total, hasher: hasher.clone(), progress };
        let text = unpacked(tap).map_err(|source| WorkloadError::unreadable(&name, source))?;
        match text {
            Some(text) => {
                let text = BufReader::with_capacity(BUFFER, text);
                Ok(Self { name, format, text, hasher })
            }
            None => Err(WorkloadError::Empty { path: name, format }),
        }
    }

    /// Splits off the text, and leaves what gives the digest once the text has been read to its end.
    pub fn into_text(self) -> (BufReader<Box<dyn Read + 'a>>, Seal) {
        (self.text, Seal(self.hasher))
    }
}

/// Whether opening a file again gives the same bytes; a pipe does not.
pub(super) fn is_rereadable(path: &Path) -> bool {
    path.is_file()
}

/// Gives the digest of what has been read.
pub(super) struct Seal(Rc<RefCell<Hasher>>);

impl Seal {
    pub fn digest(self) -> Digest {
        self.0.take().finish()
    }
}

/// The text behind gzip and byte order mark; `None` if there is none at all.
fn unpacked<'a>(raw: impl Read + 'a) -> io::Result<Option<Box<dyn Read + 'a>>> {
    let (head, raw) = peek(raw, GZIP.len())?;
    let text: Box<dyn Read> = if head == GZIP { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    let (head, mut text) = peek(text, BYTE_ORDER_MARK.len())?;
    if head.is_empty() {
        return Ok(None);
    }
    if head == BYTE_ORDER_MARK {
        text.get_mut().0.set_position(BYTE_ORDER_MARK.len() as u64);
    }
    Ok(Some(Box::new(text)))
}

/// A reader whose first bytes have been looked at.
type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// Looks at the first `n` bytes, and gives them back in front of the rest.
fn peek<R: Read>(mut reader: R, n: usize) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut head = Vec::with_capacity(n);
    reader.by_ref().take(n as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Counts and digests what passes.
struct Tap<'a, R> {
    inner: R,
    bytes: u64,
    total: Option<u64>,
    hasher: Rc<RefCell<Hasher>>,
    progress: &'a OnProgress<'a>,
}

impl<R: Read> Read for Tap<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.borrow_mut().update(&buffer[..n]);
        self.bytes += n as u64;
        (self.progress)(Progress::Reading { bytes: self.bytes, total: self.total });
        Ok(n)
    }
}
