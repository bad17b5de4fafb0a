//! The client's own metrics during a run: fetched by Prometheus, pushed to its gateway, or both.
//!
//! They are counted where Records are collected, and written on the runtime of what is not measured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::args::PublishArgs;
use super::stage::Stage;
use crate::cli::exit::{Halt, say};
use crate::cli::target;
use crate::core::spec::Target;
use crate::drive::client::control::Control;
use crate::drive::engine::Event;
use crate::report::exposition::{Exposition, TEXT_FORMAT};

/// How often they are pushed.
const EVERY: Duration = Duration::from_secs(1);

/// A gateway that takes longer is given up: the report waits for the last push.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who counts what the engine tells, and shows it.
pub struct Publisher {
    exposition: Arc<Exposition>,
    /// Requests sent so far, by worker.
    sent: BTreeMap<usize, usize>,
    serving: Option<JoinHandle<()>>,
    pushing: Option<Pushing>,
}

/// Pushes until its sender is dropped, and then once more.
struct Pushing {
    over: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Opens the port, and begins to push; `None` if nobody asked for it.
    ///
    /// # Errors
    /// Where the port cannot be had. A gateway that does not answer is only told: it may come yet.
    pub fn start(args: &PublishArgs, stage: &Stage) -> Result<Option<Self>, Halt> {
        if args.metrics_listen.is_none() && args.push_metrics.is_none() {
            return Ok(None);
        }
        let exposition = Arc::<Exposition>::default();
        let serve = |address: &String| serve(address, &exposition, stage);
        let push = |url: &String| Pushing::start(url, &exposition, stage);
        Ok(Some(Self {
            serving: args.metrics_listen.as_ref().map(serve).transpose()?,
            pushing: args.push_metrics.as_ref().map(push).transpose()?,
            sent: BTreeMap::new(),
            exposition,
        }))
    }

    /// Counts what happened.
    pub fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Started(_) => {}
            Event::Done(record) => self.exposition.ended(record),
            Event::Beat(beat) => {
                self.sent.insert(beat.worker, beat.sent);
                self.exposition.sent(self.sent.values().sum::<usize>() as u64);
            }
        }
    }

    /// Pushes the last figures, and closes the port.
    pub fn stop(self, stage: &Stage) {
        if let Some(Pushing { over, task }) = self.pushing {
            drop(over);
            let pushed = stage.runtime().block_on(task);
            pushed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        if let Some(serving) = self.serving {
            serving.abort();
        }
    }
}

fn serve(address: &str, exposition: &Arc<Exposition>, stage: &Stage) -> Result<JoinHandle<()>, Halt> {
    let cannot = |error: std::io::Error| {
        Halt::usage(format!("--metrics-listen {address}: cannot listen there: {error}"))
    };
    let listener = stage.runtime().block_on(TcpListener::bind(address)).map_err(cannot)?;
    let place = listener.local_addr().map_err(cannot)?;
    let exposition = Arc::clone(exposition);
    let page = async move || ([(CONTENT_TYPE, TEXT_FORMAT)], exposition.page());
    let router = Router::new().route("/metrics", get(page));
    say(format_args!("the client's own metrics: http://{place}/metrics"));
    Ok(stage.runtime().spawn(async move {
        // It serves until it is aborted.
        let _ = axum::serve(listener, router).await;
    }))
}

impl Pushing {
    fn start(url: &str, exposition: &Arc<Exposition>, stage: &Stage) -> Result<Self, Halt> {
        // The server's key is no business of the gateway.
        let gateway = Target { base_url: url.to_owned(), headers: Vec::new(), ..target::of_url(url) };
        let gateway = Control::new(&gateway).map_err(Halt::usage)?;
        let (over, is_over) = oneshot::channel();
        let task = stage.runtime().spawn(push(gateway, Arc::clone(exposition), is_over));
        Ok(Self { over, task })
    }
}

async fn push(gateway: Control, exposition: Arc<Exposition>, mut over: oneshot::Receiver<()>) {
    let mut told = false;
    let mut once = async || {
        let pushed = timeout(PATIENCE, gateway.put("", TEXT_FORMAT, exposition.page())).await;
        let problem = match pushed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {}", humantime::format_duration(PATIENCE)),
        };
        // Once is enough: the run goes on.
        if !std::mem::replace(&mut told, true) {
            say(format_args!("warning: --push-metrics: {problem}"));
        }
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = &mut over => break,
            _ = ticks.tick() => {}
        }
        once().await;
    }
    once().await;
}
