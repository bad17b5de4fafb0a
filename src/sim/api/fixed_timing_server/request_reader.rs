//! Reads requests from a socket, with the times at which the kernel received them.

use std::{io, sync::Arc, time::Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::net::{TcpListener, TcpStream};

use super::super::LONGEST_BODY;
use crate::sim::api::generate_request::RawRequest;

/// The most headers of a request, which is more than any client sends.
const MOST_HEADERS: usize = 100;

const READ: usize = 16 << 10;

/// A request as received.
pub(super) struct IncomingRequest {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// When the kernel received the request's last byte, on systems that report it.
    pub arrived: Option<Instant>,
    /// When the server had read the request.
    pub read: Instant,
}

impl IncomingRequest {
    pub(super) fn raw_request(&self) -> RawRequest<'_> {
        RawRequest { path: &self.path, headers: &self.headers, body: &self.body }
    }
}

/// Reads the requests of a connection, one after another.
pub(super) struct RequestReader {
    socket: Arc<TcpStream>,
    /// Bytes that belong to the next request.
    buffer: Vec<u8>,
    arrived: Option<Instant>,
}

/// Makes the kernel timestamp the data that the listener's connections receive. This must happen before the
/// connections exist: a request can arrive before its connection is accepted.
pub(super) fn note_arrivals(listener: &TcpListener) {
    arrival::note(listener);
}

/// A request's head and its total length.
struct RequestHead {
    method: String,
    path: String,
    headers: HeaderMap,
    length: usize,
    body: usize,
}

impl RequestReader {
    pub(super) fn new(socket: Arc<TcpStream>) -> Self {
        Self { socket, buffer: Vec::new(), arrived: None }
    }

    /// Reads the next request; returns `None` when the client has closed the connection.
    pub(super) async fn next(&mut self) -> io::Result<Option<IncomingRequest>> {
        loop {
            if let Some(head) = parse(&self.buffer)?
                && self.buffer.len() >= head.length + head.body
            {
                return Ok(Some(self.take(head)));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self, head: RequestHead) -> IncomingRequest {
        let rest = self.buffer.split_off(head.length + head.body);
        let body = std::mem::replace(&mut self.buffer, rest).split_off(head.length);
        let RequestHead { method, path, headers, .. } = head;
        IncomingRequest { method, path, headers, body, arrived: self.arrived, read: Instant::now() }
    }

    async fn read(&mut self) -> io::Result<usize> {
        let mut bytes = [0; READ];
        loop {
            self.socket.readable().await?;
            match arrival::read(&self.socket, &mut bytes) {
                Ok((length, arrived)) => {
                    self.buffer.extend_from_slice(&bytes[..length]);
                    self.arrived = arrived;
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Parses the head; returns `None` if it is incomplete.
fn parse(bytes: &[u8]) -> io::Result<Option<RequestHead>> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    let httparse::Status::Complete(length) = request.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for line in request.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(io::Error::other)?;
        headers.append(name, HeaderValue::from_bytes(line.value).map_err(io::Error::other)?);
    }
    let body = match headers.get(header::CONTENT_LENGTH) {
        // A load generator sends no chunked requests, since it knows the length of the body beforehand.
        None if headers.contains_key(header::TRANSFER_ENCODING) => return Err(unsupported()),
        None => 0,
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(unsupported)?,
    };
    if body > LONGEST_BODY {
        return Err(unsupported());
    }
    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
    Ok(Some(RequestHead { method: text(request.method), path: text(request.path), headers, length, body }))
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a request whose body has no usable content-length")
}

/// Reads with the kernel's timestamp. A request waits in the socket while hundreds of others are being served, and
/// that delay is the server's, not the client's.
#[cfg(target_os = "linux")]
mod arrival {
    use std::{
        io::{self, IoSliceMut},
        os::fd::AsRawFd,
        time::{Duration, Instant, SystemTime, UNIX_EPOCH},
    };

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
    use nix::sys::time::TimeSpec;
    use tokio::{
        io::Interest,
        net::{TcpListener, TcpStream},
    };

    pub(super) fn note(listener: &TcpListener) {
        // If the kernel refuses, requests have no timestamps.
        let _ = setsockopt(listener, sockopt::ReceiveTimestampns, &true);
    }

    pub(super) fn read(socket: &TcpStream, bytes: &mut [u8]) -> io::Result<(usize, Option<Instant>)> {
        socket.try_io(Interest::READABLE, || {
            let mut control = nix::cmsg_space!(TimeSpec);
            let mut slices = [IoSliceMut::new(bytes)];
            let flags = MsgFlags::empty();
            let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
            let stamp = message.cmsgs()?.find_map(|note| match note {
                ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
                _ => None,
            });
            Ok((message.bytes, stamp.and_then(instant)))
        })
    }

    /// Converts a timestamp of the wall clock, which is read together with the monotonic clock. A clock step between
    /// the two reads goes unnoticed.
    fn instant(stamp: Duration) -> Option<Instant> {
        let (wall, now) = (SystemTime::now(), Instant::now());
        let age = wall.duration_since(UNIX_EPOCH).ok()?.checked_sub(stamp)?;
        now.checked_sub(age)
    }
}

#[cfg(not(target_os = "linux"))]
mod arrival {
    use std::{io, time::Instant};

    use tokio::net::{TcpListener, TcpStream};

    pub(super) fn note(_: &TcpListener) {}

    pub(super) fn read(socket: &TcpStream, bytes: &mut [u8]) -> io::Result<(usize, Option<Instant>)> {
        socket.try_read(bytes).map(|length| (length, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_complete_only_with_its_blank_line() {
        let whole = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        assert!(parse(&whole[..60]).unwrap().is_none());
        let head = parse(whole).unwrap().unwrap();
        assert_eq!((head.method.as_str(), head.path.as_str()), ("POST", "/v1/completions"));
        assert_eq!((head.length + head.body, head.body), (whole.len(), 5));
    }

    #[test]
    fn what_is_not_a_request_with_a_length_is_an_error() {
        for bytes in [
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "\x01\x02\r\n\r\n",
        ] {
            assert!(parse(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }
}
