//! Writes requests to Parquet files in a folder or a bucket during the run. Each file is complete before the next begins.

use std::io;
use std::time::{Duration, Instant};

use jiff::Zoned;

use super::part_destination::PartDestination;
use crate::model::record::Record;
use crate::model::shard::Shard;
use crate::report::parquet_records::RecordsFile;
use crate::storage::{UnfinishedPart, UploadDeadline};

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

/// Writes the requests of a client to files in a folder or a bucket. A file has its name once it is complete.
pub(super) struct PartFiles {
    destination: PartDestination,
    deadline: UploadDeadline,
    shard: Shard,
    /// Whether the files have texts and gaps.
    detailed: bool,
    limits: PartLimits,
    /// When the load began.
    started: Option<Zoned>,
    open: Option<OpenPart>,
    /// The number of files that are complete, and of those that could not be written.
    ended: usize,
    /// The number of files that are complete.
    closed: usize,
    /// The number of requests whose file could not be written.
    missing: usize,
}

/// A file that takes requests. One that cannot be written counts them.
struct OpenPart {
    file: io::Result<RecordsFile<'static, UnfinishedPart>>,
    rows: usize,
    began: Instant,
}

impl PartFiles {
    /// Files of a client in a folder or a bucket.
    pub(super) fn new(
        destination: PartDestination,
        shard: Shard,
        detailed: bool,
        limits: PartLimits,
    ) -> Self {
        Self {
            destination,
            deadline: UploadDeadline::default(),
            shard,
            detailed,
            limits,
            started: None,
            open: None,
            ended: 0,
            closed: 0,
            missing: 0,
        }
    }

    /// The folder or bucket.
    pub(super) fn destination(&self) -> PartDestination {
        self.destination.clone()
    }

    /// The time at which uploads are given up.
    pub(super) fn deadline(&self) -> UploadDeadline {
        self.deadline.clone()
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
        let name = self.name();
        let complete = file.and_then(RecordsFile::finish).map_err(|error| error.to_string());
        let stored = complete.and_then(|file| self.destination.store.finish(file, &name, &self.deadline));
        // A bucket may have the file in spite of an error, so that its name is not used again.
        self.ended += 1;
        stored.map(|()| self.closed += 1).map_err(|error| {
            self.missing += rows;
            let path = self.destination.path_of(&name);
            format!("cannot write {path}, so that it lacks {rows} requests: {error}")
        })
    }

    fn begin(&self) -> OpenPart {
        let file = self.destination.store.begin(&self.name()).and_then(|file| {
            RecordsFile::new(file, self.started.as_ref(), env!("CARGO_PKG_VERSION"), self.detailed)
        });
        OpenPart { file, rows: 0, began: Instant::now() }
    }

    /// The name of the next file.
    fn name(&self) -> String {
        let number = self.ended + 1;
        match self.shard.is_whole() {
            true => format!("part-{number:05}.parquet"),
            false => format!("shard-{:03}-part-{number:05}.parquet", self.shard.index()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

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
        let mut parts = PartFiles::new(PartDestination::of_folder(folder.path()), Shard::WHOLE, true, LIMITS);
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

    #[cfg(feature = "object-store")]
    #[test]
    fn a_bucket_gets_the_same_files_until_the_deadline() {
        let destination = PartDestination::in_memory();
        destination.check().unwrap();
        let mut parts = PartFiles::new(destination.clone(), Shard::WHOLE, false, LIMITS);
        let record = &sample_run::records()[0];
        (0..5).for_each(|_| parts.add(record).unwrap());
        assert_eq!(destination.store.file_names().unwrap(), ["part-00001.parquet"]);
        parts.close().unwrap();
        let counts = [1, 2].map(|number| {
            let copy = tempfile::NamedTempFile::new().unwrap();
            let name = format!("part-{number:05}.parquet");
            destination.store.append_to(&name, &mut copy.reopen().unwrap()).unwrap();
            rows(copy.path())
        });
        assert_eq!((counts, parts.closed(), parts.missing()), ([3, 2], 2, 0));
        let taken = destination.check().unwrap_err();
        assert!(taken.message().contains("s3://memory/a/ has Parquet files already"), "{taken:?}");

        parts.deadline().set_after(Duration::ZERO);
        parts.add(record).unwrap();
        let late = parts.close().unwrap_err();
        assert!(late.contains("s3://memory/a/part-00003.parquet, so that it lacks 1 requests"), "{late}");
        assert_eq!((parts.closed(), parts.missing()), (2, 1));
    }

    #[test]
    fn shards_have_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        for index in [0, 12] {
            let shard = Shard::new(index, 16.try_into().unwrap()).unwrap();
            let mut parts = PartFiles::new(PartDestination::of_folder(folder.path()), shard, false, LIMITS);
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
        let mut parts = PartFiles::new(PartDestination::of_folder(&folder), Shard::WHOLE, false, LIMITS);
        let record = &sample_run::records()[0];
        let errors: Vec<_> = (0..3).filter_map(|_| parts.add(record).err()).collect();
        assert!(errors.len() == 1 && errors[0].contains("lacks 3 requests: No such file"), "{errors:?}");
        fs::create_dir(&folder).unwrap();
        (0..3).for_each(|_| parts.add(record).unwrap());
        assert_eq!((parts.closed(), parts.missing()), (1, 3));
        assert_eq!(names(&folder), ["part-00002.parquet"], "a number that is missing shows what is");
        fs::write(folder.join("part-00003.parquet"), "").unwrap();
        parts.add(record).unwrap();
        assert!(parts.close().unwrap_err().contains("another run"));
        parts.add(record).unwrap();
        parts.close().unwrap();
        assert_eq!(names(&folder), ["part-00002.parquet", "part-00003.parquet", "part-00004.parquet"]);
    }
}
