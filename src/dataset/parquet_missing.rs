//! The place of the reader of Parquet files in a build without the feature `parquet`: every file is an error.

use std::path::Path;

use serde_json::{Map, Value};

use super::{DatasetError, ProgressFn};
use crate::model::digest::Digest;

/// The first bytes of a Parquet file.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// Receives the rows of a file. An error ends the reading.
pub(super) type ParquetRowSink<'a> = dyn FnMut(Map<String, Value>) -> Result<(), DatasetError> + 'a;

/// Selects columns from the names of all columns.
pub(super) type ColumnSelector<'a> = dyn Fn(&[&str]) -> Result<Vec<String>, DatasetError> + 'a;

/// Fails: see [`DatasetError::NotBuilt`].
pub(super) fn read(
    path: &Path,
    _: &ColumnSelector<'_>,
    _: &mut ParquetRowSink<'_>,
) -> Result<(), DatasetError> {
    not_built(path)
}

/// Fails: see [`DatasetError::NotBuilt`].
pub(super) fn row_count(path: &Path) -> Result<usize, DatasetError> {
    not_built(path)
}

/// Fails: see [`DatasetError::NotBuilt`].
pub(super) fn digest(path: &Path, _: &ProgressFn<'_>) -> Result<Digest, DatasetError> {
    not_built(path)
}

fn not_built<T>(path: &Path) -> Result<T, DatasetError> {
    Err(DatasetError::NotBuilt { path: path.display().to_string(), feature: "parquet" })
}
