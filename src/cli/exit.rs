//! How the program ends: its exit codes, and errors that end it early.

use std::fmt::Display;
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

    /// The user ended it before there was anything to report.
    pub fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, message: "interrupted before the first request".into() }
    }

    /// Prints the line.
    #[expect(clippy::print_stderr, reason = "the conversation is on stderr")]
    pub fn tell(self) -> Exit {
        eprintln!("error: {}", self.message);
        self.exit
    }
}

/// Says something to the user, on stderr.
#[expect(clippy::print_stderr, reason = "the conversation is on stderr")]
pub fn say(message: impl Display) {
    eprintln!("{message}");
}
