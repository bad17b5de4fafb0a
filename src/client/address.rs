//! Server URLs in the forms that people write: the server alone, its API, or a whole endpoint, with or without a query.

use std::time::Duration;

use thiserror::Error;

use crate::client::protocol::Protocol;
use crate::model::run_spec::{Backend, BackendTask, ConnectionOptions, Target, api_root};
use crate::model::secrets;
use crate::model::units::Secret;

/// The environment variable whose value is sent as the bearer token.
pub(crate) const API_KEY: &str = "OPENAI_API_KEY";

/// The time limit of a request to a server that is not measured.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The default time limit of a measured request.
const MEASURED_TIMEOUT: Duration = Duration::from_secs(600);

/// Operations outside the root of OpenAI's API; longer ones come first.
const OWN_OPERATIONS: [&str; 9] = [
    "/api/generate",
    "/api/chat",
    "/generate_stream",
    "/generate",
    "/completion",
    "/pooling",
    "/score",
    "/classify",
    "/infer",
];

/// The operations that return vectors or scores.
const POOLING: [&str; 6] = ["/embeddings", "/rerank", "/pooling", "/score", "/classify", "/infer"];

/// A URL that ends in an operation of another protocol.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "it ends in {operation}, but the backend {} uses {path}; choose the backend of this path, or leave the path out",
    backend.name()
)]
pub(crate) struct OtherOperation {
    /// The operation at the end of the URL.
    pub operation: String,
    /// The protocol that the user chose.
    pub backend: Backend,
    /// The usual path of that protocol.
    pub path: &'static str,
}

/// A URL split into its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The scheme, host and port.
    origin: String,
    /// The path up to the operation, without a slash at its end.
    path: String,
    /// The operation at the end of the path, such as `/chat/completions`; empty if the path ends in no known operation.
    operation: String,
    query: Option<String>,
}

