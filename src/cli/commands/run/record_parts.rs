//! `--save-records DIR/` and `--save-records s3://…`: makes files of the requests in a record log while that grows.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::part_destination::PartDestination;
use super::part_files::{PartFiles, PartLimits};
use crate::cli::args::{OutputArgs, RecordsPlace};
use crate::cli::exit::{CliError, print_stderr};
use crate::model::record_log::{RecordLogEntry, RecordLogFollower};
use crate::model::shard::Shard;
use crate::runner::CopyLog;
use crate::storage::UploadDeadline;

/// The time between two looks at the log.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The bytes of the log that are in memory at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// How long a run that has ended waits for the files that a bucket has not taken yet.
const UPLOAD_TIME: Duration = Duration::from_secs(120);

/// How long it waits without saying so.
const NOTICE_DELAY: Duration = Duration::from_secs(2);

/// Refuses a folder or a bucket for the requests of several runs.
pub(super) fn check_runs(output: &OutputArgs, runs: usize) -> Result<(), CliError> {
    match output.save_records {
        Some(RecordsPlace::Folder(_) | RecordsPlace::Bucket(_)) if runs > 1 => Err(CliError::usage(
            "--save-records: a folder or a bucket takes the requests of one run, and this command makes several runs; with \
             FILE.parquet, each run writes a file of its own",
        )),
        _ => Ok(()),
    }
}

/// Makes files of the requests in record logs, in the folder or bucket that the flags name; `None` without one.
pub(super) fn copy_log(output: &OutputArgs) -> Result<Option<Box<CopyLog>>, CliError> {
    let Some(destination) = PartDestination::open(output)? else { return Ok(None) };
    let detailed = output.save_detailed;
    Ok(Some(Box::new(move |_, shard, log| {
        let files = PartFiles::new(destination.clone(), shard, detailed, PartLimits::OF_RUN);
        let mut parts = RecordParts::start(log, files)?;
        Ok(Box::new(move || parts.finish().announce(shard, &parts.destination)))
    })))
}

/// Files of the requests in a log, written on a thread of their own until this value is finished or dropped.
struct RecordParts {
    destination: PartDestination,
    /// Its end is that of the log.
    ended: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    written: Receiver<WrittenParts>,
    deadline: UploadDeadline,
}

impl RecordParts {
    /// Follows a log that does not exist yet.
    fn start(log: &Path, files: PartFiles) -> Result<Self, String> {
        if log.exists() {
            return Err(format!("{} exists already, and may have requests of another run", log.display()));
        }
        let (ended, has_ended) = channel();
        let (done, written) = channel();
        let (destination, deadline) = (files.destination(), files.deadline());
        let parts = LogParts::new(log.to_owned(), files);
        let follow = move || {
            // Nobody may wait any more.
            let _ = done.send(parts.follow(&has_ended).written());
        };
        let thread = std::thread::Builder::new().name("record-parts".into()).spawn(follow);
        let thread = Some(thread.map_err(|error| error.to_string())?);
        Ok(Self { destination, ended: Some(ended), thread, written, deadline })
    }

    /// Writes the rest of a log that has ended. What a bucket does not take in time is missing in it.
    fn finish(&mut self) -> WrittenParts {
        self.deadline.set_after(UPLOAD_TIME);
        // The thread waits for this.
        self.ended = None;
        let written = self.written.recv_timeout(NOTICE_DELAY).or_else(|_| {
            if self.destination.folder().is_none() {
                let (limit, destination) = (humantime::format_duration(UPLOAD_TIME), &self.destination);
                print_stderr(format_args!("waiting at most {limit} until the requests are in {destination}"));
            }
            self.written.recv()
        });
        written.unwrap_or(WrittenParts { closed: 0, missing: 0, is_whole: false })
    }
}

impl Drop for RecordParts {
    /// Writes what the log of a failed run has.
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.finish();
        }
        self.thread.take().map(JoinHandle::join);
    }
}

/// What the files of a run have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WrittenParts {
    /// The number of files.
    closed: usize,
    /// The number of requests whose file could not be written.
    missing: usize,
    /// Whether the log had an end, so that no request is missing in it.
    is_whole: bool,
}

impl WrittenParts {
    fn announce(self, shard: Shard, folder: &PartDestination) {
        let whose = if shard.is_whole() { String::new() } else { format!("shard {shard}: ") };
        let closed = self.closed;
        let files = if closed == 1 { "file" } else { "files" };
        print_stderr(format_args!("{whose}saved {closed} {files} of requests in {folder}"));
        if self.missing > 0 {
            print_stderr(format_args!("warning: {whose}{} requests are missing in {folder}", self.missing));
        }
        if !self.is_whole {
            print_stderr(format_args!(
                "warning: {whose}the record log has no end, so that requests may be missing in {folder}"
            ));
        }
    }
}

/// The requests of a log on their way to files.
struct LogParts {
    log: PathBuf,
    /// The log, once it exists.
    file: Option<File>,
    follower: RecordLogFollower,
    files: PartFiles,
    has_end: bool,
    has_warned: bool,
}

impl LogParts {
    fn new(log: PathBuf, files: PartFiles) -> Self {
        let follower = RecordLogFollower::default();
        Self { log, file: None, follower, files, has_end: false, has_warned: false }
    }

    /// Takes what the log has until it has ended.
    fn follow(mut self, ended: &Receiver<()>) -> Self {
        loop {
            let has_ended = ended.recv_timeout(POLL_INTERVAL) != Err(RecvTimeoutError::Timeout);
            if let Err(error) = self.take() {
                self.warn(&format!("cannot read the record log {}: {error}", self.log.display()));
            }
            let closed = if has_ended { self.files.close() } else { self.files.close_old() };
            self.check(closed);
            if has_ended {
                return self;
            }
        }
    }

