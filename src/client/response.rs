//! Reads one answer from its bytes: passes the expected body to the request timer, and turns any other answer into a
//! failure.

use std::io::Read;
use std::time::Duration;

use flate2::read::{GzDecoder, ZlibDecoder};

use super::excerpt::{MAX_SCANNED_BYTES, excerpt};
use super::framing::StreamFraming;
use super::http1::{MalformedResponse, ResponseDecoder, ResponseHead, ResponsePart};
use crate::client::protocol::chunk;
use crate::client::request_timer::RequestTimer;
use crate::model::record::{Failure, FailureClass};

/// The length limit of a body that is read where a stream was expected, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// An answer that is being received.
#[derive(Debug, Default)]
pub(super) struct ResponseReader {
    response: ResponseDecoder,
    kind: ResponseKind,
    broken: Option<MalformedResponse>,
}

#[derive(Debug, Default)]
enum ResponseKind {
    /// The head has not arrived yet.
    #[default]
    Unknown,
    /// A success whose content type is JSON where a stream was expected: the beginning of the body decides.
    Undecided,
    /// The requested form of answer: a stream or a document.
    Expected,
    /// Any other answer. It is boxed, because it is rare and an inline value would be touched with every event.
    Unexpected(Box<UnexpectedResponse>),
}

#[derive(Debug)]
struct UnexpectedResponse {
    what: UnexpectedKind,
    body: Vec<u8>,
}

#[derive(Debug)]
enum UnexpectedKind {
    /// A status other than success, or a success without an answer.
    Refusal(Box<ResponseHead>),
    /// A success with a compressed body, which the client did not ask for: events would arrive only when a compressed
    /// block is full.
    Compressed(Box<str>),
    /// One JSON document instead of events: an error with a wrong status, or a server that does not stream.
    Document,
}

impl ResponseReader {
    /// Takes bytes that arrived at the offset `at`.
    pub(super) fn push(&mut self, at: Duration, bytes: &[u8], timer: &mut RequestTimer) {
        let Self { response, kind, broken } = self;
        let taken = response.push(bytes, &mut |part| match part {
            ResponsePart::Head(head) => {
                timer.on_head(at);
                *kind = ResponseKind::from_head(head, timer.framing());
            }
            ResponsePart::Data(data) => kind.push_data(at, data, timer),
        });
        *broken = taken.err();
    }

    /// Records that the server closed the connection.
    pub(super) fn close(&mut self) {
        self.broken = self.response.close().err();
    }

    /// Whether no further bytes will follow.
    pub(super) fn is_finished(&self) -> bool {
        self.broken.is_some() || self.response.is_complete()
    }

    /// Whether the outcome is known, so that the request need not wait for the rest.
    pub(super) fn is_outcome_known(&self, timer: &RequestTimer) -> bool {
        match self.kind {
            ResponseKind::Unknown | ResponseKind::Undecided => self.is_finished(),
            ResponseKind::Expected => self.is_finished() || timer.is_outcome_known(),
            ResponseKind::Unexpected(_) => true,
        }
    }

    /// Whether a short wait for the rest is worthwhile: it brings the text of a refusal, or the proper end that lets
    /// the connection be reused.
    pub(super) fn should_drain(&self) -> bool {
        let is_full = match &self.kind {
            ResponseKind::Unknown | ResponseKind::Undecided | ResponseKind::Expected => false,
            ResponseKind::Unexpected(unwanted) => unwanted.is_full(),
        };
        !self.is_finished() && !is_full
    }

    /// Whether the connection can carry another request. After an error of its own, a server often closes the connection
    /// without saying so: uvicorn does, and the next request would fail for a reason that is not its own.
    pub(super) fn keeps_alive(&self) -> bool {
        let is_server_error = match &self.kind {
            ResponseKind::Unexpected(unwanted) => unwanted.is_server_error(),
            ResponseKind::Unknown | ResponseKind::Undecided | ResponseKind::Expected => false,
        };
        self.broken.is_none() && self.response.keeps_alive() && !is_server_error
    }

    /// Whether the server closed the connection without sending anything.
    pub(super) fn is_empty(&self) -> bool {
        self.broken == Some(MalformedResponse::NoAnswer)
    }

    /// Returns `Ok` for a body that reached its end, or whose outcome was known earlier.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match (self.kind, self.broken) {
            (ResponseKind::Unexpected(unwanted), _) => Err(unwanted.failure()),
            (ResponseKind::Undecided, None) => Err(document_failure(b"")),
            (_, Some(error)) => Err(Failure::new(FailureClass::BrokenStream, error.to_string())),
            (_, None) => Ok(()),
        }
    }
}

