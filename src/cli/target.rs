//! A server of which only the address is given: it is asked, not measured.

use std::time::Duration;

use crate::core::spec::{Backend, Connection, Target};
use crate::core::units::Secret;

/// The server at a URL, with or without `/v1` or `/metrics`. `OPENAI_API_KEY` is sent as bearer.
pub fn of_url(url: &str) -> Target {
    let key = std::env::var("OPENAI_API_KEY").ok().filter(|key| !key.is_empty());
    let bearer = key.map(|key| ("authorization".to_owned(), Secret::new(format!("Bearer {key}"))));
    Target {
        backend: Backend::Openai,
        base_url: base_of(url).to_owned(),
        endpoint: "/v1/completions".into(),
        model: String::new(),
        served_model_name: None,
        headers: bearer.into_iter().collect(),
        request_id_prefix: None,
        insecure: false,
        connection: Connection::default(),
        timeout: Duration::from_secs(30),
    }
}

fn base_of(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v1").or_else(|| url.strip_suffix("/metrics")).unwrap_or(url)
}
