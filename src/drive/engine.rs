//! The one driving loop: sends the requests of a [`Plan`] when they are due, and collects a Record of each.
//!
//! Traffic runs on a thread of its own with a current-thread runtime, where nothing needs a lock; what is finished goes
//! down one channel to the caller's thread, which counts tokens, feeds the observer and keeps the Records.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use jiff::Zoned;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::client::stopwatch::Keep;
use super::tokenizer::Tokenizer;
use super::workload::Request;
use crate::core::arrival::Schedule;
use crate::core::record::Record;
use crate::core::stats::Tally;

mod collect;
mod traffic;

/// How long requests in flight may go on after an interrupt.
pub const GRACE: Duration = Duration::from_secs(5);

/// What to send, and when.
pub struct Plan<'a> {
    /// The requests, in the order of sending.
    pub requests: &'a [Request],
    /// When each is due.
    pub schedule: Schedule,
    /// Start over when the requests are used up: only sensible with a `duration`.
    pub cycle: bool,
    /// At most this many in flight.
    pub cap: Option<usize>,
    /// Send nothing after this.
    pub duration: Option<Duration>,
    /// The time one request may take from sent.
    pub timeout: Duration,
    /// Connections to open before t0.
    pub preconnect: usize,
    /// What the Records hold beyond times and counts.
    pub keep: Keep,
}

impl Plan<'_> {
    /// How many requests will be sent; `None` if only the duration says.
    pub fn total(&self) -> Option<usize> {
        (!self.cycle).then_some(self.requests.len())
    }
}

/// What the observer sees.
pub enum Event<'a> {
    /// Five times a second.
    Beat(Beat),
    /// A request ended.
    Done(&'a Record),
}

/// The state of the traffic at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Since t0.
    pub elapsed: Duration,
    /// Requests sent so far.
    pub sent: usize,
    /// Requests sent and not ended.
    pub in_flight: usize,
    /// Output events so far.
    pub events: u64,
}

/// Asks a run to end: nothing more is sent, and what is in flight has [`GRACE`] to finish.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Asks.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// What a run left behind.
pub struct Outcome {
    /// When t0 was, by the wall clock.
    pub started: Zoned,
    /// Every request that was due before the end, in the order of the schedule.
    pub records: Vec<Record>,
    /// Every gap between output events.
    pub itl: Tally,
    /// Whether [`Stop`] cut it short.
    pub interrupted: bool,
}

/// Sends the plan's requests and returns when the last has ended.
///
/// Errors only where the machine refuses what every run needs: a thread, a timer, an event loop.
pub fn drive(
    plan: &Plan<'_>,
    client: Client,
    tokenizer: &Tokenizer,
    stop: &Stop,
    observe: &mut dyn FnMut(Event<'_>),
) -> io::Result<Outcome> {
    let started = Zoned::now();
    let (to_collector, from_traffic) = mpsc::channel();
    let collector = collect::Collector::new(plan, tokenizer);
    let (itl, records) = std::thread::scope(|scope| {
        let traffic = std::thread::Builder::new()
            .name("traffic".into())
            .spawn_scoped(scope, move || traffic::run(plan, client, &stop.0, to_collector))?;
        let records = collector.collect(&from_traffic, observe);
        let itl = traffic.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        io::Result::Ok((itl, records))
    })?;
    Ok(Outcome { started, records, itl, interrupted: stop.is_requested() })
}
