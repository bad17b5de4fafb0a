//! Where measured requests go, and what each begins with.

use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
    USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

use super::proxy::Proxy;
use super::wire::Wire;
use super::{ClientError, Identity};
use crate::core::spec::Target;

/// The `user-agent` of all our requests.
pub(super) const AGENT: &str = concat!("servebench/", env!("CARGO_PKG_VERSION"));

/// The measured URL, ready to be requested.
#[derive(Debug)]
pub struct Endpoint {
    /// Host name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether TLS is spoken to it.
    pub is_https: bool,
    /// The request line and the headers that all requests share.
    opening: Vec<u8>,
}

impl Endpoint {
    /// A target's endpoint, asked through a proxy or directly.
    pub fn new(target: &Target, proxy: Option<&Proxy>) -> Result<Self, ClientError> {
        let url = parse_url(&target.url())?;
        let is_https = url.scheme() == "https";
        let visible_proxy = proxy.filter(|_| !is_https);
        let headers = all_headers(target, &url, visible_proxy)?;
        Ok(Self {
            host: host(&url).to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            is_https,
            opening: opening(&url, &headers, visible_proxy.is_some()),
        })
    }

    /// The head of one request.
    pub fn head(&self, id: Identity<'_>, body_length: usize) -> Vec<u8> {
        let own = format!("x-request-id: {}\r\ncontent-length: {body_length}\r\n\r\n", id.request);
        match id.session {
            None => [self.opening.as_slice(), own.as_bytes()].concat(),
            Some(session) => {
                let session = format!("x-session-id: {session}\r\n");
                [self.opening.as_slice(), session.as_bytes(), own.as_bytes()].concat()
            }
        }
    }
}

/// An http or https URL.
pub(super) fn parse_url(text: &str) -> Result<Url, ClientError> {
    let refuse = |cause: String| ClientError::Url { url: text.to_owned(), cause };
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(refuse("it does not start with http:// or https://".to_owned())),
    }
}

/// The base URL by itself: with a path behind it, `http://` without a host would take the path's first part for one.
pub(super) fn base_url(target: &Target) -> Result<Url, ClientError> {
    parse_url(&target.base_url)
}

/// Whether it is our own machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = host(url);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The headers that a target asks for, and the body's type; the target's own win over ours.
pub(super) fn headers(target: &Target, content_type: &'static str) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, secret) in &target.headers {
        let refuse = |problem| ClientError::Header { name: name.clone(), problem };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse("not a header's name"))?;
        if key == CONTENT_LENGTH || key == TRANSFER_ENCODING {
            return Err(refuse("it says how long the body is, and only the client knows that"));
        }
        let mut value = HeaderValue::from_str(secret.reveal())
            .map_err(|_| refuse("its value has characters that HTTP does not allow in a header"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

/// The host without the brackets of an IPv6 address.
pub(super) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// All headers of a measured request but its own two. A proxy that only passes bytes on (a tunnel) sees none of them.
fn all_headers(target: &Target, url: &Url, proxy: Option<&Proxy>) -> Result<HeaderMap, ClientError> {
    let mut all = HeaderMap::new();
    let place = url.authority().rsplit('@').next().unwrap_or_default();
    let place = HeaderValue::from_str(place)
        .map_err(|error| ClientError::Url { url: url.to_string(), cause: error.to_string() })?;
    all.insert(HOST, place);
    all.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    all.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if !target.connection.keepalive {
        all.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.clone()) {
        all.insert(PROXY_AUTHORIZATION, authorization);
    }
    let content_type = Wire::of(target.backend).content_type();
    for (name, value) in headers(target, content_type)?.iter().filter(|(name, _)| *name != "x-request-id") {
        all.insert(name, value.clone());
    }
    Ok(all)
}

/// The request line and headers. A proxy that reads them wants the whole URL.
fn opening(url: &Url, headers: &HeaderMap, is_absolute: bool) -> Vec<u8> {
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
