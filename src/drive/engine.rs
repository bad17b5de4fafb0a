//! The one driving loop: sends the requests of a [`Plan`] when they are due, and collects a Record of each.
//!
//! Traffic runs on [workers](Plan::workers): threads with a current-thread runtime, connections and histograms of their
//! own, among which requests are dealt by ordinal. They share the cap and the clock, and nothing that is touched per
//! token. What has ended goes down one channel to the caller's thread, which counts tokens, feeds the observer and
//! keeps the Records.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::time::Duration;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::client::ClientError;
use super::client::stopwatch::{Keep, Meters};
use super::clock::Clock;
use super::tokenizer::Tokenizer;
use super::workload::Request;
use super::workload::salt::Salter;
use crate::core::arrival::Schedule;
use crate::core::record::{Failure, Record};
use crate::core::spec::{History, Sampling, Target};
use crate::core::validity::Stamps;
use crate::core::wall_time::WallTime;

mod alarm;
mod collect;
mod deal;
mod dialogue;
#[cfg(test)]
mod faults;
mod first_answers;
mod leash;
mod leg;
mod limits;
mod phase;
mod shared;
mod slots;
mod traffic;
mod walk;
mod worker;

use collect::Collector;
pub use first_answers::WrongSetup;
pub use limits::prepare_descriptors;
use shared::Shared;
use worker::Crew;

/// How long requests in flight may go on after an interrupt.
pub const GRACE: Duration = Duration::from_secs(5);

/// What to send where, and when.
pub struct Plan<'a> {
    /// The server.
    pub target: &'a Target,
    /// How it is asked to generate.
    pub sampling: &'a Sampling,
    /// Unmeasured traffic that goes before; the measured phase takes over without a pause.
    pub warmup: Option<Phase<'a>>,
    /// The measured traffic.
    pub measured: Phase<'a>,
    /// At most this many in flight, over both phases and all workers.
    pub cap: Option<usize>,
    /// At most this many sessions active, over both phases and all workers.
    pub max_active: Option<usize>,
    /// What a session's turn repeats of the turns before it.
    pub history: History,
    /// What the Records hold beyond times and counts.
    pub keep: Keep,
    /// How many connections to open before the traffic begins.
    pub preconnect: usize,
    /// How many threads send.
    pub workers: NonZeroUsize,
    /// Send everything even where the first requests all fail as they do when the set-up is wrong.
    pub keep_going: bool,
    /// What gives each prompt a beginning of its own.
    pub salter: Option<Salter>,
}

/// Requests and when they are due. Where some are turns of sessions, the schedule is that of the sessions; a later turn is
/// due when the answer before it has ended and its user has thought.
#[derive(Debug, Clone)]
pub struct Phase<'a> {
    /// The requests, in the order of sending.
    pub requests: &'a [Request],
    /// When each, or each session, is due, from the phase's start.
    pub schedule: Schedule,
    /// Start over when the requests are used up: only sensible with a `duration`.
    pub cycle: bool,
    /// Send nothing that is due after this.
    pub duration: Option<Duration>,
}

impl Phase<'_> {
    /// How many requests will be sent; `None` if only the duration says.
    pub fn total(&self) -> Option<usize> {
        (!self.cycle).then_some(self.requests.len())
    }
}

/// What the observer sees.
pub enum Event<'a> {
    /// The measured traffic begins, at this t0; a paced warm-up may leave it up to one arrival ahead.
    Started(WallTime),
    /// Five times a second from each worker.
    Beat(Beat),
    /// A measured request ended.
    Done(&'a Record),
}

/// The state of one worker's measured traffic at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Which worker, from 0.
    pub worker: usize,
    /// Since t0.
    pub elapsed: Duration,
    /// Requests sent so far.
    pub sent: usize,
    /// Requests sent and not ended.
    pub in_flight: usize,
    /// Gaps between output events so far.
    pub gaps: u64,
}

/// Asks a run to end: nothing more is sent, and what is in flight has all the time it needs, [`GRACE`] to finish, or no time at all.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    closed: CancellationToken,
    asked: CancellationToken,
    hurried: CancellationToken,
}

impl Stop {
    /// Asks for nothing more to be sent. All that is in flight is waited for.
    pub fn send_no_more(&self) {
        self.closed.cancel();
    }

    /// Asks.
    pub fn request(&self) {
        self.closed.cancel();
        self.asked.cancel();
    }

