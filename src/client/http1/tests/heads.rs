//! Heads at the size limits and heads in old forms.

use super::*;

/// A head of this many bytes, made of one long header or of many short ones.
fn head_of(length: usize, is_many: bool) -> String {
    let (begin, end) = ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n", "\r\n");
    let mut head = begin.to_owned();
    while is_many && length - head.len() > 100 {
        head += "x: y\r\n";
    }
    let left = length - head.len() - end.len() - "z: \r\n".len();
    head + "z: " + &"y".repeat(left) + "\r\n" + end
}

#[test]
fn the_limit_is_exact_however_the_head_arrives() {
    let limit = head::MAX_HEAD_BYTES;
    for is_many in [false, true] {
        for (length, fits) in [(limit - 1, true), (limit, true), (limit + 1, false), (100 << 10, false)] {
            let response = head_of(length, is_many) + "a";
            assert_eq!(response.len(), length + 1);
            for size in [7, 1000, 1 << 14, limit - 1, limit, limit + 1, response.len()] {
                // Small pieces of large heads take long, because each piece starts the parser again.
                let piece = if is_many { size.max(4000) } else { size.max(300) };
                let result = read(response.as_bytes().chunks(piece));
                match fits {
                    true => assert_eq!(result.unwrap().body, b"a", "{length} in pieces of {piece}"),
                    false => assert_eq!(
                        result,
                        Err(MalformedResponse::HeadTooLong),
                        "{length} in pieces of {piece}"
                    ),
                }
            }
        }
    }
}

#[test]
fn a_head_that_does_not_end_is_refused_at_the_limit() {
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(head::MAX_HEAD_BYTES));
    assert_eq!(read(endless.as_bytes().chunks(1000)), Err(MalformedResponse::HeadTooLong));
}

#[test]
fn any_number_of_headers_is_read() {
    for count in [0, 99, 100, 101, 500, 3800] {
        let headers = "set-cookie: a=b\r\n".repeat(count);
        let response = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 1\r\n\r\na");
        let seen = whole(&response).unwrap_or_else(|error| panic!("{count}: {error}"));
        assert_eq!((seen.body.as_slice(), seen.over), (b"a".as_slice(), true), "{count}");
    }
}

/// The forms are those of RFC 9112 (2.3, 5.1, 5.2, 6.1), of RFC 2616 (3.6, 14.39: identity), and of the tests of
/// lenient clients in hyper and Go's net/http.
#[test]
fn old_and_later_forms_are_read() {
    for response in [
        "HTTP/1.1 200 OK\r\nx: a\r\n  b\r\ncontent-length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nx:\r\n\ta\r\ncontent-length:\r\n 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\ncontent-length : 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Identity, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.2 200 OK\r\ncontent-length: 1\r\n\r\na",
        "HTTP/1.9 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200\r\ncontent-length: 1\r\n\r\na",
    ] {
        let seen = whole(response).unwrap_or_else(|error| panic!("{response}: {error}"));
        assert_eq!(
            (seen.heads[0].status, seen.body.as_slice(), seen.over),
            (200, b"a".as_slice(), true),
            "{response}"
        );
        assert!(seen.keeps_alive && seen.heads[0].coding.is_none(), "{response}");
        assert_eq!(read(response.as_bytes().chunks(1)).unwrap(), seen, "byte by byte: {response}");
    }
}

#[test]
fn identity_alone_ends_with_the_connection() {
    let mut decoder = ResponseDecoder::default();
    decoder.push(b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nabc", &mut |_| {}).unwrap();
    assert_eq!(decoder.close(), Ok(()));
    assert!(decoder.is_complete());
}

/// The codings of IANA's registry, and the `x-` names of RFC 9110 (8.4.1).
#[test]
fn a_compressed_body_is_known_by_its_head() {
    for (headers, coding) in [
        ("Content-Encoding: gzip", Some("gzip")),
        ("content-encoding: X-GZIP", Some("x-gzip")),
        ("content-encoding: br", Some("br")),
        ("content-encoding: zstd", Some("zstd")),
        ("content-encoding: deflate", Some("deflate")),
        ("content-encoding: identity, gzip", Some("gzip")),
        ("transfer-encoding: gzip, chunked", Some("gzip")),
        ("content-encoding: identity", None),
        ("content-encoding:", None),
        ("transfer-encoding: chunked", None),
    ] {
        let seen = whole(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n")).unwrap();
        assert_eq!(seen.heads[0].coding.as_deref(), coding, "{headers}");
    }
}
