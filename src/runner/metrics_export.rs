//! Exports the client's own metrics during a run: serves them to Prometheus, pushes them to its gateway, or both.
//!
//! The page is written on the runtime for unmeasured work.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::error::Error;
use super::event::{Event, Note, Observer, Warning};
use super::session::Session;
use crate::client::address;
use crate::client::admin::AdminClient;
use crate::model::run_spec::Target;

/// The time between two pushes.
const EVERY: Duration = Duration::from_secs(1);

/// The timeout of a push. The report waits for the last push.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the client's metrics are exported to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExportAddresses {
    /// The address on which to serve the metrics, such as `127.0.0.1:19400`.
    pub listen: Option<String>,
    /// The URL of a push gateway's job.
    pub push: Option<String>,
}

/// Writes the current page of metrics.
#[derive(Clone)]
pub(crate) struct MetricsPage {
    /// The `Content-Type` of the page.
    pub content_type: &'static str,
    /// Writes the page. It may be called on any thread.
    pub write: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Serves and pushes a page of metrics.
pub(crate) struct MetricsExporter {
    serving: Option<JoinHandle<()>>,
    pushing: Option<PushTask>,
}

/// Pushes until its sender is dropped, and then once more.
struct PushTask {
    over: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl MetricsExporter {
    /// Opens the port, and begins to push.
    ///
    /// # Errors
    /// If the port cannot be opened. A gateway that does not answer is only a [`Warning`], because it may answer later.
    pub(crate) fn start(
        addresses: &ExportAddresses,
        page: &MetricsPage,
        session: &Session,
    ) -> Result<Self, Error> {
        let serve = |address: &String| serve(address, page.clone(), session);
        let push = |url: &String| PushTask::start(url, page.clone(), session);
        Ok(Self {
            serving: addresses.listen.as_ref().map(serve).transpose()?,
            pushing: addresses.push.as_ref().map(push).transpose()?,
        })
    }

    /// Pushes the last page, and closes the port.
    pub(crate) fn stop(self, session: &Session) {
        if let Some(PushTask { over, task }) = self.pushing {
            drop(over);
            // After the user has asked for the end, a gateway that does not answer is not waited for.
            let pushed = session.runtime().block_on(session.stop_handle().briefly_if_requested(task));
            if let Some(Err(error)) = pushed {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        if let Some(serving) = self.serving {
            serving.abort();
        }
    }
}

fn serve(address: &str, page: MetricsPage, session: &Session) -> Result<JoinHandle<()>, Error> {
    let cannot = |source| Error::MetricsListen { address: address.to_owned(), source };
    let listener = session.runtime().block_on(TcpListener::bind(address)).map_err(cannot)?;
    let at = listener.local_addr().map_err(cannot)?;
    let write = async move || ([(CONTENT_TYPE, page.content_type)], (page.write)());
    let router = Router::new().route("/metrics", get(write));
    session.emit(&Event::Note(Note::MetricsServed { url: format!("http://{at}/metrics") }));
    Ok(session.runtime().spawn(async move {
        // The server runs until it is aborted.
        let _ = axum::serve(listener, router).await;
    }))
}

impl PushTask {
    fn start(url: &str, page: MetricsPage, session: &Session) -> Result<Self, Error> {
        // The server's API key must not be sent to the gateway.
        let gateway = Target { base_url: url.to_owned(), headers: Vec::new(), ..address::target_of(url) };
        let gateway = AdminClient::new(&gateway)?;
        let (over, is_over) = oneshot::channel();
        let observer = session.observer().clone();
        let task = session.runtime().spawn(push(gateway, page, observer, is_over));
        Ok(Self { over, task })
    }
}

async fn push(gateway: AdminClient, page: MetricsPage, observer: Observer, mut over: oneshot::Receiver<()>) {
    let mut is_reported = false;
    let mut once = async || {
        let pushed = timeout(PATIENCE, gateway.put("", page.content_type, (page.write)())).await;
        let problem = match pushed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {}", humantime::format_duration(PATIENCE)),
        };
        // The failure is reported once, and the run continues.
        if !std::mem::replace(&mut is_reported, true) {
            observer(&Event::Warning(Warning::PushFailed(problem)));
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
