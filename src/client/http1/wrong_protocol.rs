//! Names the protocol of bytes that are not an HTTP/1.1 response.

use httparse::Error;

/// How many bytes of the first line an error quotes.
const MAX_QUOTED_BYTES: usize = 40;

/// The type bytes of the frames that an HTTP/2 server may send first: SETTINGS, GOAWAY.
const HTTP2_FRAME_TYPES: [u8; 2] = [4, 7];

/// Names the protocol of the bytes if it is recognizable; otherwise describes the parser's error.
pub(super) fn describe(bytes: &[u8], error: Error) -> String {
    if is_http_2(bytes) {
        return "the server speaks only HTTP/2 here".to_owned();
    }
    if is_tls(bytes) {
        return "the server speaks TLS here".to_owned();
    }
    if let Some(version) = version(bytes) {
        return format!("its version is {version}");
    }
    match first_line(bytes) {
        Some(line) if !bytes.starts_with(b"HTTP/") => format!("it begins with `{line}`"),
        _ => error.to_string(),
    }
}

/// Whether the bytes begin with an HTTP/2 frame header (RFC 9113, section 4.1): three bytes of length, the type, the
/// flags, and four bytes of stream identifier, which is 0.
fn is_http_2(bytes: &[u8]) -> bool {
    let is_small = bytes.starts_with(&[0, 0]);
    let stream = bytes.get(5..9);
    bytes.starts_with(b"PRI * HTTP/2")
        || is_small
            && bytes.get(3).is_some_and(|kind| HTTP2_FRAME_TYPES.contains(kind))
            && stream == Some(&[0; 4])
}

/// Whether the bytes begin with a TLS record (RFC 8446, section 5.1): an alert or a handshake, then the version.
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, 0..=4, ..])
}

/// The version in an HTTP status line that is not 1.x.
fn version(bytes: &[u8]) -> Option<&str> {
    let line = first_line(bytes)?;
    let version = line.split(' ').next()?;
    let is_known = version.starts_with("HTTP/1.") && version.len() == "HTTP/1.x".len();
    (version.starts_with("HTTP/") && !is_known).then_some(version)
}

/// The printable beginning of the first line; `None` if there is none.
fn first_line(bytes: &[u8]) -> Option<&str> {
    let is_printable = |byte: &&u8| matches!(byte, b' '..=b'~');
    let length = bytes.iter().take(MAX_QUOTED_BYTES).take_while(is_printable).count();
    std::str::from_utf8(&bytes[..length]).ok().filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::{MalformedResponse, ResponseDecoder};

    /// The description of a server's first bytes.
    fn named(bytes: &[u8]) -> String {
        match ResponseDecoder::default().push(bytes, &mut |_| {}) {
            Err(MalformedResponse::Head(words)) => words,
            other => panic!("{other:?}"),
        }
    }

    /// The bytes are the SETTINGS of nghttp2 and nginx, the GOAWAY of grpc-go and h2 (RFC 9113, 6.5, 6.8), OpenSSL's
    /// alert for a plain request (`15 03 01 00 02 02 46`), Redis's error, the greetings of OpenSSH, Postfix and vsftpd,
    /// and SHOUTcast's `ICY`.
    #[test]
    fn other_protocols_are_named() {
        for (bytes, expected) in [
            (b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80".as_slice(), "only HTTP/2"),
            (b"\0\0\0\x04\0\0\0\0\0", "only HTTP/2"),
            (b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01", "only HTTP/2"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "only HTTP/2"),
            (b"\x15\x03\x01\0\x02\x02\x46", "TLS"),
            (b"\x16\x03\x03\0\x31\x02", "TLS"),
            (b"HTTP/2 200 OK\r\n\r\n", "HTTP/2"),
            (b"HTTP/2.0 200 OK\r\n\r\n", "HTTP/2.0"),
            (b"HTTP/0.9 200 OK\r\n\r\n", "HTTP/0.9"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "begins with `SSH-2.0-OpenSSH_9.2`"),
            (b"-ERR unknown command 'POST'\r\n", "`-ERR unknown command 'POST'`"),
            (b"220 mail.example.org ESMTP Postfix\r\n", "`220 mail.example.org ESMTP Postfix`"),
            (b"ICY 200 OK\r\n\r\n", "`ICY 200 OK`"),
            (b"{\"error\": \"no\"}", "`{\"error\": \"no\"}`"),
            (b"\x05\0\x01", "invalid"),
        ] {
            let words = named(bytes);
            assert!(words.contains(expected), "{words}");
            assert!(!words.contains(char::is_control), "{words}");
        }
    }
}
