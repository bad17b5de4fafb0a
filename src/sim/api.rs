//! The HTTP side: vLLM's endpoints and shapes, and those of the servers it is compared with.
//!
//! ```text
//! endpoint (the table) ─▶ protocol::x reads ─▶ answer ─▶ stream ─▶ protocol::x writes
//! ```

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Uri},
    routing::{MethodRouter, get, post},
};
use tokio::sync::watch;

use super::{
    engine::Engine,
    metrics::{Facts, Metrics},
    spec::Spec,
    tokens::{Markers, Segment, Vocabulary},
    truth::TruthLog,
};

mod answer;
mod ask;
mod chunks;
mod endpoint;
mod info;
mod media;
mod message;
pub(super) mod metronome;
mod pooling;
mod protocol;
mod refusal;
mod shape;
mod stream;

use ask::Call;
use endpoint::{ENDPOINTS, Endpoint};
use pooling::Pooler;
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

    /// The tokens of a prompt of several pieces; the markers are for its first.
    async fn encode_all(
        self: &Arc<Self>,
        prompt: Vec<Segment>,
        markers: Markers,
    ) -> Result<Vec<u32>, Refusal> {
        let (mut tokens, mut markers) = (Vec::new(), markers);
        for segment in prompt {
            match segment {
                Segment::Text(text) => tokens.extend(self.encode(text, markers).await?),
                Segment::Media(media) => tokens.extend(media.placeholders()),
            }
            markers = Markers::Leave;
        }
        Ok(tokens)
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
    let mut router = Router::new();
    for endpoint in ENDPOINTS {
        for path in endpoint.paths {
            router = router.route(path, generating(endpoint));
        }
    }
    for pooler in pooling::POOLERS {
        for path in pooler.paths {
            router = router.route(path, pooled(pooler));
        }
    }
    if parts.spec.profiler {
        for path in ["/start_profile", "/stop_profile"] {
            router = router.route(path, post(info::profile));
        }
    }
    router
        .route("/v1/models", get(info::models))
        .route("/tokenize", post(info::tokenize))
        .route("/detokenize", post(info::detokenize))
        .route("/health", get(info::ok))
        .route("/ping", get(info::ok).post(info::ok))
        .route("/version", get(info::version))
        .route("/load", get(info::load))
        .route("/metrics", get(info::metrics))
        .route("/reset_prefix_cache", post(info::reset_prefix_cache))
        .fallback(info::not_found)
        .method_not_allowed_fallback(info::method_not_allowed)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(parts)
}

fn generating(endpoint: &'static Endpoint) -> MethodRouter<Arc<Parts>> {
    post(async move |State(parts): State<Arc<Parts>>, uri: Uri, headers: HeaderMap, body: Bytes| {
        answer::respond(parts, endpoint, &Call { path: uri.path(), headers: &headers, body: &body }).await
    })
}

fn pooled(pooler: &'static Pooler) -> MethodRouter<Arc<Parts>> {
    post(async move |State(parts): State<Arc<Parts>>, uri: Uri, headers: HeaderMap, body: Bytes| {
        pooling::respond(parts, pooler, &Call { path: uri.path(), headers: &headers, body: &body }).await
    })
}
