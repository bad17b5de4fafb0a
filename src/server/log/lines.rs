//! Lines of any stream of bytes, in constant memory.

use std::io::{self, BufRead};

/// Bytes of a line that are kept: far more than vLLM's longest. What exceeds them is dropped.
const LONGEST: usize = 64 << 10;

/// The lines of a stream. A carriage return ends a line too, as progress bars use it.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    line: Vec<u8>,
    /// The line in `line` has been given out.
    given: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines of a stream.
    pub fn new(from: R) -> Self {
        Self { from, line: Vec::new(), given: false }
    }

    /// The next line that is not blank, without its end; `None` where the stream ends for now. A line without an end
    /// stays: more may come ([`rest`](Self::rest)).
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
            let room = LONGEST - self.line.len();
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

    /// The last line, if it has no end.
    pub fn rest(&self) -> Option<&[u8]> {
        (!self.given && !self.line.trim_ascii().is_empty()).then_some(&self.line)
    }

    /// What is read from.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }
}
