//! The first client of a run: where the others meet.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use tokio::runtime::Runtime;
use tracing::info;
use uuid::Uuid;

use super::listen::listen;
use super::messages::{Beat, Join, Joined, Order, PATH, PROTOCOL, Ready, Refusal, RunIdentity, Start};
use super::shared_hosts::shared_hosts;
use super::state::ClientTable;
use crate::model::record_log::{ClockOffset, RunShare};
use crate::model::shard::Shard;
use crate::model::wall_time::WallTime;
use crate::runner::StopHandle;

/// The time between two looks at what the other clients sent.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The logs of the other clients.
pub(crate) struct ReceivedLogs {
    /// The files that arrived.
    pub files: Vec<PathBuf>,
    /// A sentence for each client whose log did not arrive.
    pub lost: Vec<String>,
}

/// Where the clients of a run meet: a server in the process of shard 0.
pub(crate) struct Coordinator {
    shared: Arc<Shared>,
    share: RunShare,
    address: SocketAddr,
    runtime: Runtime,
}

/// What the handlers share.
struct Shared {
    clients: Mutex<ClientTable>,
    token: Option<String>,
    /// The record log of shard 0. Those of the others are written beside it.
    log: PathBuf,
}

impl Shared {
    fn clients(&self) -> MutexGuard<'_, ClientTable> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the log of a shard is written.
    fn log_of(&self, shard: Shard) -> PathBuf {
        self.log.with_extension(format!("shard{}.reclog", shard.index()))
    }
}

impl Coordinator {
    /// Listens for the other clients. `log` is the record log of shard 0.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub(crate) fn listen(
        address: &str,
        shard: Shard,
        token: Option<String>,
        log: &Path,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("shards")
            .enable_all()
            .build()?;
        let run = Uuid::new_v4();
        let version = env!("CARGO_PKG_VERSION");
        let mut clients = ClientTable::new(run, shard.count(), version);
        let host = super::member::host_name();
        let join = Join { protocol: PROTOCOL, shard, version: version.to_owned(), host: host.clone() };
        clients.join(&join).map_err(std::io::Error::other)?;
        let shared = Arc::new(Shared { clients: Mutex::new(clients), token, log: log.to_owned() });
        let listener = runtime.block_on(listen(address))?;
        let address = listener.local_addr()?;
        let router = router(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, router).await });
        info!(%address, %run, shards = shard.count(), "waiting for the other shards");
        let clock = Some(ClockOffset { ahead_ns: 0, doubt_ns: 0 });
        Ok(Self { shared, share: RunShare { shard, run, host, clock }, address, runtime })
    }

    /// The address that the other clients join.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The share of shard 0.
    pub(crate) fn share(&self) -> &RunShare {
        &self.share
    }

    /// A sentence for each host from which several clients joined.
    pub(crate) fn shared_hosts(&self) -> Vec<String> {
        shared_hosts(self.shared.clients().hosts())
    }

    /// Waits until all clients are ready, and returns the instant of the common start, or why there is none.
    pub(crate) fn wait_for_start(
        &self,
        identity: RunIdentity,
        timeout: Duration,
        stop: &StopHandle,
    ) -> Result<Instant, String> {
        let began = Instant::now();
        self.shared.clients().note_ready(self.share.shard, identity)?;
        loop {
            let mut clients = self.shared.clients();
            if let Some(start) = clients.start() {
                return Ok(clients.instant(start?));
            }
            if stop.is_requested() {
                return Err("interrupted".to_owned());
            }
            if began.elapsed() > timeout {
                clients.give_up(timeout);
            }
            drop(clients);
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Tells the other clients to stop sending when the user asks for the end.
    pub(crate) fn stop_all_with(&self, stop: &StopHandle) {
        let (shared, stop) = (Arc::clone(&self.shared), stop.clone());
        self.runtime.spawn(async move {
            stop.requested().await;
            shared.clients().stop = true;
        });
    }

    /// Returns a function that notes the end of a shard's process, and how it ended.
    pub(crate) fn departures(&self) -> impl Fn(usize, &str) + Clone + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |index, how| shared.clients().note_gone(index, how)
    }

    /// Waits for the logs of the other clients. A client that is silent is not waited for.
    pub(crate) fn collect(&self) -> ReceivedLogs {
        while self.shared.clients().awaited() > 0 {
            std::thread::sleep(POLL_INTERVAL);
        }
        let (files, lost) = self.shared.clients().logs();
        ReceivedLogs { files, lost }
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(&format!("{PATH}/join"), post(join))
        .route(&format!("{PATH}/time"), get(time))
        .route(&format!("{PATH}/ready"), post(ready))
        .route(&format!("{PATH}/beat"), post(beat))
        .route(&format!("{PATH}/log/{{index}}"), put(log).layer(DefaultBodyLimit::disable()))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), check_token))
        .with_state(shared)
}

