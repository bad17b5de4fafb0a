//! The load generator: sends the requests of a [`LoadPlan`] when they are due, and collects a Record of each.
//!
//! The [workers](LoadPlan::workers) are threads. Each has its own current-thread runtime, connections and histograms.
//! Requests are distributed over the workers by ordinal. The workers share the concurrency limit and the clock, and
//! nothing that is touched per token. They send completed requests through one channel to the caller's thread, which
//! counts tokens, calls the observer and keeps the Records. Tokens that only the server can count are counted after the
//! load.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::info;
use uuid::Uuid;

use super::client::ClientError;
use super::tokenizer::Tokenizer;
use crate::client::clock::RunClock;
use crate::client::request_timer::Capture;
use crate::dataset::requests::RequestRange;
use crate::dataset::salt::PromptSalter;
use crate::dataset::sessions;
use crate::model::arrival::Schedule;
use crate::model::record::{Failure, Record};
use crate::model::record_log::PackedRecords;
use crate::model::run_spec::{HistoryMode, Sampling, Target};
use crate::model::shard::Shard;
use crate::model::wall_time::WallTime;

mod cancel;
mod descriptor_limits;
mod first_responses;
mod history;
mod late_counts;
mod observations;
pub(crate) mod pacer;
mod peak_cpu;
mod phase;
mod phase_context;
pub(crate) mod priority;
mod record_collector;
mod session_index;
mod session_task;
mod shared;
mod slots;
#[cfg(test)]
mod test_faults;
mod text_comparison;
mod timer_queue;
mod worker;
mod worker_loop;
mod worker_tasks;

pub(crate) use crate::loadgen::descriptor_limits::prepare_descriptors;
pub(crate) use crate::loadgen::first_responses::{FirstResponses, SetupFailure, is_sign_of_setup};
pub(crate) use crate::loadgen::late_counts::UncountedAnswers;
pub(crate) use crate::loadgen::observations::{ClientObservations, TokenAgreement, WarmupCount};
use crate::loadgen::record_collector::{CollectedRecords, RecordCollector};
use shared::WorkerShared;
use worker::WorkerPool;

/// How long before the common start of several clients this one begins to spin: a thread that sleeps wakes late.
const SPIN_BEFORE_START: Duration = Duration::from_millis(1);

/// How long in-flight requests may continue after an interrupt.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What a load consists of: the target, the requests, and when they are sent.
pub struct LoadPlan<'a> {
    /// The server that receives the requests.
    pub target: &'a Target,
    /// The sampling parameters of every request.
    pub sampling: &'a Sampling,
    /// The unmeasured warm-up phase. The measured phase follows without a pause.
    pub warmup: Option<LoadPhase<'a>>,
    /// The measured phase.
    pub measured: LoadPhase<'a>,
    /// The maximum number of in-flight requests, over both phases and all workers; `None` means no limit.
    pub cap: Option<usize>,
    /// The maximum number of active sessions, over both phases and all workers; `None` means no limit.
    pub max_active: Option<usize>,
    /// What each turn of a session repeats of the turns before it.
    pub history: HistoryMode,
    /// What the Records hold in addition to times and counts.
    pub capture: Capture,
    /// The number of Records above which the result has none of them, because the observer keeps them; `None` without a
    /// limit.
    pub most_records: Option<usize>,
    /// The number of connections to open before the first request is sent.
    pub preconnect: usize,
    /// The number of worker threads.
    pub workers: NonZeroUsize,
    /// Whether to send every request even if the first requests all fail in the way that a wrong set-up causes.
    pub keep_going: bool,
    /// Adds a unique prefix to each prompt; `None` leaves the prompts as they are.
    pub salter: Option<PromptSalter>,
    /// This client's share of the load.
    pub share: LoadShare<'a>,
}

/// The share of a load that this client sends, and when it begins. [`LoadShare::default`] is all of it, now.
#[derive(Clone, Copy)]
pub struct LoadShare<'a> {
    /// The requests and sessions that this client sends. Limits of the plan are those of this client.
    pub(crate) shard: Shard,
    /// What the request ids of the run have in common.
    pub(crate) nonce: Uuid,
    /// Waits until all clients are ready, and returns the instant at which the load begins; `None` begins at once.
    pub(crate) start: Option<StartSignal<'a>>,
}

/// Returns the instant at which all clients begin, or why they do not.
pub(crate) type StartSignal<'a> = &'a (dyn Fn() -> Result<Instant, String> + Sync);

