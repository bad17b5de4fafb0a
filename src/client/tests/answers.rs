//! Answers that are failures, and how the client describes them.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::*;

/// An answer whose body consists of bytes; all code points here are below 256.
fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_answer_without_a_text_says_what_it_may_mean() {
    for (status, words) in [
        ("400 Bad Request", "x-request-id"),
        ("404 Not Found", "no text"),
        ("500 Internal Server Error", "no text"),
        ("204 No Content", "no content"),
        ("205 Reset Content", "no content"),
    ] {
        let (class, detail) = failure(answer(status, "", "")).await;
        let code = status[..3].parse().unwrap();
        assert_eq!(class, FailureClass::Status(code), "{detail}");
        assert!(detail.contains(words), "{status}: {detail}");
    }
}

/// The redirects of nginx, Go's net/http, FastAPI (a slash at the end), AWS's load balancer, and Caddy.
#[tokio::test]
async fn a_redirect_names_its_target_whatever_its_body() {
    let page = "<html>\r\n<head><title>301 Moved Permanently</title></head>\r\n</html>";
    for (status, place, body) in [
        ("301 Moved Permanently", "https://h/v1/completions", page),
        ("308 Permanent Redirect", "https://h/", ""),
        ("307 Temporary Redirect", "http://h/v1/completions/", ""),
        ("302 Found", "/login?next=/v1", "<a href=\"/login\">Found</a>.\n\n"),
        ("303 See Other", "https://h:443/v1/completions", page),
    ] {
        let (class, detail) = failure(answer(status, &format!("Location: {place}\r\n"), body)).await;
        assert_eq!(class, FailureClass::Status(status[..3].parse().unwrap()));
        assert_eq!(detail, format!("redirects to {place}"));
    }
    let unmoved = failure(answer("304 Not Modified", "", "")).await;
    assert_eq!(unmoved, (FailureClass::Status(304), "no text".to_owned()));
}

#[tokio::test]
async fn a_page_is_its_title_and_several_lines_are_one() {
    let page = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body></body></html>";
    let html = failure(answer("413 Request Entity Too Large", "content-type: text/html\r\n", page)).await;
    assert_eq!(html, (FailureClass::Status(413), "413 Request Entity Too Large".to_owned()));
    let lines = failure(json("422 Unprocessable Entity", "{\n  \"detail\": [\n    1\n  ]\n}\n")).await;
    assert_eq!(lines, (FailureClass::Status(422), "{ \"detail\": [ 1 ] }".to_owned()));
}

#[tokio::test]
async fn a_compressed_answer_is_named() {
    for coding in ["gzip", "x-gzip", "br", "zstd", "deflate"] {
        let headers = format!("content-type: text/event-stream\r\ncontent-encoding: {coding}\r\n");
        let (class, detail) = failure(answer("200 OK", &headers, "whatever")).await;
        assert_eq!(class, FailureClass::BrokenStream);
        assert!(detail.contains(&format!("{coding}-encoded")), "{detail}");
    }
    let plain = stream(&[TOKEN, DONE]).replacen("\r\n", "\r\ncontent-encoding: identity\r\n", 1);
    assert_eq!(ask(&answering(plain).target()).await.outcome, Ok(FinishReason::Stop));
}

#[tokio::test]
async fn a_compressed_refusal_is_read_where_it_can_be() {
    let text = b"{\"error\": \"no such model\"}";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(text).unwrap();
    let expected = String::from_utf8(text.to_vec()).unwrap();
    for (coding, body, detail) in [
        ("gzip", gzip.finish().unwrap(), expected.clone()),
        ("deflate", zlib.finish().unwrap(), expected),
        ("br", text.to_vec(), "(br-encoded)".to_owned()),
    ] {
        let head = format!(
            "HTTP/1.1 404 Not Found\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let stage = serve(vec![Script::Bytes([head.as_bytes(), &body].concat())]);
        let failure = ask(&stage.target()).await.outcome.unwrap_err();
        assert_eq!((failure.class, failure.detail), (FailureClass::Status(404), detail));
    }
}

/// `http1::wrong_protocol` tests the bytes that nginx (h2c only), grpc-go, OpenSSL and others send to a plain request.
#[tokio::test]
async fn a_server_of_another_protocol_is_named_at_once() {
    for (bytes, words) in [
        (b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0".to_vec(), "only HTTP/2"),
        (b"\x15\x03\x01\0\x02\x02\x46".to_vec(), "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "SSH-2.0"),
    ] {
        let stage = serve(vec![Script::Bytes(bytes)]);
        let failure = ask(&stage.target()).await.outcome.unwrap_err();
        assert_eq!(failure.class, FailureClass::BrokenStream);
        assert!(failure.detail.contains(words), "{failure}");
        assert!(failure.detail.starts_with("not an HTTP/1.1 response"), "the run ends by it: {failure}");
    }
}

#[tokio::test]
async fn a_host_without_an_address_is_named() {
    let target = Target { base_url: "http://no-such-host.invalid:1".into(), ..target("http", 1) };
    let failure = ask(&target).await.outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::Connect);
    assert!(failure.detail.contains("`no-such-host.invalid`"), "{failure}");
}

#[tokio::test]
async fn a_request_without_an_id_has_none() {
    let stage = answering(stream(&[TOKEN, DONE]));
    let client = Client::new(&stage.target(), &Sampling::default(), 8).unwrap();
    let keep = Capture { text: CaptureText::Never, gaps: CaptureGaps::Never };
    let mut timer = RequestTimer::new(RunClock::start(), Duration::ZERO, keep, Rc::default());
    let body = client.body(&Request::text("Hi", 1, 4));
    let identity = RequestIdentity { request: None, session: None };
    client.send(identity, body, &mut timer, |_| {}).await.unwrap();
    assert!(!stage.requests()[0].contains("x-request-id"));
}
