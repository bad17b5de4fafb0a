//! Controls the server's profiler, which runs during the whole measurement or during a part of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::error::Error;
use super::event::{Event, Note, Observer, Warning};
use super::measure::InFlightCount;
use super::metrics_client::MetricsClient;
use super::options::RunOptions;
use super::scraper;
use super::session::Session;
use super::stop::StopHandle;
use crate::client::admin::{AdminClient, AdminError};
use crate::model::profile::{ProfileReport, ProfileTrigger, ProfilerCall};
use crate::model::run_spec::Target;

const START: &str = "/start_profile";
const STOP: &str = "/stop_profile";

/// How often the trigger checks whether the server is busy.
const EVERY: Duration = Duration::from_millis(500);

/// How long a profile with a trigger runs if no duration is given.
const DURATION: Duration = Duration::from_secs(5);

/// The timeout of a profiler request. A server that stops its profiler writes the profile first, which takes minutes
/// for a large model.
const PATIENCE: Duration = Duration::from_secs(600);

/// A longer wait is reported as a note.
const SOON: Duration = Duration::from_secs(3);

/// The profiler task, from before the measurement until after it.
pub(super) struct Profiler {
    /// Dropped when the measurement is over.
    over: oneshot::Sender<()>,
    capture: JoinHandle<ProfileReport>,
}

/// The start of the measured load.
pub(super) struct RunStart {
    pub in_flight: watch::Receiver<InFlightCount>,
    pub after_warm_up: bool,
}

impl Profiler {
    /// Starts the profiler, or waits for its trigger; `None` if no profile is wanted. If there is no warm-up, the
    /// profiler runs before the first request is sent.
    pub(super) fn start(
        options: &RunOptions,
        target: &Target,
        session: &Session,
        start: RunStart,
    ) -> Result<Option<Self>, Error> {
        let Some(wanted) = options.profiler else { return Ok(None) };
        let waits = wanted.trigger != ProfileTrigger::Begin;
        let task = ProfilerTask {
            trigger: wanted.trigger,
            duration: wanted.duration.or(waits.then_some(DURATION)),
            control: Arc::clone(session.control()),
            pages: scraper::pages(options, target, session)?,
            stop: session.stop_handle().clone(),
            observer: session.observer().clone(),
            in_flight: start.in_flight,
        };
        info!(trigger = ?task.trigger, "the server's profiler will run");
        let at_once = !waits && !start.after_warm_up;
        let start = at_once.then(|| session.wait_for(task.start())).transpose()?;
        let (over, is_over) = oneshot::channel();
        Ok(Some(Self { over, capture: session.runtime().spawn(task.run(start, is_over)) }))
    }

    /// Stops the profiler if it still runs. A profiler failure does not affect the measurement.
    pub(super) fn stop(self, session: &Session) -> ProfileReport {
        drop(self.over);
        let capture = session.runtime().block_on(self.capture);
        let capture = capture.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        if let Some(trouble) = capture.failure_reason() {
            session.emit(&Event::Warning(Warning::Profiler(trouble)));
        }
        capture
    }
}

/// Takes one profile.
struct ProfilerTask {
    trigger: ProfileTrigger,
    duration: Option<Duration>,
    control: Arc<AdminClient>,
    pages: Option<MetricsClient>,
    stop: StopHandle,
    observer: Observer,
    in_flight: watch::Receiver<InFlightCount>,
}

impl ProfilerTask {
    /// Waits for the trigger, runs the profiler, and stops it no later than the end of the measurement.
    async fn run(mut self, start: Option<ProfilerCall>, mut over: oneshot::Receiver<()>) -> ProfileReport {
        let (trigger, lasting) = (self.trigger, self.duration);
        let mut capture = ProfileReport { trigger, lasting, start, stop: None };
        if capture.start.is_none() {
            tokio::select! {
                biased;
                _ = &mut over => return capture,
                () = self.wait_for_trigger() => {}
            }
            tokio::select! {
                order = self.start() => capture.start = Some(order),
                () = self.stop.requested() => return capture,
            }
        }
        if !capture.is_started() {
            return capture;
        }
        tokio::select! {
            _ = over => {}
            () = elapsed(lasting) => {}
        }
        capture.stop = Some(self.stop_profiler().await);
        capture
    }

    /// Waits until the profiler is to start.
    async fn wait_for_trigger(&mut self) {
        if self.in_flight.wait_for(Option::is_some).await.is_err() {
            // The run had only a warm-up.
            std::future::pending().await
        }
        match self.trigger {
            ProfileTrigger::Begin => {}
            ProfileTrigger::After(time) => sleep(time).await,
            ProfileTrigger::Running(busy) => {
                while self.running().await < busy {
                    sleep(EVERY).await;
                }
            }
        }
    }

    /// The number of requests that the server is processing. If the server does not report it, the number of in-flight
    /// requests.
    async fn running(&self) -> u64 {
        let running = match &self.pages {
            Some(pages) => scraper::running(pages).await,
            None => None,
        };
        running.unwrap_or_else(|| self.in_flight.borrow().unwrap_or_default())
    }

    async fn start(&self) -> ProfilerCall {
        ordered(self.control.post(START, PATIENCE), unwilling).await
    }

    async fn stop_profiler(&self) -> ProfilerCall {
        let sent = Timestamp::now();
        let mut stopping = Box::pin(ordered(self.control.post(STOP, PATIENCE), |error| error.to_string()));
        if let Ok(order) = timeout(SOON, &mut stopping).await {
            return order;
        }
        (self.observer)(&Event::Note(Note::ProfileIsWritten));
        tokio::select! {
            order = stopping => order,
            () = self.stop.requested() => ProfilerCall { sent, took: SOON, answer: Err("the wait for it was interrupted".into()) },
        }
    }
}

async fn elapsed(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Sends a request to the profiler and records the result.
async fn ordered(
    order: impl Future<Output = Result<String, AdminError>>,
    complaint: fn(&AdminError) -> String,
) -> ProfilerCall {
    let (sent, clock) = (Timestamp::now(), Instant::now());
    let answer = order.await.map_err(|error| complaint(&error));
    ProfilerCall { sent, took: clock.elapsed(), answer }
}

fn unwilling(error: &AdminError) -> String {
    format!(
        "{error}; vLLM has a profiler only when it is started with --profiler-config (before v0.13, with \
         VLLM_TORCH_PROFILER_DIR)"
    )
}