impl LoadShare<'_> {
    /// The number of requests whose progress this client shows: its own, but those of all clients if it is the first.
    pub(crate) fn shown_count(&self, requests: RequestRange<'_>) -> usize {
        match self.shard.index() {
            0 => requests.len(),
            _ => sessions::shared_count(requests, self.shard),
        }
    }

    /// Waits for the start of the load, and returns its clock.
    fn wait_for_start(&self) -> Result<RunClock, LoadError> {
        let Some(signal) = self.start else { return Ok(RunClock::start()) };
        let start = signal().map_err(LoadError::NotStarted)?;
        let left = || start.saturating_duration_since(Instant::now());
        std::thread::sleep(left().saturating_sub(SPIN_BEFORE_START));
        while !left().is_zero() {
            std::hint::spin_loop();
        }
        Ok(RunClock::from_instant(start))
    }
}

impl Default for LoadShare<'_> {
    fn default() -> Self {
        Self { shard: Shard::WHOLE, nonce: Uuid::new_v4(), start: None }
    }
}

/// Requests and when they are due. If some requests are turns of sessions, the schedule is that of the sessions. A
/// later turn is due when the previous answer has ended and the user's think time is over.
#[derive(Debug, Clone)]
pub struct LoadPhase<'a> {
    /// The requests, in the order of sending.
    pub requests: RequestRange<'a>,
    /// When each request, or each session, is due, measured from the start of the phase.
    pub schedule: Schedule,
    /// Whether to start over when all requests are sent. This is only sensible with a `duration`.
    pub cycle: bool,
    /// The length of the phase. No request that is due later is sent.
    pub duration: Option<Duration>,
}

impl LoadPhase<'_> {
    /// The number of requests that will be sent; `None` if only the duration limits it.
    pub fn total(&self) -> Option<usize> {
        (!self.cycle).then_some(self.requests.len())
    }
}

/// What the observer receives.
pub enum LoadEvent<'a> {
    /// The measured phase begins, at this t0, which has passed. With a paced warm-up, the first arrival may be up to
    /// one gap later.
    Started(WallTime),
    /// The progress of one worker. Each worker reports five times a second.
    Progress(WorkerProgress),
    /// A measured request ended.
    Done(&'a Record),
}

/// The progress of one worker in the measured phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerProgress {
    /// The number of the worker, from 0.
    pub worker: usize,
    /// The time since t0.
    pub elapsed: Duration,
    /// The number of requests sent until now.
    pub sent: usize,
    /// The number of requests that are sent and have not ended.
    pub in_flight: usize,
    /// The number of gaps between output events until now.
    pub gaps: u64,
}

/// Ends a run early: no more requests are sent. In-flight requests have no time limit ([`StopHandle::stop_sending`]),
/// `DRAIN_TIMEOUT` ([`StopHandle::request_stop`]), or no time at all ([`StopHandle::abort`]).
#[derive(Debug, Clone, Default)]
pub struct StopHandle {
    closed: CancellationToken,
    requested: CancellationToken,
    aborted: CancellationToken,
}

impl StopHandle {
    /// Stops sending. The run waits for every in-flight request.
    pub fn stop_sending(&self) {
        self.closed.cancel();
    }

    /// Stops sending, and gives in-flight requests [`DRAIN_TIMEOUT`] to finish.
    pub fn request_stop(&self) {
        self.closed.cancel();
        self.requested.cancel();
    }

    /// Stops sending, and cancels every in-flight request.
    pub fn abort(&self) {
        self.aborted.cancel();
        self.request_stop();
    }

    /// Whether any of the three methods was called.
    pub fn is_requested(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// How the load is to end, as far as that was requested.
    pub(crate) fn load_end(&self) -> LoadEnd {
        match (self.closed.is_cancelled(), self.requested.is_cancelled(), self.aborted.is_cancelled()) {
            (_, _, true) => LoadEnd::Abort,
            (_, true, _) => LoadEnd::Drain,
            (true, ..) => LoadEnd::SendNoMore,
            _ => LoadEnd::Planned,
        }
    }

    /// Requests this end, unless a quicker one was requested.
    pub(crate) fn request_end(&self, end: LoadEnd) {
        match end {
            LoadEnd::Planned => {}
            LoadEnd::SendNoMore => self.stop_sending(),
            LoadEnd::Drain => self.request_stop(),
            LoadEnd::Abort => self.abort(),
        }
    }
}

/// How a load ends, the quickest last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum LoadEnd {
    /// When all requests are sent and have ended.
    #[default]
    Planned,
    /// [`StopHandle::stop_sending`].
    SendNoMore,
    /// [`StopHandle::request_stop`].
    Drain,
    /// [`StopHandle::abort`].
    Abort,
}

/// The result of a load. Its Records are packed until [`LoadResult::unpack`].
pub struct LoadResult<Records = Vec<Record>> {
    /// Every measured request that was due before the end. Unpacked Records are in the order of the schedule.
    pub records: Records,
    /// What the client observed besides the Records.
    pub observed: ClientObservations,
    /// Why the server answered no request, if that ended the run.
    pub setup_failure: Option<SetupFailure>,
    /// The answers whose tokens the server is to count now that the load has ended.
    pub(crate) uncounted: UncountedAnswers,
}

