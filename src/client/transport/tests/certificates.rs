//! Trusted and untrusted certificates, and how the client describes a server that it rejects.

use super::secure::{file, serve, trusting};
use super::*;
use crate::testing::scripted_server;

/// A server with this certificate and these ALPN protocols.
fn config(certificate: &str, alpn: &[&[u8]]) -> ServerConfig {
    crate::client::tls::install_provider();
    let key = PrivateKeyDer::from_pem_file(file("self.key")).unwrap();
    let certificate = CertificateDer::from_pem_file(file(certificate)).unwrap();
    let builder = ServerConfig::builder().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

async fn outcome(target: &Target) -> Result<FinishReason, Failure> {
    ask(&Transport::new(target, 8).unwrap()).await.outcome
}

/// The types of certificate are those of badssl.com (self-signed, expired, wrong host, no common name) and of `openssl
/// req -x509`, which marks its own as CA:TRUE.
#[tokio::test]
async fn a_given_certificate_is_trusted_for_its_names_and_its_time() {
    for (certificate, trusted, words) in [
        ("self.pem", Some("self.pem"), None),
        ("self.pem", None, Some("self-signed")),
        ("self.pem", Some("authority.pem"), Some("self-signed")),
        ("elsewhere.pem", Some("elsewhere.pem"), Some("not valid for `127.0.0.1`")),
        ("nameless.pem", Some("nameless.pem"), Some("not valid for `127.0.0.1`")),
        ("expired.pem", Some("expired.pem"), Some("has expired")),
        // The given certificate has the same key, but is not the server's.
        ("elsewhere.pem", Some("self.pem"), Some("certificate")),
    ] {
        let mut target = trusting(serve(config(certificate, &[]), None));
        target.connection.ca_cert = trusted.map(file);
        let result = outcome(&target).await;
        match words {
            None => assert_eq!(result, Ok(FinishReason::Stop)),
            Some(words) => {
                let failure = result.unwrap_err();
                assert_eq!(failure.class, FailureClass::Tls, "{certificate}: {failure}");
                assert!(failure.detail.contains(words), "{certificate}: {failure}");
            }
        }
        let mut target = trusting(serve(config(certificate, &[]), None));
        target.insecure = true;
        assert_eq!(outcome(&target).await, Ok(FinishReason::Stop), "{certificate}");
    }
}

#[tokio::test]
async fn a_server_that_agrees_on_http_2_alone_is_named() {
    let mut target = trusting(serve(config("self.pem", &[b"h2"]), None));
    target.connection.ca_cert = Some(file("self.pem"));
    let failure = outcome(&target).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Tls);
    assert!(failure.detail.contains("only HTTP/2"), "{failure}");
    let mut both = trusting(serve(config("self.pem", &[b"h2", b"http/1.1"]), None));
    both.connection.ca_cert = Some(file("self.pem"));
    assert_eq!(outcome(&both).await, Ok(FinishReason::Stop));
}

#[tokio::test]
async fn a_port_without_tls_is_named() {
    for blurt in ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "-ERR unknown command\r\n"] {
        let stage = scripted_server::serve(vec![Script::GarbageThenClose(blurt)]);
        let failure = outcome(&stage.tls_target()).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Tls);
        assert!(failure.detail.contains("does not speak TLS"), "{blurt}: {failure}");
    }
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_says_so() {
    let failure = outcome(&trusting(serve(secure::config(true), None))).await.unwrap_err();
    assert!(failure.detail.contains("client certificate"), "{failure}");
}

#[tokio::test]
async fn questions_are_answered_with_the_same_words() {
    for (certificate, alpn, words) in [
        ("self.pem", [].as_slice(), "self-signed"),
        ("expired.pem", [].as_slice(), "has expired"),
        ("elsewhere.pem", [].as_slice(), "certificate"),
        ("self.pem", [b"h2".as_slice()].as_slice(), "only HTTP/2"),
    ] {
        let mut target = trusting(serve(config(certificate, alpn), None));
        target.connection.ca_cert = (words != "self-signed").then(|| file(certificate));
        let control = crate::client::admin::AdminClient::new(&target).unwrap();
        let error = control.models().await.unwrap_err().to_string();
        assert!(error.contains(words), "{certificate}: {error}");
    }
}