impl ResponseKind {
    fn from_head(head: ResponseHead, wanted: StreamFraming) -> Self {
        match head.status {
            204 | 205 => Self::unexpected(UnexpectedKind::Refusal(Box::new(head))),
            200..300 if head.coding.is_some() => {
                Self::unexpected(UnexpectedKind::Compressed(head.coding.unwrap_or_default()))
            }
            200..300 if head.is_json && wanted == StreamFraming::Events => Self::Undecided,
            200..300 => Self::Expected,
            _ => Self::unexpected(UnexpectedKind::Refusal(Box::new(head))),
        }
    }

    fn unexpected(what: UnexpectedKind) -> Self {
        Self::Unexpected(Box::new(UnexpectedResponse { what, body: Vec::new() }))
    }

    fn push_data(&mut self, at: Duration, data: &[u8], timer: &mut RequestTimer) {
        if matches!(self, Self::Undecided) {
            let Some(&first) = data.trim_ascii_start().first() else { return };
            *self = if begins_stream(first) {
                Self::Expected
            } else {
                Self::unexpected(UnexpectedKind::Document)
            };
        }
        match self {
            Self::Unknown | Self::Undecided => {}
            Self::Expected => timer.on_bytes(at, data),
            Self::Unexpected(unwanted) => unwanted.push_body(data),
        }
    }
}

impl UnexpectedResponse {
    fn push_body(&mut self, data: &[u8]) {
        let room = MAX_BODY_BYTES.saturating_sub(self.body.len());
        self.body.extend_from_slice(&data[..data.len().min(room)]);
    }

    fn is_server_error(&self) -> bool {
        matches!(&self.what, UnexpectedKind::Refusal(head) if head.status >= 500)
    }

    /// Whether further bytes of the body would be discarded.
    fn is_full(&self) -> bool {
        match self.what {
            UnexpectedKind::Refusal(_) => self.body.len() >= MAX_SCANNED_BYTES,
            UnexpectedKind::Compressed(_) => true,
            UnexpectedKind::Document => self.body.len() >= MAX_BODY_BYTES,
        }
    }

    fn failure(self) -> Failure {
        match self.what {
            UnexpectedKind::Refusal(head) => status_failure(&head, &self.body),
            UnexpectedKind::Compressed(coding) => {
                let detail =
                    format!("the answer is {coding}-encoded, though it was requested without compression");
                Failure::new(FailureClass::BrokenStream, detail)
            }
            UnexpectedKind::Document => document_failure(&self.body),
        }
    }
}

/// Whether the first byte of a body is that of an event stream and not of JSON: of `data:`, `event:`, `id:`, `retry:`,
/// of a comment, or of a byte order mark. Some gateways pass a stream on as `application/json`.
fn begins_stream(first: u8) -> bool {
    matches!(first, b'd' | b'e' | b'i' | b'r' | b':' | 0xEF)
}

fn status_failure(head: &ResponseHead, body: &[u8]) -> Failure {
    let text = excerpt(&decoded_prefix(head.coding.as_deref(), body));
    let detail = match (head.status, &head.location) {
        // The client does not follow redirects: that would be another request than the measured one.
        (300..400, Some(place)) => format!("redirects to {}", excerpt(place)),
        (204 | 205, _) => "the server reports that there is no content, and sends none".to_owned(),
        (400, _) if text.is_empty() => {
            "no text; some servers answer like this to an x-request-id that is not a UUID, or to a header or a body that they cannot read"
                .to_owned()
        }
        (_, _) if text.is_empty() => "no text".to_owned(),
        _ => text,
    };
    Failure::new(FailureClass::Status(head.status), detail)
}

/// The part of a body that is examined, decompressed if possible.
fn decoded_prefix(coding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let limit = MAX_SCANNED_BYTES as u64;
    // The beginning of a truncated or broken body is still usable.
    let _ = match coding {
        Some("gzip" | "x-gzip") => GzDecoder::new(body).take(limit).read_to_end(&mut plain),
        Some("deflate") => ZlibDecoder::new(body).take(limit).read_to_end(&mut plain),
        Some(other) => return format!("({other}-encoded)").into_bytes(),
        None => return body.to_vec(),
    };
    plain
}

fn document_failure(body: &[u8]) -> Failure {
    match chunk::parse(body).ok().and_then(|answer| answer.error) {
        Some(error) => Failure::new(FailureClass::ErrorEvent, error),
        None => {
            let detail = format!("one JSON document instead of an event stream: {}", excerpt(body));
            Failure::new(FailureClass::BrokenStream, detail)
        }
    }
}
