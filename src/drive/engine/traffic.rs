//! The sending side of a run: paces, caps, sends, gives up. One worker's share of it.

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
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use uuid::Uuid;

use super::alarm::Alarm;
use super::deal::Sessions;
use super::first_answers::FirstAnswers;
use super::leash::{Leashes, Pulled};
use super::leg::{Go, Leg, released};
use super::phase::HandOver;
use super::shared::{Shared, Start, message};
use super::slots::Slot;
use super::{Beat, GRACE, Plan, WarmupCount};
use crate::core::record::{Failure, FailureClass};
use crate::core::spec::History;
use crate::core::wall_time::WallTime;
use crate::drive::client::stopwatch::{Keep, KeepGaps, KeepText, Meters, Stopwatch, Story};
use crate::drive::client::{Client, Identity};
use crate::drive::clock::Clock;
use crate::drive::pacer::{Deadline, Pacer};
use crate::drive::workload::Request;
use crate::drive::workload::salt::Salter;

/// What goes to the collector, now and then.
pub enum Report {
    /// The measured traffic begins: its t0. Once, from whichever worker comes first.
    Started(WallTime),
    /// The state of things.
    Beat(Beat),
    /// Measured requests ended.
    Landed(Vec<Landed>),
}

/// An ended request, before its tokens are counted.
pub struct Landed {
    /// Its place in the schedule.
    pub ordinal: usize,
    /// Its `x-request-id`.
    pub id: String,
    /// What the stopwatch saw.
    pub story: Story,
}

const BEAT: Duration = Duration::from_millis(200);

/// One worker's requests; one thread, so no locks.
pub struct Traffic {
    worker: usize,
    client: Client,
    timeout: Duration,
    keep: Keep,
    history: History,
    meters: Rc<RefCell<Meters>>,
    /// What the unmeasured requests are measured into: nobody reads it.
    unmeasured: Rc<RefCell<Meters>>,
    sent: Cell<usize>,
    landed: Cell<usize>,
    /// Ended, and not yet reported: who reads the reports would be woken for each, often on the same core.
    unreported: RefCell<Vec<Landed>>,
    warmup: Cell<WarmupCount>,
    first_answers: Arc<FirstAnswers>,
    salter: Option<Salter>,
    reports: Sender<Report>,
    leashes: Leashes,
    alarm: Alarm,
    /// What the next request waits for.
    next: Rc<Deadline>,
}

/// One request on its way.
pub struct Flight {
    pub ordinal: usize,
    pub id: String,
    pub due: Duration,
    pub clock: Clock,
    pub measured: bool,
    pub body: bytes::Bytes,
    /// When it was due and there was a slot for it.
    pub released: Option<Duration>,
    /// Held until the outcome is known.
    pub slot: Option<Slot>,
    /// How long its user waits for the end.
    pub patience: Option<Duration>,
    /// The session that it is a turn of, and whether the next turn needs the answer.
    pub turn: Option<(Uuid, Listening)>,
}

/// Whether an answer is remembered for the next turn.
pub type Listening = bool;

/// A request that has come down, as far as the next turn of its session wants to know.
pub struct Flown {
    pub done: Option<Duration>,
    pub answered: bool,
    pub said: Option<String>,
}

impl Traffic {
    /// Nothing is sent yet.
    pub fn new(
        worker: usize,
        plan: &Plan<'_>,
        shared: &Shared<'_>,
        client: Client,
        reports: Sender<Report>,
    ) -> Rc<Self> {
        Rc::new(Self {
            worker,
            client,
            timeout: plan.target.timeout,
            keep: plan.keep,
            history: plan.history,
            meters: Rc::default(),
            unmeasured: Rc::default(),
            sent: Cell::default(),
            landed: Cell::default(),
            unreported: RefCell::default(),
            warmup: Cell::default(),
            first_answers: Arc::clone(&shared.first_answers),
            salter: plan.salter.clone(),
            reports,
            leashes: Leashes::new(plan.target.timeout),
            alarm: Alarm::default(),
            next: Rc::default(),
        })
    }

    /// Which of the workers it is.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// What a session's turn repeats of the turns before it.
    pub fn history(&self) -> History {
        self.history
    }

