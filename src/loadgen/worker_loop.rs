//! The loop of one worker: it paces, limits, sends and cancels its share of a run's requests.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::phase::WarmupHandoff;
use super::shared::{StartTime, WorkerShared, panic_message};
use super::slots::Slot;
use super::{DRAIN_TIMEOUT, LoadPlan, WarmupCount, WorkerProgress};
use crate::client::clock::RunClock;
use crate::client::request_timer::{
    Capture, CaptureGaps, CaptureText, RequestSummary, RequestTimer, StreamStats,
};
use crate::client::{Client, RequestIdentity};
use crate::dataset::salt::PromptSalter;
use crate::loadgen::cancel::{AbortReason, CancelRegistry};
use crate::loadgen::first_responses::FirstResponses;
use crate::loadgen::pacer::{Pacer, PacerDeadline};
use crate::loadgen::peak_cpu::PeakCpuUsage;
use crate::loadgen::phase_context::{PhaseContext, SendPermit, release_time};
use crate::loadgen::priority::thread_cpu;
use crate::loadgen::timer_queue::TimerQueue;
use crate::loadgen::worker_tasks::{AbortOnDrop, join_all, spawn_request};
use crate::model::record::{Failure, FailureClass};
use crate::model::request::Request;
use crate::model::request_id::RequestId;
use crate::model::run_spec::HistoryMode;
use crate::model::wall_time::WallTime;

/// A message from a worker to the collector.
pub(super) enum WorkerReport {
    /// The measured phase begins at this t0. The first worker that gets there sends this once.
    Started(WallTime),
    /// The progress of the worker.
    Progress(WorkerProgress),
    /// Measured requests that have ended.
    Completed(Vec<CompletedRequest>),
}

/// A request that has ended, before its tokens are counted.
pub(super) struct CompletedRequest {
    /// The index of the request in the schedule.
    pub ordinal: usize,
    /// The `x-request-id` that was sent.
    pub id: Option<RequestId>,
    /// What the request timer measured.
    pub summary: RequestSummary,
}

const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// The requests of one worker. They run on one thread, so no locks are needed.
pub(super) struct WorkerLoop {
    worker: usize,
    client: Client,
    timeout: Duration,
    capture: Capture,
    history: HistoryMode,
    stream_stats: Rc<RefCell<StreamStats>>,
    /// The statistics of the unmeasured requests. Nothing reads them.
    unmeasured: Rc<RefCell<StreamStats>>,
    sent: Cell<usize>,
    completed: Cell<usize>,
    /// Completed requests that are not yet reported. Reporting each one alone would wake the collector each time, often
    /// on the same core.
    unreported: RefCell<Vec<CompletedRequest>>,
    warmup: Cell<WarmupCount>,
    first_answers: Arc<FirstResponses>,
    salter: Option<PromptSalter>,
    reports: Sender<WorkerReport>,
    cancels: CancelRegistry,
    timers: TimerQueue,
    /// The due time that the next request waits for.
    next: Rc<PacerDeadline>,
    busiest: RefCell<PeakCpuUsage>,
}

/// A request that is being sent or answered.
pub(super) struct InFlightRequest {
    pub ordinal: usize,
    pub id: Option<RequestId>,
    pub due: Duration,
    pub clock: RunClock,
    pub measured: bool,
    pub body: bytes::Bytes,
    /// When the request was due and had a slot.
    pub released: Option<Duration>,
    /// The request's slot. It is held until the outcome is known.
    pub slot: Option<Slot>,
    /// How long the user waits for the end of the answer before leaving.
    pub patience: Option<Duration>,
    /// The maximum number of tokens in the answer.
    pub limit: Option<u32>,
    /// The session that the request is a turn of, and whether the next turn needs the answer.
    pub turn: Option<(Uuid, KeepsAnswer)>,
}

/// Whether an answer is kept for the next turn.
pub(super) type KeepsAnswer = bool;

/// What the next turn of a session needs from a finished request.
pub(super) struct TurnResult {
    pub done: Option<Duration>,
    pub answered: bool,
    pub output_text: Option<String>,
}

