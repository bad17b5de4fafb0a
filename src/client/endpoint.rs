//! The URL of measured requests, and the head that they share.

use std::fmt::Display;
use std::io::Write;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

use super::proxy::Proxy;
use super::url::{host, parse_url};
use super::{ClientError, RequestIdentity};
use crate::client::protocol::Protocol;
use crate::model::run_spec::Target;

/// The `user-agent` header of all our requests.
pub(super) const USER_AGENT_NAME: &str = concat!("servegauge/", env!("CARGO_PKG_VERSION"));

/// The header that identifies a request.
const REQUEST_ID: &str = "x-request-id";

/// The header that identifies a session.
const SESSION_ID: &str = "x-session-id";

/// The measured URL, prepared for requests.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The host name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the endpoint uses TLS.
    pub is_https: bool,
    /// The request line and the headers that all requests share.
    opening: Vec<u8>,
    /// Whether the user gave an `x-request-id` or an `x-session-id`. The client then sends neither of its own.
    names_requests: bool,
    names_sessions: bool,
}

impl Endpoint {
    /// Creates a target's endpoint, which is reached through a proxy or directly.
    pub(super) fn new(target: &Target, proxy: Option<&Proxy>) -> Result<Self, ClientError> {
        let url = parse_url(&target.url())?;
        let is_https = url.scheme() == "https";
        let visible_proxy = proxy.filter(|_| !is_https);
        let headers = all_headers(target, &url, visible_proxy)?;
        Ok(Self {
            host: host(&url).to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            is_https,
            opening: request_head_prefix(&url, &headers, visible_proxy.is_some()),
            names_requests: headers.contains_key(REQUEST_ID),
            names_sessions: headers.contains_key(SESSION_ID),
        })
    }

    /// Builds the head of one request.
    pub(super) fn head(&self, id: RequestIdentity<'_>, body_length: usize) -> Vec<u8> {
        let mut head = self.opening.clone();
        let mut add = |name: &str, value: &dyn Display| {
            // Writing to a vector does not fail.
            let _ = write!(head, "{name}: {value}\r\n");
        };
        if let Some(id) = id.request.filter(|_| !self.names_requests) {
            add(REQUEST_ID, &id);
        }
        if let Some(session) = id.session.filter(|_| !self.names_sessions) {
            add(SESSION_ID, &session);
        }
        add(CONTENT_LENGTH.as_str(), &body_length);
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// The headers that a target asks for, and the body's content type. The target's own headers override ours.
pub(super) fn headers(target: &Target, content_type: &'static str) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Compression would delay events, and the client does not undo it.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, secret) in &target.headers {
        let refuse = |problem| ClientError::Header { name: name.clone(), problem };
        let key =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("this is not a valid header name"))?;
        if key == CONTENT_LENGTH || key == TRANSFER_ENCODING {
            return Err(refuse("the client sets it itself"));
        }
        let mut value = HeaderValue::from_str(secret.reveal())
            .map_err(|_| refuse("its value has characters that HTTP does not allow in a header"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// All headers of a measured request except the two identifiers. A proxy that only forwards bytes (a tunnel) sees none
/// of them.
fn all_headers(target: &Target, url: &Url, proxy: Option<&Proxy>) -> Result<HeaderMap, ClientError> {
    let mut all = HeaderMap::new();
    let place = url.authority().rsplit('@').next().unwrap_or_default();
    let place = HeaderValue::from_str(place)
        .map_err(|error| ClientError::Url { url: url.to_string(), cause: error.to_string() })?;
    all.insert(HOST, place);
    all.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME));
    all.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if !target.connection.keepalive {
        all.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.clone()) {
        all.insert(PROXY_AUTHORIZATION, authorization);
    }
    let content_type = Protocol::for_backend(target.backend).content_type();
    for (name, value) in &headers(target, content_type)? {
        all.insert(name, value.clone());
    }
    Ok(all)
}

/// The request line and the headers. A proxy that reads them needs the absolute URL.
fn request_head_prefix(url: &Url, headers: &HeaderMap, is_absolute: bool) -> Vec<u8> {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let origin = if is_absolute { url.origin().ascii_serialization() } else { String::new() };
    let mut opening = format!("POST {origin}{}{query} HTTP/1.1\r\n", url.path()).into_bytes();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            opening.extend_from_slice(part);
        }
    }
    opening
}
