//! The progress display: one bar for preparation and one for the run. Without a terminal, plain lines.

use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::format::milliseconds;
use crate::stats::DurationSketch;

/// The time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The form of the progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    /// Bars, on a terminal.
    Bar,
    /// A line every ten seconds, for a file or a pipe.
    Lines,
    /// No progress display.
    Silent,
}

impl ProgressMode {
    /// Picks the mode that fits the process's stderr.
    pub(crate) fn from_stderr(disabled: bool) -> Self {
        // Log lines would break up a bar.
        let is_logging = tracing::enabled!(tracing::Level::INFO);
        match (disabled, std::io::stderr().is_terminal() && !is_logging) {
            (true, _) => Self::Silent,
            (false, true) => Self::Bar,
            (false, false) => Self::Lines,
        }
    }
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

    /// Says what happens now, in place of the name.
    pub(crate) fn rename(&mut self, name: &'static str) {
        self.name = name;
        self.bar.set_prefix(name);
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

/// Live statistics of a run, computed from its progress reports and finished requests.
#[derive(Default)]
pub(crate) struct LiveStats {
    ttft: DurationSketch,
    done: usize,
    failed: usize,
    last: (Duration, usize, u64),
    request_rate: f64,
    event_rate: f64,
}

impl LiveStats {
    /// Adds a request that ended.
    pub(crate) fn record_ended(&mut self, ttft: Option<Duration>, failed: bool) {
        self.done += 1;
        self.failed += usize::from(failed);
        ttft.into_iter().for_each(|ttft| self.ttft.record(ttft));
    }

    /// Adds the counts at time `elapsed`. Rates cover the time since the last update, which is a second or more.
    pub(crate) fn update(&mut self, elapsed: Duration, events: u64) {
        let (before, done, events_before) = self.last;
        let seconds = elapsed.saturating_sub(before).as_secs_f64();
        if seconds >= 1.0 {
            self.request_rate = (self.done - done) as f64 / seconds;
            self.event_rate = events.saturating_sub(events_before) as f64 / seconds;
            self.last = (elapsed, self.done, events);
        }
    }

    /// The number of requests that ended.
    pub(crate) fn ended_count(&self) -> u64 {
        self.done as u64
    }

    /// Formats the note beside the bar.
    pub(crate) fn progress_note(&self, sent: usize, in_flight: usize) -> String {
        let failed = if self.failed == 0 { String::new() } else { format!("failed {}, ", self.failed) };
        format!(
            "{failed}in flight {in_flight}, {:.1} req/s, TTFT p50 {} p99 {}, {:.0} tok/s, sent {sent}",
            self.request_rate,
            milliseconds(self.ttft.percentile(50.0)),
            milliseconds(self.ttft.percentile(99.0)),
            self.event_rate,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    #[test]
    fn live_figures_add_up() {
        let mut live = LiveStats::default();
        for ms in [10, 20, 30] {
            live.record_ended(Some(Duration::from_millis(ms)), false);
        }
        live.record_ended(None, true);
        live.update(Duration::from_secs(2), 100);
        let note = live.progress_note(9, 5);
        for part in ["sent 9", "failed 1", "in flight 5", "2.0 req/s", "50 tok/s", "p50 20 ms"] {
            assert!(note.contains(part), "{part} is not in {note}");
        }
        assert_eq!(live.ended_count(), 4);
    }

    #[test]
    fn before_the_first_answer_there_are_no_figures() {
        assert!(LiveStats::default().progress_note(0, 0).contains("TTFT p50 n/a p99 n/a"));
    }

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
        let mut live = LiveStats::default();
        (0..1000).for_each(|n| live.record_ended(Some(Duration::from_secs(100)), n % 2 == 0));
        live.update(Duration::from_secs(2), 10_000_000);
        let note = live.progress_note(123_456, 10_000);
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
