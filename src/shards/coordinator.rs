//! The first client of a run: where the others meet.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next as NextLayer};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rustls::ServerConfig;
use serde::Serialize;
use tokio::runtime::Runtime;
use tracing::info;
use uuid::Uuid;

use super::client_listener::ClientListener;
use super::listen::listen;
use super::messages::{
    Beat, Failed, Join, Next, PATH, PROTOCOL, Ready, Refusal, RunIdentity, Start, WorkloadQuery,
};
use super::rendezvous::Rendezvous;
use super::shared_hosts::shared_hosts;
use super::state::ClientTable;
use super::{PIECE_BYTES, host_name};
use crate::client::clock::wall_time;
use crate::loadgen::LoadEnd;
use crate::model::record_log::{ClockOffset, ClockRelation, RunShare};
use crate::model::run::RunInputs;
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use crate::runner::{Exchange, LoadProgress, Membership, ReceivedLogs, SharedWorkload, StopHandle, redact};

/// The time between two looks at what the other clients sent.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long the end of all runs waits for the other clients to hear of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the clients of a run meet: a server in the process of shard 0.
pub(crate) struct Coordinator {
    shared: Arc<Shared>,
    share: Mutex<RunShare>,
    identity: RunIdentity,
    timeout: Duration,
    stop: StopHandle,
    address: SocketAddr,
    /// Sentences on clients that could not connect.
    notices: Mutex<Receiver<String>>,
    /// Whether all clients were started on this host.
    is_one_host: bool,
    /// Serves the other clients until it is dropped.
    _runtime: Runtime,
}

/// What the handlers share.
struct Shared {
    clients: Mutex<ClientTable>,
    token: Option<String>,
}

impl Shared {
    fn clients(&self) -> MutexGuard<'_, ClientTable> {
        lock(&self.clients)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coordinator {
    /// Listens for the other clients, with TLS if there is a configuration for it. They have `timeout` to be ready for
    /// a run. When `stop` is requested, all of them stop.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub(crate) fn listen(
        Rendezvous { address, token }: Rendezvous,
        shard: Shard,
        tls: Option<ServerConfig>,
        (timeout, stop): (Duration, &StopHandle),
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("shards")
            .enable_all()
            .build()?;
        let version = env!("CARGO_PKG_VERSION");
        let mut clients = ClientTable::new(shard.count(), version);
        let host = host_name();
        let (process, version, own) = (Uuid::new_v4(), version.to_owned(), host.clone());
        let join = Join { protocol: PROTOCOL, shard, version, host: own, process };
        clients.join(&join).map_err(std::io::Error::other)?;
        let shared = Arc::new(Shared { clients: Mutex::new(clients), token });
        let listener = runtime.block_on(listen(&address))?;
        let address = listener.local_addr()?;
        let (new_notices, notices) = mpsc::channel();
        let listener = ClientListener::new(listener, tls, new_notices);
        let router = router(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, router).await });
        let (interrupted, stop_all) = (Arc::clone(&shared), stop.clone());
        runtime.spawn(async move {
            stop_all.requested().await;
            interrupted.clients().interrupt();
        });
        info!(%address, shards = shard.count(), "waiting for the other shards");
        let clock = Some(ClockOffset { ahead_ns: 0, doubt_ns: 0 });
        let share = Mutex::new(RunShare { shard, run: Uuid::nil(), host, clock });
        let (identity, stop) = (RunIdentity::default(), stop.clone());
        let notices = Mutex::new(notices);
        Ok(Self {
            shared,
            share,
            identity,
            timeout,
            stop,
            address,
            notices,
            is_one_host: false,
            _runtime: runtime,
        })
    }

    /// Sets what the flags ask for, which must be equal in all clients.
    pub(crate) fn set_identity(&mut self, identity: RunIdentity) {
        self.identity = identity;
    }

    /// Says that all clients are meant to run on this host.
    pub(crate) fn expect_one_host(&mut self) {
        self.is_one_host = true;
    }

    /// The address that the other clients join.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a function that notes the end of a shard's process, and how it ended.
    pub(crate) fn departures(&self) -> impl Fn(usize, &str) + Clone + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |index, how| shared.clients().note_gone(index, how)
    }
}

impl Membership for Coordinator {
    fn begin_run(&self, spec: &Spec, server: usize) {
        let run = Uuid::new_v4();
        lock(&self.share).run = run;
        self.shared.clients().begin_run(run, redact::spec(spec), server);
    }

    fn share(&self) -> RunShare {
        lock(&self.share).clone()
    }

