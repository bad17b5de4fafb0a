//! The HTTP side: vLLM's endpoints and shapes.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::HeaderMap,
    response::Response,
    routing::{get, post},
};
use tokio::sync::watch;

use super::{
    engine::Engine,
    metrics::{Facts, Metrics},
    spec::Spec,
    tokens::{Markers, Vocabulary},
    truth::TruthLog,
};

mod answer;
mod ask;
mod chunks;
mod info;
pub(super) mod metronome;
mod refusal;
mod stream;

use ask::Endpoint;
use refusal::Refusal;

/// A text of more bytes than this is encoded away from the step loop's thread, which it would hold up.
const LONG_TEXT: usize = 4096;

/// The longest request body; a prompt of a million tokens fits.
const LONGEST_BODY: usize = 64 << 20;

/// What the endpoints work with.
pub(super) struct Parts {
    spec: Spec,
    vocabulary: Vocabulary,
    engine: Engine,
    metrics: Arc<Mutex<Metrics>>,
    truth: TruthLog,
    facts: Facts,
    closed: watch::Receiver<bool>,
    requests: AtomicU64,
}

impl Parts {
    /// `closed` turns true when the server shuts down. The log sink of `spec` is not used here.
    pub(super) fn new(spec: Spec, vocabulary: Vocabulary, engine: Engine, shared: Shared) -> Self {
        let Shared { metrics, truth, closed } = shared;
        let facts = Facts::new(&spec);
        Self { spec, vocabulary, engine, metrics, truth, facts, closed, requests: AtomicU64::new(0) }
    }

    fn metrics(&self) -> MutexGuard<'_, Metrics> {
        self.metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn next_ordinal(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// The tokens of `text`.
    async fn encode(self: &Arc<Self>, text: String, markers: Markers) -> Result<Vec<u32>, Refusal> {
        let tokens = if text.len() <= LONG_TEXT {
            self.vocabulary.encode(&text, markers)
        } else {
            let parts = Arc::clone(self);
            let task = tokio::task::spawn_blocking(move || parts.vocabulary.encode(&text, markers));
            task.await.unwrap_or_else(|error| Err(error.to_string()))
        };
        tokens.map_err(|error| Refusal::bad("prompt", format!("the prompt cannot be tokenized: {error}")))
    }

    /// Completes when the server shuts down.
    async fn closing(&self) {
        super::turns_true(self.closed.clone()).await;
    }
}

/// What the endpoints share with the rest of the server.
pub(super) struct Shared {
    pub metrics: Arc<Mutex<Metrics>>,
    pub truth: TruthLog,
    pub closed: watch::Receiver<bool>,
}

/// All endpoints.
pub(super) fn router(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/v1/completions", post(completions))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(info::models))
        .route("/tokenize", post(info::tokenize))
        .route("/detokenize", post(info::detokenize))
        .route("/health", get(info::ok))
        .route("/ping", get(info::ok).post(info::ok))
        .route("/version", get(info::version))
        .route("/load", get(info::load))
        .route("/metrics", get(info::metrics))
        .route("/reset_prefix_cache", post(info::reset_prefix_cache))
        .route("/start_profile", post(info::ok))
        .route("/stop_profile", post(info::ok))
        .fallback(info::not_found)
        .method_not_allowed_fallback(info::method_not_allowed)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(parts)
}

async fn completions(
    State(parts): State<Arc<Parts>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    answer::respond(parts, Endpoint::Completions, &headers, &body).await
}

async fn chat(State(parts): State<Arc<Parts>>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    answer::respond(parts, Endpoint::Chat, &headers, &body).await
}
