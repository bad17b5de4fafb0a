//! Connects a running trial to its early-stopping rule.

use crate::analysis::search::early_stop::{EarlyStop, TrialCommand, TrialProgress};
use crate::analysis::search::trial::TrialEnd;
use crate::loadgen::StopHandle;
use crate::runner::Event;

/// Observes a trial's events, and stops the trial early when its outcome is clear.
pub(super) struct TrialObserver<'a> {
    watch: EarlyStop<'a>,
    /// The last command of the early-stopping rule.
    order: Option<TrialCommand>,
}

impl<'a> TrialObserver<'a> {
    /// Observes a trial that is about to begin.
    pub(super) fn new(watch: EarlyStop<'a>) -> Self {
        Self { watch, order: None }
    }

    /// Processes an event, and stops the load when the outcome is clear.
    pub(super) fn take(&mut self, event: &Event<'_>, stop: &StopHandle) {
        match event {
            Event::RequestEnded(record) => self.watch.add_record(record),
            // Progress of any worker counts, since a worker whose requests have all ended reports none.
            Event::Progress(progress) if self.order != Some(TrialCommand::End) => {
                let pulse = TrialProgress {
                    elapsed: progress.elapsed,
                    sent: progress.sent,
                    in_flight: progress.in_flight,
                };
                self.order = self.watch.update(pulse).or(self.order);
            }
            _ => {}
        }
        match self.order {
            None => {}
            Some(TrialCommand::SendNoMore) => stop.stop_sending(),
            Some(TrialCommand::End) => stop.abort(),
        }
    }

    /// Returns how the trial ended.
    pub(super) fn ending(&self) -> TrialEnd {
        self.watch.ending()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::analysis::search::LoadAxis;
    use crate::analysis::search::evidence::Criterion;
    use crate::analysis::search::trial::TrialPlan;
    use crate::model::run_spec::Slo;
    use crate::runner::LoadProgress;

    /// A worker whose requests have all ended reports nothing more. The trial still ends when its patience is over, by
    /// the sums that the reports of any other worker cause.
    #[test]
    fn progress_ends_a_trial_that_waits_for_answers_whichever_worker_reports_it() {
        let criteria = ["ttft.p95<500ms".parse().map(Criterion::Rule).unwrap()];
        let next = TrialPlan {
            number: 1,
            load: 4.0,
            length: Duration::from_secs(10),
            warmup: Duration::ZERO,
            seed: 0,
            patience: Duration::from_secs(30),
            bracketing: false,
        };
        let slo = Slo::default();
        let mut observer = TrialObserver::new(EarlyStop::new(&criteria, &slo, LoadAxis::Concurrency, next));
        let stop = StopHandle::default();
        let mut report = |seconds| {
            let elapsed = Duration::from_secs(seconds);
            let progress = LoadProgress { elapsed, sent: 8, in_flight: 2, ..LoadProgress::default() };
            observer.take(&Event::Progress(progress), &stop);
            stop.is_requested()
        };
        assert!(!(1..=40).any(&mut report), "the patience of 30 s begins when the last request is sent");
        assert!(report(42));
        assert_eq!(observer.ending(), TrialEnd::CutShort);
    }
}
