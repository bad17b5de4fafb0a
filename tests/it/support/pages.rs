//! A server that has only `/metrics`.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;

use super::server::{Port, Server};

/// Serves the pages in order, and then the last one repeatedly.
pub(crate) struct Pages {
    server: Server,
    /// When each request came, in nanoseconds since the Unix epoch.
    asked: Arc<Mutex<Vec<i128>>>,
}

impl Pages {
    /// Starts the server. It rejects requests with an API key, because the key is not meant for it.
    pub(crate) fn start(pages: Vec<String>) -> Self {
        let asked = Arc::<Mutex<Vec<i128>>>::default();
        let times = Arc::clone(&asked);
        let server = Server::start(Port::take(), move |listener, over| {
            let answer = async move |headers: HeaderMap| {
                let page = {
                    let mut times = times.lock().unwrap();
                    times.push(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i128);
                    (times.len() - 1).min(pages.len() - 1)
                };
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

    pub(crate) fn url(&self) -> String {
        format!("{}/metrics", self.server.base_url())
    }

    pub(crate) fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// The number of requests.
    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// When each request came, in nanoseconds since the Unix epoch.
    pub(crate) fn asked_at(&self) -> Vec<i128> {
        self.asked.lock().unwrap().clone()
    }
}
