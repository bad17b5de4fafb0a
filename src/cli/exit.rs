//! Exit codes, and errors that end the program early.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use console::Term;

use super::setting_flags::with_flags;
use super::user_text::{self, UserTextWriter};
use crate::model::plain_text;
use crate::report::text::colored;
use crate::server::launch;

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// The command succeeded.
    Success = 0,
    /// The run failed.
    Failed = 1,
    /// The usage is wrong, or a file cannot be read or written.
    Usage = 2,
    /// The run was measured, but is INVALID.
    Invalid = 3,
    /// The user interrupted the program.
    Interrupted = 130,
}

impl From<ExitReason> for ExitCode {
    fn from(exit: ExitReason) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends the program: an exit code and a message of one line, which names flags.
#[derive(Debug)]
pub(super) struct CliError {
    exit: ExitReason,
    message: String,
}

impl CliError {
    /// A flag or an input is wrong; nothing was sent.
    pub(super) fn usage(message: impl Display) -> Self {
        Self::new(ExitReason::Usage, message)
    }

    /// Something cannot be read or written. The exit code differs from that of a violated rule.
    pub(super) fn io(message: impl Display) -> Self {
        Self::usage(message)
    }

    /// The input is INVALID.
    pub(super) fn invalid(message: impl Display) -> Self {
        Self::new(ExitReason::Invalid, message)
    }

    /// The work failed.
    pub(super) fn failed(message: impl Display) -> Self {
        Self::new(ExitReason::Failed, message)
    }

    /// The user interrupted the work before it had a result.
    pub(super) fn interrupted() -> Self {
        Self::new(ExitReason::Interrupted, "interrupted")
    }

    fn new(exit: ExitReason, message: impl Display) -> Self {
        Self { exit, message: with_flags(&message.to_string()) }
    }

    /// Whether the flags are wrong, so that another attempt would fail as well.
    pub(super) fn is_usage(&self) -> bool {
        self.exit == ExitReason::Usage
    }

    /// Whether the work itself failed, and the flags are right.
    pub(super) fn is_failed(&self) -> bool {
        self.exit == ExitReason::Failed
    }

    /// Returns the message.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the message.
    pub(super) fn report(self) -> ExitReason {
        print_stderr(format_args!("error: {}", self.message));
        self.exit
    }
}

/// Ends the program immediately, without a report. The servers that it started are killed.
#[expect(clippy::exit, reason = "who asks twice means now, not after the report")]
pub(super) fn exit_now() -> ! {
    launch::kill_all();
    std::process::exit(ExitReason::Interrupted as i32)
}

/// Writes several lines on stderr, with colors for problems if the terminal supports them. `NO_COLOR` is respected.
pub(super) fn print_stderr_lines(render: impl FnOnce(&mut UserTextWriter<'_>) -> io::Result<()>) {
    let text = user_text::render(render).map(|text| match Term::stderr().features().colors_supported() {
        true => colored(&text),
        false => text,
    });
    // A closed stderr is not a reason to stop working, let alone to panic as `eprintln!` does.
    let _ = text.and_then(|text| io::stderr().write_all(text.as_bytes()));
}

/// Removes `(os error 2)`, which the standard library adds to the words for it.
fn without_os_codes(message: &str) -> String {
    let mut parts = message.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.split_once(')') {
        Some((code, rest)) if code.bytes().all(|byte| byte.is_ascii_digit()) => text + rest,
        _ => text + " (os error " + part,
    })
}

/// Prints a message on stderr. Line breaks in quoted text become blanks.
pub(super) fn print_stderr(message: impl Display) {
    let text = plain_text::printable_message(&without_os_codes(&message.to_string()));
    print_stderr_lines(|out| writeln!(out, "{text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_system_are_left_out_beside_their_words() {
        let message = "cannot read a: No such file (os error 2); b: Refused (os error 111)";
        assert_eq!(without_os_codes(message), "cannot read a: No such file; b: Refused");
        for same in ["(os error 2)", "a (os error x)", "a (os error 2", ""] {
            assert_eq!(without_os_codes(same), same);
        }
    }
}
