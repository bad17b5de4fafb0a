//! Files of JSON records: one a line, or an array of them.

use std::io::BufRead as _;

use serde::de::DeserializeOwned;

use super::source::Source;
use super::{Fault, WorkloadError, array, lines};
use crate::core::digest::Digest;

/// Reads all records, and gives the digest of the file. What the file begins with tells which of the two it is.
///
/// `sink` says what is wrong with a record, if anything is; that or something that is no record ends the reading.
pub(super) fn read<T: DeserializeOwned>(
    mut source: Source<'_>,
    sink: &mut dyn FnMut(T) -> Result<(), Fault>,
) -> Result<Digest, WorkloadError> {
    let head = source.text.fill_buf().map_err(|error| WorkloadError::unreadable(&source.name, error))?;
    match head.trim_ascii_start().first() {
        Some(b'[') => array::read(source, sink),
        _ => lines::read(source, &mut |line| sink(line.record)),
    }
}
