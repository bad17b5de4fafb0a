//! Writes requests to Parquet files in a folder during the run. Each file is complete before the next begins.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Zoned;

use crate::model::record::Record;
use crate::model::run::file;
use crate::model::shard::Shard;
use crate::report::parquet_records::RecordsFile;

/// When a file is closed: at the first of these limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartLimits {
    /// The most requests of a file.
    pub rows: usize,
    /// The longest time in which the first file takes requests. Each file has twice the time of the one before.
    pub first: Duration,
    /// The longest time in which any file takes requests.
    pub longest: Duration,
}

impl PartLimits {
    /// The limits of a run. The first files are short, so that readers soon see whether the run measures what it should.
    pub(super) const OF_RUN: Self =
        Self { rows: 100_000, first: Duration::from_secs(2), longest: Duration::from_secs(60) };

    /// How long the file after this number of files takes requests.
    fn time_after(&self, closed: usize) -> Duration {
        let doubled = u32::try_from(closed).ok().and_then(|closed| 2_u32.checked_pow(closed));
        self.first.saturating_mul(doubled.unwrap_or(u32::MAX)).min(self.longest)
    }
}

/// Checks that parts can be written to a folder, which may be new, and that they will not be mixed with other files.
///
/// # Errors
/// What is wrong, in a sentence.
pub(super) fn check_folder(folder: &Path) -> Result<(), String> {
    file::check_writable(&folder.join("part-00001.parquet")).map_err(|error| error.to_string())?;
    let cannot_read = |error| format!("cannot read {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(cannot_read)? {
        let name = entry.map_err(cannot_read)?.file_name();
        if Path::new(&name).extension().is_some_and(|extension| extension == "parquet") {
            let (folder, name) = (folder.display(), name.display());
            return Err(format!(
                "{folder} has Parquet files already, such as {name}: give --save-records a new folder"
            ));
        }
    }
    Ok(())
}

/// Writes the requests of a client to files in a folder. A file has its name once it is complete.
pub(super) struct PartFiles {
    folder: PathBuf,
    shard: Shard,
    /// Whether the files have texts and gaps.
    detailed: bool,
    limits: PartLimits,
    /// When the load began.
    started: Option<Zoned>,
    open: Option<OpenPart>,
    /// The number of files that are complete.
    closed: usize,
    /// The number of requests whose file could not be written.
    missing: usize,
}

/// A file that takes requests. One that cannot be written counts them.
struct OpenPart {
    file: io::Result<RecordsFile<'static, File>>,
    rows: usize,
    began: Instant,
}

impl PartFiles {
    /// Files of a client in a folder.
    pub(super) fn new(folder: PathBuf, shard: Shard, detailed: bool, limits: PartLimits) -> Self {
        Self { folder, shard, detailed, limits, started: None, open: None, closed: 0, missing: 0 }
    }

    /// Sets when the load began.
    pub(super) fn set_start(&mut self, started: Zoned) {
        self.started = Some(started);
    }

    /// The number of files that are complete.
    pub(super) fn closed(&self) -> usize {
        self.closed
    }

    /// The number of requests whose file could not be written.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// Adds a request, and closes the file that has enough.
    ///
    /// # Errors
    /// If that file could not be written, in a sentence. The next request begins another.
    pub(super) fn add(&mut self, record: &Record) -> Result<(), String> {
        let mut open = self.open.take().unwrap_or_else(|| self.begin());
        if let Ok(file) = &mut open.file {
            file.add(record);
        }
        open.rows += 1;
        let is_full = open.rows >= self.limits.rows;
        self.open = Some(open);
        if is_full { self.close() } else { Ok(()) }
    }

    /// Closes a file that has taken requests for long enough.
    ///
    /// # Errors
    /// If it could not be written, in a sentence.
    pub(super) fn close_old(&mut self) -> Result<(), String> {
        let time = self.limits.time_after(self.closed);
        match self.open.as_ref().is_some_and(|open| open.began.elapsed() >= time) {
            true => self.close(),
            false => Ok(()),
        }
    }

    /// Closes the file that takes requests, if there is one.
    ///
    /// # Errors
    /// If it could not be written, in a sentence.
    pub(super) fn close(&mut self) -> Result<(), String> {
        let Some(OpenPart { file, rows, .. }) = self.open.take() else { return Ok(()) };
        let (path, unfinished) = (self.folder.join(self.name()), self.unfinished());
        let written = file.and_then(RecordsFile::finish).and_then(|file| {
            file.sync_all()?;
            if path.try_exists()? {
                return Err(io::Error::other("another run has written a file of this name"));
            }
            fs::rename(&unfinished, &path)
        });
        written.map(|()| self.closed += 1).map_err(|error| {
            // What cannot be removed has a name that readers of the folder leave out.
            let _ = fs::remove_file(&unfinished);
            self.missing += rows;
            format!("cannot write {}, so that it lacks {rows} requests: {error}", path.display())
        })
    }

