//! In a build without the feature `parquet`, every Parquet file is an error.

use std::path::Path;

use super::{ColumnSelector, ParquetRowSink};
use crate::dataset::DatasetError;

/// Fails: see [`DatasetError::NotBuilt`].
pub(in crate::dataset) fn read(
    path: &Path,
    _: &ColumnSelector<'_>,
    _: &mut ParquetRowSink<'_>,
) -> Result<(), DatasetError> {
    not_built(path)
}

/// Fails: see [`DatasetError::NotBuilt`].
pub(in crate::dataset) fn row_count(path: &Path) -> Result<usize, DatasetError> {
    not_built(path)
}

fn not_built<T>(path: &Path) -> Result<T, DatasetError> {
    Err(DatasetError::NotBuilt { path: path.display().to_string(), feature: "parquet" })
}
