//! Converts errors below HTTP to failure classes and messages.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use crate::client::tls;
use crate::model::record::{Failure, FailureClass};

/// The failure of a TCP connection that could not be opened.
pub(super) fn connect_failure(place: &str, error: &io::Error) -> Failure {
    let (class, advice) = match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => (FailureClass::Refused, ""),
        Some(Errno::MFILE) => (FailureClass::Descriptors, "; raise the limit with `ulimit -n`"),
        Some(Errno::NFILE) => (FailureClass::Descriptors, "; the system's limit is fs.file-max"),
        Some(Errno::ADDRNOTAVAIL) => (
            FailureClass::Ports,
            "; keep connections alive, or widen net.ipv4.ip_local_port_range: closed ones hold their port for a minute",
        ),
        _ => (FailureClass::Connect, ""),
    };
    Failure::new(class, format!("{place}: {}{advice}", system_words(error)))
}

/// The failure of a name that has no address.
pub(super) fn resolve_failure(host: &str, cause: &str) -> Failure {
    // The message of glibc or musl follows the standard library's.
    let cause = cause.strip_prefix("failed to lookup address information: ").unwrap_or(cause);
    Failure::new(FailureClass::Connect, format!("no address for the host name `{host}`: {cause}"))
}

/// The failure of a TLS handshake.
pub(super) fn tls_failure(error: &io::Error) -> Failure {
    let words = match (tls_error(error), error.kind()) {
        (Some(error), _) => tls::in_words(error),
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            "the server closed the connection in the TLS handshake; does it speak TLS on this port?"
                .to_owned()
        }
        _ => error_chain(error),
    };
    Failure::new(FailureClass::Tls, words)
}

/// The failure of an open connection that broke. With TLS 1.3, a server that rejects the client's certificate reports
/// it only after the handshake.
pub(super) fn io_failure(error: &io::Error) -> Failure {
    match tls_error(error) {
        Some(alert @ rustls::Error::AlertReceived(_)) => {
            Failure::new(FailureClass::Tls, tls::in_words(alert))
        }
        Some(other) => Failure::new(FailureClass::BrokenStream, tls::in_words(other)),
        None => Failure::new(FailureClass::BrokenStream, error_chain(error)),
    }
}

/// Why the handshake of a client failed, as its server sees it. The words follow the client's name.
pub(crate) fn client_handshake(error: &io::Error) -> String {
    match tls_error(error) {
        Some(error) => tls::client_in_words(error),
        None => format!("broke off the TLS handshake ({})", error_chain(error)),
    }
}

/// The TLS error among the causes, if there is one.
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    std::iter::successors(Some(error), |link| cause(*link)).find_map(|link| link.downcast_ref())
}

/// The next cause. `source` of an I/O error skips the error that the I/O error wraps, so that error is read with
/// `get_ref`.
fn cause<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}

/// Why no TLS connection was possible for a request of reqwest; `None` if it failed otherwise.
pub(crate) fn tls_cause(error: &reqwest::Error) -> Option<String> {
    error.source().and_then(tls_error).map(tls::in_words)
}

/// Why a request of reqwest failed, in words for the user. The caller reports the URL.
pub(crate) fn causes(error: reqwest::Error) -> String {
    // The URL may hold a password.
    let error = error.without_url();
    // The outermost error only states that a request failed.
    let Some(first) = error.source() else { return error.to_string() };
    if let Some(words) = tls_cause(&error) {
        return words;
    }
    let words = error_chain(first);
    match io_error(first).map(system_words) {
        // hyper uses this text for a failed lookup.
        Some(cause) if words.contains("dns error") => format!("no address for the host name: {cause}"),
        Some(cause) if error.is_connect() => format!("{NO_CONNECTION}{cause}"),
        _ if error.is_timeout() => "it did not answer in time".to_owned(),
        _ if words.contains("connection closed before message completed") => {
            "the server closed the connection without an answer".to_owned()
        }
        Some(cause) if error.is_request() && cause.ends_with("reset by peer") => {
            format!("{cause} {BEFORE_ANY_BYTE}")
        }
        // hyper uses this text for bytes that are not HTTP/1.x; the likeliest reasons are added.
        _ if words.contains("invalid HTTP version parsed") => {
            format!("{words} (the server speaks only HTTP/2 here, or TLS, or it is not an HTTP server)")
        }
        _ => words,
    }
}

/// The note on a failure before the first byte of an answer.
pub(crate) const BEFORE_ANY_BYTE: &str = "before any byte of an answer";

/// The beginning of [`causes`] where no connection could be opened.
const NO_CONNECTION: &str = "cannot connect: ";

/// A URL and why no request to it succeeded, as one sentence.
pub(crate) fn with_url(url: &str, cause: &str) -> String {
    match cause.strip_prefix(NO_CONNECTION) {
        Some(cause) => format!("cannot connect to {url}: {cause}"),
        None => format!("{url}: {cause}"),
    }
}

/// The system's error among the causes, if there is one.
fn io_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    let chain = std::iter::successors(Some(error), |&link| link.source());
    chain.filter_map(|link| link.downcast_ref()).last()
}

/// The message of a system error, without its number.
fn system_words(error: &io::Error) -> String {
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    let words = words.strip_prefix("failed to lookup address information: ").unwrap_or(words);
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// An error and its causes, outermost first. hyper's `client error (Connect)` says nothing more than its cause.
fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in std::iter::successors(Some(error), |&link| link.source()) {
        let cause = cause.downcast_ref::<io::Error>().map_or_else(|| cause.to_string(), system_words);
        // Some errors repeat their cause at the end of their own text.
        let is_repeated = words.last().is_some_and(|last| last.ends_with(&cause));
        if !is_repeated && !cause.starts_with("client error (") {
            words.push(cause);
        }
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_connection_is_classed_by_who_must_act() {
        let cases = [
            (Errno::CONNREFUSED, FailureClass::Refused),
            (Errno::MFILE, FailureClass::Descriptors),
            (Errno::NFILE, FailureClass::Descriptors),
            (Errno::ADDRNOTAVAIL, FailureClass::Ports),
            (Errno::HOSTUNREACH, FailureClass::Connect),
            (Errno::CONNRESET, FailureClass::Connect),
        ];
        for (errno, class) in cases {
            let failure = connect_failure("10.0.0.1:80", &errno.into());
            assert_eq!(failure.class, class, "{failure}");
            assert!(failure.detail.starts_with("10.0.0.1:80: "), "{failure}");
            assert!(!failure.detail.contains("os error"), "{failure}");
        }
    }

    /// The cause of a GET by reqwest.
    async fn cause_of(url: &str) -> String {
        tls::install_provider();
        let client = reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(5)).build();
        causes(client.unwrap().get(url).send().await.unwrap_err())
    }

    #[tokio::test]
    async fn an_unmeasured_request_fails_in_plain_words() {
        let (_socket, port) = crate::testing::scripted_server::refusing_port();
        let url = format!("http://127.0.0.1:{port}/x");
        let cause = cause_of(&url).await;
        assert_eq!(cause, "cannot connect: connection refused");
        assert_eq!(with_url(&url, &cause), format!("cannot connect to {url}: connection refused"));
        assert_eq!(with_url("http://a", "it is closed"), "http://a: it is closed");
        let closing =
            crate::testing::scripted_server::serve(vec![crate::testing::scripted_server::Script::Bytes(
                Vec::new(),
            )]);
        let cause = cause_of(&closing.target().base_url).await;
        assert_eq!(cause, "the server closed the connection without an answer");
    }
}
