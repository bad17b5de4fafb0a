//! A server that has only `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;

use super::server::{Port, Server};

/// Serves one page after the other, the last again and again.
pub struct Pages {
    server: Server,
    asked: Arc<AtomicUsize>,
}

impl Pages {
    /// Whoever shows a key is turned away: it is not meant for this server.
    pub fn start(pages: Vec<String>) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = Server::start(Port::take(), move |listener, over| {
            let answer = async move |headers: HeaderMap| {
                let page = count.fetch_add(1, Ordering::Relaxed).min(pages.len() - 1);
                match headers.contains_key("authorization") {
                    true => (StatusCode::FORBIDDEN, String::new()),
                    false => (StatusCode::OK, pages[page].clone()),
                }
            };
            let router = Router::new().route("/metrics", get(answer));
            let shutdown = async {
                let _ = over.await;
            };
            axum::serve(listener, router).with_graceful_shutdown(shutdown).into_future()
        });
        Self { server, asked }
    }

    pub fn url(&self) -> String {
        format!("{}/metrics", self.server.base_url())
    }

    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}
