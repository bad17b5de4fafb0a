//! A Pushgateway that records what it receives.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};

use super::server::{Port, Server};

/// Accepts pages and records them with their paths. It rejects requests with an API key.
pub(crate) struct Gateway {
    server: Server,
    pushed: Arc<Mutex<Vec<(String, String)>>>,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        let pushed = Arc::<Mutex<Vec<(String, String)>>>::default();
        let kept = Arc::clone(&pushed);
        let take = async move |method: Method, uri: Uri, headers: HeaderMap, page: String| {
            if method != Method::PUT || headers.contains_key("authorization") {
                return StatusCode::FORBIDDEN;
            }
            kept.lock().unwrap().push((uri.path().to_owned(), page));
            StatusCode::OK
        };
        let router = Router::new().fallback(take);
        let server = Server::start(Port::take(), move |listener, over| {
            let shutdown = async {
                let _ = over.await;
            };
            axum::serve(listener, router).with_graceful_shutdown(shutdown).into_future()
        });
        Self { server, pushed }
    }

    pub(crate) fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// The paths and pages, in the order in which they were pushed.
    pub(crate) fn pushed(&self) -> Vec<(String, String)> {
        self.pushed.lock().unwrap().clone()
    }
}
