//! Standard output, where the result goes. What is saved in files is saved before it is printed.

use std::io::{self, ErrorKind, StdoutLock, Write};

use super::exit::Halt;

/// Whether somebody reads standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Everything was taken.
    Present,
    /// The pipe is closed, as that of `| head` is once it has its lines.
    Gone,
}

/// Prints on standard output. A reader that has seen enough is no error: the exit code is that of the result.
pub fn print(render: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> Result<(), Halt> {
    print_on(render).map(drop)
}

/// The same for a command that prints on and on, and ends when nobody reads.
pub fn print_on(render: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> Result<Reader, Halt> {
    write_to(&mut io::stdout().lock(), render)
}

fn write_to<W: Write>(out: &mut W, render: impl FnOnce(&mut W) -> io::Result<()>) -> Result<Reader, Halt> {
    read_by(render(out).and_then(|()| out.flush()))
}

/// What the outcome of a write to standard output says.
pub fn read_by(written: io::Result<()>) -> Result<Reader, Halt> {
    match written {
        Ok(()) => Ok(Reader::Present),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Halt::io(format_args!("cannot write to stdout: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    /// Takes the first bytes, then fails.
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

    fn printed(room: usize, kind: ErrorKind) -> Result<Reader, Halt> {
        write_to(&mut Failing { room, kind }, |out| writeln!(out, "ten bytes"))
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        assert_eq!(printed(10, ErrorKind::BrokenPipe).unwrap(), Reader::Present);
        assert_eq!(printed(9, ErrorKind::BrokenPipe).unwrap(), Reader::Gone);
        assert_eq!(printed(0, ErrorKind::BrokenPipe).unwrap(), Reader::Gone);
    }

    #[test]
    fn a_full_disk_is_output_trouble() {
        let halt = printed(4, ErrorKind::StorageFull).unwrap_err();
        assert!(halt.message().starts_with("cannot write to stdout: "), "{}", halt.message());
        assert_eq!(halt.tell(), Exit::Usage);
    }
}
