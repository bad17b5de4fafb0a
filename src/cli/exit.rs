//! How the program ends: its exit codes, and errors that end it early.

use std::fmt::Display;
use std::io::{self, StderrLock, Write as _};
use std::process::ExitCode;

use crate::server::launch;

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing to object to.
    Fine = 0,
    /// The run failed.
    Failed = 1,
    /// The usage is wrong, or something cannot be read or written.
    Usage = 2,
    /// The run was measured, and is not to be believed.
    Invalid = 3,
    /// The user ended it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends the program: its code and one line for people.
#[derive(Debug)]
pub struct Halt {
    exit: Exit,
    message: String,
}

impl Halt {
    /// A flag or an input is wrong: nothing was sent.
    pub fn usage(message: impl Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// Something cannot be read or written. Not to be taken for a broken rule.
    pub fn io(message: impl Display) -> Self {
        Self::usage(message)
    }

    /// What is worked on is not to be believed.
    pub fn invalid(message: impl Display) -> Self {
        Self { exit: Exit::Invalid, message: message.to_string() }
    }

    /// The work itself failed.
    pub fn failed(message: impl Display) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }

    /// The user ended the work before it came to anything.
    pub fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, message: "interrupted".to_owned() }
    }

    /// Whether the user's words are to blame, so that another attempt would fail as well.
    pub fn is_usage(&self) -> bool {
        self.exit == Exit::Usage
    }

    /// The line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Prints the line.
    pub fn tell(self) -> Exit {
        say(format_args!("error: {}", self.message));
        self.exit
    }
}

/// Ends the program now: nothing is reported, and of the servers that it started nothing is left.
#[expect(clippy::exit, reason = "who asks twice means now, not after the report")]
pub fn at_once() -> ! {
    launch::kill_all();
    std::process::exit(Exit::Interrupted as i32)
}

/// Writes several lines for the user, on stderr.
pub fn say_lines(render: impl FnOnce(&mut StderrLock<'_>) -> io::Result<()>) {
    // As in `say`.
    let _ = render(&mut io::stderr().lock());
}

/// Says something to the user, on stderr.
pub fn say(message: impl Display) {
    // Nobody listens any more: no reason to stop working, let alone to panic as `eprintln!` does.
    let _ = writeln!(io::stderr(), "{message}");
}
