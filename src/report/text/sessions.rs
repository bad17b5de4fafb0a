//! The outcome of sessions, and of abandoned requests.

use std::io::{self, Write};

use super::section;
use crate::model::metrics::{Metrics, SessionTotals};
use crate::model::run::Run;
use crate::model::run_spec::HistoryMode;
use crate::report::format::{percent, seconds};

/// Writes the section; writes nothing for a run without sessions.
pub(super) fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let Some(totals) = &run.metrics.sessions else { return Ok(()) };
    let SessionTotals { started, completed, failed, abandoned, cut, .. } = totals;
    section("Sessions", to)?;
    writeln!(to, "Sessions: {started} started, {completed} completed")?;
    let others = [("a failed turn", failed), ("an abandoned turn", abandoned), ("the end of the run", cut)];
    for (what, count) in others.into_iter().filter(|(_, count)| **count > 0) {
        writeln!(to, "Ended by {what}: {count} ({})", percent(*count, *started))?;
    }
    match run.spec.load.max_active_sessions {
        Some(most) => writeln!(to, "Peak active sessions: {} of at most {most}", totals.peak_active)?,
        None => writeln!(to, "Peak active sessions: {}", totals.peak_active)?,
    }
    writeln!(to, "Answered turns per session: {:.2}", totals.mean_turns)?;
    if let Some(duration) = totals.mean_duration {
        writeln!(to, "Mean duration of a session: {}", seconds(duration))?;
    }
    let repeats = match run.spec.sessions.history {
        HistoryMode::Real => "the server's answers",
        HistoryMode::Fixed => "the dataset's answers",
        HistoryMode::None => "nothing",
    };
    writeln!(to, "Later turns repeat: {repeats}")
}

/// Writes the lines on abandoned requests; writes nothing if none were planned.
pub(super) fn abandoned(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let (abandoned, answered, all) =
        (metrics.abandoned, metrics.answered_before_leaving, metrics.request_count());
    if abandoned > 0 {
        let share = percent(abandoned, all);
        writeln!(to, "Abandoned requests: {abandoned} of {all} ({share}), neither successful nor failed")?;
    }
    if abandoned + answered > 0 {
        let left_out = abandoned + answered;
        writeln!(
            to,
            "Latencies exclude the {left_out} requests that were scheduled to be abandoned; {answered} of them were answered first"
        )?;
    }
    Ok(())
}
