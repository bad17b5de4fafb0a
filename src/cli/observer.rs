//! Shows on stderr what happens during runs.

use std::sync::{Arc, Mutex};

use super::advice;
use super::exit::print_stderr;
use super::interrupt::InterruptSignal;
use super::target::warn_insecure;
use crate::dataset::PrepareProgress as PreparationProgress;
use crate::report::client_metrics::ClientMetrics;
use crate::report::progress::{LiveStats, ProgressMode, ProgressReporter, ProgressUnit};
use crate::runner::{Event, LoadProgress, Observer, Phase, Warning};

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
        let mut display = display.lock().expect("a bar does not panic");
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

/// The progress bars, one at a time. Each names the phase of the run.
struct Display {
    medium: ProgressMode,
    preparing: Preparing,
    /// The bar of a phase that only takes time: waiting, warm-up.
    phase: Option<ProgressReporter>,
    load: Option<ProgressReporter>,
    live: LiveStats,
    latest: LoadProgress,
}

impl Display {
    fn new(medium: ProgressMode) -> Self {
        Self {
            medium,
            preparing: Preparing::new(medium),
            phase: None,
            load: None,
            live: LiveStats::default(),
            latest: LoadProgress::default(),
        }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Preparing(progress) => {
                self.clear_phase();
                self.preparing.show(*progress);
            }
            Event::Phase(phase) => self.enter(*phase),
            Event::RequestEnded(record) => {
                self.live.record_ended(record.ttft(), record.is_failure());
                self.draw();
            }
            Event::Progress(progress) => {
                self.live.update(progress.elapsed, progress.gaps);
                self.latest = *progress;
                self.draw();
            }
            _ => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        if phase == Phase::Draining {
            self.load.iter_mut().for_each(|bar| bar.rename("draining"));
            return self.draw();
        }
        self.clear_phase();
        self.preparing.clear();
        if let Some(bar) = self.load.take() {
            bar.finish();
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
            Phase::Measuring { requests } => {
                let bar = ProgressReporter::new("measuring", requests, ProgressUnit::Count, self.medium);
                self.load = Some(bar.tick());
                self.live = LiveStats::default();
                self.latest = LoadProgress::default();
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

    /// Writes lines beside the bar, which would else be drawn over them.
    fn beside_bar(&self, write: impl FnOnce()) {
        match self.load.as_ref().or(self.phase.as_ref()).or(self.preparing.bar()) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn draw(&mut self) {
        let (live, latest) = (&self.live, self.latest);
        if let Some(bar) = &mut self.load {
            bar.show(live.ended_count(), || live.progress_note(latest.sent, latest.in_flight));
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