    fn offer_workload(&self, workload: &dyn Fn() -> Option<SharedWorkload>) {
        if self.is_one_host {
            let workload = workload();
            self.shared.clients().offer_workload(workload);
        }
    }

    /// The first client prepares the requests.
    fn shared_workload(&self) -> Result<Option<SharedWorkload>, String> {
        Ok(None)
    }

    fn wait_for_start(
        &self,
        inputs: &RunInputs,
        log: &Path,
        notify: &dyn Fn(String),
    ) -> Result<Instant, String> {
        let began = Instant::now();
        let shard = self.share().shard;
        let mut clients = self.shared.clients();
        let number = clients.number();
        clients.set_log(log);
        clients.note_ready(shard, number, self.identity.with_inputs(inputs))?;
        loop {
            if let Some(start) = clients.start() {
                return Ok(clients.instant(start?));
            }
            if self.stop.is_requested() {
                return Err("interrupted".to_owned());
            }
            clients.require_all();
            if began.elapsed() > self.timeout {
                clients.give_up(self.timeout);
            }
            drop(clients);
            lock(&self.notices).try_iter().for_each(notify);
            std::thread::sleep(POLL_INTERVAL);
            clients = self.shared.clients();
        }
    }

    fn remarks(&self) -> Vec<String> {
        let clients = self.shared.clients();
        // Later runs have the same clients.
        if self.is_one_host || clients.number() > 1 { Vec::new() } else { shared_hosts(clients.hosts()) }
    }

    fn exchange(&self, _own: LoadProgress, end: LoadEnd) -> Exchange {
        self.shared.clients().exchange(end)
    }

    fn awaits_others(&self) -> bool {
        self.shared.clients().awaited() > 0
    }

    fn clocks(&self) -> Option<ClockRelation> {
        None
    }

    fn finish(&self) -> Result<Option<ReceivedLogs>, String> {
        while self.awaits_others() {
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(Some(self.shared.clients().take_logs()))
    }
}

impl Drop for Coordinator {
    /// Tells the other clients that there is no further run.
    fn drop(&mut self) {
        let began = Instant::now();
        while self.shared.clients().end() > 0 && began.elapsed() < FAREWELL {
            std::thread::sleep(POLL_INTERVAL);
        }
        self.shared.clients().remove_logs();
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(&format!("{PATH}/join"), post(join))
        .route(&format!("{PATH}/time"), get(time))
        .route(&format!("{PATH}/next"), post(next_run))
        .route(&format!("{PATH}/workload"), post(workload))
        .route(&format!("{PATH}/ready"), post(ready))
        .route(&format!("{PATH}/failed"), post(failed))
        .route(&format!("{PATH}/beat"), post(beat).layer(DefaultBodyLimit::max(2 * PIECE_BYTES)))
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
    next: NextLayer,
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

/// The answer to a message.
fn respond<T: Serialize>(answer: Result<T, String>) -> Response {
    answer.map_or_else(refuse, |answer| Json(answer).into_response())
}

async fn join(State(shared): State<Arc<Shared>>, Json(message): Json<Join>) -> Response {
    let joined = shared.clients().join(&message);
    info!(shard = %message.shard, host = message.host, refused = ?joined.as_ref().err(), "a shard asks to join");
    respond(joined)
}

async fn time(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.clients().clocks(wall_time())).into_response()
}

async fn next_run(State(shared): State<Arc<Shared>>, Json(message): Json<Next>) -> Response {
    respond(shared.clients().next_run(message.shard, message.after))
}

async fn workload(State(shared): State<Arc<Shared>>, Json(query): Json<WorkloadQuery>) -> Response {
    respond(shared.clients().workload(query))
}

async fn ready(State(shared): State<Arc<Shared>>, Json(message): Json<Ready>) -> Response {
    let mut clients = shared.clients();
    if let Err(error) = clients.note_ready(message.shard, message.number, message.identity) {
        return refuse(error);
    }
    respond(clients.start().transpose().map(|start| start.map(|monotonic_ns| Start { monotonic_ns })))
}

async fn failed(State(shared): State<Arc<Shared>>, Json(message): Json<Failed>) -> Response {
    respond(shared.clients().note_failed(message.shard, message.number, &message.error))
}

async fn beat(State(shared): State<Arc<Shared>>, message: Bytes) -> Response {
    respond(match Beat::decode(&message) {
        Some((beat, bytes)) => shared.clients().take_beat(&beat, bytes),
        None => Err("this is no beat".to_owned()),
    })
}
