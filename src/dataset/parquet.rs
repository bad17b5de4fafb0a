//! Parquet files, as most of the Hugging Face hub's are.

#[cfg_attr(not(feature = "parquet"), path = "parquet/missing.rs")]
mod reader;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::{DatasetError, PrepareProgress, ProgressFn};
use crate::model::digest::{Digest, DigestHasher};

pub(super) use reader::{read, row_count};

/// The first bytes of a Parquet file.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// Number of bytes that are hashed at a time.
const DIGEST_CHUNK_BYTES: usize = 1 << 20;

/// Receives the rows of a file. An error ends the reading.
pub(super) type ParquetRowSink<'a> = dyn FnMut(Map<String, Value>) -> Result<(), DatasetError> + 'a;

/// Selects columns from the names of all columns.
pub(super) type ColumnSelector<'a> = dyn Fn(&[&str]) -> Result<Vec<String>, DatasetError> + 'a;

/// The SHA-256 of a file.
pub(super) fn digest(path: &Path, progress: &ProgressFn<'_>) -> Result<Digest, DatasetError> {
    let unreadable = |error| DatasetError::unreadable(&path.display().to_string(), error);
    let mut file = File::open(path).map_err(unreadable)?;
    let total = file.metadata().ok().map(|meta| meta.len());
    let (mut hasher, mut chunk, mut bytes) = (DigestHasher::default(), vec![0; DIGEST_CHUNK_BYTES], 0);
    loop {
        let n = file.read(&mut chunk).map_err(unreadable)?;
        if n == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&chunk[..n]);
        bytes += n as u64;
        progress(PrepareProgress::Reading { bytes, total });
    }
}
