//! Follows a log while it grows.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{CliError, LogSourceError, LogsArgs, report};
use crate::cli::commands::logs::log_source::{LogSource, is_stdin, open_file};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::stdout::{self, print_streaming};
use crate::server::log::{LogLines, parse_line};
use crate::server::log_summary::{LogObserver, LogSummary};

/// The time between two checks for new lines.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Follows a log until a signal, or until stdin ends, and prints alerts as they begin.
pub(super) fn follow(
    args: &LogsArgs,
    observer: LogObserver,
    interrupts: &InterruptSignal,
) -> Result<LogSummary, CliError> {
    let [path] = args.files.as_slice() else {
        return Err(CliError::usage("--follow takes one log: run one command for each"));
    };
    let reader = LogReader::open(path)?;
    let output = Arc::new(Mutex::new(LogOutput {
        observer: Some(observer),
        printed_alerts: 0,
        json: args.json.is_wanted(),
    }));
    interrupts.allow_report();
    let (finished, ended) = mpsc::channel();
    let (writer, path) = (Arc::clone(&output), path.clone());
    thread::spawn(move || {
        let outcome = reader.read_lines(&path, &writer);
        // The receiver is gone if a signal came first.
        let _ = finished.send(outcome);
    });
    while !interrupts.is_requested() {
        match ended.recv_timeout(POLL_INTERVAL) {
            Ok(outcome) => {
                outcome?;
                break;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let observer = output.lock().expect("reading does not panic").observer.take();
    Ok(observer.expect("it is taken once").finish())
}

/// The output of the reading thread. The reading is over when the observer is taken.
struct LogOutput {
    observer: Option<LogObserver>,
    printed_alerts: usize,
    json: bool,
}

impl LogOutput {
    /// Processes a line and prints the alerts that it raises; `false` if the reader of stdout is gone.
    fn handle_line(&mut self, line: &[u8]) -> Result<bool, CliError> {
        let Some(observer) = &mut self.observer else { return Ok(false) };
        observer.push_line(parse_line(line));
        let begun = &observer.alerts()[self.printed_alerts..];
        self.printed_alerts = observer.alerts().len();
        if begun.is_empty() {
            return Ok(true);
        }
        let reader = print_streaming(|out| {
            begun.iter().try_for_each(|alert| match self.json {
                true => writeln!(out, "{}", serde_json::json!({ "alert": alert })),
                false => report::log::render_alert(alert, out),
            })
        })?;
        Ok(reader == stdout::StdoutReader::Present)
    }
}

/// The source of the lines.
enum LogReader {
    /// A pipe, which ends when its writer ends.
    Pipe(Box<dyn BufRead + Send>),
    /// A file, which may grow after its end.
    Growing(File),
}

impl LogReader {
    fn open(path: &Path) -> Result<Self, CliError> {
        if path.extension().is_some_and(|extension| extension == "gz") {
            return Err(CliError::usage("--follow: a .gz file does not grow; read it without --follow"));
        }
        if is_stdin(path) {
            return LogSource::open(path).map(|source| Self::Pipe(source.text)).map_err(CliError::usage);
        }
        open_file(path).map(Self::Growing).map_err(CliError::usage)
    }

    fn read_lines(self, path: &Path, output: &Mutex<LogOutput>) -> Result<(), CliError> {
        let unreadable = |error| CliError::io(LogSourceError::unreadable(path, error));
        match self {
            Self::Pipe(text) => {
                let mut lines = LogLines::new(text);
                read_available(&mut lines, path, output)?;
                read_last_line(&lines, output)
            }
            Self::Growing(file) => {
                let mut lines = LogLines::new(BufReader::new(file));
                while read_available(&mut lines, path, output)? {
                    thread::sleep(POLL_INTERVAL);
                    if let Some(next) = rotated_file(path, lines.get_mut().get_ref()).map_err(unreadable)? {
                        // Read what was written between the last check and the rotation.
                        read_available(&mut lines, path, output)?;
                        read_last_line(&lines, output)?;
                        lines = LogLines::new(BufReader::new(next));
                    }
                }
                Ok(())
            }
        }
    }
}

/// Processes all lines available now; `false` if the reader of stdout is gone.
fn read_available(
    lines: &mut LogLines<impl BufRead>,
    path: &Path,
    output: &Mutex<LogOutput>,
) -> Result<bool, CliError> {
    let unreadable = |error| CliError::io(LogSourceError::unreadable(path, error));
    while let Some(line) = lines.next_line().map_err(unreadable)? {
        if !output.lock().expect("reading does not panic").handle_line(line)? {
            return Ok(false);
        }
    }
    Ok(output.lock().expect("reading does not panic").observer.is_some())
}

/// Processes the last line, which has no line end.
fn read_last_line<R: BufRead>(lines: &LogLines<R>, output: &Mutex<LogOutput>) -> Result<(), CliError> {
    if let Some(line) = lines.partial_line() {
        output.lock().expect("reading does not panic").handle_line(line)?;
    }
    Ok(())
}

/// Returns the file that replaced the current one, or the same file from its start if it was truncated.
fn rotated_file(path: &Path, current: &File) -> io::Result<Option<File>> {
    let now = current.metadata()?;
    let Ok(there) = fs::metadata(path) else {
        // The check fell between the two steps of a rotation.
        return Ok(None);
    };
    let is_another = (there.dev(), there.ino()) != (now.dev(), now.ino());
    let was_cut = rustix::fs::tell(current)? > now.len();
    Ok(if is_another || was_cut { File::open(path).ok() } else { None })
}