impl LoadResult<PackedRecords> {
    /// Returns the same result with the Records as values. In a run of millions of requests, free other large memory
    /// first, above all the requests.
    pub fn unpack(self) -> LoadResult {
        LoadResult {
            records: self.records.into_records(),
            observed: self.observed,
            setup_failure: self.setup_failure,
            uncounted: self.uncounted,
        }
    }
}

/// Why the load was not sent.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The client cannot be set up for the target, whatever the server does.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The client could not open the connections of `preconnect`.
    #[error("`load.preconnect`: {0}")]
    Preconnect(Failure),
    /// The client failed before a measured request had ended.
    #[error("the client failed before the first request ended: {0}")]
    Nothing(String),
    /// The clients of a shared load did not begin.
    #[error("{0}")]
    NotStarted(String),
    /// The operating system refused a thread, a timer or an event loop.
    #[error("cannot start sending: {0}")]
    Machine(#[from] io::Error),
}

/// Sends the plan's requests and returns when the last has ended.
///
/// # Errors
/// `LoadError`, only if no measured request has ended.
pub fn run_load(
    plan: &LoadPlan<'_>,
    tokenizer: &Tokenizer,
    stop: &StopHandle,
    observe: &mut dyn FnMut(LoadEvent<'_>),
) -> Result<LoadResult, LoadError> {
    let mut outcome = run_load_packed(plan, tokenizer, stop, observe)?;
    let records = std::mem::take(&mut outcome.records);
    let late = outcome.count_answers(tokenizer, &|| true, &mut |take| {
        records.iter().for_each(|record| take(&record));
        Ok(())
    })?;
    outcome.records = match late.is_empty() {
        true => records,
        false => records.with_counts(&late.into_iter().map(|counts| (counts.ordinal, counts)).collect()),
    };
    Ok(outcome.unpack())
}

/// Like [`run_load`], but packs the Records into a quarter of the memory, so that the caller can free the requests
/// before it unpacks them, and lets the server [count the answers](LoadResult::count_answers) that only it can count.
///
/// # Errors
/// [`LoadError`], only if no measured request has ended.
pub(crate) fn run_load_packed(
    plan: &LoadPlan<'_>,
    tokenizer: &Tokenizer,
    stop: &StopHandle,
    observe: &mut dyn FnMut(LoadEvent<'_>),
) -> Result<LoadResult<PackedRecords>, LoadError> {
    let descriptors = prepare_descriptors();
    let (to_collector, from_workers) = mpsc::channel();
    let shared = WorkerShared::new(plan, stop);
    let (collected, begun, ends) = std::thread::scope(|scope| {
        let pool = WorkerPool::spawn(scope, plan, &shared, &to_collector)?;
        drop(to_collector);
        log_plan(plan);
        let _abort = AbortOnPanic(stop);
        let begun = plan.share.wait_for_start()?;
        pool.start(begun);
        let collected = RecordCollector::new(plan, shared.sessions.measured.clone(), tokenizer)
            .collect(&from_workers, observe);
        Ok::<_, LoadError>((collected, begun, pool.join(&shared)))
    })?;
    let wrong_setup = shared.first_answers.setup_failure();
    let t0 = shared.measured.get().map_or_else(|| begun.wall_time(), |start| start.wall);
    let client_errors = shared.into_failures();
    let CollectedRecords { records, agreement, claims, uncounted } = collected;
    if let (true, Some(error)) = (records.is_empty(), client_errors.first()) {
        return Err(LoadError::Nothing(error.clone()));
    }
    let mut observed = ClientObservations {
        agreement,
        claims,
        descriptors,
        interrupted: stop.is_requested(),
        client_errors,
        ..ClientObservations::new(t0)
    };
    info!(
        records = records.len(),
        interrupted = observed.interrupted,
        "all requests have ended: the load is over"
    );
    for end in ends {
        observed.stream_stats.merge(&end.stream_stats);
        observed.timestamp_source = observed.timestamp_source.max(end.timestamp_source);
        observed.clock_step = observed.clock_step.max(end.clock_step);
        observed.warmup.add(end.warmup);
        observed.worker_cpu.push(end.cpu);
    }
    Ok(LoadResult { records, observed, setup_failure: wrong_setup, uncounted })
}

/// Aborts the load if its caller's thread panics: the scope would else wait until all requests are sent.
struct AbortOnPanic<'a>(&'a StopHandle);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abort();
        }
    }
}

fn log_plan(plan: &LoadPlan<'_>) {
    let LoadPlan { measured, cap, preconnect, .. } = plan;
    let warmup = plan.warmup.as_ref().map_or(0, |phase| phase.requests.len());
    let (requests, workers) = (measured.total(), plan.workers.get());
    let duration = measured.duration.map(tracing::field::debug);
    info!(workers, preconnect, cap, warmup, requests, duration, "sending begins");
}

#[cfg(test)]
mod tests;
