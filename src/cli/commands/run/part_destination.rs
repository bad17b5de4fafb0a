//! Where `--save-records` writes files of requests while a run goes on: a folder, or a bucket.

use std::fmt::{self, Display};
use std::path::Path;
use std::sync::Arc;

use crate::cli::args::{OutputArgs, RecordsPlace};
use crate::cli::exit::CliError;
use crate::model::secrets;
use crate::storage::PartStore;

/// A folder or a bucket for files of requests.
#[derive(Clone)]
pub(super) struct PartDestination {
    pub store: Arc<PartStore>,
    /// What it is called in messages: the path, or the URL.
    name: String,
}

impl PartDestination {
    /// The folder or bucket that the flags name; `None` if they name none.
    pub(super) fn open(output: &OutputArgs) -> Result<Option<Self>, CliError> {
        let (store, name) = match &output.save_records {
            Some(RecordsPlace::Folder(folder)) => {
                (Ok(PartStore::Folder(folder.clone())), folder.display().to_string())
            }
            Some(RecordsPlace::Bucket(url)) => (PartStore::open(url), secrets::mask_url(url)),
            Some(RecordsPlace::File(_)) | None => return Ok(None),
        };
        match store {
            Ok(store) => Ok(Some(Self { store: Arc::new(store), name })),
            Err(error) => Err(CliError::usage(format!("--save-records {name}: {error}"))),
        }
    }

    /// A folder.
    #[cfg(test)]
    pub(super) fn of_folder(folder: &Path) -> Self {
        Self { store: Arc::new(PartStore::Folder(folder.to_owned())), name: folder.display().to_string() }
    }

    /// A bucket in memory.
    #[cfg(all(test, feature = "object-store"))]
    pub(super) fn in_memory() -> Self {
        Self { store: Arc::new(PartStore::in_memory()), name: "s3://memory/a/".to_owned() }
    }

    /// The folder, if it is one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match &*self.store {
            PartStore::Folder(folder) => Some(folder),
            #[cfg(feature = "object-store")]
            PartStore::Bucket(_) => None,
        }
    }

    /// What a file is called in messages.
    pub(super) fn path_of(&self, file: &str) -> String {
        format!("{}/{file}", self.name.trim_end_matches('/'))
    }

    /// Checks that files can be written, and that they will not be mixed with others.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let is_parquet =
            |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "parquet");
        let checked = self.store.check_writable("part-00001.parquet");
        let names = checked.and_then(|()| self.store.file_names()).map_err(|why| self.unusable(&why))?;
        match names.into_iter().find(is_parquet) {
            Some(name) => Err(CliError::io(format!(
                "{self} has Parquet files already, such as {name}: give --save-records a new folder or prefix"
            ))),
            None => Ok(()),
        }
    }

    fn unusable(&self, why: &str) -> CliError {
        match self.folder() {
            // The reason names the folder.
            Some(_) => CliError::io(why),
            None => CliError::io(format!("--save-records {self}: {why}")),
        }
    }
}

impl Display for PartDestination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_that_has_parquet_files_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        PartDestination::of_folder(&folder).check().unwrap();
        fs::write(folder.join("notes.txt"), "").unwrap();
        PartDestination::of_folder(&folder).check().unwrap();
        fs::write(folder.join("shard-000-part-00001.parquet"), "").unwrap();
        let error = PartDestination::of_folder(&folder).check().unwrap_err();
        assert!(error.message().contains("such as shard-000-part-00001.parquet"), "{error:?}");
        assert!(
            PartDestination::of_folder(&folder.join("notes.txt"))
                .check()
                .unwrap_err()
                .message()
                .contains("notes.txt")
        );
    }
}
