//! Where the parts of a run's records are kept: a folder, or a bucket of an object store.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use reqwest::Url;

#[cfg(feature = "object-store")]
use super::bucket::Bucket;
use super::unfinished_part::UnfinishedPart;
use super::upload_deadline::UploadDeadline;
use crate::model::run::file;

/// The levels of names below the place of a store: run, shard, part.
const LEVELS: usize = 3;

/// A place that keeps parts of a run's records, each under a name.
pub(crate) enum PartStore {
    /// A folder.
    Folder(PathBuf),
    /// A bucket of an object store.
    #[cfg(feature = "object-store")]
    Bucket(Bucket),
}

impl PartStore {
    /// The store at a URL: `file:///folder`, or a bucket if the program is built for it.
    ///
    /// # Errors
    /// What is wrong with the URL, in a clause.
    pub(crate) fn open(url: &str) -> Result<Self, String> {
        let parsed = Url::parse(url).map_err(|error| format!("it is not a URL: {error}"))?;
        match parsed.scheme() {
            "file" => {
                let folder =
                    parsed.to_file_path().map_err(|()| "write a folder as file:///FOLDER".to_owned())?;
                Ok(Self::Folder(folder))
            }
            #[cfg(feature = "object-store")]
            "s3" | "gs" | "az" => Bucket::open(&parsed).map(Self::Bucket),
            #[cfg(not(feature = "object-store"))]
            "s3" | "gs" | "az" => {
                Err("this program was built without the cargo feature `object-store`, which the published wheels, archives and \
                     images have; file:///FOLDER works without"
                    .to_owned())
            }
            other => Err(format!("`{other}://` is none of file://, s3://, gs:// and az://")),
        }
    }

    /// A bucket in memory.
    #[cfg(all(test, feature = "object-store"))]
    pub(crate) fn in_memory() -> Self {
        Self::Bucket(Bucket::in_memory())
    }

    /// Writes bytes under a name: all of them, or none.
    ///
    /// # Errors
    /// Why they were not written, in a clause.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), String> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                put_file(&path, &bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
            }
            #[cfg(feature = "object-store")]
            Self::Bucket(bucket) => bucket.put(name, bytes),
        }
    }

    /// Begins a part, which [`PartStore::finish`] gives its name.
    ///
    /// # Errors
    /// If its file cannot be created.
    pub(crate) fn begin(&self, name: &str) -> io::Result<UnfinishedPart> {
        match self {
            Self::Folder(folder) => UnfinishedPart::in_folder(folder, name),
            #[cfg(feature = "object-store")]
            Self::Bucket(_) => UnfinishedPart::without_name(),
        }
    }

    /// Gives a complete part its name, unless another run has taken that. A bucket may take its time: what it does not
    /// take is tried again, for minutes and until the deadline at most.
    ///
    /// # Errors
    /// Why the store does not have the part, in a clause.
    #[cfg_attr(
        not(feature = "object-store"),
        expect(unused_variables, reason = "a part in a folder is there at once")
    )]
    pub(crate) fn finish(
        &self,
        part: UnfinishedPart,
        name: &str,
        deadline: &UploadDeadline,
    ) -> Result<(), String> {
        match self {
            Self::Folder(folder) => part.rename(&folder.join(name)).map_err(|error| error.to_string()),
            #[cfg(feature = "object-store")]
            Self::Bucket(bucket) => {
                let mut part = part;
                bucket.upload(name, part.file_mut(), deadline)
            }
        }
    }

    /// Checks that a part of this name can be written, and creates a missing folder.
    ///
    /// # Errors
    /// Why it cannot be written, in a clause.
    pub(crate) fn check_writable(&self, name: &str) -> Result<(), String> {
        match self {
            Self::Folder(folder) => {
                file::check_writable(&folder.join(name)).map_err(|error| error.to_string())
            }
            #[cfg(feature = "object-store")]
            Self::Bucket(bucket) => bucket.check_writable(name),
        }
    }

    /// The names of the parts that are in no folder of their own, in any order.
    ///
    /// # Errors
    /// Why they cannot be listed, in a clause.
    pub(crate) fn file_names(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Folder(folder) => names_in(folder, 1),
            #[cfg(feature = "object-store")]
            Self::Bucket(bucket) => bucket.file_names(),
        }
    }

    /// The names that there are, in any order.
    ///
    /// # Errors
    /// Why they cannot be listed, in a clause.
    pub(crate) fn list(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Folder(folder) => names_in(folder, LEVELS),
            #[cfg(feature = "object-store")]
            Self::Bucket(bucket) => bucket.list(),
        }
    }

    /// Appends what a name stands for to a file.
    ///
    /// # Errors
    /// Why it cannot be read, in a clause.
    pub(crate) fn append_to(&self, name: &str, to: &mut File) -> Result<(), String> {
        match self {
            Self::Folder(folder) => {
                let copied = File::open(folder.join(name)).and_then(|mut part| io::copy(&mut part, to));
                copied.map(drop).map_err(|error| format!("cannot copy {name}: {error}"))
            }
            #[cfg(feature = "object-store")]
            Self::Bucket(bucket) => bucket.append_to(name, to),
        }
    }
}

/// Writes a file under another name first, so that a reader never sees a part of it.
fn put_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, path)
}

/// The names in a folder and in the folders below it, down to this number of levels.
fn names_in(folder: &Path, levels: usize) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    list_folder(folder, "", levels, &mut names)
        .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    Ok(names)
}

fn list_folder(folder: &Path, prefix: &str, levels: usize, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true if levels > 1 => list_folder(&entry.path(), &format!("{name}/"), levels - 1, names)?,
            true => {}
            false => names.push(name),
        }
    }
    Ok(())
}
