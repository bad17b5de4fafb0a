//! Writes the record log of a run during the run.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use uuid::Uuid;

use super::error::Error;
use super::event::{Event, LoadProgress, Observer, Warning};
use crate::model::record::{LateCounts, Record};
use crate::model::record_log::details::LoggedDetails;
use crate::model::record_log::{ProgressMark, RecordLogHeader, RecordLogWriter, Spool};

/// How long an ended request may be in memory only.
const FLUSH: Duration = Duration::from_secs(1);

/// The path of a run's record log.
#[derive(Debug, Clone)]
pub(crate) struct LogFile {
    path: PathBuf,
    is_asked_for: bool,
    /// The logs of other clients of the run, which share the fate of this one.
    received: Arc<Mutex<Vec<PathBuf>>>,
}

impl LogFile {
    /// A log at the path that the user gave. It is kept after the run.
    ///
    /// # Errors
    /// [`Error::RecordLogExists`].
    pub(crate) fn asked_for(path: PathBuf) -> Result<Self, Error> {
        if path.exists() {
            return Err(Error::RecordLogExists { path });
        }
        Ok(Self { path, is_asked_for: true, received: Arc::default() })
    }

    /// A log beside a result, under a name that no other process uses. It is removed when the result is saved.
    pub(crate) fn beside(result: &Path) -> Self {
        let extension = format!("{}.reclog", std::process::id());
        Self { path: result.with_extension(extension), is_asked_for: false, received: Arc::default() }
    }

    /// A log in the system's folder of temporary files, which is removed after the run.
    pub(crate) fn temporary() -> Self {
        Self::beside(&std::env::temp_dir().join("servegauge"))
    }

    /// The log of run `number` of several; its file name includes the number.
    pub(crate) fn of_run(&self, number: usize) -> Self {
        Self { path: numbered(&self.path, number), received: Arc::default(), ..*self }
    }

    /// The log of one of several runs, whose file name ends with this suffix.
    pub(crate) fn suffixed(&self, suffix: &str) -> Self {
        Self { path: suffixed(&self.path, suffix), received: Arc::default(), ..*self }
    }

    /// The path of the log.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the user asked for the log, so that it stays.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.is_asked_for
    }

    /// Keeps the logs of the other clients of the run until this one is removed.
    pub(crate) fn keep_until_saved(&self, received: Vec<PathBuf>) {
        *self.received.lock().unwrap_or_else(PoisonError::into_inner) = received;
    }

    /// The paths of the log and of those received from other clients.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        [&self.path].into_iter().chain(received.iter()).cloned().collect()
    }

    /// The path of the log; `None` if the file does not exist.
    pub(crate) fn existing(&self) -> Option<&Path> {
        self.path.exists().then_some(&*self.path)
    }
}

/// Removes the log of a run that is saved, and those received from other clients, unless the user asked for the log.
pub(crate) fn discard(log: Option<&LogFile>) {
    if let Some(log) = log.filter(|log| !log.is_asked_for) {
        // A file does not exist if it could not be written.
        log.paths().iter().for_each(|path| _ = fs::remove_file(path));
    }
}

/// The path for run `number` of several: `last.json` becomes `last-r2.json`.
pub(crate) fn numbered(path: &Path, number: usize) -> PathBuf {
    suffixed(path, &format!("r{number}"))
}

/// The path for one of several runs: `last.json` becomes `last-concurrency8.json`.
pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let name = match path.extension() {
        Some(extension) => format!("{}-{suffix}.{}", part(path.file_stem()), extension.to_string_lossy()),
        None => format!("{}-{suffix}", part(path.file_name())),
    };
    path.with_file_name(name)
}

/// What is read back from the record log of a run when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogUse {
    /// Nothing: the log is for a run that is killed.
    Nothing,
    /// The details of the Records.
    Details,
    /// The Records, if they are too many for memory.
    Records,
}

/// What only the record log of a run has.
pub(super) enum OnlyLogged {
    /// The details of the Records.
    Details(LoggedDetails),
    /// The whole log.
    Records(Spool),
}

/// Writes a record log. The first error is reported, and the run continues without a log. What was to be read from the
/// log later then stays in memory.
pub(super) struct RecordLog {
    path: PathBuf,
    writer: Option<RecordLogWriter<Spool>>,
    used_for: LogUse,
    /// The number of Records up to which nobody needs the log, so that its error is not reported.
    unneeded: usize,
    /// The number of Records that were written.
    records: usize,
    /// The first error, until it is reported.
    error: Option<String>,
    /// The offset of each Record's entry, by ordinal, if only the log has the details.
    places: Vec<Option<NonZeroU64>>,
    progress: Option<LoadProgress>,
    observer: Observer,
    flushed: Instant,
}

