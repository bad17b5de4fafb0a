//! The measured client: one streaming request over HTTP, followed on the run's clock.
//!
//! Four parts that do not know each other's business: [`transport`] moves bytes, [`sse`] cuts them into events,
//! [`wire`] reads an event's JSON, [`stopwatch`] notes what happened when. Between the transport and the rest there is
//! one seam: *here are bytes, read at this instant* ([`stopwatch::Stopwatch::bytes_arrived`]).
//! [`control`] asks a server what is not measured.

pub mod control;
mod excerpt;
mod fault;
pub mod sse;
#[cfg(test)]
mod stage;
pub mod stopwatch;
#[cfg(test)]
mod transcripts;
pub mod transport;
pub mod wire;

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use crate::core::record::Failure;
use crate::core::spec::{Sampling, Target};
use stopwatch::Stopwatch;
use transport::Transport;
use wire::{Api, Template};

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

/// Sends a run's requests to its target.
///
/// Its connections belong to the runtime it is used in: make one inside each.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    template: Template,
}

impl Client {
    /// A client for a target that keeps up to `idle` unused connections open for the next requests.
    pub fn new(target: &Target, sampling: &Sampling, idle: usize) -> Result<Self, ClientError> {
        Ok(Self {
            transport: Transport::new(target, idle)?,
            template: Template::new(Api::from(target.backend), target.model_field(), sampling),
        })
    }

    /// The body of one request. Made before the clock starts, so that building it is in no measurement.
    pub fn body(&self, prompt: &str, max_tokens: u32) -> Bytes {
        self.template.body(prompt, max_tokens)
    }

    /// Sends one request and follows its answer to the end; `Ok` when the transport did its part.
    ///
    /// There is no time limit and no retry here. The outcome is [`Stopwatch::conclude`]'s to tell, from this result (or
    /// from a timeout: the future may be dropped at any time, and the stopwatch keeps what it saw).
    pub async fn send(&self, id: Uuid, body: Bytes, watch: &mut Stopwatch) -> Result<(), Failure> {
        self.transport.send(id, body, watch).await
    }
}

#[cfg(test)]
mod tests;
