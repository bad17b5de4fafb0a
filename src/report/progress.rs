//! Progress bars: of a preparation, or of a wait. Without a terminal, plain lines.

use std::io::Write;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

/// The time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The form of the progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    /// Bars, and a panel during the measured load, on a terminal.
    Bar,
    /// A line every ten seconds, for a file, a pipe, or a terminal without cursor movement.
    Lines,
    /// No progress display.
    Silent,
}

impl ProgressMode {
    /// Picks the mode that fits the process's stderr. `is_plain` asks for lines on a terminal too.
    pub(crate) fn from_stderr(is_disabled: bool, is_plain: bool) -> Self {
        // Log lines would break up a bar.
        let is_logging = tracing::enabled!(tracing::Level::INFO);
        if is_disabled {
            Self::Silent
        } else if moves_cursor(&Term::stderr()) && !is_plain && !is_logging {
            Self::Bar
        } else {
            Self::Lines
        }
    }
}

/// Whether this is a terminal on which lines can be replaced.
pub(crate) fn moves_cursor(term: &Term) -> bool {
    term.is_term() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// Shows the progress of one task.
pub(crate) struct ProgressReporter {
    name: &'static str,
    total: Option<u64>,
    unit: ProgressUnit,
    bar: ProgressBar,
    medium: ProgressMode,
    last_line: Instant,
}

/// The unit of the progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressUnit {
    /// Items.
    Count,
    /// Bytes.
    Bytes,
    /// Nothing but the time that passes.
    Time,
}

impl ProgressReporter {
    /// Starts the display; `total` is `None` if the amount of work is unknown.
    pub(crate) fn new(
        name: &'static str,
        total: Option<u64>,
        unit: ProgressUnit,
        medium: ProgressMode,
    ) -> Self {
        let bar = match medium {
            ProgressMode::Bar => {
                ProgressBar::new(total.unwrap_or(0)).with_style(style(total.is_some(), unit))
            }
            ProgressMode::Lines | ProgressMode::Silent => ProgressBar::hidden(),
        };
        bar.set_prefix(name);
        Self { name, total, unit, bar, medium, last_line: Instant::now() }
    }

    /// Shows the position and a note beside it. `note` is called only if it is displayed.
    pub(crate) fn show(&mut self, position: u64, note: impl FnOnce() -> String) {
        match self.medium {
            ProgressMode::Bar => {
                self.bar.set_position(position);
                self.bar.set_message(note());
            }
            ProgressMode::Lines if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                let line = format!("{}: {} {}", self.name, self.count(position), note());
                // A progress line that cannot be written must not cost a measurement.
                let _ = writeln!(std::io::stderr(), "{}", line.trim_end());
            }
            ProgressMode::Lines | ProgressMode::Silent => {}
        }
    }

    fn count(&self, position: u64) -> String {
        let write = |n: u64| match self.unit {
            ProgressUnit::Count | ProgressUnit::Time => n.to_string(),
            ProgressUnit::Bytes => format!("{} MB", n / 1_000_000),
        };
        match self.total {
            Some(total) => format!("{}/{}", write(position), write(total)),
            None => write(position),
        }
    }

    /// Draws the elapsed time again each second, for work that does not report its progress.
    pub(crate) fn tick(self) -> Self {
        if self.medium == ProgressMode::Bar {
            self.bar.enable_steady_tick(Duration::from_secs(1));
        }
        self
    }

    /// Writes lines while the bar is away.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    /// Removes the bar from the screen.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn style(bounded: bool, unit: ProgressUnit) -> ProgressStyle {
    let template = match (bounded, unit) {
        // The message is cut where the terminal ends; a longer line would wrap, and stay on the screen.
        (true, ProgressUnit::Count) => "{prefix} {bar:10} {pos}/{len} [{elapsed}<{eta}] {wide_msg}",
        (true, ProgressUnit::Bytes) => "{prefix} {bar:10} {bytes}/{total_bytes} [{elapsed}<{eta}] {wide_msg}",
        (false, ProgressUnit::Count) => "{prefix} {spinner} {pos} [{elapsed}] {wide_msg}",
        (false, ProgressUnit::Bytes) => "{prefix} {spinner} {bytes} [{elapsed}] {wide_msg}",
        (_, ProgressUnit::Time) => "{prefix} {spinner} [{elapsed}]",
    };
    ProgressStyle::with_template(template).expect("a constant template")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal of 80 columns that remembers what was written on it.
    #[derive(Debug, Clone, Default)]
    struct NarrowTerminal(Arc<Mutex<Vec<String>>>);

    impl TermLike for NarrowTerminal {
        fn width(&self) -> u16 {
            80
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(console::strip_ansi_codes(text).into_owned());
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_progress_line_fits_80_columns() {
        let note = "a note that is longer than what a terminal has room for ".repeat(3);
        for unit in [ProgressUnit::Count, ProgressUnit::Bytes, ProgressUnit::Time] {
            for total in [None, Some(100_000_000)] {
                let terminal = NarrowTerminal::default();
                let mut reporter =
                    ProgressReporter::new("waiting for the server", total, unit, ProgressMode::Bar);
                reporter.show(12_345_678, || note.clone());
                reporter.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
                reporter.bar.tick();
                let lines = terminal.0.lock().unwrap().clone();
                let widest = lines.iter().map(|line| line.trim_end().chars().count()).max().unwrap();
                assert!((20..=80).contains(&widest), "{unit:?} {total:?}: {lines:?}");
                assert!(lines.iter().any(|line| line.contains("waiting for the server")), "{lines:?}");
            }
        }
    }
}
