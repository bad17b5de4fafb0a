//! Endpoints other than generation: models, tokens, health, version, metrics, and administration.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    ApiState,
    message::{ChatMessage, chat_turns},
    protocol::openai::missing_prompt,
};
use crate::sim::api::{
    api_error::ApiError,
    generate_request::{RawRequest, read_object, served_model},
};
use crate::sim::{
    VERSION,
    tokens::{PromptSegment, SpecialMarkers},
};

pub(super) async fn models(State(parts): State<Arc<ApiState>>) -> impl IntoResponse {
    let created = unix_seconds();
    let names = parts.spec.names();
    let mut named: Vec<_> = names.iter().copied().filter(|name| *name != "*").collect();
    if named.is_empty() {
        named.push(&parts.spec.model);
    }
    let data: Vec<_> = named
        .iter()
        .map(|name| {
            json!({
                "id": name, "object": "model", "created": created, "owned_by": "vllm",
                "root": if parts.spec.is_adapter(name) { name } else { parts.spec.model.as_str() },
                "parent": parts.spec.is_adapter(name).then(|| parts.spec.primary_name()), "max_model_len": parts.spec.max_model_len,
                "permission": [{
                    "id": "modelperm-sim", "object": "model_permission", "created": created,
                    "allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true,
                    "allow_search_indices": false, "allow_view": true, "allow_fine_tuning": false,
                    "organization": "*", "group": null, "is_blocking": false,
                }],
            })
        })
        .collect();
    Json(json!({ "object": "list", "data": data }))
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[derive(Deserialize)]
struct TokenizeBody {
    model: Option<String>,
    prompt: Option<String>,
    messages: Option<Vec<ChatMessage>>,
    add_special_tokens: Option<bool>,
    return_token_strs: Option<bool>,
}

#[derive(Serialize)]
struct Tokenized {
    count: usize,
    max_model_len: usize,
    tokens: Vec<u32>,
    token_strs: Option<Vec<String>>,
}

pub(super) async fn tokenize(
    State(parts): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let body: TokenizeBody = read_object(&RawRequest { path: "/tokenize", headers: &headers, body: &body })?;
    served_model(body.model, &parts.spec)?;
    let (prompt, add) = match (body.prompt, body.messages) {
        (Some(prompt), _) => (vec![PromptSegment::Text(prompt)], body.add_special_tokens.unwrap_or(true)),
        (None, Some(messages)) => {
            let prompt = parts.vocabulary.chat_prompt(&chat_turns(messages)?);
            (prompt, body.add_special_tokens.unwrap_or(false))
        }
        (None, None) => return Err(missing_prompt()),
    };
    let tokens =
        parts.encode_all(prompt, if add { SpecialMarkers::Add } else { SpecialMarkers::Leave }).await?;
    let spell = || tokens.iter().map(|id| parts.vocabulary.spelling(*id)).collect();
    let token_strs = body.return_token_strs.unwrap_or(false).then(spell);
    let max_model_len = parts.spec.max_model_len;
    Ok(Json(Tokenized { count: tokens.len(), max_model_len, tokens, token_strs }).into_response())
}

#[derive(Deserialize)]
struct DetokenizeBody {
    model: Option<String>,
    tokens: Vec<u32>,
}

pub(super) async fn detokenize(
    State(parts): State<Arc<ApiState>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let body: DetokenizeBody =
        read_object(&RawRequest { path: "/detokenize", headers: &headers, body: &body })?;
    served_model(body.model, &parts.spec)?;
    let prompt =
        parts.vocabulary.decode(&body.tokens).map_err(|error| ApiError::bad_parameter("tokens", error))?;
    Ok(Json(json!({ "prompt": prompt })).into_response())
}

pub(super) async fn version() -> impl IntoResponse {
    Json(json!({ "version": VERSION }))
}

pub(super) async fn load(State(parts): State<Arc<ApiState>>) -> impl IntoResponse {
    let load = parts.metrics().load;
    Json(json!({ "server_load": load.running + load.waiting }))
}

pub(super) async fn metrics(State(parts): State<Arc<ApiState>>) -> impl IntoResponse {
    let page = parts.metrics().page(&parts.facts);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}

pub(super) async fn reset_prefix_cache(State(parts): State<Arc<ApiState>>) -> StatusCode {
    parts.engine.reset_prefix_cache();
    StatusCode::OK
}

/// Profiles nothing, but the truth log shows when a profile would have run.
pub(super) async fn profile(State(parts): State<Arc<ApiState>>, uri: Uri) -> StatusCode {
    parts.truth.append_admin_request(uri.path());
    StatusCode::OK
}

pub(super) async fn ok() -> StatusCode {
    StatusCode::OK
}

pub(super) async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "detail": "Not Found" }))).into_response()
}

/// Refuses a method, except that OPTIONS is answered as vLLM's CORS middleware answers a browser.
pub(super) async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        let headers = [
            (header::ALLOW, "GET, POST, OPTIONS"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        ];
        return (headers, "OK").into_response();
    }
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({ "detail": "Method Not Allowed" }))).into_response()
}
