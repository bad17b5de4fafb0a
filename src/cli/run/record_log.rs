//! Keeps the record log of a run while it is under way.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cli::exit::{Halt, say};
use crate::core::record_log::{Header, Mark, Writer};
use crate::drive::engine::{Beat, Event, Outcome};

/// How long an ended request may stay in our memory alone.
const FLUSH: Duration = Duration::from_secs(1);

/// Where the record log of a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    path: PathBuf,
    is_asked_for: bool,
}

impl LogFile {
    /// The file that the user named: it stays.
    pub fn asked_for(path: PathBuf) -> Result<Self, Halt> {
        if path.exists() {
            let path = path.display();
            return Err(Halt::usage(format!("--record-log: {path} exists; name another file or remove it")));
        }
        Ok(Self { path, is_asked_for: true })
    }

    /// Beside a result, under a name that no other process has: it goes when the result is saved.
    pub fn beside(result: &Path) -> Self {
        let extension = format!("{}.reclog", std::process::id());
        Self { path: result.with_extension(extension), is_asked_for: false }
    }

    /// Delivers one of several runs; its files have its number in their names.
    pub fn of_run(&self, number: usize) -> Self {
        Self { path: super::deliver::numbered(&self.path, number), ..self.clone() }
    }

    /// The result is saved: the log is not needed any more, unless it was asked for.
    fn discard(&self) {
        if !self.is_asked_for {
            // It is not there if it could not be written.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// The result could not be saved: says where its requests are.
    fn keep(&self) {
        if self.path.exists() {
            let path = self.path.display();
            say(format_args!(
                "every request that ended is in {path}: `servebench run --recover` reports them"
            ));
        }
    }
}

/// Does with the log of a run what its result asks for.
pub fn settle(log: Option<&LogFile>, is_saved: bool) {
    match (log, is_saved) {
        (Some(log), true) => log.discard(),
        (Some(log), false) => log.keep(),
        (None, _) => {}
    }
}

/// A record log that is being written. The first error is reported, and the run goes on without a log.
pub struct RecordLog {
    path: PathBuf,
    writer: Option<Writer<BufWriter<File>>>,
    /// The latest of each worker.
    beats: BTreeMap<usize, Beat>,
    flushed: Instant,
}

impl RecordLog {
    /// Begins the log of a run.
    pub fn begin(file: &LogFile, header: &Header) -> Self {
        let begin = || {
            let mut writer = Writer::new(BufWriter::new(File::create_new(&file.path)?), header)?;
            writer.flush()?;
            Ok(writer)
        };
        let mut log =
            Self { path: file.path.clone(), writer: None, beats: BTreeMap::new(), flushed: Instant::now() };
        match begin() {
            Ok(writer) => log.writer = Some(writer),
            Err(error) => log.give_up(&error),
        }
        log
    }

    /// Writes down what happened.
    pub fn see(&mut self, event: &Event<'_>) {
        self.write(|writer| match event {
            Event::Started(t0) => writer.started(*t0),
            Event::Done(record) => writer.record(record),
            Event::Beat(_) => Ok(()),
        });
        if let Event::Beat(beat) = event {
            self.beats.insert(beat.worker, *beat);
        }
        if self.flushed.elapsed() >= FLUSH {
            self.flush();
        }
    }

    /// The run ended, and was not lost.
    pub fn end(mut self, outcome: &Outcome) {
        self.flush();
        self.write(|writer| writer.ended(outcome.interrupted));
    }

    fn flush(&mut self) {
        let at = self.beats.values().map(|beat| beat.elapsed).max();
        let sent = self.beats.values().map(|beat| beat.sent as u64).sum();
        self.write(|writer| {
            if let Some(at) = at {
                writer.mark(Mark { at, sent })?;
            }
            writer.flush()
        });
        self.flushed = Instant::now();
    }

    fn write(&mut self, write: impl FnOnce(&mut Writer<BufWriter<File>>) -> io::Result<()>) {
        if let Some(Err(error)) = self.writer.as_mut().map(write) {
            self.writer = None;
            self.give_up(&error);
        }
    }

    fn give_up(&self, error: &io::Error) {
        let path = self.path.display();
        say(format_args!("warning: cannot write the record log {path}: {error}; the run goes on without it"));
    }
}
