//! `/openapi.json`: which paths exist, as tools that look for an API read it.

use axum::{Json, response::IntoResponse};
use serde_json::{Map, Value, json};

use super::{ENDPOINTS, pooling::POOLING_ENDPOINTS};
use crate::sim::VERSION;

/// The paths that answer GET.
const READ: [&str; 6] = ["/v1/models", "/health", "/ping", "/version", "/load", "/metrics"];

/// The paths that answer POST, besides those that generate or pool.
const WRITE: [&str; 3] = ["/tokenize", "/detokenize", "/reset_prefix_cache"];

/// Describes the API. Bodies are objects of any shape: the simulator ignores fields that it does not know.
pub(super) async fn document() -> impl IntoResponse {
    let generating = ENDPOINTS.iter().flat_map(|endpoint| endpoint.paths);
    let pooling = POOLING_ENDPOINTS.iter().flat_map(|endpoint| endpoint.paths);
    let write =
        generating.chain(pooling).chain(&WRITE).map(|path| (*path, json!({ "post": operation(true) })));
    let read = READ.iter().map(|path| (*path, json!({ "get": operation(false) })));
    let paths: Map<String, Value> = read.chain(write).map(|(path, item)| (path.to_owned(), item)).collect();
    Json(json!({
        "openapi": "3.1.0",
        "info": { "title": "vLLM (simulated)", "version": VERSION },
        "paths": paths,
    }))
}

fn operation(has_body: bool) -> Value {
    let mut operation = json!({ "responses": { "200": { "description": "Successful Response" } } });
    if has_body {
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": { "type": "object" } } } });
    }
    operation
}
