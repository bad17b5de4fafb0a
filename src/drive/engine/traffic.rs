//! The sending side of a run, on its own thread: paces, caps, sends, gives up.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Beat, GRACE, Plan};
use crate::core::record::{Failure, FailureClass};
use crate::core::stats::Tally;
use crate::drive::client::Client;
use crate::drive::client::stopwatch::{Keep, Meters, Stopwatch, Story};
use crate::drive::clock::Clock;
use crate::drive::pacer::Pacer;
use crate::drive::priority;

/// What goes to the collector.
pub enum Report {
    /// The state of things, now and then.
    Beat(Beat),
    /// A request ended.
    Landed(Box<Landed>),
}

/// An ended request, before its tokens are counted.
pub struct Landed {
    /// Its place in the schedule.
    pub ordinal: usize,
    /// Its `x-request-id`.
    pub id: Uuid,
    /// What the stopwatch saw.
    pub story: Story,
}

const BEAT: Duration = Duration::from_millis(200);

/// Runs the plan to its end and returns every gap between output events.
pub fn run(
    plan: &Plan<'_>,
    client: Client,
    stop: &CancellationToken,
    reports: Sender<Report>,
) -> io::Result<Tally> {
    priority::raise_this_thread();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local
        .block_on(&runtime, client.preconnect(plan.preconnect))
        .map_err(|failure| io::Error::other(failure.to_string()))?;
    let traffic = Rc::new(Traffic {
        client,
        clock: Clock::start(),
        timeout: plan.timeout,
        keep: plan.keep,
        meters: Rc::default(),
        sent: Cell::new(0),
        landed: Cell::new(0),
        reports,
        give_up: CancellationToken::new(),
    });
    local.block_on(&runtime, async {
        let beat = tokio::task::spawn_local(Rc::clone(&traffic).beat());
        let ended = dispatch(&traffic, plan, stop).await;
        beat.abort();
        ended
    })?;
    let itl = traffic.meters.borrow().itl.clone();
    Ok(itl)
}

/// What every request in flight shares; one thread, so no locks.
struct Traffic {
    client: Client,
    clock: Clock,
    timeout: Duration,
    keep: Keep,
    meters: Rc<RefCell<Meters>>,
    sent: Cell<usize>,
    landed: Cell<usize>,
    reports: Sender<Report>,
    /// The grace period is over.
    give_up: CancellationToken,
}

/// One request on its way.
struct Flight {
    ordinal: usize,
    due: Duration,
    body: bytes::Bytes,
    /// Held until the request has ended.
    permit: Option<OwnedSemaphorePermit>,
}

/// Sends every request that is due before the end, then waits for the last to land.
async fn dispatch(traffic: &Rc<Traffic>, plan: &Plan<'_>, stop: &CancellationToken) -> io::Result<()> {
    let mut pacer = Pacer::new()?;
    let cap = plan.cap.map(|cap| Arc::new(Semaphore::new(cap)));
    let mut flights = JoinSet::new();
    let rounds = if plan.cycle { usize::MAX } else { 1 };
    for (ordinal, request) in (0..rounds).flat_map(|_| plan.requests).enumerate() {
        let body = traffic.client.body(&request.prompt, request.max_tokens);
        let ready = async {
            let scheduled = plan.schedule.due(ordinal);
            if let Some(due) = scheduled {
                pacer.until(traffic.clock.instant(due)).await?;
            }
            let permit = acquire(cap.as_ref()).await;
            io::Result::Ok((scheduled.unwrap_or_else(|| traffic.clock.now()), permit))
        };
        let (due, permit) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            ready = ready => ready?,
        };
        if plan.duration.is_some_and(|end| due > end) {
            break;
        }
        flights.spawn_local(Rc::clone(traffic).fly(Flight { ordinal, due, body, permit }));
        while flights.try_join_next().is_some() {}
    }
    land(flights, &traffic.give_up, stop).await;
    Ok(())
}

async fn acquire(cap: Option<&Arc<Semaphore>>) -> Option<OwnedSemaphorePermit> {
    let permit = Arc::clone(cap?).acquire_owned().await;
    Some(permit.expect("the semaphore is never closed"))
}

/// Waits for what is in flight; after an interrupt only for [`GRACE`].
async fn land(mut flights: JoinSet<()>, give_up: &CancellationToken, stop: &CancellationToken) {
    let out_of_time = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = async { while flights.join_next().await.is_some() {} } => {}
        () = out_of_time => give_up.cancel(),
    }
    while flights.join_next().await.is_some() {}
}

impl Traffic {
    /// One request from sent to its end, whichever end that is.
    async fn fly(self: Rc<Self>, flight: Flight) {
        let id = Uuid::new_v4();
        let mut watch = Stopwatch::new(self.clock, flight.due, self.keep, Rc::clone(&self.meters));
        self.sent.set(self.sent.get() + 1);
        let ended = tokio::select! {
            ended = self.client.send(id, flight.body, &mut watch) => ended.map_err(Some),
            () = tokio::time::sleep(self.timeout) => Err(None),
            () = self.give_up.cancelled() => {
                Err(Some(Failure::new(FailureClass::Cancelled, "interrupted while in flight")))
            }
        };
        let ended = ended.map_err(|failure| failure.unwrap_or_else(|| self.out_of_time(&watch)));
        drop(flight.permit);
        self.landed.set(self.landed.get() + 1);
        let landed = Landed { ordinal: flight.ordinal, id, story: watch.conclude(ended) };
        self.report(Report::Landed(Box::new(landed)));
    }

    fn out_of_time(&self, watch: &Stopwatch) -> Failure {
        let detail =
            format!("no end within {}; --timeout sets the limit", humantime::format_duration(self.timeout));
        Failure::new(FailureClass::Timeout(watch.phase()), detail)
    }

    async fn beat(self: Rc<Self>) {
        loop {
            tokio::time::sleep(BEAT).await;
            self.report(Report::Beat(Beat {
                elapsed: self.clock.now(),
                sent: self.sent.get(),
                in_flight: self.sent.get() - self.landed.get(),
                events: self.meters.borrow().itl.len(),
            }));
        }
    }

    fn report(&self, report: Report) {
        self.reports.send(report).expect("the collector reads until the traffic has ended");
    }
}
