//! The load while it is measured, over all workers and all clients: its progress, its checks, and its early end.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::event::{Event, LoadProgress, Phase};
use super::membership::{Exchange, Membership};
use crate::loadgen::{FirstResponses, LoadEvent, LoadPlan, SetupFailure, StopHandle, WorkerProgress};
use crate::model::record::Record;
use crate::model::run_spec::Spec;
use crate::model::validity::ChecksSoFar;

/// The time between two judgments of the load so far.
const JUDGMENT_INTERVAL: Duration = Duration::from_secs(1);

/// The time between two looks at the load of the other clients.
const EXCHANGE_INTERVAL: Duration = Duration::from_millis(50);

/// Who receives the events of a load.
pub(super) struct LoadObservers<'o> {
    /// Receives those of this client's own load.
    pub own: &'o mut dyn FnMut(&Event<'_>),
    /// Receives those of the load of all clients.
    pub all: &'o mut dyn FnMut(&Event<'_>),
}

/// The other clients of a shared load.
struct OtherClients<'a> {
    membership: &'a dyn Membership,
    /// Checks whether the first requests of all clients fail alike.
    first_responses: Arc<FirstResponses>,
    progress: LoadProgress,
}

/// A load that is being measured.
pub(super) struct LiveLoad<'a> {
    spec: &'a Spec,
    stop: &'a StopHandle,
    /// The number of requests whose progress this client shows; `None` if only the duration limits it.
    total: Option<usize>,
    duration: Option<Duration>,
    others: Option<OtherClients<'a>>,
    /// The latest progress of each worker.
    workers: Vec<Option<WorkerProgress>>,
    /// When this client's measured load began, and its latest progress.
    began: Option<Instant>,
    own: LoadProgress,
    sum: LoadProgress,
    is_draining: bool,
    checks: ChecksSoFar,
    judged_at: Duration,
}

