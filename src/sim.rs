//! A simulated vLLM: continuous batching, paged KV cache, prefix cache, preemption, and vLLM's HTTP formats. A model
//! of step times replaces the language model. The same engine also answers in the protocols of other servers.
//!
//! ```text
//! request ─▶ api ─▶ engine (the clock) ─▶ scheduler (pure) ─▶ KV pool
//!             ▲         │ tokens               metrics ◀┘
//!             └─ answer ◀┘ ─▶ truth log
//! ```
//!
//! A [`FixedTiming`] replaces engine and scheduler with a timer: streams of fixed timing, to measure clients.
//!
//! # Truth log
//!
//! [`SimSpec::truth_log`] names a file that receives the true times and counts of each request, as the server itself
//! recorded them.
//!
//! A file of JSON lines. The first is the header
//! `{"clock":"monotonic","base_unix_ns":N,"version":...}`: every `*_ns` of the other lines is in nanoseconds of the
//! monotonic clock since a time at which the wall clock showed `base_unix_ns`. Then follows one line for each request
//! for text, embeddings or scores, written when its answer has ended or its client has left:
//!
//! - `id` (the request's `x-request-id`, or made up), `ordinal` (requests are numbered as they are read), `fault`;
//! - `path`, `model` (as asked for), `session` (the request's `x-session-id`), `max_tokens` (as asked for);
//! - `arrived_ns`: when the kernel received the request's last byte (`null` if the server does not ask the kernel);
//! - `read_ns`: when the server had read the request's body;
//! - `prompt_tokens`, `cached_tokens` (of the prompt, from the prefix cache), `output_tokens` (handed out, the
//!   end-of-sequence token included), `finish_reason` (`null` if the answer did not get that far);
//! - `cancelled`: the client left before the answer was complete;
//! - `prompt_blocks`, if enabled: a hash for each of the prompt's first full blocks, in hexadecimal. A hash
//!   identifies its block and all blocks before it, so two prompts of one log share a beginning as far as their
//!   hashes are equal. A request with several prompts lists the hashes of one prompt after the other;
//! - `queued_ns`, `scheduled_ns`: when the request entered the engine's queue, and when the first step that computed it
//!   began (`null` if it was never computed);
//! - `tokens_ns`: for each event with output text, when the server handed it to the connection for writing;
//!   `step_ns`: when the step that generated the event's last token ended; `first_token_ns`: the first of
//!   `tokens_ns`;
//! - `done_ns`: when the server handed over the answer's last frame, or noticed that the client was gone.
//!
//! A profiler command has a separate line, `{"order":"/start_profile","at_ns":N}`, with the time at which it was
//! read.
//!
//! A token without text (the end of the sequence) has no entry in `tokens_ns`, since no client can see it.
//!
//! # Second opinion
//!
//! This module imports nothing from the rest of the crate, so that its view of the protocols is a second opinion.
//! `predict` imports the scheduler, which knows no protocol.

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

mod api;
mod engine;
mod fault;
mod fixed_timing;
mod histogram;
mod log_lines;
mod metrics;
mod named_enum;
mod output_plan;
mod precise_timer;
pub(crate) mod scheduler;
mod spec;
mod step_time;
mod tokens;
mod truth_log;

pub use crate::sim::fixed_timing::FixedTiming;
pub use crate::sim::named_enum::UnknownName;
pub use crate::sim::step_time::{Speed, StepTime};
pub use fault::{FaultInjection, FaultKind};
pub use spec::{LineEnding, OutputSpec, ReasoningField, SimSpec, SimSpecError};

use crate::sim::truth_log::TruthLog;
use engine::EngineHandle;
use metrics::EngineMetrics;
use tokens::Vocabulary;

/// The version that `/version` reports.
pub const VERSION: &str = "0.32.0+servegauge-sim";

/// Connections that may wait to be accepted. The system's own limit (4096 on Linux) may be lower.
const BACKLOG: u32 = 4096;

/// How long connections may take to close when the server shuts down.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a simulated vLLM on `listener` until `shutdown` completes, then cuts off running requests.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] with a [`SimSpecError`] if `spec` describes no valid server; otherwise the
/// system's error for the truth log's file, for the listener, or for starting a thread.
pub async fn serve(
    listener: TcpListener,
    mut spec: SimSpec,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    spec.check().map_err(invalid)?;
    let vocabulary = Vocabulary::new(spec.tokenizer_json.as_deref()).map_err(invalid)?;
    let truth = TruthLog::create(spec.truth_log.as_deref())?;
    let metrics = Arc::new(Mutex::new(EngineMetrics::new(spec.max_model_len)));
    let (engine, steps) = EngineHandle::new(&spec, Arc::clone(&metrics))?;

    let mut sink = spec.log.take();
    if let Some(sink) = &mut sink {
        log_lines::log_kv_cache_size(sink, &spec);
    }
    let logging = log_lines::log_periodically(sink, Arc::clone(&metrics), spec.log_interval);
    let (closing, closed) = watch::channel(false);
    let shared = api::ServerShared { metrics, truth: truth.clone(), closed: closed.clone() };
    let timing = spec.fixed_timing;
    let parts = Arc::new(api::ApiState::new(spec, vocabulary, engine, shared));
    let router = api::router(Arc::clone(&parts));
    let server = async {
        match timing {
            None => serve_router(listener, router, closed).await,
            Some(timing) => api::fixed_timing_server::serve(listener, parts, router, timing).await,
        }
    };
    let mut server = std::pin::pin!(server);
    // Dropping the step loop ends every running answer, even if the caller drops this function's future.
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
        // With Nagle's algorithm, a token could wait for the acknowledgement of the previous one. If the socket
        // refuses the option, it is already broken, and the next read reports that.
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, router).with_graceful_shutdown(turns_true(closed)).await
}

/// Listens with a backlog for many simultaneous connections. The usual backlog of 128 overflows when hundreds of
/// clients connect at once, and each client that is refused retries only a second later.
///
/// # Errors
///
/// The system's error for the last of the addresses that `address` resolves to.
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

/// Completes when the flag is set, or when its sender is gone.
async fn turns_true(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
}
