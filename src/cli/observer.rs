//! Shows on stderr what happens during runs.

use std::sync::{Arc, Mutex, PoisonError};

use super::advice;
use super::exit::print_stderr;
use super::interrupt::InterruptSignal;
use super::load_display::LoadDisplay;
use super::target::warn_insecure;
use crate::dataset::PrepareProgress as PreparationProgress;
use crate::report::client_metrics::ClientMetrics;
use crate::report::live_run::LiveGoal;
use crate::report::progress::{ProgressMode, ProgressReporter, ProgressUnit};
use crate::runner::{Event, Observer, Phase, Warning};

/// Shows progress in the given mode, and all other events as lines. From the start of the load on, the first signal
/// leaves time for a report.
pub(super) fn observer(
    medium: ProgressMode,
    interrupts: &InterruptSignal,
    metrics: Option<Arc<ClientMetrics>>,
) -> Observer {
    let display = Mutex::new(Display::new(medium));
    let interrupts = interrupts.clone();
    Arc::new(move |event| {
        if let Some(metrics) = &metrics {
            count(metrics, event);
        }
        // A panic elsewhere must not hide behind a second one here.
        let mut display = display.lock().unwrap_or_else(PoisonError::into_inner);
        display.show(event);
        if let Event::Phase(Phase::WarmUp { .. } | Phase::Measuring { .. }) = event {
            interrupts.allow_report();
        }
        if let Event::Warning(Warning::InsecureTls) = event {
            display.beside_bar(warn_insecure);
        } else if let Some(line) = line(event) {
            display.beside_bar(|| print_stderr(line));
        }
    })
}

/// Returns the line to print for an event; `None` for an event without one.
fn line(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Stopping { grace } => {
            let grace = humantime::format_duration(*grace);
            Some(format!(
                "interrupted: {grace} for requests in flight, then the report; again to end at once"
            ))
        }
        Event::Repeat { number, of, seed } => Some(format!("run {number} of {of}, seed {seed}")),
        Event::Step { number, of, load } => Some(format!("step {number} of {of}: {load}")),
        Event::Warning(warning) => Some(format!("warning: {}", advice::on_warning(warning))),
        Event::Note(note) => Some(advice::on_note(note)),
        _ => None,
    }
}

/// Updates the client's own metrics.
fn count(metrics: &ClientMetrics, event: &Event<'_>) {
    match event {
        Event::RequestEnded(record) => metrics.record_ended(record),
        Event::Progress(progress) => metrics.set_sent(progress.sent as u64),
        _ => {}
    }
}

/// What is shown of the phases of a run, one at a time.
struct Display {
    medium: ProgressMode,
    preparing: Preparing,
    /// The bar of a phase that only takes time: waiting, warm-up.
    phase: Option<ProgressReporter>,
    load: Option<LoadDisplay>,
    /// The run among several that is being measured.
    part: Option<String>,
}

impl Display {
    fn new(medium: ProgressMode) -> Self {
        Self { medium, preparing: Preparing::new(medium), phase: None, load: None, part: None }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Preparing(progress) => {
                self.clear_phase();
                self.preparing.show(*progress);
            }
            Event::Phase(phase) => self.enter(*phase),
            Event::Repeat { number, of, .. } => self.part = Some(format!("run {number} of {of}")),
            Event::Step { number, of, load } => self.part = Some(format!("step {number} of {of}: {load}")),
            _ => self.load.iter_mut().for_each(|load| load.show(event)),
        }
    }

    fn enter(&mut self, phase: Phase) {
        if phase == Phase::Draining {
            return self.load.iter_mut().for_each(LoadDisplay::drain);
        }
        self.clear_phase();
        self.preparing.clear();
        if let Some(load) = self.load.take() {
            load.finish();
        }
        match phase {
            Phase::Preparing => self.wait("preparing"),
            Phase::WaitingForServer => {
                if self.medium == ProgressMode::Lines {
                    print_stderr("waiting for the server");
                }
                self.wait("waiting for the server");
            }
            Phase::WarmUp { .. } => self.wait("warm-up"),
            Phase::Measuring { requests, duration } => {
                let goal = LiveGoal { part: self.part.clone(), requests, duration };
                self.load = Some(LoadDisplay::new(goal, self.medium));
            }
            _ => {}
        }
    }

    /// Shows that a phase without a known end takes time.
    fn wait(&mut self, name: &'static str) {
        self.phase = Some(ProgressReporter::new(name, None, ProgressUnit::Time, self.medium).tick());
    }

    fn clear_phase(&mut self) {
        if let Some(bar) = self.phase.take() {
            bar.finish();
        }
    }

    /// Writes lines beside the bar or the panel, which would else be drawn over them.
    fn beside_bar(&mut self, write: impl FnOnce()) {
        match (&mut self.load, self.phase.as_ref().or(self.preparing.bar())) {
            (Some(load), _) => load.suspend(write),
            (None, Some(bar)) => bar.suspend(write),
            (None, None) => write(),
        }
    }
}

/// The bars of the preparation, shown in sequence: reading, then counting.
pub(super) struct Preparing {
    medium: ProgressMode,
    bar: Option<(ProgressUnit, ProgressReporter)>,
}

impl Preparing {
    /// Creates the display with no bar shown.
    pub(super) fn new(medium: ProgressMode) -> Self {
        Self { medium, bar: None }
    }

    /// Shows the progress of the preparation.
    pub(super) fn show(&mut self, progress: PreparationProgress) {
        let (name, unit, position, total) = match progress {
            PreparationProgress::Reading { bytes, total } => ("reading", ProgressUnit::Bytes, bytes, total),
            PreparationProgress::Tokenizing { done, of } => {
                ("tokenizing", ProgressUnit::Count, done as u64, Some(of as u64))
            }
        };
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != unit) {
            self.clear();
            self.bar = Some((unit, ProgressReporter::new(name, total, unit, self.medium)));
        }
        if let Some((_, bar)) = &mut self.bar {
            bar.show(position, String::new);
        }
    }

    fn bar(&self) -> Option<&ProgressReporter> {
        self.bar.as_ref().map(|(_, bar)| bar)
    }

    /// Removes the bar from the screen.
    pub(super) fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish();
        }
    }
}
