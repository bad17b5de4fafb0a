//! Limits the size of a row, so that a row without an end cannot exhaust the memory.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use crate::dataset::DatasetFault;

/// Maximum number of values in a JSON record. A parsed value takes some 64 bytes, far more than its text.
const MAX_VALUES: usize = 500_000;

/// Refuses a JSON record of too many values before it is parsed. Commas in texts count too: a text with so many is too
/// long for a prompt.
pub(super) fn check_values(record: &[u8]) -> Result<(), DatasetFault> {
    match memchr::memchr_iter(b',', record).count() > MAX_VALUES {
        true => Err(DatasetFault::Shape(format!("a record of more than {MAX_VALUES} values"))),
        false => Ok(()),
    }
}

/// A reader that fails if more bytes than the limit are read between two calls of [`ByteAllowance::renew`].
pub(super) struct RowLimitReader<R> {
    text: R,
    left: ByteAllowance,
}

/// The number of bytes that may still be read.
#[derive(Clone)]
pub(super) struct ByteAllowance {
    left: Rc<Cell<usize>>,
    /// The full allowance of a row.
    whole: usize,
}

impl ByteAllowance {
    /// Restores the full allowance for the next row.
    pub(super) fn renew(&self) {
        self.left.set(self.whole);
    }
}

/// A row exceeds the size limit.
#[derive(Debug, thiserror::Error)]
#[error("a row is longer than the limit")]
pub(super) struct RowTooLong;

impl<R> RowLimitReader<R> {
    /// Wraps a reader whose rows have at most `whole` bytes. Returns the wrapper and its allowance.
    pub(super) fn new(text: R, whole: usize) -> (Self, ByteAllowance) {
        let left = ByteAllowance { left: Rc::new(Cell::new(whole)), whole };
        (Self { text, left: left.clone() }, left)
    }
}

impl<R: Read> Read for RowLimitReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        let left = self.left.left.get().checked_sub(count).ok_or_else(|| io::Error::other(RowTooLong))?;
        self.left.left.set(left);
        Ok(count)
    }
}
