//! The status line and the headers of a response.

use std::borrow::Cow;

use httparse::{EMPTY_HEADER, Error, Header, ParserConfig, Status};

use super::MalformedResponse;
use super::body::BodyFraming;
use crate::client::http1::wrong_protocol;

/// The length limit of a head, in bytes, including its blank line.
pub(super) const MAX_HEAD_BYTES: usize = 64 << 10;

/// The largest number of headers that is parsed without an allocation.
const MAX_INLINE_HEADERS: usize = 100;

/// The offset of the minor version in `HTTP/1.x`.
const MINOR_VERSION_OFFSET: usize = b"HTTP/1.".len();

/// The parts of a response's head that the client uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// Whether the body is one JSON document, according to its content type.
    pub is_json: bool,
    /// The target of a redirect.
    pub location: Option<Vec<u8>>,
    /// The compression of the body, such as `gzip`; `None` if it is not compressed.
    pub coding: Option<Box<str>>,
    /// How the body ends.
    pub(super) framing: BodyFraming,
    /// Whether the server accepts another request on this connection.
    pub(super) keeps_alive: bool,
}

impl ResponseHead {
    /// Whether another head follows this one.
    pub(super) fn is_interim(&self) -> bool {
        // 101 is final: the client never asks for another protocol.
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// Parses a head and returns it with its length in bytes; `None` if the head is incomplete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(ResponseHead, usize)>, MalformedResponse> {
    let bytes = &*with_version_1_1(bytes);
    let parsed = match parse_into(&mut [EMPTY_HEADER; MAX_INLINE_HEADERS], bytes) {
        // This case is rare, so memory for more headers is allocated only here. Each header has a line.
        Err(Error::TooManyHeaders) => {
            let lines = memchr::memchr_iter(b'\n', &bytes[..bytes.len().min(MAX_HEAD_BYTES)]).count();
            parse_into(&mut vec![EMPTY_HEADER; lines + 1], bytes)
        }
        parsed => parsed,
    };
    match parsed {
        Ok(None) if bytes.len() > MAX_HEAD_BYTES => Err(MalformedResponse::HeadTooLong),
        Ok(Some((_, length))) if length > MAX_HEAD_BYTES => Err(MalformedResponse::HeadTooLong),
        Ok(None) => Ok(None),
        Ok(Some((head, length))) => Ok(Some((head?, length))),
        Err(Error::TooManyHeaders) => Err(MalformedResponse::HeadTooLong),
        Err(error) => Err(MalformedResponse::Head(wrong_protocol::describe(bytes, error))),
    }
}

/// A complete head or its error, with its length in bytes; `None` if the head is incomplete.
type ParsedHead = Option<(Result<ResponseHead, MalformedResponse>, usize)>;

fn parse_into<'b>(headers: &mut [Header<'b>], bytes: &'b [u8]) -> Result<ParsedHead, Error> {
    let mut response = httparse::Response::new(headers);
    // These forms are deprecated, but servers still send them and every other client accepts them (RFC 9112, sections
    // 5.1 and 5.2).
    let mut lenient = ParserConfig::default();
    lenient.allow_obsolete_multiline_headers_in_responses(true);
    lenient.allow_spaces_after_header_name_in_responses(true);
    let Status::Complete(length) = lenient.parse_response(&mut response, bytes)? else { return Ok(None) };
    let status = response.code.expect("a complete response has a code");
    let is_1_1 = response.version == Some(1);
    Ok(Some((ResponseHead::new(status, is_1_1, response.headers), length)))
}

/// Replaces a later minor version with HTTP/1.1 (RFC 9110, section 2.5).
fn with_version_1_1(bytes: &[u8]) -> Cow<'_, [u8]> {
    match bytes.get(MINOR_VERSION_OFFSET) {
        Some(b'2'..=b'9') if bytes.starts_with(b"HTTP/1.") => {
            let mut bytes = bytes.to_vec();
            bytes[MINOR_VERSION_OFFSET] = b'1';
            bytes.into()
        }
        _ => bytes.into(),
    }
}

impl ResponseHead {
    fn new(status: u16, is_1_1: bool, headers: &[Header<'_>]) -> Result<Self, MalformedResponse> {
        Ok(Self {
            status,
            is_json: values(headers, "content-type").any(is_json),
            location: values(headers, "location").next().map(<[u8]>::to_vec),
            coding: coding(headers),
            framing: framing(status, headers)?,
            keeps_alive: keeps_alive(is_1_1, headers),
        })
    }
}

fn is_json(kind: &[u8]) -> bool {
    const JSON: &[u8] = b"application/json";
    kind.trim_ascii().get(..JSON.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(JSON))
}

/// How the body ends, by RFC 9112, section 6.3.
fn framing(status: u16, headers: &[Header<'_>]) -> Result<BodyFraming, MalformedResponse> {
    if (100..200).contains(&status) || status == 204 || status == 304 {
        return Ok(BodyFraming::Length(0));
    }
    if let Some(last) = listed_codings(headers, "transfer-encoding").last() {
        return match last.eq_ignore_ascii_case(b"chunked") {
            true => Ok(BodyFraming::Chunked),
            false => {
                let name = String::from_utf8_lossy(last);
                Err(MalformedResponse::Head(format!("its transfer encoding is {name}, not chunked")))
            }
        };
    }
    let mut lengths = tokens(headers, "content-length");
    let Some(first) = lengths.next() else { return Ok(BodyFraming::UntilClose) };
    if lengths.any(|other| other != first) {
        return Err(MalformedResponse::Head("its content lengths contradict each other".to_owned()));
    }
    let digits = std::str::from_utf8(first).ok().filter(|text| text.bytes().all(|c| c.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length
        .map(BodyFraming::Length)
        .ok_or_else(|| MalformedResponse::Head("its content length is not a number".to_owned()))
}

/// The compression of the body, as a content coding or as a transfer coding.
fn coding(headers: &[Header<'_>]) -> Option<Box<str>> {
    let on_its_way =
        listed_codings(headers, "transfer-encoding").filter(|token| !token.eq_ignore_ascii_case(b"chunked"));
    let coding = listed_codings(headers, "content-encoding").chain(on_its_way).next()?;
    Some(String::from_utf8_lossy(coding).to_ascii_lowercase().into())
}

/// The codings that a header lists, without `identity` and empty values.
fn listed_codings<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    tokens(headers, name).filter(|token| !token.is_empty() && !token.eq_ignore_ascii_case(b"identity"))
}

/// Whether the connection persists, by RFC 9112, section 9.3.
fn keeps_alive(is_1_1: bool, headers: &[Header<'_>]) -> bool {
    let says = |word: &[u8]| tokens(headers, "connection").any(|token| token.eq_ignore_ascii_case(word));
    !says(b"close") && (is_1_1 || says(b"keep-alive"))
}

fn values<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// The values that a header lists, including those of repeated headers.
fn tokens<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    values(headers, name).flat_map(|value| value.split(|&c| c == b',')).map(<[u8]>::trim_ascii)
}
