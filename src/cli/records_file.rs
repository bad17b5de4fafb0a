//! `--save-records`: the requests of a run as a Parquet file.

use std::path::Path;

use crate::cli::exit::CliError;
use crate::model::record_log::RecordPass;
use crate::model::run::{Run, file};
use crate::report::parquet_records;

/// Writes the Records of a run, completely or not at all. With `detailed`, their texts and gaps too.
pub(super) fn write(path: &Path, run: &Run, records: RecordPass<'_>, detailed: bool) -> Result<(), CliError> {
    file::write_with(path, |out| parquet_records::render(run, records, detailed, out)).map_err(CliError::io)
}
