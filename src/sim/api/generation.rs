//! Running answers, and answers in one piece.

use std::{
    io,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::ApiState;
use crate::sim::api::{
    api_error::ApiError,
    generate_request::{GenerateRequest, PromptInput, RawRequest},
    response_writer::{FullResponse, GenerationIdentity, GenerationProgress, OutputChunk, ResponseWriter},
    server_info::unix_seconds,
};
use crate::sim::{
    engine::{EngineJob, JobKind, TokenEvent, TokenStream},
    fault::FaultKind,
    tokens::SpecialMarkers,
};
use crate::sim::{
    output_plan::{LengthLimits, OutputPlan},
    truth_log::{OpenTrace, RequestTrace, prompt_hashes},
};

/// A running answer. Dropping it writes its trace to the truth log.
pub(super) struct Generation {
    pub parts: Arc<ApiState>,
    pub request: GenerateRequest,
    pub created: u64,
    pub plan: OutputPlan,
    pub trace: OpenTrace,
    /// The stream of tokens; `None` if a fault prevents any tokens.
    pub token_stream: Option<TokenStream>,
    asked: Instant,
    queue_time: Duration,
    /// The beginning of the first step that computed the request.
    scheduled: Instant,
    first: Option<Instant>,
    latest: Instant,
}

/// Starts a request's trace with the data of the request.
pub(super) fn new_trace<'a>(
    parts: &ApiState,
    call: &RawRequest,
    model: &str,
    prompts: impl IntoIterator<Item = &'a [u32]> + Clone,
) -> RequestTrace {
    let spec = &parts.spec;
    let hashes = |prompt| prompt_hashes(prompt, spec.block_size, spec.truth_prompts);
    RequestTrace {
        id: call.id(),
        path: call.path.to_owned(),
        model: model.to_owned(),
        session: call.header("x-session-id").map(str::to_owned),
        prompt_tokens: prompts.clone().into_iter().map(<[u32]>::len).sum(),
        prompt_blocks: (spec.truth_prompts > 0).then(|| prompts.into_iter().flat_map(hashes).collect()),
        ..RequestTrace::default()
    }
}

/// The data that is known once a request has been parsed.
pub(super) struct ReceivedPrompt {
    pub prompt: Vec<u32>,
    pub read: Instant,
    pub story: RequestTrace,
}

/// Why a prompt is rejected.
pub(super) enum UnusablePrompt {
    AsItIs(ApiError),
    InTheModel(ApiError),
}

/// Returns the prompt's tokens, or the error that rejects it.
pub(super) async fn resolve_prompt(
    parts: &Arc<ApiState>,
    ask: &GenerateRequest,
) -> Result<Vec<u32>, ApiError> {
    let prompt = prompt_tokens(parts, ask).await;
    prompt.map_err(|(UnusablePrompt::AsItIs(refusal) | UnusablePrompt::InTheModel(refusal))| refusal)
}

impl From<ApiError> for UnusablePrompt {
    fn from(refusal: ApiError) -> Self {
        Self::AsItIs(refusal)
    }
}

pub(super) async fn prompt_tokens(
    parts: &Arc<ApiState>,
    ask: &GenerateRequest,
) -> Result<Vec<u32>, UnusablePrompt> {
    let tokens = match &ask.prompt {
        PromptInput::Text(text) => parts.encode(text.clone(), SpecialMarkers::Add).await?,
        PromptInput::Conversation(turns) => {
            parts.encode_all(parts.vocabulary.chat_prompt(turns), SpecialMarkers::Leave).await?
        }
        PromptInput::Segments(segments) => parts.encode_all(segments.clone(), SpecialMarkers::Leave).await?,
        PromptInput::Tokens(tokens) => {
            if let Some(id) = parts.vocabulary.first_unknown(tokens) {
                let message = format!("Token id {id} is out of vocabulary");
                return Err(UnusablePrompt::InTheModel(ApiError::bad_parameter("", message)));
            }
            tokens.clone()
        }
    };
    let limit = parts.spec.max_model_len;
    if tokens.len() >= limit { Err(prompt_too_long(&tokens, limit).into()) } else { Ok(tokens) }
}

