//! A response's status line and headers.

use httparse::{EMPTY_HEADER, Header, Status};

use super::Malformed;
use super::body::Framing;

/// The longest head, in bytes.
pub(super) const LIMIT: usize = 64 << 10;

/// The most headers.
const HEADERS: usize = 100;

/// What matters of a response's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Whether the body is one JSON document, by its content type.
    pub is_json: bool,
    /// Where a redirect points to.
    pub location: Option<Vec<u8>>,
    /// How the body ends.
    pub(super) framing: Framing,
    /// Whether the server will take another request on this connection.
    pub(super) keeps_alive: bool,
}

impl Head {
    /// Whether another head follows this one.
    pub(super) fn is_interim(&self) -> bool {
        // 101 is final: nobody asked for another protocol.
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// Reads a head and tells its length; `None` for one that is not whole.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if bytes.len() > LIMIT => return Err(Malformed::HeadTooLong),
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(Malformed::Head(error.to_string())),
    };
    let status = response.code.expect("a complete response has a code");
    let headers = response.headers;
    let head = Head {
        status,
        is_json: values(headers, "content-type").any(is_json),
        location: values(headers, "location").next().map(<[u8]>::to_vec),
        framing: framing(status, headers)?,
        keeps_alive: keeps_alive(response.version == Some(1), headers),
    };
    Ok(Some((head, length)))
}

fn is_json(kind: &[u8]) -> bool {
    const JSON: &[u8] = b"application/json";
    kind.trim_ascii().get(..JSON.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(JSON))
}

/// RFC 9112, section 6.3.
fn framing(status: u16, headers: &[Header<'_>]) -> Result<Framing, Malformed> {
    if (100..200).contains(&status) || status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    if let Some(last) = tokens(headers, "transfer-encoding").last() {
        return match last.eq_ignore_ascii_case(b"chunked") {
            true => Ok(Framing::Chunked),
            false => Err(Malformed::Head("a transfer encoding other than chunked".to_owned())),
        };
    }
    let mut lengths = tokens(headers, "content-length");
    let Some(first) = lengths.next() else { return Ok(Framing::UntilClose) };
    if lengths.any(|other| other != first) {
        return Err(Malformed::Head("content lengths that contradict each other".to_owned()));
    }
    let digits = std::str::from_utf8(first).ok().filter(|text| text.bytes().all(|c| c.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length.map(Framing::Length).ok_or_else(|| Malformed::Head("a content length that is none".to_owned()))
}

/// RFC 9112, section 9.3.
fn keeps_alive(is_1_1: bool, headers: &[Header<'_>]) -> bool {
    let says = |word: &[u8]| tokens(headers, "connection").any(|token| token.eq_ignore_ascii_case(word));
    !says(b"close") && (is_1_1 || says(b"keep-alive"))
}

fn values<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// The values that a header lists, its repetitions included.
fn tokens<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    values(headers, name).flat_map(|value| value.split(|&c| c == b',')).map(<[u8]>::trim_ascii)
}