    /// Takes the new entries of the log.
    fn take(&mut self) -> io::Result<()> {
        loop {
            let piece = self.next_piece()?;
            if piece.is_empty() {
                return Ok(());
            }
            self.follower.entries(&piece).into_iter().for_each(|entry| self.add(entry));
        }
    }

    /// The next bytes of the log; none until there are more.
    fn next_piece(&mut self) -> io::Result<Vec<u8>> {
        if self.file.is_none() {
            // The log is created when the load begins.
            self.file = File::open(&self.log).ok();
        }
        let mut piece = Vec::new();
        if let Some(file) = &self.file {
            file.take(PIECE_BYTES).read_to_end(&mut piece)?;
        }
        Ok(piece)
    }

    fn add(&mut self, entry: RecordLogEntry) {
        match entry {
            RecordLogEntry::Started(t0) => self.files.set_start(t0.zoned()),
            RecordLogEntry::Record(record) => {
                let added = self.files.add(&record);
                self.check(added);
            }
            RecordLogEntry::Ended { .. } => self.has_end = true,
            _ => {}
        }
    }

    fn check(&mut self, written: Result<(), String>) {
        if let Err(error) = written {
            self.warn(&error);
        }
    }

    /// Prints the first warning. At the end of the run, another one counts what is missing.
    fn warn(&mut self, message: &str) {
        if !std::mem::replace(&mut self.has_warned, true) {
            print_stderr(format_args!("warning: {message}; the run goes on"));
        }
    }

    fn written(&self) -> WrittenParts {
        let (closed, missing) = (self.files.closed(), self.files.missing());
        WrittenParts { closed, missing, is_whole: self.has_end }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use serde_json::Value;

    use super::*;
    use crate::model::record::Record;
    use crate::model::record_log::RecordLogWriter;
    use crate::model::wall_time::WallTime;
    use crate::testing::queue::Queue;
    use crate::testing::sample_run::log_header;

    const LIMITS: PartLimits =
        PartLimits { rows: 20, first: Duration::from_secs(3600), longest: Duration::from_secs(3600) };

    fn parts(folder: &Path) -> LogParts {
        let files = PartFiles::new(PartDestination::of_folder(folder), Shard::WHOLE, false, LIMITS);
        LogParts::new(folder.join("run.reclog"), files)
    }

    fn begin_log(folder: &Path) -> RecordLogWriter<File> {
        let log = File::create(folder.join("run.reclog")).unwrap();
        let mut log = RecordLogWriter::new(log, &log_header()).unwrap();
        log.write_start(WallTime { unix_ns: 1_764_426_428_123_456_789, doubt_ns: 0 }).unwrap();
        log
    }

    fn add(log: &mut RecordLogWriter<File>, records: &[Record]) {
        for record in records {
            log.write_record(record).unwrap();
        }
    }

    /// The requests of the complete files of a folder, and the number of these files.
    fn requests(folder: &Path) -> (Vec<u64>, usize) {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let paths: Vec<_> =
            names.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).collect();
        let mut ordinals = Vec::new();
        for path in &paths {
            let file = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
            let about = file.metadata().file_metadata().key_value_metadata().unwrap();
            assert!(about.iter().any(|pair| pair.key == "started"), "each file says when the load began");
            let rows = file.get_row_iter(None).unwrap().map(|row| row.unwrap().to_json_value());
            ordinals.extend(rows.map(|row: Value| row["ordinal"].as_u64().unwrap()));
        }
        ordinals.sort_unstable();
        (ordinals, paths.len())
    }

    #[test]
    fn the_files_together_have_the_requests_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let records = Queue::default().open(90, 18.0);
        let mut parts = parts(folder.path());
        parts.take().unwrap();
        let mut log = begin_log(folder.path());
        for some in records.chunks(7) {
            add(&mut log, some);
            parts.take().unwrap();
        }
        assert_eq!(requests(folder.path()).1, 4, "complete files are there while the run goes on");
        log.write_end(false).unwrap();
        let (sender, receiver) = channel();
        sender.send(()).unwrap();
        let written = parts.follow(&receiver).written();
        assert_eq!(written, WrittenParts { closed: 5, missing: 0, is_whole: true });
        assert_eq!(requests(folder.path()), ((0..90).collect(), 5));
    }

    #[test]
    fn what_is_complete_stays_when_the_run_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = begin_log(folder.path());
        add(&mut log, &Queue::default().open(50, 18.0));
        let mut parts = parts(folder.path());
        parts.take().unwrap();
        drop(parts);
        assert_eq!(requests(folder.path()), ((0..40).collect(), 2));
    }

    #[test]
    fn a_failed_run_leaves_the_requests_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let files = PartFiles::new(PartDestination::of_folder(folder.path()), Shard::WHOLE, false, LIMITS);
        let parts = RecordParts::start(&folder.path().join("run.reclog"), files).unwrap();
        add(&mut begin_log(folder.path()), &Queue::default().open(5, 18.0));
        drop(parts);
        assert_eq!(requests(folder.path()), ((0..5).collect(), 1));
    }

    #[test]
    fn a_log_that_is_cut_is_not_whole_and_one_of_another_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        add(&mut begin_log(folder.path()), &Queue::default().open(5, 18.0));
        let (sender, receiver) = channel();
        drop(sender);
        let written = parts(folder.path()).follow(&receiver).written();
        assert_eq!(written, WrittenParts { closed: 1, missing: 0, is_whole: false });
        let files = PartFiles::new(PartDestination::of_folder(folder.path()), Shard::WHOLE, false, LIMITS);
        let refused = RecordParts::start(&folder.path().join("run.reclog"), files).err().unwrap();
        assert!(refused.contains("run.reclog exists already"), "{refused}");
    }
}