/// vLLM's message for a prompt that leaves no room for output.
pub(super) fn prompt_too_long(tokens: &[u32], limit: usize) -> ApiError {
    let least = tokens.len().min(limit + 1);
    let message = format!(
        "This model's maximum context length is {limit} tokens. However, your prompt contains at least {least} input \
         tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
    );
    ApiError::invalid_value("input_tokens", least, &message)
}

impl Generation {
    /// Submits a request to the engine, unless a fault prevents that.
    pub(super) fn new(parts: Arc<ApiState>, ask: GenerateRequest, received: ReceivedPrompt) -> Self {
        let ReceivedPrompt { prompt, read, story } = received;
        let room = parts.spec.max_model_len - prompt.len();
        let asked = ask.max_tokens.or(ask.endpoint.otherwise).unwrap_or(room);
        let eos_mean = parts.spec.output.eos_mean.filter(|_| !ask.ignore_eos);
        let bounds = LengthLimits { min: ask.min_tokens, max: asked.min(room), eos_mean };
        let plan = OutputPlan::new(&parts.vocabulary, &prompt, bounds, parts.spec.seed);
        let story = OpenTrace::new(&parts.truth, story);
        let ticket = reaches_engine(story.fault).then(|| {
            let output = plan.tokens(&parts.vocabulary);
            parts.engine.submit(EngineJob {
                prompt,
                output,
                work: JobKind::Generate { finish: plan.finish, max_tokens: bounds.max },
                arrived: read,
                adapter: parts.spec.is_adapter(&ask.model).then(|| ask.model.clone()),
                cache_salt: ask.cache_salt.clone(),
            })
        });
        Self {
            parts,
            request: ask,
            created: unix_seconds(),
            plan,
            trace: story,
            token_stream: ticket,
            asked: read,
            queue_time: Duration::ZERO,
            scheduled: read,
            first: None,
            latest: read,
        }
    }

    /// Returns the answer, unless an early fault strikes.
    pub(super) async fn past_early_faults(mut self) -> Result<Self, ApiError> {
        match fail_early(&self.parts, self.trace.fault).await {
            Ok(()) => Ok(self),
            Err(refusal) => {
                self.trace.cancelled = false;
                Err(refusal)
            }
        }
    }

    /// Returns the answer in one piece.
    pub(super) async fn into_full_response(mut self) -> Result<Response, ApiError> {
        let fault = self.trace.fault;
        if !self.wait_for_all().await || fault == Some(FaultKind::Stall) {
            self.parts.shutdown_begun().await;
            self.trace.cancelled = false;
            return Err(ApiError::internal());
        }
        self.trace.cancelled = false;
        let lost = matches!(fault, Some(FaultKind::ErrorEvent | FaultKind::Disconnect));
        let body = if lost { Vec::new() } else { self.full_body() };
        full_response(fault, body)
    }

    /// Waits for all tokens. Returns whether they came: they do unless the server shuts down.
    async fn wait_for_all(&mut self) -> bool {
        let Some(mut ticket) = self.token_stream.take() else { return true };
        loop {
            let Some(event) = ticket.next().await else { return false };
            self.record_token(&event);
            if event.last {
                self.trace.step_ns.push(self.parts.truth.offset_ns(event.at));
                return true;
            }
        }
    }

    /// Records a new token.
    pub(super) fn record_token(&mut self, event: &TokenEvent) {
        self.trace.output_tokens += 1;
        self.trace.cached_tokens = event.cached;
        if self.first.is_none() {
            self.first = Some(event.at);
            self.scheduled = event.scheduled;
            self.queue_time = event.scheduled.saturating_duration_since(event.queued);
            let truth = &self.parts.truth;
            self.trace.queued_ns = Some(truth.offset_ns(event.queued));
            self.trace.scheduled_ns = Some(truth.offset_ns(event.scheduled));
        }
        self.latest = event.at;
    }

