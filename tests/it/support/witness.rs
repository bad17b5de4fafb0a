//! A proxy between the program and a simulator that forwards every request and records it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::program::Program;
use super::server::{Port, Server};
use super::{Simulator, until};

/// A recording proxy in front of a simulator.
pub(crate) struct Witness {
    server: Server,
    state: Arc<Memory>,
}

/// A request that was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub path: String,
    pub headers: HeaderMap,
    /// The JSON body; `null` if the body is not JSON.
    pub body: Value,
}

impl Heard {
    /// The value of a header; empty if the header is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

struct Memory {
    http: reqwest::Client,
    upstream: String,
    missing: &'static str,
    heard: Mutex<Vec<Heard>>,
}

impl Witness {
    pub(crate) fn before(simulator: &Simulator) -> Self {
        Self::before_without(simulator, "")
    }

    /// Starts a proxy that does not have the endpoint `missing`.
    pub(crate) fn before_without(simulator: &Simulator, missing: &'static str) -> Self {
        // This fails if another test has installed the provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let state =
            Arc::new(Memory { http, upstream: simulator.base_url(), missing, heard: Mutex::default() });
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&state));
        let server = Server::start(Port::take(), |listener, asked| async move {
            tokio::select! {
                ended = async { axum::serve(listener, router).await } => ended,
                _ = asked => Ok(()),
            }
        });
        Self { server, state }
    }

    pub(crate) fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// `servegauge run` against the proxy, with a tokenizer that counts as the simulator does.
    pub(crate) fn run(&self, words: &str) -> Program {
        Program::measure(&self.base_url(), words)
    }

    /// The requests to a path until now.
    pub(crate) fn heard(&self, path: &str) -> Vec<Heard> {
        self.all().into_iter().filter(|heard| heard.path == path).collect()
    }

    /// All requests until now.
    pub(crate) fn all(&self) -> Vec<Heard> {
        self.state.heard.lock().unwrap().clone()
    }

    /// Waits until there are `count` requests to a path.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize, path: &str) {
        until(&format!("{path} was asked {count} times"), || self.heard(path).len() >= count);
    }
}

async fn pass_on(
    State(memory): State<Arc<Memory>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    memory.heard.lock().unwrap().push(Heard { path: path.clone(), headers: headers.clone(), body: json });
    if path == memory.missing {
        return StatusCode::NOT_FOUND.into_response();
    }
    let request =
        memory.http.request(method, format!("{}{path}", memory.upstream)).headers(headers).body(body);
    match request.send().await {
        Ok(answer) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            *response.body_mut() = Body::from_stream(answer.bytes_stream());
            response
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
