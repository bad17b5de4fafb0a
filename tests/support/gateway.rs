//! A Pushgateway that remembers what it was given.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};

use super::server::{Port, Server};

/// Takes what is put there, with the path; whoever shows a key is turned away.
pub struct Gateway {
    server: Server,
    pushed: Arc<Mutex<Vec<(String, String)>>>,
}

impl Gateway {
    pub fn start() -> Self {
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

    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// Paths and pages, in their order.
    pub fn pushed(&self) -> Vec<(String, String)> {
        self.pushed.lock().unwrap().clone()
    }
}
