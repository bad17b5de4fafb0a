//! The display of watched servers: in place on a terminal, line by line elsewhere.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::Duration;

use console::{Term, truncate_str};
use jiff::{Timestamp, Zoned};

use super::watched::Watched;
use crate::cli::exit::CliError;
use crate::cli::stdout::{self, StdoutReader, print_streaming};
use crate::report::watch::live_view;
use crate::server::monitor::StatusChange;

/// The number of recent changes shown below the servers.
const RECENT_LINES: usize = 4;

/// The mode of the output.
pub(super) enum OutputMode {
    /// A terminal, redrawn at each sample.
    Terminal(TerminalScreen),
    /// A file or a pipe, which gets lines of text.
    Lines,
    /// JSON, for scripts.
    Json,
}

impl OutputMode {
    /// Chooses the mode that fits the process's stdout.
    pub(super) fn from_stdout(json: bool) -> Self {
        let term = Term::buffered_stdout();
        match (json, term.is_term()) {
            (true, _) => Self::Json,
            (false, true) => {
                Self::Terminal(TerminalScreen { size: term.size(), term, drawn: 0, lately: VecDeque::new() })
            }
            (false, false) => Self::Lines,
        }
    }

    /// Shows a sample of all servers, with the changes of each.
    pub(super) fn show(
        &mut self,
        servers: &[Watched],
        changes: &[Vec<StatusChange>],
    ) -> Result<StdoutReader, CliError> {
        let time = Zoned::now().strftime("%H:%M:%S").to_string();
        // A single server needs no name.
        let names =
            |server: &Watched| if servers.len() > 1 { format!("{}  ", server.url) } else { String::new() };
        let changes = servers.iter().zip(changes).flat_map(|(server, changes)| {
            server.lines_of(changes).into_iter().map(|line| format!("{time}  {}{line}", names(server)))
        });
        match self {
            Self::Terminal(screen) => {
                screen.lately.extend(changes);
                stdout::reader_after(screen.draw(servers, &time))
            }
            Self::Lines => print_streaming(|out| {
                changes.into_iter().try_for_each(|changes| writeln!(out, "{changes}"))?;
                let mut lines = servers.iter().map(|server| {
                    (names(server), live_view::summary_line(&server.monitor, server.missing()))
                });
                lines.try_for_each(|(name, line)| writeln!(out, "{time}  {name}{line}"))
            }),
            Self::Json => {
                let now = Timestamp::now().to_string();
                let mut looks = servers.iter().map(|server| {
                    let mut look = live_view::status_json(&server.url, &server.monitor, &now);
                    if let Some(fault) = server.page_fault() {
                        look["page_fault"] = fault.into();
                    }
                    if !server.impossible.is_empty() {
                        look["left_out"] = server.impossible.clone().into();
                    }
                    look
                });
                print_streaming(|out| looks.try_for_each(|look| writeln!(out, "{look}")))
            }
        }
    }

    /// Prints a summary of the problems after this duration.
    pub(super) fn finish(&mut self, servers: &[Watched], watched: Duration) -> Result<(), CliError> {
        stdout::print(|out| {
            servers.iter().try_for_each(|Watched { url, monitor, .. }| match self {
                Self::Json => writeln!(out, "{}", live_view::summary_json(url, monitor, watched)),
                Self::Terminal(_) | Self::Lines => live_view::summary(url, monitor, watched, out),
            })
        })
    }
}

/// A terminal and its current content.
pub(super) struct TerminalScreen {
    term: Term,
    /// Rows and columns.
    size: (u16, u16),
    /// The number of lines to overwrite.
    drawn: usize,
    lately: VecDeque<String>,
}

impl TerminalScreen {
    fn draw(&mut self, servers: &[Watched], time: &str) -> io::Result<()> {
        let size = self.term.size();
        if size == self.size {
            self.term.clear_last_lines(self.drawn)?;
        } else {
            // After a resize, the terminal has wrapped the old lines in an unknown way.
            self.term.clear_screen()?;
            self.size = size;
        }
        while self.lately.len() > RECENT_LINES {
            self.lately.pop_front();
        }
        let (rows, columns) = (usize::from(size.0), usize::from(size.1));
        // The cursor takes a separate line.
        let room = rows.saturating_sub(1 + self.lately.len()) / servers.len().max(1);
        let frames = servers.iter().flat_map(|server| live_view::frame(server.shown(), time, room));
        let lines: Vec<String> = frames.chain(self.lately.iter().cloned()).collect();
        for line in &lines {
            self.term.write_line(&truncate_str(line, columns, "…"))?;
        }
        self.drawn = lines.len();
        self.term.flush()
    }
}
