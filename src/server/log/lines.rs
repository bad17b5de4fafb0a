//! Splits a byte stream into lines, in constant memory.

use std::io::{self, BufRead};

/// Bytes of a line that are kept, which is far more than vLLM's longest line. Further bytes are dropped.
const MAX_LINE_BYTES: usize = 64 << 10;

/// The lines of a stream. A carriage return also ends a line, since progress bars use it.
#[derive(Debug)]
pub struct LogLines<R> {
    from: R,
    line: Vec<u8>,
    /// The line in `line` has been returned.
    given: bool,
}

impl<R: BufRead> LogLines<R> {
    /// Creates the lines of a stream.
    pub fn new(from: R) -> Self {
        Self { from, line: Vec::new(), given: false }
    }

    /// Returns the next line that is not blank, without its end, or `None` if the stream has no further line now. A
    /// line without an end stays, since more of it may come (see [`partial_line`](Self::partial_line)).
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if std::mem::take(&mut self.given) {
                self.line.clear();
            }
            let bytes = match self.from.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                return Ok(None);
            }
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            let room = MAX_LINE_BYTES - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = piece.len() + usize::from(end.is_some());
            self.from.consume(used);
            if end.is_some() {
                self.given = true;
                if !self.line.trim_ascii().is_empty() {
                    return Ok(Some(&self.line));
                }
            }
        }
    }

    /// Returns the last line if it has no end.
    pub fn partial_line(&self) -> Option<&[u8]> {
        (!self.given && !self.line.trim_ascii().is_empty()).then_some(&self.line)
    }

    /// Returns the underlying stream.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }
}
