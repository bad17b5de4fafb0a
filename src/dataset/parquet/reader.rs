//! Reads the selected columns of Parquet files, row by row.
//!
//! Uncompressed, Snappy, gzip, Brotli and LZ4 pages are supported. Zstandard is not, because its decoder in the
//! `parquet` crate is written in C.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::Value;

use super::{ColumnSelector, ParquetRowSink};
use crate::dataset::DatasetError;
use crate::model::decompression;

/// Approximate memory of a row or a number, in bytes, besides its texts.
const ROW_OVERHEAD_BYTES: u64 = 16;

/// Reads the rows of a file as JSON objects. `wanted` selects the columns from the names of all columns.
pub(in crate::dataset) fn read(
    path: &Path,
    wanted: &ColumnSelector<'_>,
    sink: &mut ParquetRowSink<'_>,
) -> Result<(), DatasetError> {
    let refused = |error: ParquetError| refused(path, &error);
    let reader = open(path)?;
    check_codecs(path, &reader)?;
    let most = decompression::max_unpacked_bytes(path.metadata().map_or(0, |file| file.len()));
    let too_much =
        || DatasetError::Parquet { path: path.display().to_string(), cause: decompression::limit_message() };
    if unpacked(&reader) > most {
        return Err(too_much());
    }
    let projection = {
        let schema = reader.metadata().file_metadata().schema();
        let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
        project(schema, &wanted(&names)?).map_err(refused)?
    };
    let rows = reader.into_iter().project(Some(projection)).map_err(refused)?;
    let mut read = 0;
    for row in rows {
        let row = row.map_err(refused)?;
        // The file stores a text once even if many rows share it.
        read += size(&row);
        if read > most {
            return Err(too_much());
        }
        let Value::Object(row) = row.to_json_value() else { continue };
        sink(row)?;
    }
    Ok(())
}

/// The uncompressed size of the columns, in bytes, according to the file's metadata.
fn unpacked(reader: &SerializedFileReader<File>) -> u64 {
    let columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    columns.fold(0, |sum: u64, column| {
        sum.saturating_add(u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX))
    })
}

/// Approximate memory of a row and its texts, in bytes.
fn size(row: &Row) -> u64 {
    let fields = row.get_column_iter().map(|(_, field)| field_size(field));
    ROW_OVERHEAD_BYTES + fields.sum::<u64>()
}

fn field_size(field: &Field) -> u64 {
    match field {
        Field::Str(text) => text.len() as u64,
        Field::Bytes(bytes) => bytes.len() as u64,
        Field::Group(row) => size(row),
        Field::ListInternal(list) => list.elements().iter().map(field_size).sum(),
        Field::MapInternal(map) => {
            map.entries().iter().map(|(key, value)| field_size(key) + field_size(value)).sum()
        }
        _ => ROW_OVERHEAD_BYTES,
    }
}

/// The number of rows in a file.
pub(in crate::dataset) fn row_count(path: &Path) -> Result<usize, DatasetError> {
    let reader = open(path)?;
    Ok(usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0))
}

fn open(path: &Path) -> Result<SerializedFileReader<File>, DatasetError> {
    let file =
        File::open(path).map_err(|error| DatasetError::unreadable(&path.display().to_string(), error))?;
    SerializedFileReader::new(file).map_err(|error| refused(path, &error))
}

/// Reduces the schema to the selected columns.
fn project(schema: &Type, wanted: &[String]) -> Result<Type, ParquetError> {
    let fields = schema.get_fields().iter().filter(|field| wanted.iter().any(|name| name == field.name()));
    Type::group_type_builder(schema.name()).with_fields(fields.map(Arc::clone).collect()).build()
}

fn check_codecs(path: &Path, reader: &SerializedFileReader<File>) -> Result<(), DatasetError> {
    let columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    match columns
        .map(|column| column.compression())
        .find(|codec| matches!(codec, Compression::ZSTD(_) | Compression::LZO))
    {
        None => Ok(()),
        Some(codec) => Err(DatasetError::Parquet {
            path: path.display().to_string(),
            cause: format!(
                "its pages are compressed with {codec}, which is not supported; write the file again with snappy or gzip"
            ),
        }),
    }
}

/// The error for a message of the `parquet` crate: one line and shortened, because the message may quote the file.
fn refused(path: &Path, error: &ParquetError) -> DatasetError {
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let cause = format!(
        "not a whole Parquet file ({}); download it again",
        text.chars().take(200).collect::<String>()
    );
    DatasetError::Parquet { path: path.display().to_string(), cause }
}
