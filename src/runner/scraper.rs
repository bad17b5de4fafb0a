//! Reads the server's own metrics during a run, on the runtime for unmeasured work, one page at a time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::info;

use super::error::Error;
use super::event::{Event, Observer, Warning};
use super::measure::InFlightCount;
use super::metrics_client::{EMPTY, MetricsClient, ScrapeError};
use super::options::RunOptions;
use super::session::Session;
use super::stop::StopHandle;
use crate::client::address;
use crate::client::admin::AdminClient;
use crate::model::run_spec::Target;
use crate::model::server::{Aggregation, ServerSignal, is_possible};
use crate::server::recorder::MetricsRecorder;
use crate::server::signals::MetricsSnapshot;

/// Reads the metrics pages from before the measurement until after it.
pub(super) struct Scraper {
    /// Dropped when the measurement is over.
    over: oneshot::Sender<()>,
    recording: JoinHandle<MetricsRecorder>,
}

impl Scraper {
    /// Starts the scraper and takes a first sample. Returns `None` if metrics are not wanted, or if no page has any.
    /// With a warm-up, the run begins with the first count of `in_flight`. The texts describe pages that could not be
    /// parsed.
    pub(super) fn start(
        options: &RunOptions,
        target: &Target,
        session: &Session,
        in_flight: Option<watch::Receiver<InFlightCount>>,
    ) -> Result<(Option<Self>, Vec<String>), Error> {
        let wanted = options.server_metrics.as_ref();
        let (Some(pages), Some(wanted)) = (pages(options, target, session)?, wanted) else {
            return Ok((None, Vec::new()));
        };
        if wanted.interval.is_zero() {
            return Err(Error::MetricsInterval);
        }
        let first = session.wait_for(pages.read())?;
        // A page that the user did not ask for may be missing. A page that exists and cannot be parsed is reported
        // anyway.
        let is_asked_for = !wanted.urls.is_empty();
        let failed =
            pages.urls().zip(&first).filter_map(|(url, reading)| Some((url, reading.as_ref().err()?)));
        let reported = failed.filter(|(_, error)| {
            is_asked_for || matches!(error, ScrapeError::Unknown(..) | ScrapeError::Unreadable(_))
        });
        let mut unread = Vec::new();
        for (url, error) in reported {
            unread.push(format!("{url}: {error}"));
            let warning = Warning::MetricsNotRead { url: url.to_owned(), error: error.clone() };
            session.emit(&Event::Warning(warning));
        }
        if first.iter().flatten().any(MetricsSnapshot::has_no_values) {
            unread.push(EMPTY.to_owned());
            session.emit(&Event::Warning(Warning::EmptyMetrics));
        }
        if first.iter().all(Result::is_err) {
            return Ok((None, unread));
        }
        let pages_read = first.iter().filter(|reading| reading.is_ok()).count();
        info!(pages = pages_read, every = ?wanted.interval, "the server's metrics are read from now on");
        let first = first.into_iter().map(Result::ok).collect();
        let (over, is_over) = oneshot::channel();
        let stop = session.stop_handle().clone();
        let observer = session.observer().clone();
        let sampling = Sampling { pages, every: wanted.interval, stop, observer };
        let recording = sampling.record((Timestamp::now(), first), in_flight, is_over);
        Ok((Some(Self { over, recording: session.runtime().spawn(recording) }), unread))
    }

    /// Takes a last sample and returns all of them.
    pub(super) async fn stop(self) -> MetricsRecorder {
        drop(self.over);
        let recorder = self.recording.await;
        recorder.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

/// The pages that the options name, else the server's own page; `None` if metrics are not wanted.
pub(super) fn pages(
    options: &RunOptions,
    target: &Target,
    session: &Session,
) -> Result<Option<MetricsClient>, Error> {
    let Some(wanted) = &options.server_metrics else { return Ok(None) };
    if wanted.urls.is_empty() {
        let own = (format!("{}/metrics", target.base_url), Arc::clone(session.control()));
        return Ok(session.reads_metrics().then(|| MetricsClient::new(vec![own])));
    }
    let page = |url: &String| {
        let mut page = Target { base_url: address::server_of(url), ..target.clone() };
        if origin(url) != origin(&target.base_url) {
            // The server's API key must not be sent to other hosts.
            page.headers.clear();
        }
        let control = AdminClient::new(&page)?.with_metrics_at(url);
        Ok((url.clone(), Arc::new(control)))
    };
    let pages: Result<Vec<_>, Error> = wanted.urls.iter().map(page).collect();
    Ok(Some(MetricsClient::new(pages?)))
}

fn origin(url: &str) -> Option<reqwest::Url> {
    reqwest::Url::parse(url).ok()?.join("/").ok()
}

/// Reads all pages at once; `None` for a page that did not answer or that could not be parsed.
async fn readings(pages: &MetricsClient) -> Vec<Option<MetricsSnapshot>> {
    pages.read().await.into_iter().map(Result::ok).collect()
}

/// The number of requests that all servers are processing; `None` if no page reports it.
pub(super) async fn running(pages: &MetricsClient) -> Option<u64> {
    let readings = readings(pages).await;
    let running = readings.iter().flatten().filter_map(|reading| reading.number(ServerSignal::Running));
    Aggregation::Sum.aggregate(running).map(|running| running as u64)
}

/// The levels of one sample, over all servers that answered.
fn levels(readings: &[Option<MetricsSnapshot>]) -> Event<'static> {
    let level = |signal: ServerSignal| {
        let values = readings.iter().flatten().filter_map(|reading| reading.number(signal));
        signal.info().merge.aggregate(values)
    };
    Event::ServerLevels {
        running: level(ServerSignal::Running),
        waiting: level(ServerSignal::Waiting),
        kv_usage: level(ServerSignal::KvUsage).filter(|share| is_possible(*share)),
    }
}

/// Reads the pages at a fixed interval.
struct Sampling {
    pages: MetricsClient,
    every: Duration,
    stop: StopHandle,
    observer: Observer,
}

impl Sampling {
    async fn record(
        self,
        first: (Timestamp, Vec<Option<MetricsSnapshot>>),
        in_flight: Option<watch::Receiver<InFlightCount>>,
        mut over: oneshot::Receiver<()>,
    ) -> MetricsRecorder {
        let Self { pages, every, stop, observer } = self;
        let mut recorder = MetricsRecorder::new(pages.urls().map(str::to_owned), every);
        match in_flight {
            None => recorder.push(first.0, first.1),
            Some(mut in_flight) => {
                tokio::select! {
                    _ = async { in_flight.wait_for(Option::is_some).await.is_ok() } => {
                        let readings = readings(&pages).await;
                        recorder.push(Timestamp::now(), readings);
                    }
                    // The run had only a warm-up.
                    _ = &mut over => return recorder,
                }
            }
        }
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let next = async |ticks: &mut tokio::time::Interval| {
            ticks.tick().await;
            readings(&pages).await
        };
        loop {
            tokio::select! {
                _ = &mut over => break,
                readings = next(&mut ticks) => {
                    observer(&levels(&readings));
                    recorder.push(Timestamp::now(), readings);
                }
            }
        }
        if let Some(last) = stop.briefly_if_requested(readings(&pages)).await {
            recorder.push(Timestamp::now(), last);
        }
        recorder
    }
}
