//! The HTTP API: vLLM's endpoints and formats, and those of the servers it is compared with.
//!
//! ```text
//! ENDPOINTS ─▶ protocol::x reads ─▶ answer ─▶ stream ─▶ protocol::x writes
//! ```

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Uri},
    response::Response,
    routing::{MethodRouter, get, post},
};
use tokio::sync::watch;

use super::{
    engine::EngineHandle,
    metrics::{EngineMetrics, PageSettings},
    spec::SimSpec,
    tokens::{PromptSegment, SpecialMarkers, Vocabulary},
};
use crate::sim::truth_log::{RequestTrace, TruthLog};

mod api_error;
mod chunks;
pub(super) mod fixed_timing_server;
mod generate_request;
mod generation;
mod media;
mod message;
mod openapi;
mod pooling;
mod protocol;
mod response_writer;
mod server_info;
mod stream;
mod token_details;

use crate::sim::api::api_error::ApiError;
use crate::sim::api::generate_request::{Endpoint, RawRequest};
use crate::sim::api::generation::{Generation, ReceivedPrompt, UnusablePrompt, new_trace, prompt_tokens};
use pooling::PoolingEndpoint;
use protocol::{audio, llama_cpp, ollama, openai, responses, sglang, tgi, triton};

/// Longer texts, in bytes, are encoded outside the step loop's thread, since they would delay it.
const LONG_TEXT: usize = 4096;

/// The longest request body, in bytes. A prompt of a million tokens fits.
const LONGEST_BODY: usize = 64 << 20;

/// All endpoints that generate text.
static ENDPOINTS: [&Endpoint; 11] = [
    &openai::COMPLETIONS,
    &openai::CHAT,
    &responses::RESPONSES,
    &audio::TRANSCRIPTIONS,
    &audio::TRANSLATIONS,
    &sglang::GENERATE,
    &tgi::GENERATE_STREAM,
    &triton::GENERATE,
    &llama_cpp::COMPLETION,
    &ollama::GENERATE,
    &ollama::CHAT,
];

/// State that all endpoints share.
pub(super) struct ApiState {
    spec: SimSpec,
    vocabulary: Vocabulary,
    engine: EngineHandle,
    metrics: Arc<Mutex<EngineMetrics>>,
    truth: TruthLog,
    facts: PageSettings,
    closed: watch::Receiver<bool>,
    requests: AtomicU64,
}

impl ApiState {
    /// Creates the state. `closed` becomes true when the server shuts down. The log sink of `spec` is not used here.
    pub(super) fn new(
        spec: SimSpec,
        vocabulary: Vocabulary,
        engine: EngineHandle,
        shared: ServerShared,
    ) -> Self {
        let ServerShared { metrics, truth, closed } = shared;
        let facts = PageSettings::new(&spec);
        Self { spec, vocabulary, engine, metrics, truth, facts, closed, requests: AtomicU64::new(0) }
    }

