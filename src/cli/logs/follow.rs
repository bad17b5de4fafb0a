//! A log that grows while it is read.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::source::{Source, file, is_stdin};
use super::{Halt, LogsArgs, SourceError, report};
use crate::cli::interrupt::Interrupts;
use crate::cli::stdout::{self, print_on};
use crate::judge::log::{Observer, Summary};
use crate::server::log::{Lines, read};

/// How often the end of the file is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads a log until a signal (stdin also until it ends), and prints alerts as they begin.
pub fn follow(args: &LogsArgs, observer: Observer, interrupts: &Interrupts) -> Result<Summary, Halt> {
    let [path] = args.files.as_slice() else {
        return Err(Halt::usage("--follow takes one log: run one command for each"));
    };
    let reader = Reader::open(path)?;
    let desk = Arc::new(Mutex::new(Desk { observer: Some(observer), told: 0, json: args.json }));
    interrupts.hold();
    let (finished, ended) = mpsc::channel();
    let (writer, path) = (Arc::clone(&desk), path.clone());
    thread::spawn(move || {
        let outcome = reader.read_on(&path, &writer);
        // Nobody waits any more if a signal came first.
        let _ = finished.send(outcome);
    });
    while !interrupts.asked() {
        match ended.recv_timeout(PAUSE) {
            Ok(outcome) => {
                outcome?;
                break;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let observer = desk.lock().expect("reading does not panic").observer.take();
    Ok(observer.expect("it is taken once").finish())
}

/// What the reading thread writes to; without an observer, the reading is over.
struct Desk {
    observer: Option<Observer>,
    told: usize,
    json: bool,
}

impl Desk {
    /// Takes a line, and prints the alerts that it began; `false` if nobody listens any more.
    fn take(&mut self, line: &[u8]) -> Result<bool, Halt> {
        let Some(observer) = &mut self.observer else { return Ok(false) };
        observer.take(read(line));
        let begun = &observer.alerts()[self.told..];
        self.told = observer.alerts().len();
        if begun.is_empty() {
            return Ok(true);
        }
        let reader = print_on(|out| {
            begun.iter().try_for_each(|alert| match self.json {
                true => writeln!(out, "{}", serde_json::json!({ "alert": alert })),
                false => report::log::alert(alert, out),
            })
        })?;
        Ok(reader == stdout::Reader::Present)
    }
}

/// What is read from.
enum Reader {
    /// A pipe: it ends when its writer ends.
    Pipe(Box<dyn BufRead + Send>),
    /// A file: its end is only for now.
    Growing(File),
}

impl Reader {
    fn open(path: &Path) -> Result<Self, Halt> {
        if path.extension().is_some_and(|extension| extension == "gz") {
            return Err(Halt::usage("--follow: a .gz file does not grow; read it without --follow"));
        }
        if is_stdin(path) {
            return Source::open(path).map(|source| Self::Pipe(source.text)).map_err(Halt::usage);
        }
        file(path).map(Self::Growing).map_err(Halt::usage)
    }

    fn read_on(self, path: &Path, desk: &Mutex<Desk>) -> Result<(), Halt> {
        let unreadable = |error| Halt::io(SourceError::unreadable(path, error));
        match self {
            Self::Pipe(text) => {
                let mut lines = Lines::new(text);
                drain(&mut lines, path, desk)?;
                last(&lines, desk)
            }
            Self::Growing(file) => {
                let mut lines = Lines::new(BufReader::new(file));
                while drain(&mut lines, path, desk)? {
                    thread::sleep(PAUSE);
                    if let Some(next) = successor(path, lines.get_mut().get_ref()).map_err(unreadable)? {
                        // What was written between the last look and the rotation.
                        drain(&mut lines, path, desk)?;
                        last(&lines, desk)?;
                        lines = Lines::new(BufReader::new(next));
                    }
                }
                Ok(())
            }
        }
    }
}

/// Takes all lines that there are for now; `false` if nobody listens any more.
fn drain(lines: &mut Lines<impl BufRead>, path: &Path, desk: &Mutex<Desk>) -> Result<bool, Halt> {
    let unreadable = |error| Halt::io(SourceError::unreadable(path, error));
    while let Some(line) = lines.next_line().map_err(unreadable)? {
        if !desk.lock().expect("reading does not panic").take(line)? {
            return Ok(false);
        }
    }
    Ok(desk.lock().expect("reading does not panic").observer.is_some())
}

/// Takes the last line, although it has no end.
fn last<R: BufRead>(lines: &Lines<R>, desk: &Mutex<Desk>) -> Result<(), Halt> {
    if let Some(line) = lines.rest() {
        desk.lock().expect("reading does not panic").take(line)?;
    }
    Ok(())
}

/// The file that has taken the place of the one that is read, or that file from its start if it was cut.
fn successor(path: &Path, current: &File) -> io::Result<Option<File>> {
    let now = current.metadata()?;
    let Ok(there) = fs::metadata(path) else {
        // Between the two steps of a rotation.
        return Ok(None);
    };
    let is_another = (there.dev(), there.ino()) != (now.dev(), now.ino());
    let was_cut = rustix::fs::tell(current)? > now.len();
    Ok(if is_another || was_cut { File::open(path).ok() } else { None })
}
