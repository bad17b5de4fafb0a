//! Reads files of JSON records: one record a line, or one array of records.

use std::io::BufRead as _;

use serde::de::DeserializeOwned;

use super::source::DatasetSource;
use super::{DatasetError, FilePosition};
use crate::dataset::read_options::{FileSummary, RowRejection};
use crate::dataset::{json_array, jsonl};

/// Reads all records. The beginning of the file decides between the two layouts.
pub(super) fn read<T: DeserializeOwned>(
    source: DatasetSource<'_>,
    sink: &mut dyn FnMut(T) -> Result<(), RowRejection>,
) -> Result<FileSummary, DatasetError> {
    read_placed(source, &mut |_, record| sink(record))
}

/// Reads all records, each with its line, and its number in an array.
pub(super) fn read_placed<T: DeserializeOwned>(
    mut source: DatasetSource<'_>,
    sink: &mut dyn FnMut(FilePosition, T) -> Result<(), RowRejection>,
) -> Result<FileSummary, DatasetError> {
    let head = source.text.fill_buf().map_err(|error| DatasetError::unreadable(&source.name, error))?;
    match head.trim_ascii_start().first() {
        Some(b'[') => json_array::read(source, sink),
        _ => jsonl::read(source, &mut |line| {
            sink(FilePosition { entry: None, line: line.number, column: 0 }, line.record)
        }),
    }
}