    /// A request as it is sent; `number` is the ordinal of the first request of its session.
    pub fn salted<'r>(&self, request: &'r Request, number: usize, measured: bool) -> Cow<'r, Request> {
        match &self.salter {
            Some(salter) => salter.salt(request, number, measured),
            None => Cow::Borrowed(request),
        }
    }

    /// Wakes users who think.
    pub fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// What the measured requests were measured into together.
    pub fn meters(&self) -> Meters {
        self.meters.borrow().clone()
    }

    /// Who sent.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends this worker's share of the plan, waits for the last request to land and reports it. A failure on the way is
    /// told to the other workers; what was measured until then is reported all the same.
    pub async fn run(self: &Rc<Self>, plan: &Plan<'_>, shared: &Shared<'_>, begun: Clock) -> WarmupCount {
        let mut flights = JoinSet::new();
        let whole_run = async {
            let sending = AssertUnwindSafe(self.send_all(plan, shared, begun, &mut flights)).catch_unwind();
            match sending.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.fail(error),
                Err(panic) => shared.fail(format_args!("a worker panicked: {}", message(&*panic))),
            }
            self.land(&mut flights, shared).await;
        };
        let alarm = async {
            shared.fail(self.alarm.watch().await);
            pending().await
        };
        tokio::select! {
            () = whole_run => {}
            never = self.leashes.watch() => never,
            never = alarm => match never {},
            never = self.watch_first_answers() => match never {},
        }
        self.report_landed();
        self.warmup.get()
    }

    async fn send_all(
        self: &Rc<Self>,
        plan: &Plan<'_>,
        shared: &Shared<'_>,
        begun: Clock,
        flights: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let workers = plan.workers.get();
        let mut pacer = Pacer::new(&self.next)?;
        let mut start: Box<dyn Fn() -> Clock> = Box::new(move || begun);
        if let Some(phase) = &plan.warmup {
            let sessions = Sessions::of(phase.requests);
            let leg = Leg { phase, sessions, measured: false, workers, clock: &|| begun };
            self.send(&leg, &mut pacer, shared, flights).await?;
            match phase.hand_over() {
                HandOver::At(offset) => start = Box::new(move || begun.later(offset)),
                HandOver::FreeSlot => start = Box::new(Clock::start),
                HandOver::Landed => {
                    self.land(flights, shared).await;
                    shared.past_warm_up().await;
                    start = Box::new(Clock::start);
                }
            }
        }
        let begin = || {
            let begun = Start::from(start());
            self.report(Report::Started(begun.wall));
            begun
        };
        let clock = || shared.measured.get_or_init(begin).clock;
        let beating = Clock::start();
        let _beat = AbortOnDrop(tokio::task::spawn_local(Rc::clone(self).beat(beating)));
        let sessions = Sessions::of(plan.measured.requests);
        let leg = Leg { phase: &plan.measured, sessions, measured: true, workers, clock: &clock };
        self.send(&leg, &mut pacer, shared, flights).await?;
        self.land(flights, shared).await;
        self.report_beat(beating);
        Ok(())
    }

    /// One worker looks for all whether the first requests fail alike.
    async fn watch_first_answers(&self) -> Infallible {
        if self.worker == 0 {
            self.first_answers.watch().await;
        }
        pending().await
    }

    /// Sends every request of the leg that is due before its end.
    async fn send(
        self: &Rc<Self>,
        leg: &Leg<'_>,
        pacer: &mut Pacer,
        shared: &Shared<'_>,
        flights: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let requests = leg.phase.requests;
        if leg.sessions.is_some() {
            return self.send_sessions(leg, pacer, shared, flights).await;
        }
        let end = leg.phase.total().unwrap_or(if requests.is_empty() { 0 } else { usize::MAX });
        for ordinal in (self.worker..end).step_by(leg.workers) {
            let request = &requests[ordinal % requests.len()];
            let body = self.client.body(&self.salted(request, ordinal, leg.measured));
            let id = shared.request_id(ordinal, leg.measured);
            #[cfg(test)]
            super::faults::fail_at(&id)?;
            let next = leg.next(ordinal, pacer, &shared.closed, shared.cap.as_ref()).await?;
            let Some(Go { due, slot }) = next else { break };
            let clock = (leg.clock)();
            let released = slot.as_ref().map(|slot| released(slot, due, clock));
            let (measured, patience) = (leg.measured, request.patience());
            let flight =
                Flight { ordinal, id, due, clock, measured, body, released, slot, patience, turn: None };
            launch(flights, shared, Rc::clone(self).fly(Box::new(flight)).map(drop));
            // It leaves before the next one is thought of, and answers are read between two of a burst.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Waits for what is in flight; after an interrupt only for [`GRACE`], or not at all.
    async fn land(&self, flights: &mut JoinSet<()>, shared: &Shared<'_>) {
        let out_of_time = async {
            shared.stop.cancelled().await;
            tokio::select! {
                () = tokio::time::sleep(GRACE) => {}
                () = shared.hurry.cancelled() => {}
            }
        };
        tokio::select! {
            () = all(flights, shared) => {}
            () = out_of_time => self.leashes.pull_all(),
        }
        all(flights, shared).await;
    }

    /// One request from sent to its end, whichever end that is.
    ///
    /// The flight is in a box for the same reason as [`Transport::send`](crate::drive::client::transport::Transport::send)'s
    /// parts are.
    pub async fn fly(self: Rc<Self>, mut flight: Box<Flight>) -> Flown {
        #[cfg(test)]
        super::faults::panic_at(&flight.id);
        let mut watch = self.stopwatch(&flight);
        if let Some(released) = flight.released {
            watch.released(released);
        }
        self.count_sent(flight.measured);
        let session = flight.turn.map(|(session, _)| session);
        let identity = Identity { request: &flight.id, session };
        let settled = |at| {
            if let Some(mut slot) = flight.slot.take() {
                slot.ended(flight.clock.instant(at));
            }
        };
        let sending = self.client.send(identity, flight.body, &mut watch, settled);
        let sending = self.looking(sending);
        let sent = match flight.patience {
            None => self.leashes.hold(pin!(sending)).await,
            // In a box, so that the others do not carry the room for it.
            Some(patience) => Box::pin(self.wait_for(patience, sending)).await,
        };
        let ended = sent.unwrap_or_else(|pulled| Err(self.pulled(pulled, &watch)));
        drop(flight.slot);
        let mut story = watch.conclude(ended);
        self.first_answers.note(&story.outcome);
        let (done, answered, said) = (story.times.done, story.outcome.is_ok(), story.said.take());
        if flight.measured {
            self.landed.set(self.landed.get() + 1);
            self.unreported.borrow_mut().push(Landed { ordinal: flight.ordinal, id: flight.id, story });
        } else if !answered {
            let count = self.warmup.get();
            self.warmup.set(WarmupCount { failed: count.failed + 1, ..count });
        }
        Flown { done, answered, said }
    }

    /// Looks at the clock after each step of a request: others may be due while many answers wait to be read.
    async fn looking<T>(&self, sending: impl Future<Output = T>) -> T {
        let mut sending = pin!(sending);
        poll_fn(|cx| {
            let polled = sending.as_mut().poll(cx);
            let now = self.client.last_read();
            self.next.look(now);
            self.alarm.look(now);
            polled
        })
        .await
    }

    /// One request that nobody waits for any longer than this: the connection is then dropped, as a browser does.
    async fn wait_for(
        &self,
        patience: Duration,
        sending: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Result<(), Failure>, Pulled> {
        let ended = self.leashes.hold(pin!(tokio::time::timeout(patience, sending))).await?;
        Ok(ended.unwrap_or_else(|_| {
            let after = format!("after {:.1} s, as it was to be", patience.as_secs_f64());
            Err(Failure::new(FailureClass::Abandoned, after))
        }))
    }

    /// A warm-up's gaps go nowhere.
    fn stopwatch(&self, flight: &Flight) -> Stopwatch {
        let watch = if flight.measured {
            Stopwatch::new(flight.clock, flight.due, self.keep, Rc::clone(&self.meters))
        } else {
            let keep = Keep { text: KeepText::Never, gaps: KeepGaps::Never };
            Stopwatch::new(flight.clock, flight.due, keep, Rc::clone(&self.unmeasured))
        };
        let watch = if flight.patience.is_some() { watch.leaving() } else { watch };
        if flight.turn.is_some_and(|(_, listening)| listening) { watch.listening() } else { watch }
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

    fn pulled(&self, why: Pulled, watch: &Stopwatch) -> Failure {
        match why {
            Pulled::OutOfTime => {
                let limit = humantime::format_duration(self.timeout);
                let detail = format!("no end within {limit}; --timeout sets the limit");
                Failure::new(FailureClass::Timeout(watch.phase()), detail)
            }
            Pulled::GivenUp => Failure::new(FailureClass::Cancelled, "interrupted while in flight"),
        }
    }

    async fn beat(self: Rc<Self>, start: Clock) {
        loop {
            tokio::time::sleep(BEAT).await;
            self.report_beat(start);
        }
    }

    fn report_landed(&self) {
        self.report(Report::Landed(self.unreported.take()));
    }

    /// What has ended, and how far it is; the last beat of a worker has nothing in flight.
    fn report_beat(&self, start: Clock) {
        self.report_landed();
        self.report(Report::Beat(Beat {
            worker: self.worker,
            elapsed: start.now(),
            sent: self.sent.get(),
            in_flight: self.sent.get() - self.landed.get(),
            gaps: self.meters.borrow().gaps,
        }));
    }

    fn report(&self, report: Report) {
        self.reports.send(report).expect("the collector reads until the traffic has ended");
    }
}

/// Sets a request or a session off, and looks at those that have ended.
pub fn launch(flights: &mut JoinSet<()>, shared: &Shared<'_>, task: impl Future<Output = ()> + 'static) {
    flights.spawn_local(task);
    while let Some(flown) = flights.try_join_next() {
        check(flown, shared);
    }
}

async fn all(flights: &mut JoinSet<()>, shared: &Shared<'_>) {
    while let Some(flown) = flights.join_next().await {
        check(flown, shared);
    }
}

/// A request that panicked must not vanish unseen: the run ends with it, and says so.
fn check(flown: Result<(), JoinError>, shared: &Shared<'_>) {
    if let Err(error) = flown {
        match error.try_into_panic() {
            Ok(panic) => shared.fail(format_args!("a request panicked: {}", message(&*panic))),
            Err(cancelled) => shared.fail(cancelled),
        }
    }
}

/// A task that goes with whoever holds this.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
