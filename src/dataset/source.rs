//! A byte source: a file or data in the program. It decompresses, counts and hashes the bytes as they are read.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use super::{DatasetError, DatasetFormat, PrepareProgress, ProgressFn};
use crate::dataset::read_options::ReadOptions;
use crate::dataset::text_limit::TextLimit;
use crate::model::decompression::GzipReader;
use crate::model::digest::{Digest, DigestHasher};

const BUFFER: usize = 128 << 10;
const GZIP: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

pub(super) struct DatasetSource<'a> {
    /// The name of the dataset in errors and reports.
    pub name: String,
    /// The expected format.
    pub format: &'static DatasetFormat,
    /// If true, the first bad row ends the reading.
    pub strict: bool,
    /// The longest text that is tokenized.
    pub text_limit: TextLimit,
    /// The decompressed text.
    pub text: BufReader<Box<dyn Read + 'a>>,
    hasher: Rc<RefCell<DigestHasher>>,
}

impl<'a> DatasetSource<'a> {
    /// Opens a file that is plain or gzip-compressed.
    pub(super) fn open(
        path: &Path,
        format: &'static DatasetFormat,
        reading: ReadOptions<'a>,
    ) -> Result<Self, DatasetError> {
        let name = path.display().to_string();
        let unopened = |source| DatasetError::cannot_open(&name, source, format.named_by);
        let file = File::open(path).map_err(unopened)?;
        let meta = file.metadata().map_err(unopened)?;
        if meta.is_dir() {
            return Err(DatasetError::Directory { path: name, named_by: format.named_by });
        }
        let total = meta.is_file().then_some(meta.len());
        Self::from_reader(name, file, total, format, reading)
    }

    /// Creates a source from a reader. `total` is the number of bytes, if it is known.
    pub(super) fn from_reader(
        name: String,
        bytes: impl Read + 'a,
        total: Option<u64>,
        format: &'static DatasetFormat,
        reading: ReadOptions<'a>,
    ) -> Result<Self, DatasetError> {
        let ReadOptions { progress, strict, text_limit } = reading;
        let hasher = Rc::new(RefCell::new(DigestHasher::default()));
        let tap = DigestReader { inner: bytes, bytes: 0, total, hasher: hasher.clone(), progress };
        let text = decompress(tap).map_err(|source| DatasetError::unreadable(&name, source))?;
        match text {
            Some(text) => {
                let text = BufReader::with_capacity(BUFFER, text);
                Ok(Self { name, format, strict, text_limit, text, hasher })
            }
            None => Err(DatasetError::Empty { path: name, format }),
        }
    }

    /// Splits the source into its text and a handle that gives the digest once the text has been read to its end.
    pub(super) fn into_text(self) -> (BufReader<Box<dyn Read + 'a>>, DigestHandle) {
        (self.text, DigestHandle(self.hasher))
    }
}

/// Whether a file can be opened again with the same content. A pipe cannot.
pub(super) fn is_rereadable(path: &Path) -> bool {
    path.is_file()
}

/// Gives the digest of the bytes that have been read.
pub(super) struct DigestHandle(Rc<RefCell<DigestHasher>>);

impl DigestHandle {
    pub(super) fn digest(self) -> Digest {
        self.0.take().finish()
    }
}

/// Decompresses gzip and removes a byte order mark. Returns `None` if the text is empty.
fn decompress<'a>(raw: impl Read + 'a) -> io::Result<Option<Box<dyn Read + 'a>>> {
    let (head, raw) = peek(raw, GZIP.len())?;
    let text: Box<dyn Read> = if head == GZIP { Box::new(GzipReader::new(raw)) } else { Box::new(raw) };
    let (head, mut text) = peek(text, BYTE_ORDER_MARK.len())?;
    if head.is_empty() {
        return Ok(None);
    }
    if head == BYTE_ORDER_MARK {
        text.get_mut().0.set_position(BYTE_ORDER_MARK.len() as u64);
    }
    Ok(Some(Box::new(text)))
}

/// A reader that still delivers its peeked bytes.
type PeekedReader<R> = Chain<Cursor<Vec<u8>>, R>;

/// Reads the first `n` bytes. Returns them, and a reader that delivers them again before the rest.
fn peek<R: Read>(mut reader: R, n: usize) -> io::Result<(Vec<u8>, PeekedReader<R>)> {
    let mut head = Vec::with_capacity(n);
    reader.by_ref().take(n as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// A reader that counts and hashes the bytes.
struct DigestReader<'a, R> {
    inner: R,
    bytes: u64,
    total: Option<u64>,
    hasher: Rc<RefCell<DigestHasher>>,
    progress: &'a ProgressFn<'a>,
}

impl<R: Read> Read for DigestReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.borrow_mut().update(&buffer[..n]);
        self.bytes += n as u64;
        (self.progress)(PrepareProgress::Reading { bytes: self.bytes, total: self.total });
        Ok(n)
    }
}
