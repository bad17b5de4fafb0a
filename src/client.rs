//! The measured client: sends one request over HTTP and times its answer on the run's clock.
//!
//! Its parts do not depend on each other: [`rx_timestamp`] reads bytes with their arrival times, [`http1`] finds the
//! body in those bytes, [`framing`] (with [`sse`]) cuts the body into events, [`protocol`] parses an event's JSON, and
//! [`request_timer`] records when each step happened. [`transport`] opens connections and drives a request through
//! these parts. It hands over results through one method: *these bytes arrived at this moment*
//! ([`request_timer::RequestTimer::on_bytes`]). [`admin`] sends the requests that are not measured.

pub(crate) mod address;
pub(crate) mod admin;
pub(crate) mod clock;
mod connection;
mod connector;
mod endpoint;
mod excerpt;
pub(crate) mod framing;
pub(crate) mod http1;
mod number_array_filter;
mod pool;
pub(crate) mod protocol;
pub(crate) mod proxy;
pub(crate) mod request_timer;
mod response;
pub(crate) mod rx_timestamp;
pub(crate) mod sse;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod transport_error;
mod url;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use crate::client::protocol::body::RequestTemplate;
use crate::client::protocol::{Protocol, ResponseFormat};
use crate::client::request_timer::RequestTimer;
use crate::model::record::Failure;
use crate::model::request::Request;
use crate::model::run_spec::{Sampling, Target};
use crate::model::validity::TimestampSource;
use transport::Transport;

/// A target that the client cannot send requests to, regardless of what the server does.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The target's URL is not valid.
    #[error("`{url}` is not a URL to send requests to ({cause}); write it like http://localhost:8000")]
    Url {
        /// The URL as the user gave it.
        url: String,
        /// What is wrong with the URL.
        cause: String,
    },
    /// A header that HTTP does not allow. Its value may be a secret, so the error names only the header.
    #[error("header `{name}`: {problem}")]
    Header {
        /// The header's name.
        name: String,
        /// Which part of the header is wrong.
        problem: &'static str,
    },
    /// The TLS settings or the environment's proxy settings cannot be used.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

/// The headers by which a server can identify a request and its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdentity<'a> {
    /// The value of `x-request-id`.
    pub request: Option<&'a str>,
    /// The value of `x-session-id`, which all turns of a session share.
    pub session: Option<Uuid>,
}

impl<'a> From<&'a str> for RequestIdentity<'a> {
    fn from(request: &'a str) -> Self {
        Self { request: Some(request), session: None }
    }
}

/// Sends a run's requests to its target.
///
/// Its connections belong to the runtime that uses it, on one thread: create one client per thread.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    template: RequestTemplate,
    response_format: ResponseFormat,
    accepted: Arc<[String]>,
    uses_messages: bool,
}

impl Client {
    /// Creates a client that keeps up to `idle` unused connections to the target open for later requests.
    pub fn new(target: &Target, sampling: &Sampling, idle: usize) -> Result<Self, ClientError> {
        let wire = Protocol::for_target(target);
        Ok(Self {
            transport: Transport::new(target, idle)?,
            template: RequestTemplate::new(wire, target.model_field(), sampling),
            response_format: wire.response_format(sampling.whole),
            accepted: target.accepted_finish_reasons.as_slice().into(),
            uses_messages: wire.supports_messages(),
        })
    }

    /// Builds the body of one request. Call it before the clock starts, so that no measurement includes this work.
    pub fn body(&self, request: &Request) -> Bytes {
        self.template.body(request)
    }

    /// The largest number of tokens that a request asks for, summed over all its choices.
    pub fn max_output_tokens(&self, request: &Request) -> Option<u32> {
        self.template.max_output_tokens(request)
    }

    /// Whether the protocol sends a session's history as messages. Otherwise the history is one text.
    pub fn uses_messages(&self) -> bool {
        self.uses_messages
    }

    /// Opens `count` connections, so that the first requests find them open.
    pub async fn preconnect(&self, count: usize) -> Result<(), Failure> {
        self.transport.preconnect(count).await
    }

    /// Where the arrival times of bytes come from.
    pub fn timestamp_source(&self) -> TimestampSource {
        self.transport.timestamp_source()
    }

    /// When any request last read a socket.
    pub fn last_read(&self) -> Instant {
        self.transport.last_read()
    }

    /// The largest step of the wall clock during the requests so far; zero if there was none. Timestamps near a step
    /// may be wrong.
    pub fn clock_step(&self) -> Duration {
        self.transport.clock_step()
    }

    /// Sends one request and reads its answer to the end. Returns `Ok` when the transport succeeded.
    ///
    /// The client calls `settled` with the time of the answer's last byte as soon as the outcome is known. The caller
    /// does not wait for work that the connection still needs after that. If no answer arrives, the client does not
    /// call `settled`.
    ///
    /// This method has no time limit and does not retry. [`RequestTimer::finish`] computes the outcome from this result
    /// or from a timeout: the future may be dropped at any time, and the request timer keeps what it recorded.
    pub fn send<'a>(
        &'a self,
        id: impl Into<RequestIdentity<'a>>,
        body: Bytes,
        watch: &'a mut RequestTimer,
        settled: impl FnOnce(Duration),
    ) -> impl Future<Output = Result<(), Failure>> {
        watch.set_response_format(self.response_format, &self.accepted);
        self.transport.send(id.into(), body, watch, settled)
    }
}

#[cfg(test)]
mod tests;
