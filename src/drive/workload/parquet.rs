//! Parquet files, row by row, of the wanted columns only.
//!
//! Uncompressed, Snappy, gzip, Brotli and LZ4 pages are read. Zstandard is not: its decoder in the `parquet` crate is C.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::{OnProgress, Progress, WorkloadError};
use crate::core::digest::{Digest, Hasher};

/// What a file of this format begins with.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// Bytes digested at a time.
const CHUNK: usize = 1 << 20;

/// Takes the rows of a file; an error ends the reading.
pub(super) type Sink<'a> = dyn FnMut(Map<String, Value>) -> Result<(), WorkloadError> + 'a;

/// Picks columns by the names of all.
pub(super) type Wanted<'a> = dyn Fn(&[&str]) -> Result<Vec<String>, WorkloadError> + 'a;

/// Reads the rows of a file as JSON objects with those columns that `wanted` picks from the names of all.
pub(super) fn read(path: &Path, wanted: &Wanted<'_>, sink: &mut Sink<'_>) -> Result<(), WorkloadError> {
    let refused = |error: ParquetError| refused(path, &error);
    let reader = open(path)?;
    check_codecs(path, &reader)?;
    let projection = {
        let schema = reader.metadata().file_metadata().schema();
        let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
        project(schema, &wanted(&names)?).map_err(refused)?
    };
    let rows = reader.into_iter().project(Some(projection)).map_err(refused)?;
    for row in rows {
        let Value::Object(row) = row.map_err(refused)?.to_json_value() else { continue };
        sink(row)?;
    }
    Ok(())
}

/// How many rows a file has.
pub(super) fn rows(path: &Path) -> Result<usize, WorkloadError> {
    let reader = open(path)?;
    Ok(usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0))
}

fn open(path: &Path) -> Result<SerializedFileReader<File>, WorkloadError> {
    let file =
        File::open(path).map_err(|error| WorkloadError::unreadable(&path.display().to_string(), error))?;
    SerializedFileReader::new(file).map_err(|error| refused(path, &error))
}

/// The digest of a file.
pub(super) fn digest(path: &Path, progress: &OnProgress<'_>) -> Result<Digest, WorkloadError> {
    let unreadable = |error| WorkloadError::unreadable(&path.display().to_string(), error);
    let mut file = File::open(path).map_err(unreadable)?;
    let total = file.metadata().ok().map(|meta| meta.len());
    let (mut hasher, mut chunk, mut bytes) = (Hasher::default(), vec![0; CHUNK], 0);
    loop {
        let n = file.read(&mut chunk).map_err(unreadable)?;
        if n == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&chunk[..n]);
        bytes += n as u64;
        progress(Progress::Reading { bytes, total });
    }
}

/// The schema with some of its columns.
fn project(schema: &Type, wanted: &[String]) -> Result<Type, ParquetError> {
    let fields = schema.get_fields().iter().filter(|field| wanted.iter().any(|name| name == field.name()));
    Type::group_type_builder(schema.name()).with_fields(fields.map(Arc::clone).collect()).build()
}

fn check_codecs(path: &Path, reader: &SerializedFileReader<File>) -> Result<(), WorkloadError> {
    let columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    match columns
        .map(|column| column.compression())
        .find(|codec| matches!(codec, Compression::ZSTD(_) | Compression::LZO))
    {
        None => Ok(()),
        Some(codec) => Err(WorkloadError::Parquet {
            path: path.display().to_string(),
            cause: format!(
                "its pages are compressed with {codec}, which is not read here; write it anew with snappy or gzip"
            ),
        }),
    }
}

/// The crate's messages in one line, and short: they may quote the file.
fn refused(path: &Path, error: &ParquetError) -> WorkloadError {
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let cause = format!(
        "not a whole Parquet file ({}); download it again",
        text.chars().take(200).collect::<String>()
    );
    WorkloadError::Parquet { path: path.display().to_string(), cause }
}
