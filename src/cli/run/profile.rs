//! `--profile`: the server's profiler runs while the server is measured, or for a while once it is busy.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::args::MeasureArgs;
use super::stage::Stage;
use crate::cli::exit::{Halt, say};
use crate::drive::client::control::{Control, ControlError};
use crate::server::queue;

/// How often the server is asked whether it is busy.
const EVERY: Duration = Duration::from_millis(500);

/// The profiler, from before the measurement until after.
pub enum Profiler {
    /// It is not wanted.
    Off,
    /// It runs all the time.
    Throughout,
    /// It runs for a while once the server is busy.
    OnceBusy {
        /// Dropped when the measurement is over.
        over: oneshot::Sender<()>,
        /// Whether it ran.
        capture: JoinHandle<Result<bool, ControlError>>,
    },
}

impl Profiler {
    /// Starts it, or watches for the moment to.
    pub fn start(args: &MeasureArgs, stage: &Stage) -> Result<Self, Halt> {
        match args.profile_batch_threshold {
            _ if !args.profile => Ok(Self::Off),
            None => {
                let started = stage.runtime().block_on(stage.control().order(START));
                started.map(|()| Self::Throughout).map_err(|error| Halt::failed(unwilling(&error)))
            }
            Some(busy) => {
                let (over, is_over) = oneshot::channel();
                let capture = capture(Arc::clone(stage.control()), busy, args.profile_duration, is_over);
                Ok(Self::OnceBusy { over, capture: stage.runtime().spawn(capture) })
            }
        }
    }

    /// Stops it. The measurement stands, whatever became of the profile.
    pub fn stop(self, stage: &Stage) {
        let stopped = match self {
            Self::Off => return,
            Self::Throughout => stage.runtime().block_on(stage.control().order(STOP)).map(|()| true),
            Self::OnceBusy { over, capture } => {
                drop(over);
                stage
                    .runtime()
                    .block_on(capture)
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
            }
        };
        match stopped {
            Ok(true) => {}
            Ok(false) => {
                say("warning: nothing was profiled: the server never had --profile-batch-threshold running")
            }
            Err(error) => say(format_args!("warning: {}", unwilling(&error))),
        }
    }
}

const START: &str = "/start_profile";
const STOP: &str = "/stop_profile";

fn unwilling(error: &ControlError) -> String {
    format!("--profile: {error}; vLLM takes this order when it is started with --profiler-config")
}

/// Waits until so many requests are running, and lets the profiler run for a time. Returns whether it ran.
async fn capture(
    control: Arc<Control>,
    busy: u64,
    duration: Duration,
    mut over: oneshot::Receiver<()>,
) -> Result<bool, ControlError> {
    let running = async || control.metrics().await.as_deref().and_then(queue::running);
    while running().await.is_none_or(|running| running < busy) {
        tokio::select! {
            _ = &mut over => return Ok(false),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    control.order(START).await?;
    tokio::select! {
        _ = over => {}
        () = tokio::time::sleep(duration) => {}
    }
    control.order(STOP).await.map(|()| true)
}