impl RecordLog {
    /// Creates the log of a run.
    pub(super) fn begin(
        file: &LogFile,
        header: &RecordLogHeader,
        used_for: LogUse,
        observer: Observer,
    ) -> Self {
        let opened = File::options().read(true).write(true).create_new(true).open(&file.path);
        Self::on_file(file.path.clone(), opened, header, used_for, (0, observer))
    }

    /// Creates the log of a run that leaves none: a file without a name, in the folder for temporary files. Up to
    /// `unneeded` Records nobody needs it.
    pub(super) fn temporary(header: &RecordLogHeader, unneeded: usize, observer: Observer) -> Self {
        let path = std::env::temp_dir().join(format!("servegauge-{}.reclog", Uuid::new_v4()));
        let opened = File::options().read(true).write(true).create_new(true).open(&path);
        let opened = opened.and_then(|file| fs::remove_file(&path).map(|()| file));
        Self::on_file(path, opened, header, LogUse::Records, (unneeded, observer))
    }

    fn on_file(
        path: PathBuf,
        opened: io::Result<File>,
        header: &RecordLogHeader,
        used_for: LogUse,
        (unneeded, observer): (usize, Observer),
    ) -> Self {
        let mut log = Self {
            path,
            writer: None,
            used_for,
            unneeded,
            records: 0,
            error: None,
            places: Vec::new(),
            progress: None,
            observer,
            flushed: Instant::now(),
        };
        match RecordLogWriter::new(Spool::new(opened), header) {
            Ok(writer) => log.writer = Some(writer),
            Err(error) => log.give_up(&error),
        }
        log.write(RecordLogWriter::flush);
        log.report_error();
        log
    }

    /// The path of the log.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an event of the load.
    pub(super) fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Started(t0) => drop(self.write(|writer| writer.write_start(*t0))),
            Event::RequestEnded(record) => {
                self.records += 1;
                let place = self.write(|writer| writer.write_record(record)).and_then(NonZeroU64::new);
                if self.used_for == LogUse::Details {
                    self.places.resize(self.places.len().max(record.ordinal + 1), None);
                    self.places[record.ordinal] = place;
                }
            }
            Event::Progress(progress) => self.progress = Some(*progress),
            _ => {}
        }
        self.report_error();
        if self.flushed.elapsed() >= FLUSH {
            self.flush();
        }
    }

    /// Writes counts that replace those of a Record.
    pub(super) fn write_counts(&mut self, counts: &LateCounts) {
        self.write(|writer| writer.write_counts(counts));
    }

    /// Reads every Record that was written, in the order in which the requests ended.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(super) fn for_each(&self, take: &mut dyn FnMut(Record)) -> io::Result<()> {
        let writer = self.writer.as_ref().ok_or_else(|| io::Error::other("it could not be written"))?;
        writer.for_each_record(take)
    }

    /// Writes what the client observed, and that the run ended normally. Returns what only the log has.
    pub(super) fn end(mut self, observed: &impl Serialize, interrupted: bool) -> Option<OnlyLogged> {
        self.flush();
        self.write(|writer| writer.write_observed(observed));
        self.write(|writer| writer.write_end(interrupted));
        self.report_error();
        let writer = self.writer?;
        match self.used_for {
            LogUse::Nothing => None,
            LogUse::Details => Some(OnlyLogged::Details(writer.into_details(self.places))),
            LogUse::Records => Some(OnlyLogged::Records(writer.into_spool())),
        }
    }

    /// Flushes what the log has, so that a client that is killed now loses none of it.
    pub(super) fn flush(&mut self) {
        let progress = self.progress;
        self.write(|writer| {
            if let Some(LoadProgress { elapsed, sent, .. }) = progress {
                writer.write_mark(ProgressMark { at: elapsed, sent: sent as u64 })?;
            }
            writer.flush()
        });
        self.flushed = Instant::now();
    }

    fn write<T>(&mut self, write: impl FnOnce(&mut RecordLogWriter<Spool>) -> io::Result<T>) -> Option<T> {
        let writer = self.writer.as_mut()?;
        let written = write(writer);
        if let Some(error) = writer.to_mut().take_error() {
            self.give_up(&error);
        }
        written.ok()
    }

    fn give_up(&mut self, error: &io::Error) {
        self.error = Some(error.to_string());
        // The entries that the result needs stay available.
        self.writer.take_if(|_| self.used_for == LogUse::Nothing);
    }

    /// Reports the first error, if the log is needed.
    fn report_error(&mut self) {
        if self.records >= self.unneeded
            && let Some(cause) = self.error.take()
        {
            let path = self.path.display().to_string();
            (self.observer)(&Event::Warning(Warning::RecordLog { path, cause }));
        }
    }
}
