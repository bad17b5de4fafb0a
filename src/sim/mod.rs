//! A simulated vLLM: continuous batching, paged KV cache, prefix cache, preemption, and vLLM's HTTP shapes,
//! with a model of step times in place of a model of language. It answers in the protocols of other servers too, with the
//! same engine behind them.
//!
//! ```text
//! request ─▶ api ─▶ engine (the clock) ─▶ scheduler (pure) ─▶ blocks
//!             ▲         │ tokens               metrics ◀┘
//!             └─ answer ◀┘ ─▶ truth log
//! ```
//!
//! With a [`Rhythm`] a metronome takes the place of engine and scheduler: streams of fixed timing, to measure clients.
//!
//! An island: it imports nothing of this crate, so that what it says about the wire is a second opinion.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::serve::ListenerExt;
use tokio::{
    net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host},
    sync::watch,
    task::JoinSet,
};

mod alarm;
mod api;
mod blocks;
mod engine;
mod fault;
mod histogram;
mod metrics;
mod named;
mod plan;
mod rhythm;
mod scheduler;
mod spec;
mod stats_line;
mod timing;
mod tokens;
pub mod truth;

pub use fault::{FaultKind, Faults};
pub use named::UnknownName;
pub use rhythm::Rhythm;
pub use spec::{LineEnding, LogSink, Output, ReasoningField, Spec, SpecError};
pub use timing::{Speed, StepTime};

use engine::Engine;
use metrics::Metrics;
use tokens::Vocabulary;
use truth::TruthLog;

/// What `/version` says.
pub const VERSION: &str = "0.32.0+servebench-sim";

/// Connections that may wait to be accepted; the system's own limit (4096 on Linux) may be lower.
const BACKLOG: u32 = 4096;

/// How long connections may take to end when the server shuts down.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a simulated vLLM on `listener` until `shutdown` completes; then running requests are cut off.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] with a [`SpecError`] if no server can be made of `spec`; otherwise what the
/// system says of the truth log's file, of the listener, or of starting a thread.
pub async fn serve(
    listener: TcpListener,
    mut spec: Spec,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    spec.check().map_err(invalid)?;
    let vocabulary = Vocabulary::new(spec.tokenizer_json.as_deref()).map_err(invalid)?;
    let truth = TruthLog::create(spec.truth_log.as_deref())?;
    let metrics = Arc::new(Mutex::new(Metrics::new(spec.max_model_len)));
    let (engine, steps) = Engine::new(&spec, Arc::clone(&metrics))?;

    let mut sink = spec.log.take();
    if let Some(sink) = &mut sink {
        stats_line::announce(sink, &spec);
    }
    let logging = stats_line::keep_logging(sink, Arc::clone(&metrics), spec.log_interval);
    let (closing, closed) = watch::channel(false);
    let shared = api::Shared { metrics, truth: truth.clone(), closed: closed.clone() };
    let rhythm = spec.rhythm;
    let parts = Arc::new(api::Parts::new(spec, vocabulary, engine, shared));
    let router = api::router(Arc::clone(&parts));
    let server = async {
        match rhythm {
            None => serve_router(listener, router, closed).await,
            Some(rhythm) => api::metronome::serve(listener, parts, router, rhythm).await,
        }
    };
    let mut server = std::pin::pin!(server);
    // Dropping the step loop ends every running answer, also if the caller drops this function.
    let mut background = JoinSet::new();
    background.spawn(steps);
    background.spawn(logging);
    tokio::select! {
        ended = &mut server => return ended,
        () = shutdown => {}
    }
    let _ = closing.send(true);
    background.shutdown().await;
    let _ = tokio::time::timeout(GOODBYE, server).await;
    truth.flush()
}

/// Serves with axum until the flag is set and the connections have ended.
async fn serve_router(
    listener: TcpListener,
    router: axum::Router,
    closed: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = listener.tap_io(|socket| {
        // Without this a token could wait for the acknowledgement of the one before. If the socket refuses,
        // it is already broken and the next read will say so.
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, router).with_graceful_shutdown(turns_true(closed)).await
}

/// Listens with room for a storm of connections. The usual room of 128 overflows when hundreds of clients come at
/// once, and each that finds no room tries again only a second later.
///
/// # Errors
///
/// What the system says of the last of the addresses that `address` stands for.
pub async fn listen(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut ended = Err(io::Error::new(io::ErrorKind::NotFound, "the name stands for no address"));
    for address in lookup_host(address).await? {
        ended = listen_on(address);
        if ended.is_ok() {
            break;
        }
    }
    ended
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Completes when the flag is set, or can no longer be.
async fn turns_true(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
}
