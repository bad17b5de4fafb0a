//! Limits the size of a row, so that a row without an end cannot exhaust the memory.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use crate::dataset::jsonl::MAX_LINE_BYTES;

/// A reader that fails if more bytes than the limit are read between two calls of [`ByteAllowance::renew`].
pub(super) struct RowLimitReader<R> {
    text: R,
    left: ByteAllowance,
}

/// The number of bytes that may still be read.
#[derive(Clone)]
pub(super) struct ByteAllowance(Rc<Cell<usize>>);

impl ByteAllowance {
    /// Restores the full allowance for the next row.
    pub(super) fn renew(&self) {
        self.0.set(MAX_LINE_BYTES);
    }
}

/// A row exceeds the size limit.
#[derive(Debug, thiserror::Error)]
#[error("an entry is longer than {} MiB", MAX_LINE_BYTES >> 20)]
pub(super) struct RowTooLong;

impl<R> RowLimitReader<R> {
    /// Wraps a reader. Returns the wrapper and its allowance.
    pub(super) fn new(text: R) -> (Self, ByteAllowance) {
        let left = ByteAllowance(Rc::new(Cell::new(MAX_LINE_BYTES)));
        (Self { text, left: left.clone() }, left)
    }
}

impl<R: Read> Read for RowLimitReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        let left = self.left.0.get().checked_sub(count).ok_or_else(|| io::Error::other(RowTooLong))?;
        self.left.0.set(left);
        Ok(count)
    }
}
