//! Bytes over HTTP/1.1, by reqwest, stamped when a read returns.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Request, Response, Url};
use tokio::time::timeout;
use uuid::Uuid;

use super::ClientError;
use super::excerpt::excerpt;
use super::fault;
use super::stopwatch::Stopwatch;
use super::wire::chunk;
use crate::core::record::{Failure, FailureClass};
use crate::core::spec::Target;
use crate::drive::tls;

/// How long an unused connection is kept: below the 5 s after which vLLM's server closes it, so that a request does not
/// meet a connection that is just being closed.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// How long to wait for the rest of a body that can change nothing any more: reading it to its end lets the next
/// request use the connection.
const LEFTOVER_WAIT: Duration = Duration::from_secs(1);

/// The longest body that is read where no stream was expected, in bytes.
const PLAIN_LIMIT: usize = 64 << 10;

/// A measured endpoint and the connections to it.
#[derive(Debug)]
pub struct Transport {
    http: reqwest::Client,
    url: Url,
}

impl Transport {
    /// For a target, keeping up to `idle` unused connections.
    pub fn new(target: &Target, idle: usize) -> Result<Self, ClientError> {
        let http = http_client(target, idle)?;
        Ok(Self { http, url: parse_url(&target.url())? })
    }

    /// Posts a body and gives what comes back to the stopwatch, until the outcome is settled.
    pub async fn send(&self, id: Uuid, body: Bytes, watch: &mut Stopwatch) -> Result<(), Failure> {
        let request = self.request(id, body);
        watch.sending(watch.now());
        let response = self.http.execute(request).await.map_err(fault::without_answer)?;
        watch.head_arrived(watch.now());
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        if is_json(&response) {
            return Err(plain_answer(response).await);
        }
        follow(response, watch).await
    }

    fn request(&self, id: Uuid, body: Bytes) -> Request {
        let mut request = Request::new(Method::POST, self.url.clone());
        let id = HeaderValue::from_str(&id.to_string()).expect("a UUID has only letters, digits and dashes");
        request.headers_mut().insert("x-request-id", id);
        *request.body_mut() = Some(body.into());
        request
    }
}

/// Hands the body to the stopwatch as it comes.
async fn follow(mut response: Response, watch: &mut Stopwatch) -> Result<(), Failure> {
    while let Some(bytes) = response.chunk().await.map_err(fault::within_body)? {
        watch.bytes_arrived(watch.now(), &bytes);
        if watch.is_over() {
            let leftover = async { while let Ok(Some(_)) = response.chunk().await {} };
            let _ = timeout(LEFTOVER_WAIT, leftover).await;
            return Ok(());
        }
    }
    Ok(())
}

/// An answer with another status than success.
async fn refusal(mut response: Response) -> Failure {
    let class = FailureClass::Status(response.status().as_u16());
    let body = read_plain(&mut response, Failure::BODY_LIMIT + 1).await;
    match response.headers().get(LOCATION) {
        // Followed, it would be another request than the one measured.
        Some(place) if body.is_empty() => {
            Failure::new(class, format!("redirects to {}", excerpt(place.as_bytes())))
        }
        _ => Failure::new(class, excerpt(&body)),
    }
}

/// A success that is one JSON document: an error with the wrong status, or a server that does not stream.
async fn plain_answer(mut response: Response) -> Failure {
    let body = read_plain(&mut response, PLAIN_LIMIT).await;
    match chunk::parse(&body).ok().and_then(|answer| answer.error()) {
        Some(error) => Failure::new(FailureClass::ErrorEvent, error),
        None => {
            let detail = format!("one JSON document instead of an event stream: {}", excerpt(&body));
            Failure::new(FailureClass::BrokenStream, detail)
        }
    }
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json"))
}

/// What comes of a body soon, up to a length. The status has been told already, so an error here tells nothing more.
async fn read_plain(response: &mut Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while body.len() < limit
            && let Ok(Some(bytes)) = response.chunk().await
        {
            body.extend_from_slice(&bytes);
        }
    };
    let _ = timeout(LEFTOVER_WAIT, read).await;
    body.truncate(limit);
    body
}

/// An http or https URL.
fn parse_url(text: &str) -> Result<Url, ClientError> {
    let refuse = |cause: String| ClientError::Url { url: text.to_owned(), cause };
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(refuse("it does not start with http:// or https://".to_owned())),
    }
}

/// reqwest, as measured and unmeasured requests use it: nothing is followed, retried or unpacked behind our back.
pub(super) fn http_client(target: &Target, idle: usize) -> Result<reqwest::Client, ClientError> {
    // By itself: with a path behind it, `http://` without a host would take the path's first part for one.
    let url = parse_url(&target.base_url)?;
    tls::install_provider();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("servebench/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers(target)?)
        .http1_only()
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(KEEP_IDLE)
        .tls_danger_accept_invalid_certs(target.insecure);
    if is_loopback(&url) {
        // A proxy from the environment would look for the server on its own machine.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| ClientError::Setup(fault::causes(error)))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The headers of every request; the target's own win over ours.
fn headers(target: &Target) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, secret) in &target.headers {
        let refuse = |problem| ClientError::Header { name: name.clone(), problem };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("not a header's name"))?;
        let mut value = HeaderValue::from_str(secret.reveal())
            .map_err(|_| refuse("its value has characters that HTTP does not allow in a header"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_stands_between_us_and_our_own_machine() {
        let is_ours = |url| is_loopback(&parse_url(url).unwrap());
        assert!(["http://localhost:1", "http://127.0.0.2", "https://[::1]:8000/v1"].into_iter().all(is_ours));
        assert!(
            !["http://10.0.0.1", "http://localhost.example.org", "http://[::2]"].into_iter().any(is_ours)
        );
    }
}
