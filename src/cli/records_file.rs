//! `--save-records`: the requests of a run as a Parquet file.

use std::path::Path;

use crate::cli::exit::CliError;
use crate::model::run::{Run, file};
use crate::report::parquet_records;

/// Writes the Records of a run, completely or not at all. With `detailed`, their texts and gaps too.
pub(super) fn write(path: &Path, run: &Run, detailed: bool) -> Result<(), CliError> {
    let records = run.records.as_deref().unwrap_or_default();
    file::write_with(path, |out| parquet_records::render(run, records, detailed, out)).map_err(CliError::io)
}
