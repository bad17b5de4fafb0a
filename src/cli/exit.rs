//! How the program ends: its exit codes, and errors that end it early.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing to object to.
    Fine = 0,
    /// The run failed.
    Failed = 1,
    /// Usage or unreadable input.
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

    /// The work itself failed.
    pub fn failed(message: impl Display) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }

    /// Prints the line.
    pub fn tell(self) -> Exit {
        say(format_args!("error: {}", self.message));
        self.exit
    }
}

/// Ends the program now: nothing is reported.
#[expect(clippy::exit, reason = "who asks twice means now, not after the report")]
pub fn at_once() -> ! {
    std::process::exit(Exit::Interrupted as i32)
}

/// Says something to the user, on stderr.
pub fn say(message: impl Display) {
    // Nobody listens any more: no reason to stop working, let alone to panic as `eprintln!` does.
    let _ = writeln!(std::io::stderr(), "{message}");
}
