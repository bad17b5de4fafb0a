//! What a person sees while waiting: one bar for preparing, one for the run; plain lines where there is no terminal.

use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::figures::milliseconds;
use crate::core::stats::Tally;

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A terminal: bars.
    Bar,
    /// A file or a pipe: a line every ten seconds.
    Lines,
    /// Nowhere.
    Silent,
}

impl Medium {
    /// What fits the process's stderr.
    pub fn of_stderr(disabled: bool) -> Self {
        match (disabled, std::io::stderr().is_terminal()) {
            (true, _) => Self::Silent,
            (false, true) => Self::Bar,
            (false, false) => Self::Lines,
        }
    }
}

/// One piece of work that is waited for.
pub struct Progress {
    name: &'static str,
    total: Option<u64>,
    unit: Unit,
    bar: ProgressBar,
    medium: Medium,
    last_line: Instant,
}

/// What the work is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
}

impl Progress {
    /// Starts showing; `total` is `None` where the end is not known.
    pub fn new(name: &'static str, total: Option<u64>, unit: Unit, medium: Medium) -> Self {
        let bar = match medium {
            Medium::Bar => ProgressBar::new(total.unwrap_or(0)).with_style(style(total.is_some(), unit)),
            Medium::Lines | Medium::Silent => ProgressBar::hidden(),
        };
        bar.set_prefix(name);
        Self { name, total, unit, bar, medium, last_line: Instant::now() }
    }

    /// Shows the position and a note beside it. The note is made only when it is shown.
    pub fn show(&mut self, position: u64, note: impl FnOnce() -> String) {
        match self.medium {
            Medium::Bar => {
                self.bar.set_position(position);
                self.bar.set_message(note());
            }
            Medium::Lines if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                let line = format!("{}: {} {}", self.name, self.count(position), note());
                // Progress that cannot be written is no reason to lose a measurement.
                let _ = writeln!(std::io::stderr(), "{}", line.trim_end());
            }
            Medium::Lines | Medium::Silent => {}
        }
    }

    fn count(&self, position: u64) -> String {
        let write = |n: u64| match self.unit {
            Unit::Count => n.to_string(),
            Unit::Bytes => format!("{} MB", n / 1_000_000),
        };
        match self.total {
            Some(total) => format!("{}/{}", write(position), write(total)),
            None => write(position),
        }
    }

    /// Takes the bar off the screen.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn style(bounded: bool, unit: Unit) -> ProgressStyle {
    let template = match (bounded, unit) {
        (true, Unit::Count) => "{prefix} {wide_bar} {pos}/{len} {msg} [{elapsed}<{eta}]",
        (true, Unit::Bytes) => "{prefix} {wide_bar} {bytes}/{total_bytes} {msg} [{elapsed}<{eta}]",
        (false, Unit::Count) => "{prefix} {spinner} {pos} {msg} [{elapsed}]",
        (false, Unit::Bytes) => "{prefix} {spinner} {bytes} {msg} [{elapsed}]",
    };
    ProgressStyle::with_template(template).expect("a constant template")
}

/// The live figures of a run, made from its beats and its ended requests.
#[derive(Default)]
pub struct Live {
    ttft: Tally,
    done: usize,
    failed: usize,
    last: (Duration, usize, u64),
    request_rate: f64,
    event_rate: f64,
}

impl Live {
    /// Takes in a request that ended.
    pub fn ended(&mut self, ttft: Option<Duration>, failed: bool) {
        self.done += 1;
        self.failed += usize::from(failed);
        ttft.into_iter().for_each(|ttft| self.ttft.record(ttft));
    }

    /// Takes in the counts at a moment: rates are over the time since a second ago or more.
    pub fn beat(&mut self, elapsed: Duration, events: u64) {
        let (before, done, events_before) = self.last;
        let seconds = elapsed.saturating_sub(before).as_secs_f64();
        if seconds >= 1.0 {
            self.request_rate = (self.done - done) as f64 / seconds;
            self.event_rate = events.saturating_sub(events_before) as f64 / seconds;
            self.last = (elapsed, self.done, events);
        }
    }

    /// Requests that ended.
    pub fn done(&self) -> u64 {
        self.done as u64
    }

    /// The note beside the bar.
    pub fn note(&self, sent: usize, in_flight: usize) -> String {
        format!(
            "sent {sent}, failed {}, in flight {in_flight}, {:.1} req/s, {:.0} tok/s, TTFT p50 {} p99 {}",
            self.failed,
            self.request_rate,
            self.event_rate,
            milliseconds(self.ttft.percentile(50.0)),
            milliseconds(self.ttft.percentile(99.0)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_figures_add_up() {
        let mut live = Live::default();
        for ms in [10, 20, 30] {
            live.ended(Some(Duration::from_millis(ms)), false);
        }
        live.ended(None, true);
        live.beat(Duration::from_secs(2), 100);
        let note = live.note(9, 5);
        for part in ["sent 9", "failed 1", "in flight 5", "2.0 req/s", "50 tok/s", "p50 20 ms"] {
            assert!(note.contains(part), "{part} is not in {note}");
        }
        assert_eq!(live.done(), 4);
    }

    #[test]
    fn before_the_first_answer_there_are_no_figures() {
        assert!(Live::default().note(0, 0).ends_with("TTFT p50 n/a p99 n/a"));
    }
}
