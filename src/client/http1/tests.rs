use proptest::prelude::*;

mod heads;

use super::body::BodyFraming;
use super::*;
use crate::testing::transcripts::cut;

/// The result of a response that arrives in pieces.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    heads: Vec<ResponseHead>,
    body: Vec<u8>,
    over: bool,
    keeps_alive: bool,
}

fn read<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Seen, MalformedResponse> {
    let mut decoder = ResponseDecoder::default();
    let mut seen = Seen::default();
    for piece in pieces {
        decoder.push(piece, &mut |part| match part {
            ResponsePart::Head(head) => seen.heads.push(head),
            ResponsePart::Data(data) => seen.body.extend_from_slice(data),
        })?;
    }
    (seen.over, seen.keeps_alive) = (decoder.is_complete(), decoder.keeps_alive());
    Ok(seen)
}

fn whole(response: &str) -> Result<Seen, MalformedResponse> {
    read([response.as_bytes()])
}

fn body(response: &str) -> String {
    let seen = whole(response).unwrap();
    assert!(seen.over, "{response}");
    String::from_utf8(seen.body).unwrap()
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nHello\r\n00a\r\n, all you \r\n6\r\npeople\r\n0\r\nt: 1\r\n\r\n";

#[test]
fn a_body_ends_as_its_head_says() {
    assert_eq!(body(CHUNKED), "Hello, all you people");
    assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"), "abc");
    assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\ncontent-length: 3\r\n\r\nabc"), "abc");
    assert_eq!(body("HTTP/1.1 204 No Content\r\n\r\n"), "");
    assert_eq!(body("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n1\na\n0\n\n"), "a");
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let mut decoder = ResponseDecoder::default();
    decoder.push(b"HTTP/1.1 200 OK\r\n\r\nabc", &mut |_| {}).unwrap();
    assert!(!decoder.is_complete());
    assert_eq!(decoder.close(), Ok(()));
    assert!(decoder.is_complete() && !decoder.keeps_alive());
}

#[test]
fn an_early_close_says_where() {
    let closed = |bytes: &str| {
        let mut decoder = ResponseDecoder::default();
        decoder.push(bytes.as_bytes(), &mut |_| {}).unwrap();
        decoder.close()
    };
    assert_eq!(closed(""), Err(MalformedResponse::NoAnswer));
    assert_eq!(closed("HTTP/1.1 200 OK\r\n"), Err(MalformedResponse::HalfHead));
    assert_eq!(closed("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"), Err(MalformedResponse::HalfBody));
    assert_eq!(closed(&CHUNKED[..CHUNKED.len() - 2]), Err(MalformedResponse::HalfBody));
    assert_eq!(closed(CHUNKED), Ok(()));
}

#[test]
fn interim_responses_are_passed_over() {
    let response =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_owned() + CHUNKED;
    let seen = whole(&response).unwrap();
    assert_eq!(seen.heads.iter().map(|head| head.status).collect::<Vec<_>>(), [200]);
    assert_eq!(seen.body, b"Hello, all you people");
}

#[test]
fn a_connection_is_kept_as_version_and_header_say() {
    let cases = [
        ("1.1", "x: y", true),
        ("1.1", "Connection: Close", false),
        ("1.1", "connection: x, close", false),
        ("1.0", "x: y", false),
        ("1.0", "connection: keep-alive", true),
    ];
    for (version, header, kept) in cases {
        let seen =
            whole(&format!("HTTP/{version} 200 OK\r\n{header}\r\ncontent-length: 1\r\n\r\na")).unwrap();
        assert_eq!(seen.keeps_alive, kept, "{version} {header}");
    }
    let chatty = whole("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab").unwrap();
    assert!(chatty.over && !chatty.keeps_alive, "bytes after the end belong to no answer");
}

#[test]
fn what_is_no_response_is_refused() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let endless = format!("{chunked}0\r\n{}", "a: b\r\n".repeat(4000));
    for response in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        &format!("{chunked}x\r\n"),
        &format!("{chunked}\r\n"),
        &format!("{chunked}1\r\nab"),
        &format!("{chunked}{}\r\n", "f".repeat(17)),
        &endless,
    ] {
        assert!(whole(response).is_err(), "{}", &response[..response.len().min(80)]);
    }
}

#[test]
fn json_is_told_from_a_stream_by_its_type() {
    let is_json = |kind: &str| {
        let seen = whole(&format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n")).unwrap();
        seen.heads[0].is_json
    };
    assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
    assert!(!is_json("text/event-stream") && !is_json("app"));
}

#[test]
fn responses_cut_at_every_byte_read_the_same() {
    let expected = whole(CHUNKED).unwrap();
    assert_eq!(expected.heads[0].framing, BodyFraming::Chunked);
    for place in 0..=CHUNKED.len() {
        assert_eq!(read(cut(CHUNKED.as_bytes(), &[place])).unwrap(), expected, "cut at {place}");
    }
    assert_eq!(read(CHUNKED.as_bytes().chunks(1)).unwrap(), expected, "byte by byte");
}

proptest! {
    #[test]
    fn spoilt_responses_cut_anywhere_read_the_same(
        spoil in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        places in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut bytes = CHUNKED.as_bytes().to_vec();
        for (place, byte) in spoil {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        let (cut, whole) = (read(cut(&bytes, &places)), read([bytes.as_slice()]));
        prop_assert_eq!(cut.is_ok(), whole.is_ok());
        if let (Ok(cut), Ok(whole)) = (cut, whole) {
            prop_assert_eq!(cut, whole);
        }
    }
}