impl Address {
    /// Parses a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.contains("://") {
            return Err("it must begin with http:// or https://, as in http://localhost:8000".to_owned());
        }
        let url = reqwest::Url::parse(text)
            .map_err(|error| format!("{error}; write it as http://localhost:8000"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("it must begin with http:// or https:// and a host".to_owned());
        }
        let text = text.split('#').next().unwrap_or_default();
        let (place, query) = match text.split_once('?') {
            Some((place, query)) => (place, Some(query.to_owned()).filter(|query| !query.is_empty())),
            None => (text, None),
        };
        let host = place.find("://").map_or(0, |at| at + "://".len());
        let at = place[host..].find('/').map_or(place.len(), |length| host + length);
        let path = place[at..].trim_end_matches('/');
        let (path, operation) = path.split_at(operation_at(path));
        Ok(Self {
            origin: place[..at].to_owned(),
            path: path.to_owned(),
            operation: operation.to_owned(),
            query,
        })
    }

    /// Whether the URL holds a user name or a password.
    pub(crate) fn has_user(&self) -> bool {
        self.origin.contains('@')
    }

    /// The base URL of the server's own pages, such as `/metrics` and `/health`. A path before `/v1` belongs to the
    /// server, as behind a proxy; a path before another version belongs to the API.
    pub(crate) fn server(&self) -> String {
        format!("{}{}", self.origin, self.prefix())
    }

    /// The path of the measured endpoint, relative to [`Address::server`]: the given path, or the protocol's usual one.
    pub(crate) fn endpoint(
        &self,
        given: Option<&str>,
        backend: Backend,
        whole: bool,
    ) -> Result<String, OtherOperation> {
        let wire = Protocol::for_backend(backend);
        let (path, query) = match given {
            Some(given) => {
                let (path, query) =
                    given.split_once('?').map_or((given, None), |(path, query)| (path, Some(query)));
                (self.join(path, true), query)
            }
            None if matches!(&*self.operation, "" | "/models") => {
                (self.join(&self.path_of_model(wire.path(whole)), false), None)
            }
            None if is_operation_of(&self.operation, wire) => {
                (format!("{}{}", self.path, self.operation), None)
            }
            None => {
                let (operation, path) = (self.operation.clone(), wire.path(whole));
                return Err(OtherOperation { operation, backend, path });
            }
        };
        let path = path.strip_prefix(self.prefix()).unwrap_or(&path);
        let queries: Vec<&str> = self.query.as_deref().into_iter().chain(query).collect();
        Ok(if queries.is_empty() { path.to_owned() } else { format!("{path}?{}", queries.join("&")) })
    }

    /// The URL of the `/metrics` page: this URL if it already ends in a page, else the server's page.
    pub(crate) fn metrics_page(&self) -> String {
        let is_page = self.path.ends_with("/metrics") || self.path.ends_with("/prometheus");
        let is_whole = self.query.is_some() && !self.path.is_empty() && self.api().is_empty();
        match (is_page || is_whole) && self.operation.is_empty() {
            true => self.with_query(&self.path),
            false => self.with_query(&format!("{}/metrics", self.prefix())),
        }
    }

    /// The URL to which a push gateway accepts the metrics of a job. The job is `servegauge` if the URL names none.
    pub(crate) fn push_page(&self) -> String {
        let path = format!("{}{}", self.path, self.operation);
        match path.contains("/metrics/job/") {
            true => self.with_query(&path),
            false => self.with_query(&format!("{path}/metrics/job/servegauge")),
        }
    }

    fn with_query(&self, path: &str) -> String {
        match &self.query {
            Some(query) => format!("{}{path}?{query}", self.origin),
            None => format!("{}{path}", self.origin),
        }
    }

    /// The end of the path that identifies the API: versions, and the names that gateways give to OpenAI's API.
    fn api(&self) -> &str {
        &self.path[api_at(&self.path)..]
    }

    /// The path before the API, which belongs to the server.
    fn prefix(&self) -> &str {
        if let Some(at) = triton_model_at(&self.path) {
            return &self.path[..at];
        }
        match self.api() {
            "" => &self.path[..api_at(&self.path)],
            api if api.eq_ignore_ascii_case("/v1") => &self.path[..api_at(&self.path)],
            _ => "",
        }
    }

    /// A protocol's usual path, with the model that the URL names if both are Triton's: `/v2/models/NAME`.
    fn path_of_model(&self, path: &str) -> String {
        let named = triton_model_at(&self.path).map(|at| &self.path[at..]);
        match (named, path.rsplit_once('/')) {
            (Some(model), Some((_, operation))) if triton_model_at(path).is_some() => {
                format!("{model}/{operation}")
            }
            _ => path.to_owned(),
        }
    }

    /// Joins a path to the URL's path without repeating the part that both have.
    fn join(&self, path: &str, is_given: bool) -> String {
        let base = &self.path;
        let overlap = boundaries(base).find(|&at| {
            let shared = &base[at..];
            let head = path.get(..shared.len()).filter(|head| head.eq_ignore_ascii_case(shared));
            let rest = head.map(|head| &path[head.len()..]);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let of_api = path.strip_prefix("/v1").filter(|rest| !is_given && rest.starts_with('/'));
        match (overlap, of_api) {
            // The usual path takes the URL's spelling, `/V1`.
            (Some(at), _) if !is_given => format!("{base}{}", &path[base.len() - at..]),
            (Some(at), _) => format!("{}{path}", &base[..at]),
            (None, Some(operation)) if !self.api().is_empty() => format!("{base}{operation}"),
            // The path of a server page, which is next to the API and not below it.
            (None, _)
                if api_root(path).is_none() && (self.api().eq_ignore_ascii_case("/v1") || !is_given) =>
            {
                format!("{}{path}", &base[..api_at(base)])
            }
            (None, _) => format!("{base}{path}"),
        }
    }
}

impl Target {
    /// A target that speaks OpenAI's completions. The URL is the server alone, its API, or the whole endpoint. The
    /// bearer token is the value of `OPENAI_API_KEY`, if that is set.
    pub fn openai(url: &str) -> Self {
        Self::at(url, Backend::Openai)
    }

    /// A target that speaks OpenAI's chat completions; see [`Target::openai`].
    pub fn openai_chat(url: &str) -> Self {
        Self::at(url, Backend::OpenaiChat)
    }

    /// Adds a header to every request. Its value is never stored.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        secrets::remember_header(name, value);
        self.headers.push((name.to_owned(), Secret::new(value)));
        self
    }

    /// A target that speaks this protocol. A text that is not a URL is kept as it is: the request to it fails and
    /// states the reason.
    pub fn at(url: &str, backend: Backend) -> Self {
        let address = Address::parse(url).ok();
        let endpoint = address.as_ref().and_then(|address| address.endpoint(None, backend, false).ok());
        Self {
            backend,
            base_url: address.map_or_else(|| url.to_owned(), |address| address.server()),
            endpoint: endpoint.unwrap_or_else(|| Protocol::for_backend(backend).path(false).to_owned()),
            model: String::new(),
            served_model_name: None,
            headers: bearer().into_iter().collect(),
            request_id_prefix: None,
            no_request_id: false,
            accepted_finish_reasons: Vec::new(),
            insecure: false,
            connection: ConnectionOptions::default(),
            timeout: MEASURED_TIMEOUT,
        }
    }
}

