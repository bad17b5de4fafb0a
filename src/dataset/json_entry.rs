//! Cuts the entries of a JSON array out of a text, at their brackets and quotes.

use std::io::{self, BufRead};

use crate::dataset::DatasetFault;
use crate::dataset::jsonl::MAX_LINE_BYTES;

/// What was cut out of a text.
pub(super) enum Cut {
    /// A whole entry, which may not be JSON.
    Entry(Vec<u8>),
    /// The beginning of an entry, at which the text ends.
    TextEnd(Vec<u8>),
    /// A fault at the position that follows. It leaves open where the next entry begins.
    Fault(DatasetFault),
}

/// A text, and the position up to which it has been read.
pub(super) struct EntryReader<R> {
    text: R,
    /// The current line, counted from 1, and the number of its bytes that have been read.
    at: (usize, usize),
    /// The position at which the last entry begins.
    entry_at: (usize, usize),
    /// Whether the text has ended.
    ended: bool,
}

impl<R: BufRead> EntryReader<R> {
    pub(super) fn new(text: R) -> Self {
        Self { text, at: (1, 0), entry_at: (1, 0), ended: false }
    }

    /// Skips white space. Returns the byte that follows, which stays in the text.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buf = self.text.fill_buf()?;
            let Some(first) = buf.first().copied() else {
                self.ended = true;
                return Ok(None);
            };
            let blanks = buf.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if blanks == 0 {
                return Ok(Some(first));
            }
            self.at = after(self.at, &buf[..blanks]);
            self.text.consume(blanks);
        }
    }

    /// Takes the byte that [`EntryReader::peek`] returned.
    pub(super) fn consume_byte(&mut self) {
        self.at.1 += 1;
        self.text.consume(1);
    }

    /// The position of the byte that follows, or of the last one if the text has ended.
    pub(super) fn next_position(&self) -> (usize, usize) {
        (self.at.0, if self.ended { self.at.1 } else { self.at.1 + 1 })
    }

    /// The position in the text of a line and column in the last entry, or the entry's line if there are none.
    pub(super) fn position_in_entry(&self, at: Option<(usize, usize)>) -> (usize, usize) {
        let (line, column) = self.entry_at;
        match at {
            Some((1, inner)) => (line, column + inner),
            Some((inner, column)) => (line + inner - 1, column),
            None => (line, 0),
        }
    }

    /// Cuts the entry that begins at the byte that follows.
    pub(super) fn cut(&mut self) -> io::Result<Cut> {
        self.entry_at = self.at;
        let (mut entry, mut state) = (Vec::new(), EntryState::default());
        loop {
            let buf = self.text.fill_buf()?;
            if buf.is_empty() {
                self.ended = true;
                // A number has no end of its own, and the text may end behind it.
                return Ok(Cut::TextEnd(entry));
            }
            let (taken, end) = state.advance(buf);
            entry.extend_from_slice(&buf[..taken]);
            self.at = after(self.at, &buf[..taken]);
            self.text.consume(taken);
            if entry.len() > MAX_LINE_BYTES {
                return Ok(Cut::Fault(DatasetFault::LongEntry(MAX_LINE_BYTES >> 20)));
            }
            match end {
                Some(Ok(())) => return Ok(Cut::Entry(entry)),
                Some(Err(fault)) => return Ok(Cut::Fault(DatasetFault::Syntax(fault))),
                None => {}
            }
        }
    }
}

/// The position after these bytes.
fn after((line, column): (usize, usize), bytes: &[u8]) -> (usize, usize) {
    match memchr::memrchr(b'\n', bytes) {
        Some(last) => (line + memchr::memchr_iter(b'\n', bytes).count(), bytes.len() - last - 1),
        None => (line, column + bytes.len()),
    }
}

/// Where in an entry a text has been read to.
#[derive(Default)]
struct EntryState {
    /// The brackets that are open.
    open: Vec<u8>,
    in_string: bool,
    is_escaped: bool,
}

impl EntryState {
    /// Reads on in the entry. Returns the number of bytes that belong to it, and whether it ended there or has a fault.
    fn advance(&mut self, bytes: &[u8]) -> (usize, Option<Result<(), String>>) {
        for (index, byte) in bytes.iter().copied().enumerate() {
            if self.in_string {
                if self.ends_string(byte) && self.open.is_empty() {
                    return (index + 1, Some(Ok(())));
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.open.push(byte),
                b'}' | b']' if !self.open.is_empty() => {
                    let opening = if byte == b'}' { b'{' } else { b'[' };
                    if self.open.pop() != Some(opening) {
                        let [closing, opening] = [byte, opening].map(char::from);
                        return (index, Some(Err(format!("`{closing}` closes no `{opening}`"))));
                    }
                    if self.open.is_empty() {
                        return (index + 1, Some(Ok(())));
                    }
                }
                // A number or a word ends before the next byte that is none of its own.
                b'}' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r' if self.open.is_empty() => {
                    return (index, Some(Ok(())));
                }
                _ => {}
            }
        }
        (bytes.len(), None)
    }

    /// Reads a byte of a string. Returns whether the string ends with it.
    fn ends_string(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => self.in_string = false,
            _ => {}
        }
        !self.in_string
    }
}
