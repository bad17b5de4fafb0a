//! The measured client: one request over HTTP, followed on the run's clock.
//!
//! Parts that do not know each other's business: [`stamp`] reads bytes with the time they were there, [`http1`] finds the
//! body in them, [`framing`] (with [`sse`]) cuts it into events, [`wire`] reads an event's JSON, [`stopwatch`] notes what happened when.
//! [`transport`] opens connections and leads a request through. Between it and the rest there is one seam: *these bytes
//! were there at this moment* ([`stopwatch::Stopwatch::bytes_arrived`]). [`control`] asks a server what is not measured.

mod answer;
pub mod control;
mod dial;
mod endpoint;
mod excerpt;
mod fault;
pub mod framing;
pub mod http1;
mod link;
mod pool;
mod proxy;
mod sieve;
pub mod sse;
#[cfg(test)]
pub(in crate::drive) mod stage;
pub mod stamp;
pub mod stopwatch;
#[cfg(test)]
mod transcripts;
pub mod transport;
pub mod wire;

use std::time::{Duration, Instant};

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use crate::core::record::Failure;
use crate::core::spec::{Sampling, Target};
use crate::core::validity::Stamps;
use crate::drive::workload::Request;
use stopwatch::Stopwatch;
use transport::Transport;
use wire::body::Template;
use wire::{Reading, Wire};

/// A target that cannot be talked to, whatever the server does.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Not an address.
    #[error("`{url}` is not a URL to send requests to ({cause}); write it like http://localhost:8000")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A header that HTTP does not allow. Its value is a secret, so only its name is told.
    #[error("header `{name}`: {problem}")]
    Header {
        /// Its name.
        name: String,
        /// Which part is wrong.
        problem: &'static str,
    },
    /// TLS or the environment's proxy settings.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

/// By what a server can tell requests and sessions apart: headers of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// `x-request-id`.
    pub request: &'a str,
    /// `x-session-id`: the same for the turns of a session.
    pub session: Option<Uuid>,
}

impl<'a> From<&'a str> for Identity<'a> {
    fn from(request: &'a str) -> Self {
        Self { request, session: None }
    }
}

/// Sends a run's requests to its target.
///
/// Its connections belong to the runtime it is used in, on one thread: make one for each.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    template: Template,
    reading: Reading,
    in_messages: bool,
}

impl Client {
    /// A client for a target that keeps up to `idle` unused connections open for the next requests.
    pub fn new(target: &Target, sampling: &Sampling, idle: usize) -> Result<Self, ClientError> {
        let wire = Wire::of(target.backend);
        Ok(Self {
            transport: Transport::new(target, idle)?,
            template: Template::new(wire, target.model_field(), sampling),
            reading: wire.reading(sampling.whole),
            in_messages: wire.takes_messages(),
        })
    }

    /// The body of one request. Made before the clock starts, so that building it is in no measurement.
    pub fn body(&self, request: &Request) -> Bytes {
        self.template.body(request)
    }

    /// Whether what was said in a session goes out as messages; else it is one text.
    pub fn speaks_in_messages(&self) -> bool {
        self.in_messages
    }

    /// Opens so many connections, so that the first requests find them open.
    pub async fn preconnect(&self, count: usize) -> Result<(), Failure> {
        self.transport.preconnect(count).await
    }

    /// Who says when bytes arrived.
    pub fn stamps(&self) -> Stamps {
        self.transport.stamps()
    }

    /// When a socket was last read, whichever request's.
    pub fn last_read(&self) -> Instant {
        self.transport.last_read()
    }

    /// The largest step of the wall clock during the requests so far; zero for none. Stamps around a step may be wrong.
    pub fn clock_step(&self) -> Duration {
        self.transport.clock_step()
    }

    /// Sends one request and follows its answer to the end; `Ok` when the transport did its part.
    ///
    /// `settled` hears when the outcome was known: the time of the answer's last byte. What is left of the connection's
    /// business after that is nobody's wait. It does not hear of an answer that never came.
    ///
    /// There is no time limit and no retry here. The outcome is [`Stopwatch::conclude`]'s to tell, from this result (or
    /// from a timeout: the future may be dropped at any time, and the stopwatch keeps what it saw).
    pub fn send<'a>(
        &'a self,
        id: impl Into<Identity<'a>>,
        body: Bytes,
        watch: &'a mut Stopwatch,
        settled: impl FnOnce(Duration),
    ) -> impl Future<Output = Result<(), Failure>> {
        watch.expect(self.reading);
        self.transport.send(id.into(), body, watch, settled)
    }
}

#[cfg(test)]
mod tests;