/// The authorization header with the API key from the environment.
fn bearer() -> Option<(String, Secret)> {
    let key = std::env::var(API_KEY).ok().filter(|key| !key.is_empty())?;
    secrets::remember(&key);
    Some(("authorization".to_owned(), Secret::new(format!("Bearer {key}"))))
}

/// A target for a server that is queried and not measured. The URL may be that of its API or of its `/metrics` page.
pub(crate) fn target_of(url: &str) -> Target {
    Target { base_url: server_of(url), timeout: TIMEOUT, ..Target::at("", Backend::Openai) }
}

/// The base URL of the server's own pages. A text that is not a URL is kept as it is: the request to it fails and
/// states the reason.
pub(crate) fn server_of(url: &str) -> String {
    Address::parse(url.trim_end_matches('/').trim_end_matches("/metrics"))
        .map_or_else(|_| url.to_owned(), |address| address.server())
}

/// The offset of the operation at the end of a path; the path's length if it has no operation.
fn operation_at(path: &str) -> usize {
    let own = OWN_OPERATIONS.iter().find_map(|operation| path.strip_suffix(operation));
    api_root(path).or(own).map_or(path.len(), str::len)
}

/// Whether a protocol sends requests to this operation.
fn is_operation_of(operation: &str, wire: &Protocol) -> bool {
    let is_path = |path: &str| match api_root(path) {
        Some(root) => &path[root.len()..] == operation,
        None => path.ends_with(operation),
    };
    let is_sibling = ["/audio/", "/api/"]
        .into_iter()
        .any(|part| operation.starts_with(part) && wire.path(false).contains(part));
    let is_pooling = wire.backend.task() == BackendTask::Pooling && POOLING.contains(&operation);
    is_path(wire.path(false)) || is_path(wire.path(true)) || is_sibling || is_pooling
}

/// The offset of the API's part at the end of a path.
fn api_at(path: &str) -> usize {
    let mut at = path.len();
    while let Some(start) = path[..at].rfind('/') {
        let segment = &path[start + 1..at];
        let is_deployment = path[..start].ends_with("/deployments");
        if !(is_version(segment) || matches!(segment, "openai" | "openapi" | "deployments") || is_deployment)
        {
            break;
        }
        at = start;
    }
    at
}

/// The offset of Triton's `/v2/models/NAME`, perhaps with `/versions/N`, in a path that has it.
fn triton_model_at(path: &str) -> Option<usize> {
    const MODELS: &str = "/v2/models/";
    let at = path.rfind(MODELS)?;
    (!path[at + MODELS.len()..].is_empty()).then_some(at)
}

/// Whether a segment is an API version: `v1`, `v4`, `v1beta`, `v1beta1`, `v0.3`.
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix(['v', 'V']) else { return false };
    rest.starts_with(|first: char| first.is_ascii_digit())
        && rest.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'.')
        && rest.len() <= "1alpha99".len()
}

/// The offsets at which the segments of a path begin, from the left.
fn boundaries(path: &str) -> impl Iterator<Item = usize> {
    path.match_indices('/').map(|(at, _)| at)
}

#[cfg(test)]
mod tests;