    /// Asks, and gives up on what is in flight.
    pub fn request_at_once(&self) {
        self.hurried.cancel();
        self.request();
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        self.closed.is_cancelled()
    }
}

/// What a run left behind.
pub struct Outcome {
    /// t0, which every offset counts from, by the wall clock; of a run that ended within its warm-up, when that began.
    pub t0: WallTime,
    /// Every measured request that was due before the end, in the order of the schedule.
    pub records: Vec<Record>,
    /// What the measured requests were measured into together, failed ones included.
    pub meters: Meters,
    /// Who said when bytes arrived.
    pub stamps: Stamps,
    /// The largest step of the wall clock during the run; zero for none.
    pub clock_step: Duration,
    /// How many files and sockets the process may have open.
    pub descriptors: Option<u64>,
    /// Whether our prompt lengths are the server's.
    pub agreement: Agreement,
    /// The unmeasured requests.
    pub warmup: WarmupCount,
    /// What sending cost each worker.
    pub efforts: Vec<Effort>,
    /// Whether [`Stop`] cut it short.
    pub interrupted: bool,
    /// What went wrong in the client itself, and so ended the run early: errors of the system, panics.
    pub client_errors: Vec<String>,
    /// Why no request was answered, where that ended the run.
    pub wrong_setup: Option<WrongSetup>,
}

/// Our counts of prompt tokens against the server's usage, over the requests that both counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Whether ours are guesses, for want of a tokenizer.
    pub is_estimate: bool,
    /// Tokens by our count.
    pub ours: u64,
    /// Tokens by the server's usage.
    pub servers: u64,
    /// By how much its counts were above ours.
    pub more: u64,
    /// By how much its counts were below ours.
    pub less: u64,
}

/// The unmeasured requests of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WarmupCount {
    /// How many were sent.
    pub sent: usize,
    /// How many of them failed.
    pub failed: usize,
}

/// What a worker's thread spent on its traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Processor time.
    pub cpu: Duration,
    /// Time.
    pub wall: Duration,
}

/// Why there was no traffic.
#[derive(Debug, Error)]
pub enum DriveError {
    /// The target cannot be talked to, whatever the server does.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The connections to open beforehand could not be.
    #[error("--preconnect: {0}")]
    Preconnect(Failure),
    /// The client failed before a measured request had ended.
    #[error("the client failed before the first request ended: {0}")]
    Nothing(String),
    /// The machine refused what every run needs: a thread, a timer, an event loop.
    #[error("cannot start sending: {0}")]
    Machine(#[from] io::Error),
}

/// Sends the plan's requests and returns when the last has ended.
///
/// # Errors
/// [`DriveError`]: only where no measured request has ended.
pub fn drive(
    plan: &Plan<'_>,
    tokenizer: &Tokenizer,
    stop: &Stop,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, DriveError> {
    let descriptors = prepare_descriptors();
    let (to_collector, from_workers) = mpsc::channel();
    let shared = Shared::new(plan, stop);
    let ((records, agreement), begun, ends) = std::thread::scope(|scope| {
        let crew = Crew::muster(scope, plan, &shared, &to_collector)?;
        drop(to_collector);
        let begun = Clock::start();
        crew.go(begun);
        let records = Collector::new(plan, tokenizer).collect(&from_workers, observe);
        Ok::<_, DriveError>((records, begun, crew.join(&shared)))
    })?;
    let wrong_setup = shared.first_answers.wrong_setup();
    let t0 = shared.measured.get().map_or_else(|| begun.wall_time(), |start| start.wall);
    let client_errors = shared.into_failures();
    if let (true, Some(error)) = (records.is_empty(), client_errors.first()) {
        return Err(DriveError::Nothing(error.clone()));
    }
    let mut outcome = Outcome {
        t0,
        records,
        agreement,
        meters: Meters::default(),
        stamps: Stamps::Kernel,
        clock_step: Duration::ZERO,
        descriptors,
        warmup: WarmupCount::default(),
        efforts: Vec::new(),
        interrupted: stop.is_requested(),
        client_errors,
        wrong_setup,
    };
    for end in ends {
        outcome.meters.merge(&end.meters);
        if end.stamps == Stamps::Reader {
            outcome.stamps = Stamps::Reader;
        }
        outcome.clock_step = outcome.clock_step.max(end.clock_step);
        outcome.warmup.sent += end.warmup.sent;
        outcome.warmup.failed += end.warmup.failed;
        outcome.efforts.push(end.effort);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests;