impl WorkerLoop {
    /// Creates the loop. It sends nothing yet.
    pub(super) fn new(
        worker: usize,
        plan: &LoadPlan<'_>,
        shared: &WorkerShared<'_>,
        client: Client,
        reports: Sender<WorkerReport>,
    ) -> Rc<Self> {
        Rc::new(Self {
            worker,
            client,
            timeout: plan.target.timeout,
            capture: plan.capture,
            history: plan.history,
            stream_stats: Rc::default(),
            unmeasured: Rc::default(),
            sent: Cell::default(),
            completed: Cell::default(),
            unreported: RefCell::default(),
            warmup: Cell::default(),
            first_answers: Arc::clone(&shared.first_answers),
            salter: plan.salter.clone(),
            reports,
            cancels: CancelRegistry::new(plan.target.timeout),
            timers: TimerQueue::default(),
            next: Rc::default(),
            busiest: RefCell::default(),
        })
    }

    /// The number of this worker, from 0.
    pub(super) fn worker(&self) -> usize {
        self.worker
    }

    /// What each turn of a session repeats of the turns before it.
    pub(super) fn history(&self) -> HistoryMode {
        self.history
    }

    /// The request with its unique prefix, if the plan has one. `number` is the ordinal of the first request of its
    /// session.
    pub(super) fn salted_request<'r>(
        &self,
        request: &'r Request,
        number: usize,
        measured: bool,
    ) -> Cow<'r, Request> {
        match &self.salter {
            Some(salter) => salter.salt(request, number, measured),
            None => Cow::Borrowed(request),
        }
    }

    /// The due time that the next request waits for.
    pub(super) fn deadline(&self) -> &Rc<PacerDeadline> {
        &self.next
    }

    /// Wakes the sessions whose think time is over.
    pub(super) fn timers(&self) -> &TimerQueue {
        &self.timers
    }

    /// The combined statistics of the measured requests.
    pub(super) fn stream_stats(&self) -> StreamStats {
        self.stream_stats.borrow().clone()
    }

    /// The share of a core that the measured phase used over its busiest five seconds.
    pub(super) fn peak_cpu_share(&self) -> f64 {
        self.busiest.borrow().peak_share()
    }

    /// The HTTP client of this worker.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends this worker's share of the plan, waits for the last request to complete, and reports it. A failure stops
    /// the other workers too. What was measured until then is still reported.
    pub(super) async fn run(
        self: &Rc<Self>,
        plan: &LoadPlan<'_>,
        shared: &WorkerShared<'_>,
        begun: RunClock,
    ) -> WarmupCount {
        let mut tasks = JoinSet::new();
        let whole_run = async {
            let sending = AssertUnwindSafe(self.send_all(plan, shared, begun, &mut tasks)).catch_unwind();
            match sending.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.fail(error),
                Err(panic) => shared.fail(format_args!("a worker panicked: {}", panic_message(&*panic))),
            }
            self.drain(&mut tasks, shared).await;
        };
        let alarm = async {
            shared.fail(self.timers.run_until_error().await);
            pending().await
        };
        tokio::select! {
            () = whole_run => {}
            never = self.cancels.enforce_timeouts() => never,
            never = alarm => match never {},
            never = self.watch_first_answers() => match never {},
        }
        self.report_completed();
        self.warmup.get()
    }

    async fn send_all(
        self: &Rc<Self>,
        plan: &LoadPlan<'_>,
        shared: &WorkerShared<'_>,
        begun: RunClock,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let (workers, shard) = (plan.workers.get(), plan.share.shard);
        let mut pacer = Pacer::new(self.deadline())?;
        let mut start: Box<dyn Fn() -> RunClock> = Box::new(move || begun);
        if let Some(phase) = &plan.warmup {
            let sessions = shared.sessions.warmup.as_ref();
            let due = RefCell::new(phase.schedule.reader());
            let context =
                PhaseContext { phase, due, sessions, measured: false, workers, shard, clock: &|| begun };
            self.send_phase(&context, &mut pacer, shared, tasks).await?;
            match phase.warmup_handoff() {
                WarmupHandoff::At(offset) => {
                    start = Box::new(move || begun.later(offset));
                    // What accompanies the measured load begins at t0, not when the last warm-up request is sent.
                    tokio::select! {
                        biased;
                        () = shared.closed.cancelled() => {}
                        slept = pacer.sleep_until(begun.instant(offset)) => slept?,
                    }
                }
                WarmupHandoff::FreeSlot => start = Box::new(RunClock::start),
                WarmupHandoff::Drained => {
                    self.drain(tasks, shared).await;
                    shared.wait_for_warmup().await;
                    start = Box::new(RunClock::start);
                }
            }
        }
        let begin = || {
            let begun = StartTime::from(start());
            shared.warmup_end.reach(begun.clock.instant(Duration::ZERO));
            self.report(WorkerReport::Started(begun.wall));
            begun
        };
        let clock = || shared.measured.get_or_init(begin).clock;
        let beating = RunClock::start();
        let _beat = AbortOnDrop(tokio::task::spawn_local(Rc::clone(self).report_periodically(beating)));
        let (phase, sessions) = (&plan.measured, shared.sessions.measured.as_ref());
        let due = RefCell::new(phase.schedule.reader());
        let context = PhaseContext { phase, due, sessions, measured: true, workers, shard, clock: &clock };
        self.send_phase(&context, &mut pacer, shared, tasks).await?;
        self.drain(tasks, shared).await;
        self.report_progress(beating);
        Ok(())
    }

    /// Checks whether the first requests fail alike. Only one worker does this, for all of them.
    async fn watch_first_answers(&self) -> Infallible {
        if self.worker == 0 {
            self.first_answers.watch_patience().await;
        }
        pending().await
    }

    /// Sends every request of the phase that is due before its end.
    async fn send_phase(
        self: &Rc<Self>,
        context: &PhaseContext<'_>,
        pacer: &mut Pacer,
        shared: &WorkerShared<'_>,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let requests = context.phase.requests;
        if context.sessions.is_some() {
            return self.send_sessions(context, pacer, shared, tasks).await;
        }
        let mut reader = requests.reader();
        for ordinal in context.numbers(self.worker) {
            let request = reader.get(ordinal % requests.len());
            let body = self.client.body(&self.salted_request(&request, ordinal, context.measured));
            let id = shared.request_id(ordinal, context.measured);
            #[cfg(test)]
            crate::loadgen::test_faults::fail_at(id.as_ref())?;
            let next = context.next_permit(ordinal, pacer, &shared.closed, shared.cap.as_ref()).await?;
            let Some(SendPermit { due, slot }) = next else { break };
            let clock = (context.clock)();
            let released = slot.as_ref().map(|slot| release_time(slot, due, clock));
            let (measured, patience, limit) =
                (context.measured, request.patience(), self.client.max_output_tokens(&request));
            let in_flight = InFlightRequest {
                ordinal,
                id,
                due,
                clock,
                measured,
                body,
                released,
                slot,
                patience,
                limit,
                turn: None,
            };
            spawn_request(tasks, shared, Rc::clone(self).execute(Box::new(in_flight)).map(drop));
            // The request leaves before the next one is prepared, and answers are read between two requests of a burst.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Waits for in-flight requests: after an interrupt only for [`DRAIN_TIMEOUT`], and after an abort not at all.
    async fn drain(&self, tasks: &mut JoinSet<()>, shared: &WorkerShared<'_>) {
        let out_of_time = async {
            shared.stop.cancelled().await;
            tokio::select! {
                () = tokio::time::sleep(DRAIN_TIMEOUT) => {}
                () = shared.abort.cancelled() => {}
            }
        };
        tokio::select! {
            () = join_all(tasks, shared) => {}
            () = out_of_time => self.cancels.cancel_all(),
        }
        join_all(tasks, shared).await;
    }

    /// Runs one request from the send to its end, whatever the outcome.
    ///
    /// The request is boxed for the same reason as the parts of
    /// [`Transport::send`](crate::client::transport::Transport::send).
    pub(super) async fn execute(self: Rc<Self>, mut in_flight: Box<InFlightRequest>) -> TurnResult {
        #[cfg(test)]
        crate::loadgen::test_faults::panic_at(in_flight.id.as_ref());
        let mut timer = self.request_timer(&in_flight);
        if let Some(released) = in_flight.released {
            timer.mark_released(released);
        }
        self.count_sent(in_flight.measured);
        let session = in_flight.turn.map(|(session, _)| session);
        let id = in_flight.id.as_ref().map(RequestId::to_string);
        let identity = RequestIdentity { request: id.as_deref(), session };
        let settled = |at| {
            if let Some(mut slot) = in_flight.slot.take() {
                slot.set_ended(in_flight.clock.instant(at));
            }
        };
        let sending = self.client.send(identity, in_flight.body, &mut timer, settled);
        let sending = self.with_due_checks(sending);
        let sent = match in_flight.patience {
            None => self.cancels.run_cancellable(pin!(sending)).await,
            // Boxed, so that requests without a patience limit do not carry its size.
            Some(patience) => Box::pin(self.with_patience(patience, sending)).await,
        };
        let ended = sent.unwrap_or_else(|pulled| Err(self.abort_failure(pulled, &timer)));
        drop(in_flight.slot);
        let mut story = timer.finish(ended);
        self.first_answers.record_outcome(&story.outcome);
        let (done, answered, said) = (story.times.done(), story.outcome.is_ok(), story.visible_text.take());
        if answered && in_flight.measured && in_flight.turn.is_some_and(|(_, listening)| listening) {
            let mut stream_stats = self.stream_stats.borrow_mut();
            stream_stats.turns += 1;
            stream_stats.silent_turns += u64::from(said.as_deref().is_none_or(|said| said.trim().is_empty()));
        }
        if in_flight.measured {
            self.completed.set(self.completed.get() + 1);
            self.unreported.borrow_mut().push(CompletedRequest {
                ordinal: in_flight.ordinal,
                id: in_flight.id,
                summary: story,
            });
        } else if !answered {
            let count = self.warmup.get();
            self.warmup.set(WarmupCount { failed: count.failed + 1, ..count });
        }
        TurnResult { done, answered, output_text: said }
    }

    /// Checks the deadline after each step of a request: other requests may be due while many answers wait to be read.
    async fn with_due_checks<T>(&self, sending: impl Future<Output = T>) -> T {
        let mut sending = pin!(sending);
        poll_fn(|cx| {
            let polled = sending.as_mut().poll(cx);
            let now = self.client.last_read();
            self.next.wake_if_due(now);
            self.timers.fire_due(now);
            polled
        })
        .await
    }

    /// Runs one request that the user abandons after `patience`. The connection is then dropped, as a browser does.
    async fn with_patience(
        &self,
        patience: Duration,
        sending: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Result<(), Failure>, AbortReason> {
        let ended = self.cancels.run_cancellable(pin!(tokio::time::timeout(patience, sending))).await?;
        Ok(ended.unwrap_or_else(|_| {
            let after = format!("after {:.1} s, as planned", patience.as_secs_f64());
            Err(Failure::new(FailureClass::Abandoned, after))
        }))
    }

    /// Creates the timer of a request. The gaps of a warm-up request are discarded.
    fn request_timer(&self, in_flight: &InFlightRequest) -> RequestTimer {
        let timer = if in_flight.measured {
            RequestTimer::new(in_flight.clock, in_flight.due, self.capture, Rc::clone(&self.stream_stats))
        } else {
            let keep = Capture { text: CaptureText::Never, gaps: CaptureGaps::Never };
            RequestTimer::new(in_flight.clock, in_flight.due, keep, Rc::clone(&self.unmeasured))
        };
        let timer = timer.with_token_limit(in_flight.limit);
        let timer = if in_flight.patience.is_some() { timer.with_early_cancel() } else { timer };
        if in_flight.turn.is_some_and(|(_, listening)| listening) { timer.with_history_text() } else { timer }
    }

    fn count_sent(&self, measured: bool) {
        self.first_answers.count_sent();
        if measured {
            self.sent.set(self.sent.get() + 1);
        } else {
            let count = self.warmup.get();
            self.warmup.set(WarmupCount { sent: count.sent + 1, ..count });
        }
    }

    fn abort_failure(&self, why: AbortReason, timer: &RequestTimer) -> Failure {
        match why {
            AbortReason::TimedOut => {
                let limit = humantime::format_duration(self.timeout);
                let detail = format!("no end within {limit}, the limit of `target.timeout`");
                Failure::new(FailureClass::Timeout(timer.phase()), detail)
            }
            AbortReason::Cancelled => Failure::new(FailureClass::Cancelled, "interrupted while in flight"),
        }
    }

    async fn report_periodically(self: Rc<Self>, start: RunClock) {
        self.record_cpu();
        loop {
            tokio::time::sleep(PROGRESS_INTERVAL).await;
            self.report_progress(start);
        }
    }

    fn report_completed(&self) {
        self.report(WorkerReport::Completed(self.unreported.take()));
    }

    /// Reports completed requests and the worker's progress. The last report of a worker has nothing in flight.
    fn report_progress(&self, start: RunClock) {
        self.record_cpu();
        self.report_completed();
        self.report(WorkerReport::Progress(WorkerProgress {
            worker: self.worker,
            elapsed: start.now(),
            sent: self.sent.get(),
            in_flight: self.sent.get() - self.completed.get(),
            gaps: self.stream_stats.borrow().gaps,
        }));
    }

    /// Records the CPU usage of the calling thread. Spinning for due times does not count as usage.
    pub(super) fn record_cpu(&self) {
        self.busiest.borrow_mut().record_usage(Instant::now(), thread_cpu(), self.next.spun());
    }

    fn report(&self, report: WorkerReport) {
        self.reports.send(report).expect("the collector reads until the traffic has ended");
    }
}
