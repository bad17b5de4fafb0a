//! Requests without generated output: embeddings and scores. The engine prefills each prompt, and the step that
//! completes the last prompt completes the answer.

use std::{sync::Arc, time::Instant};

use axum::response::Response;
use serde_json::Value;

use super::ApiState;
use crate::sim::api::{
    api_error::ApiError,
    generate_request::RawRequest,
    generation::{fail_early, full_response, new_trace, reaches_engine},
    response_writer::json,
    server_info::unix_seconds,
};
use crate::sim::{
    engine::{EngineJob, JobKind, TokenStream},
    fault::FaultKind,
    spec::SimSpec,
    tokens::{PromptSegment, SpecialMarkers},
};
use crate::sim::{
    output_plan::END_OF_SEQUENCE,
    truth_log::{OpenTrace, RequestTrace},
};

mod embeddings;
mod scores;

/// An endpoint for requests without output tokens.
pub(super) struct PoolingEndpoint {
    /// The endpoint's paths, all for POST.
    pub paths: &'static [&'static str],
    pub read: fn(&RawRequest, &ApiState) -> Result<PoolingRequest, ApiError>,
    /// The answer's body.
    pub write: fn(&PoolingRequest, &PoolingResult) -> Value,
}

/// All such endpoints.
pub(super) static POOLING_ENDPOINTS: [&PoolingEndpoint; 4] =
    [&embeddings::EMBEDDINGS, &embeddings::INFINITY, &embeddings::POOLING, &scores::RERANK];

/// A valid request, except that one of its prompts may be too long.
pub(super) struct PoolingRequest {
    pub model: String,
    pub prompts: Vec<PoolingInput>,
    /// Longer prompts are truncated to this number of tokens.
    pub truncate: Option<usize>,
    pub wish: PoolingTask,
}

pub(super) enum PoolingInput {
    Segments(Vec<PromptSegment>, SpecialMarkers),
    Tokens(Vec<u32>),
}

/// The result that the request asks for.
pub(super) enum PoolingTask {
    /// An embedding of `size` numbers for each prompt.
    Embeddings { size: usize, base64: bool },
    /// The relevance of each document for the query; the answer lists the `best` ones.
    Ranking { documents: Vec<String>, best: usize },
}

pub(super) struct PoolingResult {
    pub id: String,
    /// Unix time in seconds.
    pub created: u64,
    pub prompts: Vec<Vec<u32>>,
    pub seed: u64,
    /// Whether the answer reports token counts.
    pub tells: bool,
}

impl PoolingResult {
    pub(super) fn prompt_tokens(&self) -> usize {
        self.prompts.iter().map(Vec::len).sum()
    }
}

/// Parses a request, has its prompts computed and answers.
pub(super) async fn respond(
    parts: Arc<ApiState>,
    pooler: &'static PoolingEndpoint,
    call: &RawRequest<'_>,
) -> Result<Response, ApiError> {
    let read = Instant::now();
    let ordinal = parts.next_ordinal();
    let mut inquiry = (pooler.read)(call, &parts)?;
    let mut prompts = Vec::with_capacity(inquiry.prompts.len());
    for input in std::mem::take(&mut inquiry.prompts) {
        prompts.push(prompt_tokens_of(&parts, input, inquiry.truncate).await?);
    }
    let story = RequestTrace {
        ordinal,
        fault: parts.spec.faults.fault_for(parts.spec.seed, ordinal),
        read_ns: parts.truth.offset_ns(read),
        ..new_trace(&parts, call, &inquiry.model, prompts.iter().map(Vec::as_slice))
    };
    let mut story = OpenTrace::new(&parts.truth, story);
    let computed = compute(&parts, &mut story, &inquiry.model, &prompts, read).await;
    story.cancelled = false;
    computed?;
    let pooled = PoolingResult {
        id: story.id.clone(),
        created: unix_seconds(),
        prompts: if story.fault == Some(FaultKind::Empty) { Vec::new() } else { prompts },
        seed: parts.spec.seed,
        tells: parts.spec.output.usage,
    };
    full_response(story.fault, json(&(pooler.write)(&inquiry, &pooled)))
}

/// Returns the token IDs of a prompt, at most `truncate` of them.
async fn prompt_tokens_of(
    parts: &Arc<ApiState>,
    input: PoolingInput,
    truncate: Option<usize>,
) -> Result<Vec<u32>, ApiError> {
    let mut tokens = match input {
        PoolingInput::Segments(segments, markers) => parts.encode_all(segments, markers).await?,
        PoolingInput::Tokens(tokens) => match parts.vocabulary.first_unknown(&tokens) {
            Some(id) => {
                return Err(ApiError::bad_parameter("", format!("Token id {id} is out of vocabulary")));
            }
            None => tokens,
        },
    };
    tokens.truncate(truncate.unwrap_or(usize::MAX));
    let limit = parts.spec.max_model_len;
    if tokens.len() > limit {
        return Err(crate::sim::api::generation::prompt_too_long(&tokens, limit));
    }
    if tokens.is_empty() {
        return Err(ApiError::bad_parameter(
            "input",
            "The input must not be empty. (parameter=input)".to_owned(),
        ));
    }
    Ok(tokens)
}

/// Makes the engine compute all prompts.
async fn compute(
    parts: &ApiState,
    story: &mut OpenTrace,
    model: &str,
    prompts: &[Vec<u32>],
    arrived: Instant,
) -> Result<(), ApiError> {
    fail_early(parts, story.fault).await?;
    if !reaches_engine(story.fault) {
        return Ok(());
    }
    let adapter = parts.spec.is_adapter(model).then(|| model.to_owned());
    let submit = |prompt: &Vec<u32>| {
        let (prompt, output, adapter) = (prompt.clone(), vec![END_OF_SEQUENCE], adapter.clone());
        parts.engine.submit(EngineJob {
            prompt,
            output,
            work: JobKind::Pool,
            arrived,
            adapter,
            cache_salt: None,
        })
    };
    // Submitted together, since they are one batch.
    let tickets: Vec<TokenStream> = prompts.iter().map(submit).collect();
    for mut ticket in tickets {
        let Some(event) = ticket.next().await else { return Err(ApiError::internal()) };
        story.cached_tokens += event.cached;
        story.step_ns.push(parts.truth.offset_ns(event.at));
    }
    if story.fault == Some(FaultKind::Stall) {
        parts.shutdown_begun().await;
        return Err(ApiError::internal());
    }
    Ok(())
}

/// Interprets `truncate_prompt_tokens`: a number of tokens, or -1 for as many as the model takes.
fn truncate_limit(asked: Option<i64>, spec: &SimSpec) -> Result<Option<usize>, ApiError> {
    match asked {
        None => Ok(None),
        Some(-1) => Ok(Some(spec.max_model_len)),
        Some(tokens) => usize::try_from(tokens).map(|tokens| Some(tokens.max(1))).map_err(|_| {
            let message = format!("truncate_prompt_tokens must be -1 or more, got {tokens}.");
            ApiError::invalid_value("truncate_prompt_tokens", tokens, &message)
        }),
    }
}
