use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};

use axum::Router;
use axum::routing::get;

use super::*;
use crate::client::tls;

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls")).join(name)
}

fn with_tls() -> Option<ServerConfig> {
    Some(tls::server_config(&file("server.pem"), &file("server.key")).unwrap())
}

/// Serves a page, and returns where, and the notices.
async fn serve(tls: Option<ServerConfig>) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (to, notices) = mpsc::channel();
    let router = Router::new().route("/", get(|| async { "page" }));
    let listener = ClientListener::new(listener, tls, to);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, notices)
}

/// The next notice, which may be given later than the client's connection ends.
async fn next(notices: &Receiver<String>) -> String {
    loop {
        match notices.try_recv() {
            Ok(notice) => return notice,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Gets the page with TLS, trusting a file.
async fn page(address: SocketAddr, ca_cert: &str) -> Result<String, reqwest::Error> {
    tls::install_provider();
    let config = tls::private_client_config(Some(&file(ca_cert))).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build()?;
    client.get(format!("https://{address}/")).send().await?.text().await
}

/// Everything that is answered to some bytes.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // The server may reset the connection after its answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_silent_client_delays_no_other() {
    let (address, notices) = serve(with_tls()).await;
    let mut stopped = TcpStream::connect(address).await.unwrap();
    let _silent = TcpStream::connect(address).await.unwrap();
    stopped.write_all(&[TLS_HANDSHAKE, 3, 1]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(page(address, "authority.pem").await.unwrap(), "page");
    }
    assert_eq!(notices.try_iter().next(), None);
}

#[tokio::test]
async fn a_client_without_tls_is_told_to_use_it() {
    let (address, notices) = serve(with_tls()).await;
    let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let answer = answer(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let Refusal { error } = serde_json::from_str(body).unwrap();
    assert_eq!(error, NEEDS_TLS);
    assert_eq!(next(&notices).await, "the client at 127.0.0.1 does not use TLS, which shard 0 requires");
}

#[tokio::test]
async fn garbage_harms_nothing_and_is_told_once() {
    let (address, notices) = serve(with_tls()).await;
    for garbage in [&b"\x16\x03\x01\xff\xff garbage"[..], b"\x16\x03\x01\xff\xff garbage", b"\x16 \r\n\r\n"] {
        answer(address, garbage).await;
    }
    assert_eq!(page(address, "authority.pem").await.unwrap(), "page");
    let first = next(&notices).await;
    assert!(first.contains("in the TLS handshake"), "{first}");
    assert!(!notices.try_iter().any(|notice| notice == first), "the second of two alike has no notice");
}

#[tokio::test]
async fn both_ends_learn_that_only_one_uses_tls() {
    let (address, notices) = serve(None).await;
    let error = page(address, "authority.pem").await.unwrap_err();
    assert_eq!(transport_error::causes(error), "the server does not speak TLS on this port");
    assert_eq!(next(&notices).await, "the client at 127.0.0.1 uses TLS, and shard 0 does not");
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(answer(address, request).await.ends_with("page"));
}

#[tokio::test]
async fn both_ends_learn_why_a_certificate_is_not_accepted() {
    let of_self =
        |certificate: &str| Some(tls::server_config(&file(certificate), &file("self.key")).unwrap());
    for (config, ca_cert, theirs, ours) in [
        (with_tls(), "self.pem", "signed by a CA that is not trusted here", "unknown CA"),
        (of_self("self.pem"), "authority.pem", "is self-signed", "certificate unknown"),
        (of_self("expired.pem"), "expired.pem", "has expired", "certificate expired"),
        (of_self("elsewhere.pem"), "elsewhere.pem", "not valid for `127.0.0.1`", "bad certificate"),
    ] {
        let (address, notices) = serve(config).await;
        let error = page(address, ca_cert).await.unwrap_err();
        let cause = transport_error::tls_cause(&error).expect("TLS failed");
        assert!(cause.contains(theirs), "{cause}");
        let notice = next(&notices).await;
        assert_eq!(notice, format!("the client at 127.0.0.1 does not accept the certificate ({ours})"));
    }
}

/// A client that sends these bytes and nothing more, as its server opens its connection.
async fn opening(bytes: &[u8]) -> Opening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(bytes).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    open(stream, with_tls().map(|config| TlsAcceptor::from(Arc::new(config)))).await
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_more_is_given_up() {
    let silent = opening(b"").await;
    assert!(silent.stream.is_none() && silent.fault.is_none());
    let stopped = opening(&[TLS_HANDSHAKE, 3, 1]).await;
    assert!(stopped.stream.is_none());
    assert_eq!(stopped.fault.as_deref(), Some("did not end its TLS handshake in time"));
    let without = opening(b"GET / HTTP/1.1\r\n").await;
    assert!(without.stream.is_none() && without.fault.unwrap().contains("does not use TLS"));
}