impl<'a> LiveLoad<'a> {
    /// A load that begins. With `keep_going`, requests that all fail do not end it.
    pub(super) fn new(
        spec: &'a Spec,
        plan: &LoadPlan<'_>,
        stop: &'a StopHandle,
        others: Option<(&'a dyn Membership, bool)>,
    ) -> Self {
        Self {
            spec,
            stop,
            total: (!plan.measured.cycle).then(|| plan.share.shown_count(plan.measured.requests)),
            duration: plan.measured.duration,
            others: others.map(|(membership, keep_going)| OtherClients {
                membership,
                first_responses: FirstResponses::new(stop, keep_going),
                progress: LoadProgress::default(),
            }),
            workers: vec![None; plan.workers.get()],
            began: None,
            own: LoadProgress::default(),
            sum: LoadProgress::default(),
            is_draining: false,
            checks: ChecksSoFar::default(),
            judged_at: Duration::ZERO,
        }
    }

    /// The number of requests whose progress this client shows; `None` if only the duration limits it.
    pub(super) fn total(&self) -> Option<usize> {
        self.total
    }

    /// Handles an event of the load generator, and emits the corresponding events of the run.
    pub(super) fn take(&mut self, event: &LoadEvent<'_>, to: &mut LoadObservers<'_>) {
        match event {
            LoadEvent::Started(t0) => {
                self.began = Some(Instant::now());
                (to.own)(&Event::Started(*t0));
                (to.all)(&Event::Started(*t0));
            }
            LoadEvent::Done(record) => {
                (to.own)(&Event::RequestEnded(record));
                self.note_ended(record, to);
            }
            LoadEvent::Progress(beat) => {
                self.workers[beat.worker] = Some(*beat);
                let workers = || self.workers.iter().flatten();
                self.own = LoadProgress {
                    elapsed: beat.elapsed,
                    sent: workers().map(|beat| beat.sent).sum(),
                    in_flight: workers().map(|beat| beat.in_flight).sum(),
                    gaps: workers().map(|beat| beat.gaps).sum(),
                };
                (to.own)(&Event::Progress(self.own));
                self.update(to);
            }
        }
    }

    /// Goes on with the load of the other clients after this client's own has ended.
    pub(super) fn wait_for_others(&mut self, to: &mut LoadObservers<'_>) {
        let Some(membership) = self.others.as_ref().map(|others| others.membership) else { return };
        // The reports of the workers are a little older than their end.
        self.own.in_flight = 0;
        while membership.awaits_others() {
            thread::sleep(EXCHANGE_INTERVAL);
            self.own.elapsed = self.began.map_or(self.own.elapsed, |began| began.elapsed());
            self.update(to);
        }
        self.update(to);
    }

    /// Why the server answered no request of any client, if that ended the load.
    pub(super) fn setup_failure(&self) -> Option<SetupFailure> {
        self.others.as_ref()?.first_responses.setup_failure()
    }

    /// The number of measured requests in flight, over all clients.
    pub(super) fn in_flight(&self) -> u64 {
        self.sum.in_flight as u64
    }

    /// Adds a request of any client that ended.
    fn note_ended(&mut self, record: &Record, to: &mut LoadObservers<'_>) {
        self.checks.add_record(record);
        self.others.iter().for_each(|others| others.first_responses.record_ended(record));
        (to.all)(&Event::RequestEnded(record));
    }

    /// Adds up the progress of all clients, and emits it.
    fn update(&mut self, to: &mut LoadObservers<'_>) {
        self.exchange(to);
        let others = self.others.as_ref().map(|others| others.progress).unwrap_or_default();
        self.sum = LoadProgress {
            elapsed: self.own.elapsed,
            sent: self.own.sent + others.sent,
            in_flight: self.own.in_flight + others.in_flight,
            gaps: self.own.gaps + others.gaps,
        };
        if !self.is_draining && self.has_sent_all() {
            self.is_draining = true;
            (to.all)(&Event::Phase(Phase::Draining));
        }
        (to.all)(&Event::Progress(self.sum));
        if self.sum.elapsed.saturating_sub(self.judged_at) >= JUDGMENT_INTERVAL {
            self.judged_at = self.sum.elapsed;
            (to.all)(&Event::ChecksSoFar(&self.checks.judge(self.spec)));
        }
    }

    /// Takes what the other clients reported, and ends the load as the first client says.
    fn exchange(&mut self, to: &mut LoadObservers<'_>) {
        let Some(others) = &mut self.others else { return };
        let Exchange { ended, others: progress, end } =
            others.membership.exchange(self.own, self.stop.load_end());
        others.progress = progress;
        self.stop.request_end(end);
        others.first_responses.check_patience(self.own.sent + progress.sent);
        ended.iter().for_each(|record| self.note_ended(record, to));
    }

    /// Whether all requests are sent and some are still in flight.
    fn has_sent_all(&self) -> bool {
        let is_over = self.duration.is_some_and(|duration| self.sum.elapsed >= duration);
        self.sum.in_flight > 0 && (is_over || self.total == Some(self.sum.sent))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::client::request_timer::{Capture, CaptureText};
    use crate::loadgen::{LoadPhase, LoadShare};
    use crate::model::arrival::Schedule;
    use crate::model::run_spec::{HistoryMode, Sampling};
    use crate::runner::options::RecordDetail;
    use crate::testing::{queue, scripted_server};

    /// The last report of a worker whose requests have all ended comes before those of the others.
    #[test]
    fn each_report_of_any_worker_gives_the_progress_of_all() {
        let target = scripted_server::target("http", 8000);
        let sampling = Sampling::default();
        let phase =
            LoadPhase { requests: (&[]).into(), schedule: Schedule::Closed, cycle: true, duration: None };
        let plan = LoadPlan {
            target: &target,
            sampling: &sampling,
            warmup: None,
            measured: phase,
            cap: None,
            max_active: None,
            history: HistoryMode::None,
            capture: Capture { text: CaptureText::Never, gaps: RecordDetail::NONE.gaps },
            most_records: None,
            preconnect: 0,
            workers: NonZeroUsize::new(2).unwrap(),
            keep_going: false,
            salter: None,
            share: LoadShare::default(),
        };
        let (spec, stop) = (queue::spec(queue::closed_load(4)), StopHandle::default());
        let mut live = LiveLoad::new(&spec, &plan, &stop, None);
        let mut sums = Vec::new();
        let mut report = |worker, seconds, sent, in_flight| {
            let elapsed = Duration::from_secs(seconds);
            let beat = WorkerProgress { worker, elapsed, sent, in_flight, gaps: 10 * sent as u64 };
            let mut all = |event: &Event<'_>| {
                if let Event::Progress(LoadProgress { elapsed, sent, in_flight, gaps }) = event {
                    sums.push((elapsed.as_secs(), *sent, *in_flight, *gaps));
                }
            };
            let mut to = LoadObservers { own: &mut |_| {}, all: &mut all };
            live.take(&LoadEvent::Progress(beat), &mut to);
        };
        report(0, 1, 5, 2);
        report(1, 1, 4, 3);
        report(0, 2, 6, 0);
        report(1, 9, 7, 1);
        assert_eq!(sums, [(1, 5, 2, 50), (1, 9, 5, 90), (2, 10, 3, 100), (9, 13, 1, 130)]);
    }
}