    fn begin(&self) -> OpenPart {
        let file = File::create(self.unfinished()).and_then(|file| {
            RecordsFile::new(file, self.started.as_ref(), env!("CARGO_PKG_VERSION"), self.detailed)
        });
        OpenPart { file, rows: 0, began: Instant::now() }
    }

    /// The name of the next file.
    fn name(&self) -> String {
        let number = self.closed + 1;
        match self.shard.is_whole() {
            true => format!("part-{number:05}.parquet"),
            false => format!("shard-{:03}-part-{number:05}.parquet", self.shard.index()),
        }
    }

    /// The path of the next file until it is complete. Readers leave out names that begin with a dot.
    fn unfinished(&self) -> PathBuf {
        self.folder.join(format!(".{}.{}.unfinished", self.name(), std::process::id()))
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    use super::*;
    use crate::testing::sample_run;

    const LIMITS: PartLimits =
        PartLimits { rows: 3, first: Duration::from_secs(3600), longest: Duration::from_secs(7200) };

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn rows(path: &Path) -> i64 {
        let file = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        file.metadata().file_metadata().num_rows()
    }

    #[test]
    fn a_file_has_its_name_once_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = PartFiles::new(folder.path().to_owned(), Shard::WHOLE, true, LIMITS);
        let record = &sample_run::records()[0];
        (0..5).for_each(|_| parts.add(record).unwrap());
        let unfinished = names(folder.path());
        assert!(unfinished[0].starts_with(".part-00002.parquet."), "{unfinished:?}");
        assert_eq!(unfinished[1..], ["part-00001.parquet"]);
        parts.close().unwrap();
        parts.close().unwrap();
        assert_eq!(names(folder.path()), ["part-00001.parquet", "part-00002.parquet"]);
        let counts =
            names(folder.path()).iter().map(|name| rows(&folder.path().join(name))).collect::<Vec<_>>();
        assert_eq!((counts, parts.closed(), parts.missing()), (vec![3, 2], 2, 0));
    }

    #[test]
    fn shards_have_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        for index in [0, 12] {
            let shard = Shard::new(index, 16.try_into().unwrap()).unwrap();
            let mut parts = PartFiles::new(folder.path().to_owned(), shard, false, LIMITS);
            parts.add(&sample_run::records()[0]).unwrap();
            parts.close().unwrap();
        }
        assert_eq!(names(folder.path()), ["shard-000-part-00001.parquet", "shard-012-part-00001.parquet"]);
    }

    #[test]
    fn the_first_files_are_short() {
        let times =
            [0, 1, 4, 5, 40, usize::MAX].map(|closed| PartLimits::OF_RUN.time_after(closed).as_secs());
        assert_eq!(times, [2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn a_file_that_cannot_be_written_costs_its_requests_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("parts");
        let mut parts = PartFiles::new(folder.clone(), Shard::WHOLE, false, LIMITS);
        let record = &sample_run::records()[0];
        let errors: Vec<_> = (0..3).filter_map(|_| parts.add(record).err()).collect();
        assert!(errors.len() == 1 && errors[0].contains("lacks 3 requests: No such file"), "{errors:?}");
        fs::create_dir(&folder).unwrap();
        (0..3).for_each(|_| parts.add(record).unwrap());
        assert_eq!((names(&folder).len(), parts.closed(), parts.missing()), (1, 1, 3));
        fs::write(folder.join("part-00002.parquet"), "").unwrap();
        parts.add(record).unwrap();
        assert!(parts.close().unwrap_err().contains("another run"));
        assert_eq!(names(&folder), ["part-00001.parquet", "part-00002.parquet"]);
    }

    #[test]
    fn a_folder_that_has_parquet_files_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        check_folder(&folder).unwrap();
        fs::write(folder.join("notes.txt"), "").unwrap();
        check_folder(&folder).unwrap();
        fs::write(folder.join("shard-000-part-00001.parquet"), "").unwrap();
        let error = check_folder(&folder).unwrap_err();
        assert!(error.contains("such as shard-000-part-00001.parquet"), "{error}");
        assert!(check_folder(&folder.join("notes.txt")).unwrap_err().contains("notes.txt"));
    }
}