    fn full_body(&mut self) -> Vec<u8> {
        let finish = (self.trace.fault != Some(FaultKind::NoTerminal)).then_some(self.plan.finish);
        let total = self.trace.output_tokens;
        let turning = self.reasoning().min(total);
        let (reasoning, said) = (self.text(0..turning), self.text(turning..total));
        let whole = FullResponse {
            reasoning: &reasoning,
            said: self.output_chunk(&said, turning..total, false),
            finish,
        };
        let body = self.response_writer().full_body(&whole, &self.progress());
        self.trace.finish_reason = finish;
        let now = self.parts.truth.offset_ns(Instant::now());
        self.trace.tokens_ns.push(now);
        self.trace.first_token_ns = Some(now);
        body
    }

    /// Creates the writer for this answer.
    pub(super) fn response_writer(&self) -> Box<dyn ResponseWriter> {
        let who =
            GenerationIdentity { id: &self.trace.id, created: self.created, model: &self.request.model };
        (self.request.endpoint.shape)(&who, &self.request, &self.parts.spec)
    }

    /// The number of first tokens that are reasoning.
    pub(super) fn reasoning(&self) -> usize {
        if self.request.endpoint.reasons { self.parts.spec.output.reasoning } else { 0 }
    }

    /// Returns the text of these tokens.
    pub(super) fn text(&self, range: Range<usize>) -> String {
        range.map(|index| self.plan.text(&self.parts.vocabulary, index)).collect()
    }

    /// Returns these tokens with their text, as response writers take them.
    pub(super) fn output_chunk<'a>(
        &'a self,
        text: &'a str,
        range: Range<usize>,
        thought: bool,
    ) -> OutputChunk<'a> {
        OutputChunk {
            text,
            is_reasoning: thought,
            plan: &self.plan,
            vocabulary: &self.parts.vocabulary,
            range,
        }
    }

    /// Returns the progress of the answer.
    pub(super) fn progress(&self) -> GenerationProgress {
        let first = self.first.unwrap_or(self.latest);
        GenerationProgress {
            prompt: self.trace.prompt_tokens,
            cached: self.trace.cached_tokens,
            output: self.trace.output_tokens,
            reasoned: self.trace.output_tokens.min(self.reasoning()),
            queue_time: self.queue_time,
            prefill_time: first.saturating_duration_since(self.scheduled),
            prompt_time: first.saturating_duration_since(self.asked),
            output_time: self.latest.saturating_duration_since(first),
        }
    }
}

/// Whether a request with this fault reaches the engine.
pub(super) fn reaches_engine(fault: Option<FaultKind>) -> bool {
    !matches!(
        fault,
        Some(FaultKind::Error500 | FaultKind::Error429 | FaultKind::StallHeaders | FaultKind::Empty)
    )
}

/// Fails or delays a request whose fault strikes before anything else.
pub(super) async fn fail_early(parts: &ApiState, fault: Option<FaultKind>) -> Result<(), ApiError> {
    match fault {
        Some(FaultKind::Error500) => Err(ApiError::internal()),
        Some(FaultKind::Error429) => Err(ApiError::too_many_requests()),
        Some(FaultKind::StallHeaders) => {
            parts.shutdown_begun().await;
            Err(ApiError::internal())
        }
        _ => Ok(()),
    }
}

/// Returns an answer in one piece, changed by its fault.
pub(super) fn full_response(fault: Option<FaultKind>, mut body: Vec<u8>) -> Result<Response, ApiError> {
    match fault {
        Some(FaultKind::ErrorEvent) => return Err(ApiError::internal()),
        Some(FaultKind::Disconnect) => {
            let cut = stream::iter([Ok(Bytes::from_static(b"{\"id\":")), Err(broken_connection())]);
            return Ok(as_json(Body::from_stream(cut)));
        }
        Some(FaultKind::Malformed) => body.truncate(body.len() / 2),
        _ => {}
    }
    Ok(as_json(body.into()))
}

fn as_json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The error that breaks the connection.
pub(super) fn broken_connection() -> io::Error {
    io::Error::other("the simulated server breaks the connection")
}