/// A refusal with its reason.
fn refuse(error: impl Into<String>) -> Response {
    (StatusCode::CONFLICT, Json(Refusal { error: error.into() })).into_response()
}

/// Refuses requests without the token.
async fn check_token(
    State(shared): State<Arc<Shared>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let sent = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_allowed = shared.token.as_ref().is_none_or(|token| {
        let sent = sent.and_then(|sent| sent.strip_prefix("Bearer ")).unwrap_or_default();
        is_equal(sent.as_bytes(), token.as_bytes())
    });
    if is_allowed {
        return next.run(request).await;
    }
    let error = "the token of the shards is missing or another one".to_owned();
    (StatusCode::UNAUTHORIZED, Json(Refusal { error })).into_response()
}

/// Compares two texts in a time that depends only on their lengths.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

async fn join(State(shared): State<Arc<Shared>>, Json(message): Json<Join>) -> Response {
    let joined = shared.clients().join(&message);
    info!(shard = %message.shard, host = message.host, refused = ?joined.as_ref().err(), "a shard asks to join");
    joined.map_or_else(refuse, |joined: Joined| Json(joined).into_response())
}

async fn time(State(shared): State<Arc<Shared>>) -> Response {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Json(shared.clients().clocks(WallTime::new(wall, Duration::ZERO))).into_response()
}

async fn ready(State(shared): State<Arc<Shared>>, Json(message): Json<Ready>) -> Response {
    if let Err(error) = shared.clients().note_ready(message.shard, message.identity) {
        return refuse(error);
    }
    loop {
        let start = {
            let mut clients = shared.clients();
            // A client that waits here is not lost.
            let _ = clients.note(message.shard);
            clients.start()
        };
        match start {
            Some(Ok(monotonic_ns)) => return Json(Start { monotonic_ns }).into_response(),
            Some(Err(why)) => return refuse(why),
            None => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

async fn beat(State(shared): State<Arc<Shared>>, Json(message): Json<Beat>) -> Response {
    let mut clients = shared.clients();
    match clients.note(message.shard) {
        Ok(()) => Json(Order { stop: clients.stop }).into_response(),
        Err(error) => refuse(error),
    }
}

async fn log(State(shared): State<Arc<Shared>>, UrlPath(index): UrlPath<String>, body: Body) -> Response {
    let shard = match index.replace('-', "/").parse::<Shard>() {
        Ok(shard) if shard.index() > 0 => shard,
        _ => return refuse("only the other shards send their logs"),
    };
    if let Err(error) = shared.clients().note(shard) {
        return refuse(error);
    }
    let path = shared.log_of(shard);
    let received = receive(&shared, shard, &path, body).await;
    let answer = match &received {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refuse(error.clone()),
    };
    shared.clients().note_log(shard, received.map(|()| path));
    answer
}

/// Writes the log of a client to a file.
async fn receive(shared: &Shared, shard: Shard, path: &Path, body: Body) -> Result<(), String> {
    let in_file = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let mut file = std::fs::File::create(path).map_err(in_file)?;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| format!("its record log broke off: {error}"))?;
        file.write_all(&chunk).map_err(in_file)?;
        shared.clients().note(shard)?;
    }
    Ok(())
}
