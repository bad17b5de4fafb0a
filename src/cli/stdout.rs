//! Standard output, which receives the result. Files are saved before anything is printed.

use std::io::{self, ErrorKind, StdoutLock, Write};

use console::Term;

use super::exit::CliError;
use super::user_text::{self, UserTextWriter};
use crate::model::plain_text::PlainWriter;

/// Standard output for text that may contain quotations.
pub(super) type PlainStdout<'a> = PlainWriter<StdoutLock<'a>>;

/// Whether standard output still has a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StdoutReader {
    /// All output was accepted.
    Present,
    /// The pipe is closed, as by `| head` after its lines.
    Gone,
}

/// Prints a text for the user on standard output. A closed pipe is not an error: the exit code is that of the result.
pub(super) fn print(render: impl FnOnce(&mut UserTextWriter<'_>) -> io::Result<()>) -> Result<(), CliError> {
    print_text(user_text::render(render))
}

/// Prints a report, with colors if the terminal supports them. `color` adds them after control characters of quoted
/// text are escaped. `NO_COLOR` is respected.
pub(super) fn print_report(
    render: impl FnOnce(&mut UserTextWriter<'_>) -> io::Result<()>,
    color: fn(&str) -> String,
) -> Result<(), CliError> {
    let text = user_text::render(render);
    print_text(match Term::stdout().features().colors_supported() {
        true => text.map(|text| color(&text)),
        false => text,
    })
}

fn print_text(text: io::Result<String>) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    let written = text.and_then(|text| stdout.write_all(text.as_bytes()));
    reader_after(written.and_then(|()| stdout.flush())).map(drop)
}

/// Prints without a buffer and without replacing the names of settings: a Run's JSON, or the output of a command that
/// streams and ends when the pipe is closed.
pub(super) fn print_streaming(
    render: impl FnOnce(&mut PlainStdout<'_>) -> io::Result<()>,
) -> Result<StdoutReader, CliError> {
    write_to(&mut PlainWriter::new(io::stdout().lock()), render)
}

fn write_to<W: Write>(
    out: &mut W,
    render: impl FnOnce(&mut W) -> io::Result<()>,
) -> Result<StdoutReader, CliError> {
    reader_after(render(out).and_then(|()| out.flush()))
}

/// Interprets the outcome of a write to standard output.
pub(super) fn reader_after(written: io::Result<()>) -> Result<StdoutReader, CliError> {
    match written {
        Ok(()) => Ok(StdoutReader::Present),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(StdoutReader::Gone),
        Err(error) => Err(CliError::io(format_args!("cannot write to stdout: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::ExitReason;

    /// A writer that accepts some bytes, then fails.
    struct Failing {
        room: usize,
        kind: ErrorKind,
    }

    impl Write for Failing {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let taken = buf.len().min(self.room);
            self.room -= taken;
            if taken == 0 { Err(self.kind.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(room: usize, kind: ErrorKind) -> Result<StdoutReader, CliError> {
        write_to(&mut Failing { room, kind }, |out| writeln!(out, "ten bytes"))
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        assert_eq!(printed(10, ErrorKind::BrokenPipe).unwrap(), StdoutReader::Present);
        assert_eq!(printed(9, ErrorKind::BrokenPipe).unwrap(), StdoutReader::Gone);
        assert_eq!(printed(0, ErrorKind::BrokenPipe).unwrap(), StdoutReader::Gone);
    }

    #[test]
    fn a_full_disk_is_output_trouble() {
        let halt = printed(4, ErrorKind::StorageFull).unwrap_err();
        assert!(halt.message().starts_with("cannot write to stdout: "), "{}", halt.message());
        assert_eq!(halt.report(), ExitReason::Usage);
    }
}
