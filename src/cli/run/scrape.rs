//! The server's own metrics, read while it is measured: on the runtime of what is not measured, a page at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::args::ServerArgs;
use super::measure::Pulse;
use super::stage::Stage;
use crate::cli::exit::{Halt, say};
use crate::core::server::{Merge, Signal};
use crate::core::spec::Target;
use crate::drive::client::control::Control;
use crate::server::page::Page;
use crate::server::recorder::Recorder;
use crate::server::signals::Reading;

/// A page that takes longer is missed: a busy server may have better things to do, and the run must end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the pages, from before the measurement until after.
pub struct Scraper {
    /// Dropped when the measurement is over.
    over: oneshot::Sender<()>,
    recording: JoinHandle<Recorder>,
}

impl Scraper {
    /// Starts, with a first sample; `None` if metrics are not wanted, or nobody has any. With a warm-up, the run begins
    /// with the first pulse of `begin`.
    pub fn start(
        args: &ServerArgs,
        target: &Target,
        stage: &Stage,
        begin: Option<watch::Receiver<Pulse>>,
    ) -> Result<Option<Self>, Halt> {
        let Some(pages) = Pages::of(args, target, stage)? else { return Ok(None) };
        if args.metrics_interval.is_zero() {
            return Err(Halt::usage("--metrics-interval must be above 0"));
        }
        let first = stage.runtime().block_on(pages.read());
        // Without --metrics-url it was only a question.
        if !args.metrics_url.is_empty() {
            let silent = pages.0.iter().zip(&first).filter(|(_, reading)| reading.is_none());
            silent.for_each(|((url, _), _)| say(format_args!("warning: no metrics that we know at {url}")));
        }
        if first.iter().all(Option::is_none) {
            return Ok(None);
        }
        let (over, is_over) = oneshot::channel();
        let recording = record(pages, args.metrics_interval, (Timestamp::now(), first), begin, is_over);
        Ok(Some(Self { over, recording: stage.runtime().spawn(recording) }))
    }

    /// Takes a last sample.
    pub fn stop(self, stage: &Stage) -> Recorder {
        drop(self.over);
        let recorder = stage.runtime().block_on(self.recording);
        recorder.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

/// Where the pages are, and who reads them.
pub struct Pages(Vec<(String, Arc<Control>)>);

impl Pages {
    /// Where the flags say; `None` if they are not wanted.
    pub fn of(args: &ServerArgs, target: &Target, stage: &Stage) -> Result<Option<Self>, Halt> {
        if args.no_server_metrics {
            return Ok(None);
        }
        if args.metrics_url.is_empty() {
            let page = (format!("{}/metrics", target.base_url), Arc::clone(stage.control()));
            return Ok(Some(Self(vec![page])));
        }
        let place = |url: &String| {
            let base_url = url.trim_end_matches("/metrics").to_owned();
            let mut place = Target { base_url, ..target.clone() };
            if origin(&place.base_url) != origin(&target.base_url) {
                // The key of the server is no business of others.
                place.headers.clear();
            }
            Ok((url.clone(), Arc::new(Control::new(&place).map_err(Halt::usage)?)))
        };
        args.metrics_url.iter().map(place).collect::<Result<_, _>>().map(|places| Some(Self(places)))
    }

    /// How many requests all servers are computing; `None` if not one tells.
    pub async fn running(&self) -> Option<u64> {
        let readings = self.read().await;
        let running = readings.iter().flatten().filter_map(|reading| reading.number(Signal::Running));
        Merge::Sum.of(running).map(|running| running as u64)
    }

    /// All at once; `None` for one that did not answer, or whose page says nothing to us.
    async fn read(&self) -> Vec<Option<Reading>> {
        let read = async |control: &Arc<Control>| {
            let page = timeout(PATIENCE, control.metrics()).await.ok()??;
            Some(Reading::of(&Page::parse(&page))).filter(|reading| !reading.is_empty())
        };
        join_all(self.0.iter().map(|(_, control)| read(control))).await
    }
}

fn origin(url: &str) -> Option<reqwest::Url> {
    let mut url = reqwest::Url::parse(url).ok()?;
    url.set_path("");
    Some(url)
}

async fn record(
    pages: Pages,
    every: Duration,
    first: (Timestamp, Vec<Option<Reading>>),
    begin: Option<watch::Receiver<Pulse>>,
    mut over: oneshot::Receiver<()>,
) -> Recorder {
    let mut recorder = Recorder::new(pages.0.iter().map(|(url, _)| url.clone()), every);
    match begin {
        None => recorder.push(first.0, first.1),
        Some(mut begin) => {
            tokio::select! {
                _ = async { begin.wait_for(Option::is_some).await.is_ok() } => recorder.push(Timestamp::now(), pages.read().await),
                // There was only a warm-up.
                _ = &mut over => return recorder,
            }
        }
    }
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let next = async |ticks: &mut tokio::time::Interval| {
        ticks.tick().await;
        pages.read().await
    };
    loop {
        tokio::select! {
            _ = &mut over => break,
            readings = next(&mut ticks) => recorder.push(Timestamp::now(), readings),
        }
    }
    recorder.push(Timestamp::now(), pages.read().await);
    recorder
}
