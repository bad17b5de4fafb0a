//! Where a watched server is shown: on a terminal in place, elsewhere line after line.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::Duration;

use console::{Term, truncate_str};
use jiff::{Timestamp, Zoned};

use super::live::Watched;
use crate::cli::exit::Halt;
use crate::cli::stdout::{self, Reader, print_on};
use crate::judge::vigil::News;
use crate::report::watch::live;

/// What was new lately stands below the servers.
const LATELY: usize = 4;

/// Where it goes.
pub enum Medium {
    /// A terminal, drawn over and over.
    Terminal(Screen),
    /// A file or a pipe.
    Lines,
    /// A script.
    Json,
}

impl Medium {
    /// What fits the process's stdout.
    pub fn of_stdout(json: bool) -> Self {
        let term = Term::buffered_stdout();
        match (json, term.is_term()) {
            (true, _) => Self::Json,
            (false, true) => {
                Self::Terminal(Screen { size: term.size(), term, drawn: 0, lately: VecDeque::new() })
            }
            (false, false) => Self::Lines,
        }
    }

    /// Shows a look at all servers, with what is new of each.
    pub fn show(&mut self, servers: &[Watched], news: &[Vec<News>]) -> Result<Reader, Halt> {
        let time = Zoned::now().strftime("%H:%M:%S").to_string();
        // Which server it is goes without saying where there is one.
        let names =
            |server: &Watched| if servers.len() > 1 { format!("{}  ", server.url) } else { String::new() };
        let news = servers.iter().zip(news).flat_map(|(server, news)| {
            news.iter().map(|news| format!("{time}  {}{}", names(server), live::news(news)))
        });
        match self {
            Self::Terminal(screen) => {
                screen.lately.extend(news);
                stdout::read_by(screen.draw(servers, &time))
            }
            Self::Lines => print_on(|out| {
                news.into_iter().try_for_each(|news| writeln!(out, "{news}"))?;
                let mut lines = servers.iter().map(|server| (names(server), live::line(&server.vigil)));
                lines.try_for_each(|(name, line)| writeln!(out, "{time}  {name}{line}"))
            }),
            Self::Json => {
                let now = Timestamp::now().to_string();
                let mut looks =
                    servers.iter().map(|server| live::look_json(&server.url, &server.vigil, &now));
                print_on(|out| looks.try_for_each(|look| writeln!(out, "{look}")))
            }
        }
    }

    /// Says what was wrong all in all, after so long.
    pub fn finish(&mut self, servers: &[Watched], watched: Duration) -> Result<(), Halt> {
        stdout::print(|out| {
            servers.iter().try_for_each(|Watched { url, vigil, .. }| match self {
                Self::Json => writeln!(out, "{}", live::summary_json(url, vigil, watched)),
                Self::Terminal(_) | Self::Lines => live::summary(url, vigil, watched, out),
            })
        })
    }
}

/// A terminal, and what is drawn on it.
pub struct Screen {
    term: Term,
    /// Rows and columns.
    size: (u16, u16),
    /// Lines that are to be drawn over.
    drawn: usize,
    lately: VecDeque<String>,
}

impl Screen {
    fn draw(&mut self, servers: &[Watched], time: &str) -> io::Result<()> {
        let size = self.term.size();
        if size == self.size {
            self.term.clear_last_lines(self.drawn)?;
        } else {
            // Nobody knows how the terminal broke the old lines anew.
            self.term.clear_screen()?;
            self.size = size;
        }
        while self.lately.len() > LATELY {
            self.lately.pop_front();
        }
        let (rows, columns) = (usize::from(size.0), usize::from(size.1));
        // The cursor stands in a line of its own.
        let room = rows.saturating_sub(1 + self.lately.len()) / servers.len().max(1);
        let frames = servers.iter().flat_map(|server| live::frame(&server.url, &server.vigil, time, room));
        let lines: Vec<String> = frames.chain(self.lately.iter().cloned()).collect();
        for line in &lines {
            self.term.write_line(&truncate_str(line, columns, "…"))?;
        }
        self.drawn = lines.len();
        self.term.flush()
    }
}
