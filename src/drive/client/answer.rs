//! One answer, from its bytes: what the stopwatch sees of it, and what failure it is if it is none.

use std::time::Duration;

use super::excerpt::excerpt;
use super::framing::Framing;
use super::http1::{Decoder, Head, Malformed, Part};
use super::stopwatch::Stopwatch;
use super::wire::chunk;
use crate::core::record::{Failure, FailureClass};

/// The longest body that is read where no stream was expected, in bytes.
const PLAIN_LIMIT: usize = 64 << 10;

/// An answer as it comes in.
#[derive(Debug, Default)]
pub struct Answer {
    response: Decoder,
    kind: Kind,
    broken: Option<Malformed>,
}

#[derive(Debug, Default)]
enum Kind {
    /// The head is not there yet.
    #[default]
    Unknown,
    /// What was asked for: a stream, or a document.
    Wanted,
    /// Something else; in a box, because it is rare and its room would be touched with every event.
    Unwanted(Box<Unwanted>),
}

#[derive(Debug)]
struct Unwanted {
    what: What,
    body: Vec<u8>,
}

#[derive(Debug)]
enum What {
    /// Another status than success.
    Refusal { status: u16, location: Option<Vec<u8>> },
    /// One JSON document instead of events: an error with the wrong status, or a server that does not stream.
    Document,
}

impl Answer {
    /// Takes bytes that were there at an offset.
    pub fn push(&mut self, at: Duration, bytes: &[u8], watch: &mut Stopwatch) {
        let Self { response, kind, broken } = self;
        let taken = response.push(bytes, &mut |part| match part {
            Part::Head(head) => {
                watch.head_arrived(at);
                *kind = Kind::of(head, watch.framing());
            }
            Part::Data(data) => kind.take(at, data, watch),
        });
        *broken = taken.err();
    }

    /// The server closed the connection.
    pub fn close(&mut self) {
        self.broken = self.response.close().err();
    }

    /// Whether nothing more will come.
    pub fn is_over(&self) -> bool {
        self.broken.is_some() || self.response.is_over()
    }

    /// Whether the outcome is known, so that nobody needs to wait for the rest.
    pub fn is_settled(&self, watch: &Stopwatch) -> bool {
        match self.kind {
            Kind::Unknown => self.is_over(),
            Kind::Wanted => self.is_over() || watch.is_over(),
            Kind::Unwanted(_) => true,
        }
    }

    /// Whether there is more to come that is worth waiting for a little: the text of a refusal, or the proper end that
    /// lets the connection be used again.
    pub fn wants_rest(&self) -> bool {
        let is_full = match &self.kind {
            Kind::Unknown | Kind::Wanted => false,
            Kind::Unwanted(unwanted) => unwanted.is_full(),
        };
        !self.is_over() && !is_full
    }

    /// Whether another request may follow on the connection.
    pub fn keeps_alive(&self) -> bool {
        self.broken.is_none() && self.response.keeps_alive()
    }

    /// Whether nothing came at all.
    pub fn is_missing(&self) -> bool {
        self.broken == Some(Malformed::NoAnswer)
    }

    /// `Ok` for a body that came to its end or was settled before.
    pub fn conclude(self) -> Result<(), Failure> {
        match (self.kind, self.broken) {
            (Kind::Unwanted(unwanted), _) => Err(unwanted.failure()),
            (_, Some(error)) => Err(Failure::new(FailureClass::BrokenStream, error.to_string())),
            (_, None) => Ok(()),
        }
    }
}

impl Kind {
    fn of(head: Head, wanted: Framing) -> Self {
        match head.status {
            200..300 if head.is_json && wanted == Framing::Events => Self::unwanted(What::Document),
            200..300 => Self::Wanted,
            status => Self::unwanted(What::Refusal { status, location: head.location }),
        }
    }

    fn unwanted(what: What) -> Self {
        Self::Unwanted(Box::new(Unwanted { what, body: Vec::new() }))
    }

    fn take(&mut self, at: Duration, data: &[u8], watch: &mut Stopwatch) {
        match self {
            Self::Unknown => {}
            Self::Wanted => watch.bytes_arrived(at, data),
            Self::Unwanted(unwanted) => unwanted.take(data),
        }
    }
}

impl Unwanted {
    fn take(&mut self, data: &[u8]) {
        let room = PLAIN_LIMIT.saturating_sub(self.body.len());
        self.body.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// Whether more would not be read.
    fn is_full(&self) -> bool {
        match self.what {
            What::Refusal { .. } => self.body.len() > Failure::BODY_LIMIT,
            What::Document => self.body.len() >= PLAIN_LIMIT,
        }
    }

    fn failure(self) -> Failure {
        match self.what {
            What::Refusal { status, location } => refusal(status, location, &self.body),
            What::Document => document(&self.body),
        }
    }
}

fn refusal(status: u16, location: Option<Vec<u8>>, body: &[u8]) -> Failure {
    let class = FailureClass::Status(status);
    match location {
        // Followed, it would be another request than the one measured.
        Some(place) if body.is_empty() => Failure::new(class, format!("redirects to {}", excerpt(&place))),
        _ => Failure::new(class, excerpt(body)),
    }
}

fn document(body: &[u8]) -> Failure {
    match chunk::read(body).ok().and_then(|answer| answer.error) {
        Some(error) => Failure::new(FailureClass::ErrorEvent, error),
        None => {
            let detail = format!("one JSON document instead of an event stream: {}", excerpt(body));
            Failure::new(FailureClass::BrokenStream, detail)
        }
    }
}