    fn metrics(&self) -> MutexGuard<'_, EngineMetrics> {
        self.metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn next_ordinal(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Encodes `text` to tokens.
    async fn encode(self: &Arc<Self>, text: String, markers: SpecialMarkers) -> Result<Vec<u32>, ApiError> {
        let tokens = if text.len() <= LONG_TEXT {
            self.vocabulary.encode(&text, markers)
        } else {
            let parts = Arc::clone(self);
            let task = tokio::task::spawn_blocking(move || parts.vocabulary.encode(&text, markers));
            task.await.unwrap_or_else(|error| Err(error.to_string()))
        };
        tokens.map_err(|error| {
            ApiError::bad_parameter("prompt", format!("the prompt cannot be tokenized: {error}"))
        })
    }

    /// Encodes a prompt of several segments. `markers` applies to the first one.
    async fn encode_all(
        self: &Arc<Self>,
        prompt: Vec<PromptSegment>,
        markers: SpecialMarkers,
    ) -> Result<Vec<u32>, ApiError> {
        let (mut tokens, mut markers) = (Vec::new(), markers);
        for segment in prompt {
            match segment {
                PromptSegment::Text(text) => tokens.extend(self.encode(text, markers).await?),
                PromptSegment::Media(media) => tokens.extend(media.placeholders()),
            }
            markers = SpecialMarkers::Leave;
        }
        Ok(tokens)
    }

    async fn shutdown_begun(&self) {
        super::turns_true(self.closed.clone()).await;
    }
}

/// State that the endpoints share with the rest of the server.
pub(super) struct ServerShared {
    pub metrics: Arc<Mutex<EngineMetrics>>,
    pub truth: TruthLog,
    pub closed: watch::Receiver<bool>,
}

pub(super) fn router(parts: Arc<ApiState>) -> Router {
    let mut router = Router::new();
    for endpoint in ENDPOINTS {
        for path in endpoint.paths {
            router = router.route(path, generate_route(endpoint));
        }
    }
    for pooler in pooling::POOLING_ENDPOINTS {
        for path in pooler.paths {
            router = router.route(path, pooling_route(pooler));
        }
    }
    if parts.spec.profiler {
        for path in ["/start_profile", "/stop_profile"] {
            router = router.route(path, post(server_info::profile));
        }
    }
    router
        .route("/openapi.json", get(openapi::document))
        .route("/v1/models", get(server_info::models))
        .route("/tokenize", post(server_info::tokenize))
        .route("/detokenize", post(server_info::detokenize))
        .route("/health", get(server_info::ok))
        .route("/ping", get(server_info::ok).post(server_info::ok))
        .route("/version", get(server_info::version))
        .route("/load", get(server_info::load))
        .route("/metrics", get(server_info::metrics))
        .route("/reset_prefix_cache", post(server_info::reset_prefix_cache))
        .fallback(server_info::not_found)
        .method_not_allowed_fallback(server_info::method_not_allowed)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(parts)
}

fn generate_route(endpoint: &'static Endpoint) -> MethodRouter<Arc<ApiState>> {
    post(async move |State(parts): State<Arc<ApiState>>, uri: Uri, headers: HeaderMap, body: Bytes| {
        respond(parts, endpoint, &RawRequest { path: uri.path(), headers: &headers, body: &body }).await
    })
}

/// Reads a request, picks its fault and answers it.
async fn respond(
    parts: Arc<ApiState>,
    endpoint: &'static Endpoint,
    call: &RawRequest<'_>,
) -> Result<Response, ApiError> {
    let read = Instant::now();
    let ordinal = parts.next_ordinal();
    let mut ask =
        (endpoint.read)(call, &parts.spec).map_err(|refusal| refusal.in_format(endpoint.dialect))?;
    let dialect = ask.endpoint.dialect;
    let prompt = match prompt_tokens(&parts, &ask).await {
        Err(UnusablePrompt::AsItIs(refusal)) => return Err(refusal.in_format(dialect)),
        // vLLM detects this after it has opened the stream.
        Err(UnusablePrompt::InTheModel(refusal)) if ask.stream => {
            return Ok(stream::error_stream(&parts, &ask, &refusal.in_format(dialect)));
        }
        Err(UnusablePrompt::InTheModel(refusal)) => return Err(refusal.in_format(dialect)),
        Ok(prompt) => prompt,
    };
    if let Some(ids) = &mut ask.details.prompt_ids {
        ids.clone_from(&prompt);
    }
    let story = RequestTrace {
        ordinal,
        fault: parts.spec.faults.fault_for(parts.spec.seed, ordinal),
        stream: ask.stream,
        read_ns: parts.truth.offset_ns(read),
        max_tokens: ask.max_tokens,
        ..new_trace(&parts, call, &ask.model, [prompt.as_slice()])
    };
    let answered = give(Generation::new(parts, ask, ReceivedPrompt { prompt, read, story })).await;
    answered.map_err(|refusal| refusal.in_format(dialect))
}

/// Sends the answer as requested: as a stream or in one piece.
async fn give(answer: Generation) -> Result<Response, ApiError> {
    let answer = answer.past_early_faults().await?;
    if answer.request.stream {
        Ok(stream::stream_response(answer))
    } else {
        answer.into_full_response().await
    }
}

fn pooling_route(pooler: &'static PoolingEndpoint) -> MethodRouter<Arc<ApiState>> {
    post(async move |State(parts): State<Arc<ApiState>>, uri: Uri, headers: HeaderMap, body: Bytes| {
        pooling::respond(parts, pooler, &RawRequest { path: uri.path(), headers: &headers, body: &body })
            .await
    })
}
