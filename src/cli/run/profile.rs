//! `--profile`: the server's profiler runs while the server is measured, or for a while in between.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::args::{MeasureArgs, RunArgs};
use super::measure::Pulse;
use super::scrape;
use super::stage::Stage;
use crate::cli::exit::{Halt, say};
use crate::cli::interrupt::Interrupts;
use crate::cli::pages::Pages;
use crate::core::profile::{Capture, Order, Trigger};
use crate::core::spec::Target;
use crate::drive::client::control::{Control, ControlError};

const START: &str = "/start_profile";
const STOP: &str = "/stop_profile";

/// How often the server is asked whether it is busy.
const EVERY: Duration = Duration::from_millis(500);

/// How long a profile runs that waits for its moment, unless it is said.
const LASTING: Duration = Duration::from_secs(5);

/// A server that stops its profiler writes the profile first: of a large model for minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// After this a wait is worth a word.
const SOON: Duration = Duration::from_secs(3);

/// The profiler, from before the measurement until after.
pub struct Profiler {
    /// Dropped when the measurement is over.
    over: oneshot::Sender<()>,
    capture: JoinHandle<Capture>,
}

/// When the measured run begins, and whether a warm-up comes first.
pub struct Begin {
    pub pulse: watch::Receiver<Pulse>,
    pub after_warm_up: bool,
}

impl Profiler {
    /// Starts it, or waits for the moment to; `None` if it is not wanted. Without a warm-up it runs before the first
    /// request is sent.
    pub fn start(args: &RunArgs, target: &Target, stage: &Stage, begin: Begin) -> Result<Option<Self>, Halt> {
        let Some(trigger) = trigger(&args.measure) else { return Ok(None) };
        let waits = trigger != Trigger::Begin;
        let session = Session {
            trigger,
            lasting: args.measure.profile_duration.or(waits.then_some(LASTING)),
            control: Arc::clone(stage.control()),
            pages: scrape::pages(&args.server, target, stage)?,
            interrupts: stage.interrupts().clone(),
            pulse: begin.pulse,
        };
        let at_once = !waits && !begin.after_warm_up;
        let start = at_once.then(|| stage.runtime().block_on(session.start()));
        let (over, is_over) = oneshot::channel();
        Ok(Some(Self { over, capture: stage.runtime().spawn(session.attend(start, is_over)) }))
    }

    /// Stops it, if it still runs. The measurement stands, whatever became of the profile.
    pub fn stop(self, stage: &Stage) -> Capture {
        drop(self.over);
        let capture = stage.runtime().block_on(self.capture);
        let capture = capture.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        if let Some(trouble) = capture.trouble() {
            say(format_args!("warning: {trouble}"));
        }
        capture
    }
}

fn trigger(args: &MeasureArgs) -> Option<Trigger> {
    match (args.profile_after, args.profile_batch_threshold) {
        (Some(time), _) => Some(Trigger::After(time)),
        (None, Some(busy)) => Some(Trigger::Running(busy)),
        (None, None) => args.profile.then_some(Trigger::Begin),
    }
}

/// One profile.
struct Session {
    trigger: Trigger,
    lasting: Option<Duration>,
    control: Arc<Control>,
    pages: Option<Pages>,
    interrupts: Interrupts,
    pulse: watch::Receiver<Pulse>,
}

impl Session {
    /// Waits for the moment, lets the profiler run, and stops it at the latest when the measurement is over.
    async fn attend(mut self, start: Option<Order>, mut over: oneshot::Receiver<()>) -> Capture {
        let (trigger, lasting) = (self.trigger, self.lasting);
        let mut capture = Capture { trigger, lasting, start, stop: None };
        if capture.start.is_none() {
            tokio::select! {
                biased;
                _ = &mut over => return capture,
                () = self.moment() => {}
            }
            capture.start = Some(self.start().await);
        }
        if !capture.started() {
            return capture;
        }
        tokio::select! {
            _ = over => {}
            () = elapsed(lasting) => {}
        }
        capture.stop = Some(self.stop().await);
        capture
    }

    /// Until the profiler is to start.
    async fn moment(&mut self) {
        if self.pulse.wait_for(Option::is_some).await.is_err() {
            // There was only a warm-up.
            std::future::pending().await
        }
        match self.trigger {
            Trigger::Begin => {}
            Trigger::After(time) => sleep(time).await,
            Trigger::Running(busy) => {
                while self.running().await < busy {
                    sleep(EVERY).await;
                }
            }
        }
    }

    /// How many requests the server is computing, or if it does not tell, how many are in flight.
    async fn running(&self) -> u64 {
        let told = match &self.pages {
            Some(pages) => scrape::running(pages).await,
            None => None,
        };
        told.unwrap_or_else(|| self.pulse.borrow().unwrap_or_default())
    }

    async fn start(&self) -> Order {
        ordered(self.control.order(START, PATIENCE), unwilling).await
    }

    async fn stop(&self) -> Order {
        let sent = Timestamp::now();
        let mut stopping = Box::pin(ordered(self.control.order(STOP, PATIENCE), |error| error.to_string()));
        if let Ok(order) = timeout(SOON, &mut stopping).await {
            return order;
        }
        say("the server writes its profile, which may take minutes; Ctrl-C leaves it to that");
        tokio::select! {
            order = stopping => order,
            () = self.interrupts.wait() => Order { sent, took: SOON, answer: Err("nobody waited for it".into()) },
        }
    }
}

async fn elapsed(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Sends an order, and notes what came of it.
async fn ordered(
    order: impl Future<Output = Result<String, ControlError>>,
    complaint: fn(&ControlError) -> String,
) -> Order {
    let (sent, clock) = (Timestamp::now(), Instant::now());
    let answer = order.await.map_err(|error| complaint(&error));
    Order { sent, took: clock.elapsed(), answer }
}

fn unwilling(error: &ControlError) -> String {
    format!(
        "{error}; vLLM takes this order when it is started with --profiler-config (before v0.13, with \
         VLLM_TORCH_PROFILER_DIR)"
    )
}
