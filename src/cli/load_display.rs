//! What is shown of a load while it is measured: a panel on a terminal, lines elsewhere.

use std::time::{Duration, Instant};

use console::Term;

use super::live_screen::LiveScreen;
use crate::report::live_panel::{PanelArea, panel};
use crate::report::live_run::{LiveGoal, LiveProgress, LiveRun, LiveServer};
use crate::report::progress::{ProgressMode, ProgressReporter, ProgressUnit};
use crate::runner::Event;

/// The least time between two frames: workers report five times a second each.
const FRAME_INTERVAL: Duration = Duration::from_millis(190);

/// The display of one load.
pub(super) struct LoadDisplay {
    run: LiveRun,
    medium: Medium,
}

enum Medium {
    Panel { screen: LiveScreen, drawn: Option<Instant> },
    Lines(ProgressReporter),
}

impl LoadDisplay {
    /// Begins the display.
    pub(super) fn new(goal: LiveGoal, mode: ProgressMode) -> Self {
        let medium = match mode {
            ProgressMode::Bar => {
                Medium::Panel { screen: LiveScreen::new(Term::buffered_stderr()), drawn: None }
            }
            ProgressMode::Lines | ProgressMode::Silent => {
                Medium::Lines(ProgressReporter::new("measuring", goal.requests, ProgressUnit::Count, mode))
            }
        };
        Self { run: LiveRun::new(goal), medium }
    }

    /// Takes an event of the load. Only progress draws: five times a second, however many requests end.
    pub(super) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::RequestEnded(record) => self.run.add_record(record),
            Event::ChecksSoFar(checks) => self.run.set_checks(checks),
            &Event::ServerLevels { running, waiting, kv_usage } => {
                self.run.set_server(LiveServer { running, waiting, kv_usage });
            }
            Event::Progress(progress) => {
                fail_if_tested(progress.elapsed);
                self.run.update(LiveProgress {
                    elapsed: progress.elapsed,
                    sent: progress.sent,
                    in_flight: progress.in_flight,
                    gaps: progress.gaps,
                });
                self.draw();
            }
            _ => {}
        }
    }

    /// Shows that all requests are sent.
    pub(super) fn drain(&mut self) {
        self.run.drain();
    }

    /// Writes lines above the panel.
    pub(super) fn suspend(&mut self, write: impl FnOnce()) {
        self.clear();
        write();
        self.draw();
    }

    /// Removes the panel: the report takes its place.
    pub(super) fn finish(mut self) {
        self.clear();
    }

    fn draw(&mut self) {
        let run = &self.run;
        match &mut self.medium {
            Medium::Panel { screen, drawn } if drawn.is_none_or(|at| at.elapsed() >= FRAME_INTERVAL) => {
                *drawn = Some(Instant::now());
                let (rows, width) = screen.size();
                let area =
                    PanelArea { width, height: rows.saturating_sub(1), is_colored: screen.is_colored() };
                // A frame that cannot be written must not cost a measurement.
                let _ = screen.draw(&panel(run, area));
            }
            Medium::Panel { .. } => {}
            Medium::Lines(lines) => lines.show(run.ended_count(), || run.progress_note()),
        }
    }

    fn clear(&mut self) {
        if let Medium::Panel { screen, drawn } = &mut self.medium {
            let _ = screen.clear();
            *drawn = None;
        }
    }
}

/// Panics two seconds after the start where a test of the terminal's state asks for it. Released programs have no such
/// variable.
fn fail_if_tested(elapsed: Duration) {
    #[cfg(debug_assertions)]
    if elapsed > Duration::from_secs(2) && std::env::var_os("SG_TEST_PANIC").is_some() {
        panic!("a test asked for this panic");
    }
    let _ = elapsed;
}
