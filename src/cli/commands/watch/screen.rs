//! The display of watched servers: in place on a terminal, line by line elsewhere.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::Duration;

use console::Term;
use jiff::{Timestamp, Zoned};

use super::watched::Watched;
use crate::cli::exit::CliError;
use crate::cli::live_screen::LiveScreen;
use crate::cli::stdout::{self, StdoutReader, print_streaming};
use crate::report::progress::moves_cursor;
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
        match (json, moves_cursor(&term)) {
            (true, _) => Self::Json,
            (false, true) => {
                Self::Terminal(TerminalScreen { screen: LiveScreen::new(term), lately: VecDeque::new() })
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

/// A terminal, and the latest changes.
pub(super) struct TerminalScreen {
    screen: LiveScreen,
    lately: VecDeque<String>,
}

impl TerminalScreen {
    fn draw(&mut self, servers: &[Watched], time: &str) -> io::Result<()> {
        while self.lately.len() > RECENT_LINES {
            self.lately.pop_front();
        }
        let (rows, _) = self.screen.size();
        // The cursor takes a separate line.
        let room = rows.saturating_sub(1 + self.lately.len()) / servers.len().max(1);
        let frames = servers.iter().flat_map(|server| live_view::frame(server.shown(), time, room));
        let lines: Vec<String> = frames.chain(self.lately.iter().cloned()).collect();
        self.screen.draw(&lines)
    }
}
